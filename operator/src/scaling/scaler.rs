//! One deployment, scaled: asks, decides, tells, and asks again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use sconce_crds::{ModelDeployment, ModelDeploymentStatus};
use tokio::sync::watch;
use tracing::warn;

use super::Pods;
use super::decide::{Fleet, Verdict, decide};
use super::leaving::{self, Replica};
use super::policy::{self, Policy};
use super::source::{LoadSource, Server};
use super::tell::{MANAGER, Told};
use super::tracker::{PAUSE, Tracker};
use crate::apply::Refusal;
use crate::context::Context;
use crate::error::Error;
use crate::fresh;
use crate::labels::DELETION_COST;
use crate::observed;
use crate::reason::Reason;
use crate::seen::Pod;

/// Longest that a write may take; kube's client repeats it by itself for longer.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest pause after writes that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A watch shows what was written by then. Where it shows something else, somebody else has written.
const SHOWN: Duration = Duration::from_secs(30);

/// Scales one deployment.
pub(super) struct Scaler<S> {
    context: Arc<Context>,
    source: Arc<S>,
    pods: watch::Receiver<Pods>,
    object: ObjectRef<ModelDeployment>,
    uid: String,
    start: Instant,
    tracker: Tracker,
    /// What it wrote last. Until it has written, what the status shows is what was told.
    told: Option<Told>,
    written: Option<Instant>,
    failures: u32,
}

impl<S: LoadSource> Scaler<S> {
    pub(super) fn new(
        context: Arc<Context>,
        source: Arc<S>,
        pods: watch::Receiver<Pods>,
        object: ObjectRef<ModelDeployment>,
        uid: String,
    ) -> Self {
        Scaler {
            context,
            source,
            pods,
            object,
            uid,
            start: Instant::now(),
            tracker: Tracker::default(),
            told: None,
            written: None,
            failures: 0,
        }
    }

    /// Until the deployment is gone, or is to be scaled no more. The UID tells whose end it is.
    pub(super) async fn run(mut self) -> String {
        loop {
            let object = self.context.stores.deployments.get(&self.object);
            let Some(object) = object.filter(|object| object.uid().as_deref() == Some(self.uid.as_str()))
            else {
                return self.uid;
            };
            if object.metadata.deletion_timestamp.is_some() {
                return self.uid;
            }
            let outcome = match object.spec.managed() {
                Some(autoscaling) => self.step(&object, &Policy::from(autoscaling)).await,
                None => match self.take_back(&object).await {
                    Ok(()) => return self.uid,
                    Err(error) => Err(error),
                },
            };
            tokio::time::sleep(self.pause(outcome)).await;
        }
    }

    fn pause(&mut self, outcome: Result<(), Error>) -> Duration {
        let Err(error) = outcome else {
            self.failures = 0;
            return self.tracker.pause(self.start.elapsed());
        };
        warn!(%error, "a decision could not be written; it is made again");
        self.failures += 1;
        (PAUSE * 2_u32.saturating_pow(self.failures)).min(LONGEST_PAUSE)
    }

    async fn step(&mut self, object: &ModelDeployment, policy: &Policy) -> Result<(), Error> {
        // The reconcile says first what there is.
        let Some(status) = object
            .status
            .as_ref()
            .filter(|status| status.observed_generation.is_some())
        else {
            return Ok(());
        };
        let key = super::pods_key(&object.namespace().unwrap_or_default(), &self.uid);
        let pods = self.pods.borrow().get(&key).cloned().unwrap_or_default();
        let servers: Vec<Server> = pods.iter().filter_map(|pod| server(pod)).collect();
        let readings = self.source.read(&servers).await;

        let told = self.told.clone().unwrap_or_else(|| Told::of(status));
        let desired = told
            .desired_replicas
            .unwrap_or_else(|| policy::wanted(&object.spec, Some(status)));
        let ready = u32::try_from(servers.len()).unwrap_or(u32::MAX);
        let fleet = Fleet {
            desired: policy::replicas(desired),
            ready,
            units_allow: self.units_allow(object, &pods),
        };
        let load = self
            .tracker
            .observe(policy, &readings, ready, self.start.elapsed());
        let verdict = decide(policy, load.as_ref(), &fleet);
        let generation = object.metadata.generation.unwrap_or_default();
        let next = told.after(&verdict, policy, &fleet, generation, Timestamp::now());
        if next != told || self.was_overwritten(&told, &Told::of(status)) {
            self.confirm(object, status).await?;
            if verdict.to < fleet.desired {
                self.mark(&pods, verdict.to).await;
            }
            self.write(object, &next).await?;
            self.announce(object, &verdict, desired);
            self.told = Some(next);
        }
        Ok(())
    }

    /// Says nothing of scaling any more, which is somebody else's now.
    async fn take_back(&mut self, object: &ModelDeployment) -> Result<(), Error> {
        let status = object.status.clone().unwrap_or_default();
        self.confirm(object, &status).await?;
        self.write(object, &Told::default()).await
    }

    /// Makes sure, before its first word, that what it was shown is not older than what an operator before it decided.
    async fn confirm(&self, object: &ModelDeployment, status: &ModelDeploymentStatus) -> Result<(), Error> {
        if self.written.is_some() {
            return Ok(());
        }
        let says = |live: &ModelDeployment| live.status.as_ref().map(Told::of).unwrap_or_default();
        let wanted = policy::wanted(&object.spec, Some(status));
        let confirmed = fresh::confirm(&self.context.client, object, |live| {
            says(live) == Told::of(status) && policy::wanted(&live.spec, live.status.as_ref()) == wanted
        });
        let confirmed = tokio::time::timeout(LIMIT, confirmed).await;
        confirmed.unwrap_or(Err(Error::Timeout(LIMIT)))
    }

    /// Whether somebody else has changed what was told.
    fn was_overwritten(&self, told: &Told, shown: &Told) -> bool {
        let settled = self.written.is_none_or(|written| written.elapsed() > SHOWN);
        settled && told != shown
    }

    /// Pods that there are units of the accelerator for; nothing where that is not known.
    fn units_allow(&self, object: &ModelDeployment, pods: &[Arc<Pod>]) -> Option<u32> {
        let asked = object.spec.accelerator.as_ref()?;
        let profile = self
            .context
            .stores
            .profiles
            .get(&ObjectRef::new(&asked.profile))?;
        let units = profile.status.as_ref()?.units?;
        let placed = pods.iter().filter(|pod| observed::is_scheduled(pod)).count();
        Some(policy::units_allow(units, asked.count, placed))
    }

    /// Marks the pods that are to go. Where that fails others go, which is no reason to keep them all.
    async fn mark(&self, pods: &[Arc<Pod>], to: u32) {
        let replicas: Vec<Replica> = pods.iter().map(|pod| self.replica(pod)).collect();
        let leaving = leaving::leaving(&replicas, to as usize);
        for ((pod, replica), leaves) in pods.iter().zip(&replicas).zip(leaving) {
            let Some(patch) = leaving::mark(replica, leaves) else {
                continue;
            };
            let marked = tokio::time::timeout(LIMIT, self.context.writer.merge(&**pod, &patch)).await;
            match marked {
                Ok(Ok(_)) => {}
                Ok(Err(Refusal::Error(error))) => warn!(%error, "a pod could not be marked to go first"),
                Ok(Err(Refusal::Problem(problem))) => {
                    warn!(error = problem.message, "a pod could not be marked to go first");
                }
                Err(_) => warn!("a pod could not be marked to go first in time"),
            }
        }
    }

    fn replica(&self, pod: &Pod) -> Replica {
        Replica {
            ready: observed::is_ready(pod),
            in_flight: self.tracker.in_flight(&pod.uid().unwrap_or_default()),
            created: pod.creation_timestamp().map(|time| time.0),
            marked: pod.annotations().contains_key(DELETION_COST),
        }
    }

    async fn write(&mut self, object: &ModelDeployment, told: &Told) -> Result<(), Error> {
        let write = self.context.writer.status_by(MANAGER, object, told);
        match tokio::time::timeout(LIMIT, write).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(Error::Timeout(LIMIT)),
        }
        self.written = Some(Instant::now());
        Ok(())
    }

    fn announce(&self, object: &ModelDeployment, verdict: &Verdict, from: i32) {
        let Some(change) = &verdict.change else {
            return;
        };
        let to = policy::count(verdict.to);
        let up = to > from;
        self.context.metrics.scaled(up, change.reason.name());
        let (reason, note) = (
            if up { Reason::ScaledUp } else { Reason::ScaledDown },
            format!("from {from} to {to} replicas: {}", change.message),
        );
        self.context
            .event(&object.object_ref(&()), EventType::Normal, &reason, &note);
    }
}

/// A pod that can be asked: it answers predictions.
fn server(pod: &Pod) -> Option<Server> {
    if !observed::is_ready(pod) {
        return None;
    }
    Some(Server {
        uid: pod.uid()?,
        ip: pod.status.as_ref()?.pod_ip.clone()?,
    })
}
