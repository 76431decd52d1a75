//! Scaling: as many replicas as the load asks for, where `autoscaling.mode` is Managed.
//!
//! ```text
//!   servers ──► source ──► tracker ──► decide ──► tell ──► status.desiredReplicas, scaleDecisions
//!   /v1/load     IO      measure,       pure      pure             │
//!                        history: pure                            ▼
//!                                                reconcile: policy::wanted ──► Deployment
//! ```
//!
//! Each deployment has a task of its own, so that one whose pods or whose writes hang holds up no other. A task writes
//! the status alone; the reconcile, woken by that, changes the Deployment. Read [`decide`] first.

pub mod decide;
pub mod history;
pub mod leaving;
pub mod measure;
pub mod policy;
mod scaler;
pub mod source;
pub mod tell;
pub mod tracker;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use sconce_crds::ModelDeployment;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{Instrument, info_span};

use self::scaler::Scaler;
use self::source::LoadSource;
use self::tracker::PAUSE;
use crate::context::Context;
use crate::labels;
use crate::seen::Pod;

/// Pods by the namespace and UID of the ModelDeployment that they are of: put in order once for all tasks.
type Pods = Arc<HashMap<String, Vec<Arc<Pod>>>>;

/// Scales every deployment that asks for it; ends never.
pub async fn run<S: LoadSource>(context: Arc<Context>, source: Arc<S>) {
    let (shown, pods) = watch::channel(Pods::default());
    let mut scaled: HashSet<String> = HashSet::new();
    let mut tasks: JoinSet<String> = JoinSet::new();
    let mut tick = interval(PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            // A task that panicked is not forgotten here, and not started again: its object would do it once more.
            Some(Ok(uid)) = tasks.join_next() => {
                scaled.remove(&uid);
                continue;
            }
        }
        let concerned = context.stores.deployments.state_filter(concerns);
        if concerned.is_empty() && tasks.is_empty() {
            continue;
        }
        shown.send_replace(Arc::new(by_owner(&context.stores.pods)));
        for deployment in concerned {
            let uid = deployment.uid().unwrap_or_default();
            if !scaled.insert(uid.clone()) {
                continue;
            }
            let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
            let span = info_span!("scale", object = format!("ModelDeployment {namespace}/{name}"));
            let object = ObjectRef::from_obj(&*deployment);
            let scaler = Scaler::new(
                Arc::clone(&context),
                Arc::clone(&source),
                pods.clone(),
                object,
                uid,
            );
            tasks.spawn(scaler.run().instrument(span));
        }
    }
}

/// Whether there is something to do: the operator scales, or has to take back what it told when it did.
fn concerns(deployment: &ModelDeployment) -> bool {
    let status = deployment.status.as_ref();
    deployment.metadata.deletion_timestamp.is_none()
        && (deployment.spec.managed().is_some()
            || status.is_some_and(|status| status.desired_replicas.is_some()))
}

fn pods_key(namespace: &str, uid: &str) -> String {
    format!("{namespace}/{uid}")
}

fn by_owner(pods: &Store<Pod>) -> HashMap<String, Vec<Arc<Pod>>> {
    let mut all: HashMap<String, Vec<Arc<Pod>>> = HashMap::new();
    for pod in pods.state() {
        let owner = pod.annotations().get(labels::DEPLOYMENT_UID);
        let stays = pod.metadata.deletion_timestamp.is_none() && !crate::observed::is_finished(&pod);
        if let Some(owner) = owner.filter(|_| stays) {
            // Whoever writes pods elsewhere could name a deployment that is not of that namespace.
            let key = pods_key(&pod.namespace().unwrap_or_default(), owner);
            all.entry(key).or_default().push(pod);
        }
    }
    all
}
