//! Who comes before a run: what keeps it from a place that others have, or took from it. Pure.
//!
//! Three may do so: the scheduler, which preempts its pod for one of a higher priority; the training itself, which
//! yields to serving ([`super::yielding`]); and Kueue, which says when its Job may start ([`crate::kueue`]). In each
//! case it goes on by itself, and its phase is Queued.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sconce_crds::condition::{READY, find};
use sconce_crds::training::Phase;
use sconce_crds::{ModelTraining, ModelTrainingStatus};

use super::yielding::Yielding;
use crate::kueue::{PUT_BACK, Sight};
use crate::reason::Reason;
use crate::seen::{Condition, Job, Pod};
use crate::{labels, observed};

/// Why a run waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// CamelCase.
    pub reason: Reason,
    /// One sentence: who comes first, and what to do.
    pub message: String,
    /// Whether a pod of the run still stops.
    pub stopping: bool,
}

/// What is known of those who come before it, or keep it out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// What Kueue says, where the run is in a queue of its and has not been let in.
    pub queue: Option<Sight>,
    /// That it makes way for serving.
    pub yielding: Option<Yielding>,
    /// Who took the place of its pod, where that is known.
    pub taker: Option<String>,
    /// In which words the API server refuses its pod, where it does.
    pub refusal: Option<String>,
    /// When to look again though nothing is seen to change.
    pub again: Option<Duration>,
}

/// Why the run waits for its turn, if it does. `active` are the Job's pods that have not ended, oldest first.
pub fn wait(training: &ModelTraining, job: &Job, active: &[&Arc<Pod>], turn: &Turn) -> Option<Wait> {
    let stopping = active.iter().any(|pod| observed::is_scheduled(pod));
    let is_suspended = job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true));
    let queue = training.spec.scheduling.queue_name.as_deref();
    if let Some(queue) = queue.filter(|_| is_suspended) {
        let (reason, message) = turn.queue.as_ref().unwrap_or(&Sight::Unseen).tell(queue);
        return Some(Wait {
            reason,
            message,
            stopping,
        });
    }
    if let Some(yielding) = &turn.yielding {
        return Some(Wait {
            reason: Reason::YieldedToServing,
            message: yielded_to(&yielding.to, training),
            stopping,
        });
    }
    // What becomes of the others of a search does not end it: they only help.
    let is_needed = |pod: &&Arc<Pod>| training.spec.search.is_none() || observed::leads(pod);
    let needed: Vec<_> = active.iter().copied().filter(is_needed).collect();
    if victim(needed.iter().copied()).is_some() {
        let taker = turn
            .taker
            .as_deref()
            .or_else(|| taker_told(training))
            .unwrap_or(SOME_POD);
        return Some(Wait {
            reason: Reason::Preempted,
            message: format!(
                "{taker}{TOOK_ITS_PLACE}; it goes on by itself, from its last checkpoint, when there is room; a higher \
                 scheduling.priorityClassName would have kept it, and so would another node"
            ),
            stopping,
        });
    }
    still(training, &newest(needed.into_iter()))
}

fn yielded_to(deployment: &str, training: &ModelTraining) -> String {
    let profile = training
        .spec
        .accelerator
        .as_ref()
        .map_or("", |asked| asked.profile.as_str());
    format!(
        "scheduling.yieldTo: it made way for ModelDeployment {deployment:?}, which found no unit of {profile}; it goes on \
         by itself, from its last checkpoint, when none has been missed for a while; another node would serve both"
    )
}

/// Who took its place, where that is not seen.
const SOME_POD: &str = "a pod";
const TOOK_ITS_PLACE: &str = " of a higher priority took its place";

/// Who was told to have taken its place: what is seen later may be older, or less.
fn taker_told(training: &ModelTraining) -> Option<&str> {
    let before = training.status.as_ref()?;
    let told = find(&before.conditions, READY).filter(|_| before.phase == Some(Phase::Queued))?;
    let preempted = Reason::told(&told.reason) == Reason::Preempted;
    let (taker, _) = told.message.split_once(TOOK_ITS_PLACE).filter(|_| preempted)?;
    (taker != SOME_POD).then_some(taker)
}

/// What separates why it made way from what the scheduler says meanwhile.
const MEANWHILE: &str = "; meanwhile no node can take it: ";

/// A run that made way keeps that as its reason until its pod, or as many as it takes and the first of them, have nodes
/// again.
fn still(training: &ModelTraining, newest: &[&Arc<Pod>]) -> Option<Wait> {
    let before = training.status.as_ref()?;
    let told = find(&before.conditions, READY).filter(|_| before.phase == Some(Phase::Queued))?;
    let reason = Reason::told(&told.reason);
    let needed = training.spec.nodes.needed(training.spec.search.as_ref());
    let mut placed = newest.iter().filter(|pod| observed::is_scheduled(pod));
    let goes_on = placed.clone().count() >= needed as usize && placed.any(|pod| observed::leads(pod));
    if ![Reason::Preempted, Reason::YieldedToServing].contains(&reason)
        || told.message.starts_with(PUT_BACK)
        || goes_on
    {
        return None;
    }
    let head = told
        .message
        .split_once(MEANWHILE)
        .map_or(told.message.as_str(), |(head, _)| head);
    let meanwhile = newest
        .iter()
        .find_map(|pod| observed::no_node(pod))
        .map(|said| format!("{MEANWHILE}{said}"))
        .unwrap_or_default();
    Some(Wait {
        reason,
        message: format!("{head}{meanwhile}"),
        stopping: false,
    })
}

/// The condition by which the scheduler marks a pod that makes way (Kubernetes, `pkg/scheduler/framework/preemption`).
pub fn preemption(pod: &Pod) -> Option<&Condition> {
    observed::condition(pod, "DisruptionTarget")
        .filter(|condition| condition.status == "True")
        .filter(|condition| condition.reason.as_deref() == Some("PreemptionByScheduler"))
}

/// The newest pod at each place of a run; `pods` are oldest first.
fn newest<'p>(pods: impl DoubleEndedIterator<Item = &'p Arc<Pod>>) -> Vec<&'p Arc<Pod>> {
    let mut places = BTreeSet::new();
    pods.rev()
        .filter(|pod| places.insert(observed::worker(pod)))
        .collect()
}

/// A pod that made way for one of a higher priority, where there is no newer one at its place; `pods` are oldest first.
pub fn victim<'p>(pods: impl DoubleEndedIterator<Item = &'p Arc<Pod>>) -> Option<&'p Arc<Pod>> {
    newest(pods).into_iter().find(|pod| preemption(pod).is_some())
}

/// Who took the place of `victim`, among the pods of ours: the scheduler does not say. One of a higher priority that
/// is promised its node, or has just got it.
pub fn taker(victim: &Pod, pods: &[Arc<Pod>]) -> Option<String> {
    let node = victim.spec.as_ref()?.node_name.as_deref()?;
    let since = preemption(victim)?.last_transition_time.as_ref()?;
    let priority = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    let goes_there = |pod: &Pod| {
        let promised = pod
            .status
            .as_ref()
            .and_then(|status| status.nominated_node_name.as_deref());
        let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let scheduled =
            observed::condition(pod, "PodScheduled").and_then(|found| found.last_transition_time.as_ref());
        promised == Some(node) || (bound == Some(node) && scheduled.is_some_and(|time| time.0 >= since.0))
    };
    let found = pods
        .iter()
        .find(|pod| priority(pod) > priority(victim) && goes_there(pod))?;
    let label = |key: &str| found.labels().get(key);
    let what = match (label(labels::DEPLOYMENT), label(labels::TRAINING)) {
        (Some(name), _) => format!("ModelDeployment {name:?}"),
        (None, Some(name)) => format!("ModelTraining {name:?}"),
        (None, None) => return None,
    };
    let elsewhere = found
        .namespace()
        .filter(|namespace| Some(namespace) != victim.namespace().as_ref());
    Some(match elsewhere {
        Some(namespace) => format!("{what} of the namespace {namespace:?}"),
        None => what,
    })
}

/// When to look again for who took the place of a pod: the scheduler marks that one before it promises the place to the
/// other, and what happens to the other wakes nobody here.
pub fn look_for_taker(victim: Option<&Pod>, taker: Option<&String>) -> Option<Duration> {
    const SOON: Duration = Duration::from_secs(1);
    victim.filter(|_| taker.is_none()).map(|_| SOON)
}

/// When to ask Kueue again: nothing that is watched tells what it says of a Job that waits.
pub fn look_again(training: &ModelTraining, job: Option<&Job>, now: Timestamp) -> Option<Duration> {
    const SOON: Duration = Duration::from_secs(5);
    const LATER: Duration = Duration::from_secs(60);
    const YOUNG: SignedDuration = SignedDuration::from_secs(120);
    training.spec.scheduling.queue_name.as_ref()?;
    let spec = job.and_then(|job| job.spec.as_ref());
    if spec.is_some_and(|spec| spec.suspend != Some(true)) {
        return None;
    }
    let created = job.and_then(ResourceExt::creation_timestamp);
    let young = created.is_none_or(|created| now.duration_since(created.0) < YOUNG);
    Some(if young { SOON } else { LATER })
}

/// How often pods of the run made way, now that its phase is this.
pub fn interruptions(before: Option<&ModelTrainingStatus>, same_run: bool, phase: Phase) -> Option<i32> {
    let before = before.filter(|_| same_run)?;
    let ran = matches!(before.phase, Some(Phase::Training | Phase::Evaluating));
    if ran && phase == Phase::Queued {
        return Some(before.interruptions.unwrap_or(0) + 1);
    }
    before.interruptions
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
