//! Seconds of the accelerator that a run's pods held. Pure, and the same sight twice counts once.
//!
//! A pod is counted from when it got its node until its container ended. One that still runs is counted up to its
//! last word, so that the time alone is no reason to write a status; one that is gone counts as it was last seen.

use std::sync::Arc;

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use kube::ResourceExt;
use sconce_contract::{Progress, Report};
use sconce_crds::training::{AcceleratorSeconds, PodSeconds};
use sconce_crds::{ModelTraining, ModelTrainingStatus};

use crate::observed;
use crate::seen::Pod;

/// Pods that are gone and still have a line of their own: more than a cache that lags behind could bring back.
const REMEMBERED: usize = 8;
/// Pods with a line of their own, where some of them have ended; the schema allows 128, and 64 run at most.
const LINES: usize = 48;

/// Puts what the pods hold into the status; nothing for a training on the processor.
pub fn update(
    status: &mut ModelTrainingStatus,
    training: &ModelTraining,
    pods: &[Arc<Pod>],
    said: Option<&Progress>,
    now: Timestamp,
) {
    let Some(accelerator) = &training.spec.accelerator else {
        status.accelerator_seconds = None;
        return;
    };
    let last_word = status
        .progress
        .as_ref()
        .and_then(|progress| progress.last_reported.as_ref());
    let running = observed::at_work(pods).map(|pod| pod.uid());
    // Minutes that have passed whole.
    let minute = TimestampRound::new()
        .smallest(Unit::Minute)
        .mode(RoundMode::Trunc);
    let seen = pods.iter().filter_map(|pod| {
        let word = said.filter(|_| running == Some(pod.uid()));
        let until = match (word, last_word) {
            (Some(_), Some(word)) => word.0,
            _ => now.round(minute).unwrap_or(now),
        };
        let seconds = held(pod, until)?;
        let units = u64::from(accelerator.count);
        let line = PodSeconds {
            uid: pod.uid()?,
            allocated: seconds * units,
            busy: busy(pod, word).min(seconds) * units,
        };
        Some((line, observed::is_finished(pod)))
    });
    let seen: Vec<(PodSeconds, bool)> = seen.collect();
    let before = status.accelerator_seconds.take();
    status.accelerator_seconds =
        (before.is_some() || !seen.is_empty()).then(|| count(before.unwrap_or_default(), seen));
}

/// What was counted before, and what is seen now, with whether it has ended.
fn count(before: AcceleratorSeconds, seen: Vec<(PodSeconds, bool)>) -> AcceleratorSeconds {
    let mut pods = before.pods;
    let are_many = seen.len() + REMEMBERED >= LINES && pods.iter().any(|pod| pod.uid.is_empty());
    let visible: Vec<String> = seen.iter().map(|(pod, _)| pod.uid.clone()).collect();
    let ended = seen.iter().filter(|(_, has_ended)| *has_ended);
    let ended: Vec<String> = ended.map(|(pod, _)| pod.uid.clone()).collect();
    for (pod, has_ended) in seen {
        match pods.iter_mut().find(|known| known.uid == pod.uid) {
            // A cache may lag behind what was told before; time that has passed does not come back.
            Some(known) => {
                known.allocated = known.allocated.max(pod.allocated);
                known.busy = known.busy.max(pod.busy);
            }
            // Of so many, it is in the line of those before: whoever runs keeps a line of his own.
            None if are_many && has_ended => {}
            None => pods.push(pod),
        }
    }
    let gone = |pod: &PodSeconds| !pod.uid.is_empty() && !visible.contains(&pod.uid);
    let many =
        |pods: &[PodSeconds]| pods.iter().filter(|pod| gone(pod)).count() > REMEMBERED || pods.len() > LINES;
    while many(&pods) {
        // Else one that ended long ago and was not deleted.
        let oldest = pods.iter().position(gone);
        let Some(oldest) = oldest.or_else(|| pods.iter().position(|pod| ended.contains(&pod.uid))) else {
            break;
        };
        let oldest = pods.remove(oldest);
        match pods.iter_mut().find(|pod| pod.uid.is_empty()) {
            Some(rest) => {
                rest.allocated += oldest.allocated;
                rest.busy += oldest.busy;
            }
            None => pods.insert(
                0,
                PodSeconds {
                    uid: String::new(),
                    ..oldest
                },
            ),
        }
    }
    AcceleratorSeconds {
        allocated: pods.iter().map(|pod| pod.allocated).sum(),
        busy: pods.iter().map(|pod| pod.busy).sum(),
        pods,
    }
}

/// Whole seconds for which a pod has held its units; nothing before it has a node.
fn held(pod: &Pod, until: Timestamp) -> Option<u64> {
    let status = pod.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let placed = conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "True");
    let from = placed
        .and_then(|condition| condition.last_transition_time.as_ref())
        .or(status.start_time.as_ref())?;
    let container = observed::container(pod);
    let ended = container
        .and_then(|container| {
            container
                .state
                .as_ref()?
                .terminated
                .as_ref()?
                .finished_at
                .as_ref()
        })
        .map(|time| time.0);
    let changed = || {
        let times = status.conditions.iter().flatten();
        times
            .filter_map(|condition| Some(condition.last_transition_time.as_ref()?.0))
            .max()
    };
    let until = match ended {
        Some(ended) => ended,
        // A pod that its node evicts may never tell of its container's end.
        None if observed::is_finished(pod) => changed().unwrap_or(until),
        None => until,
    };
    let held: SignedDuration = until.duration_since(from.0);
    Some(u64::try_from(held.as_secs()).unwrap_or(0))
}

/// Whole seconds that a pod computed steps, by its own word.
fn busy(pod: &Pod, said: Option<&Progress>) -> u64 {
    let ended = observed::has_ended(pod)
        .then(|| observed::last_ending(pod))
        .flatten();
    let work = match ended.map(|ending| ending.report) {
        Some(Report::Trained { work, .. } | Report::Helped { work, .. }) => Some(work),
        Some(Report::Failed(failure)) => failure.work.map(|work| *work),
        None => said.map(|said| said.work.clone()),
    };
    work.map_or(0, |work| work.busy_milliseconds / 1000)
}

#[cfg(test)]
#[path = "accounting_tests.rs"]
mod tests;
