//! A kubelet for every node at once, for hundreds of pods: what the scheduler has placed runs after a moment, and
//! what runs once ends well a moment later. Nothing is run; only the pods' status is written, twice a pod. A training
//! whose name begins with `long-` does not end and takes its time to stop: where its pod makes way for another, until
//! its status says so, because that is to be seen on the pod alone. One with `bad-` fails.
//!
//! [`crate::kubelet`] does one thing to one pod when a test says so; this one does the usual to all, by itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, ResourceExt};
use sconce_contract::FailureClass;
use sconce_contract::report::EXIT_BAD_INPUT;
use sconce_crds::ModelTraining;
use sconce_crds::condition::{READY, find};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::Result;
use crate::kubelet::stop;
use crate::objects::{bound_claim, failed, trained};
use crate::room::conditions as conditions_of;
use crate::wait::until;
use crate::world::apply;

/// How long a pod that ends runs.
const RUN: Duration = Duration::from_millis(500);
/// How long a pod that does not end by itself takes to stop.
const GRACE: Duration = Duration::from_secs(4);
/// How long a pod that makes way takes at most.
const LONGEST: Duration = Duration::from_secs(60);
/// How often it asks.
const POLL: Duration = Duration::from_millis(100);
/// What a container ends with that SIGTERM ends.
const STOPPED: u8 = 143;
/// The claim that the artifacts lie in, by what the pods report.
pub const CLAIM: &str = "models";
/// Writes at a time: a kubelet each would send more, but this one shares two cores with all else.
const AT_ONCE: usize = 16;

/// Acts for all pods of all namespaces until it is dropped.
pub struct Hollow {
    worker: JoinHandle<()>,
    started: Arc<AtomicUsize>,
}

impl Hollow {
    /// Starts to act.
    #[must_use]
    pub fn start(client: Client) -> Self {
        Self::over(Api::all(client.clone()), client)
    }

    /// Starts to act for the pods of one namespace.
    #[must_use]
    pub fn within(client: Client, namespace: &str) -> Self {
        Self::over(Api::namespaced(client.clone(), namespace), client)
    }

    fn over(pods: Api<Pod>, client: Client) -> Self {
        let started = Arc::new(AtomicUsize::new(0));
        Self {
            worker: tokio::spawn(work(pods, client, Arc::clone(&started))),
            started,
        }
    }

    /// A claim with a volume for the pods to mount, once the scheduler would let them.
    ///
    /// # Errors
    /// When the API server refuses it, or it is not bound in time.
    pub async fn claim(client: &Client, namespace: &str, name: &str) -> Result<()> {
        for object in bound_claim(namespace, name) {
            apply(client, object).await?;
        }
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
        until("the claim has its volume", async || {
            let phase = claims.get(name).await.ok()?.status?.phase?;
            (phase == "Bound").then_some(())
        })
        .await
    }

    /// How many pods it has started.
    #[must_use]
    pub fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }
}

impl Drop for Hollow {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// What a pod is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Due {
    Start,
    End,
    Removal,
}

fn due(pod: &Pod) -> Option<Due> {
    let spec = pod.spec.as_ref()?;
    spec.node_name.as_ref()?;
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() {
        return (pod.metadata.deletion_grace_period_seconds != Some(0)).then_some(Due::Removal);
    }
    match (phase, spec.restart_policy.as_deref()) {
        (None | Some("Pending"), _) => Some(Due::Start),
        (Some("Running"), Some("Never" | "OnFailure")) if !is_long(pod) => Some(Due::End),
        _ => None,
    }
}

fn is_of(pod: &Pod, prefix: &str) -> bool {
    let training = pod.labels().get("sconce.dev/training");
    training.is_some_and(|name| name.starts_with(prefix))
}

fn is_long(pod: &Pod) -> bool {
    is_of(pod, "long-")
}

fn makes_way(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True")
}

/// Waits until the training's status says that its pod makes way; a kubelet waits no longer than it must.
async fn is_told(client: Client, pod: &Pod) {
    let trainings: Api<ModelTraining> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
    let name = pod.labels().get("sconce.dev/training");
    let name = name.cloned().unwrap_or_default();
    let since = Instant::now();
    while since.elapsed() < LONGEST {
        let tells = |training: &ModelTraining| {
            find(conditions_of(training), READY).is_some_and(|ready| ready.reason == "Preempted")
        };
        if let Ok(found) = trainings.get_opt(&name).await
            && found.as_ref().is_none_or(tells)
        {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn work(pods: Api<Pod>, client: Client, started: Arc<AtomicUsize>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let placed = watcher::Config::default().fields("spec.nodeName!=");
    let mut events = watch(pods, placed).default_backoff().boxed();
    let mut begun = HashSet::new();
    while let Some(event) = events.next().await {
        let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event else {
            continue;
        };
        let Some(due) = due(&pod) else { continue };
        // Somebody else's write on the pod shows it once more as it was.
        if !begun.insert((pod.uid(), due)) {
            continue;
        }
        if due == Due::Start {
            started.fetch_add(1, Ordering::SeqCst);
        }
        let (client, turns) = (client.clone(), Arc::clone(&turns));
        tokio::spawn(async move {
            match due {
                Due::End => tokio::time::sleep(RUN).await,
                Due::Removal if is_long(&pod) && makes_way(&pod) => is_told(client.clone(), &pod).await,
                Due::Removal if is_long(&pod) => tokio::time::sleep(GRACE).await,
                Due::Start | Due::Removal => {}
            }
            let Ok(_turn) = turns.acquire().await else { return };
            // A write that is refused concerns a pod that is gone.
            let _ = act(client, &pod, due).await;
        });
    }
}

async fn act(client: Client, pod: &Pod, due: Due) -> kube::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    if due == Due::Removal {
        // As it is now: why it was to go may have been written since.
        let Some(pod) = pods.get_opt(&name).await? else {
            return Ok(());
        };
        stop(&pods, &pod, STOPPED).await;
        return Ok(());
    }
    let status = match due {
        Due::End => ended(pod),
        _ => running(pod),
    };
    let patch = Patch::Merge(json!({ "status": status }));
    pods.patch_status(&name, &PatchParams::default(), &patch)
        .await
        .map(drop)
}

fn running(pod: &Pod) -> Value {
    let state = json!({"running": {"startedAt": now()}});
    json!({
        "phase": "Running", "startTime": now(), "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}],
        "conditions": conditions(true), "containerStatuses": [container(pod, true, &state)],
    })
}

fn ended(pod: &Pod) -> Value {
    let (phase, code, reason, report) = if is_of(pod, "bad-") {
        let report = failed(
            FailureClass::BadInput,
            Some("dataset.target"),
            "there is no column species",
        );
        ("Failed", EXIT_BAD_INPUT, "Error", report)
    } else {
        ("Succeeded", 0, "Completed", trained(CLAIM, 'a', 0.9))
    };
    let state = json!({"terminated": {
        "exitCode": code, "reason": reason, "message": report.to_json(), "startedAt": now(), "finishedAt": now(),
    }});
    json!({
        "phase": phase, "conditions": conditions(false), "containerStatuses": [container(pod, false, &state)],
    })
}

/// Nobody listens there, and whoever asks is told so at once.
const ADDRESS: &str = "127.255.255.254";

fn conditions(ready: bool) -> Vec<Value> {
    let status = |holds: bool| if holds { "True" } else { "False" };
    [
        ("PodScheduled", true),
        ("Initialized", true),
        ("ContainersReady", ready),
        ("Ready", ready),
    ]
    .into_iter()
    .map(|(kind, holds)| json!({"type": kind, "status": status(holds), "lastTransitionTime": now()}))
    .collect()
}

fn container(pod: &Pod, ready: bool, state: &Value) -> Value {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let (name, image) = container.map_or((String::new(), None), |container| {
        (container.name.clone(), container.image.clone())
    });
    json!({
        "name": name, "image": image.unwrap_or_default(), "imageID": "", "ready": ready, "started": ready,
        "restartCount": 0, "state": state,
    })
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(node: Option<&str>, phase: &str, restart: &str) -> Pod {
        let pod = json!({
            "metadata": {"name": "p"}, "spec": {"nodeName": node, "restartPolicy": restart, "containers": []},
            "status": {"phase": phase},
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn what_is_placed_runs_and_what_runs_once_ends() {
        assert_eq!(due(&pod(None, "Pending", "Never")), None);
        assert_eq!(due(&pod(Some("n"), "Pending", "Never")), Some(Due::Start));
        assert_eq!(due(&pod(Some("n"), "Running", "Never")), Some(Due::End));
        assert_eq!(due(&pod(Some("n"), "Running", "Always")), None);
        assert_eq!(due(&pod(Some("n"), "Succeeded", "Never")), None);
    }
}
