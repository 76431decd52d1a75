//! Step 5: what was applied and what the pods tell, to the status. Pure: time is passed in.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use sconce_contract::Progress;
use sconce_crds::training::Phase;
use sconce_crds::{ModelTraining, ModelTrainingStatus};

use super::gates::judge;
use super::identity::{Identity, Stage};
use super::queue::{self, Turn};
use super::situation::{Finding, Situation, situation};
use super::watchdog::Doomed;
use super::{accounting, progress, verdicts, watchdog};
use crate::apply::Applied;
use crate::conditions;
use crate::observed;
use crate::problem::{self, Problem};
use crate::reason::Reason;
use crate::seen::{Job, Pod};

/// A status, and when to look again even if nothing is seen to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// What to store.
    pub status: ModelTrainingStatus,
    /// When to look again.
    pub again: Option<Duration>,
    /// The pod to delete once the status is stored.
    pub doomed: Option<Doomed>,
}

/// The spec cannot be carried out.
pub fn refused(training: &ModelTraining, identity: &Identity, problem: &Problem, now: Timestamp) -> Outlook {
    let status = compose(training, identity, &Situation::Refused(problem.clone()), now);
    Outlook {
        again: Some(problem::look_again(&status.conditions, now)),
        status,
        doomed: None,
    }
}

/// The run ended at an earlier time; its gates are judged as they are now.
pub fn settled(training: &ModelTraining, identity: &Identity, stage: Stage, now: Timestamp) -> Outlook {
    let before = training.status.clone().unwrap_or_default();
    let situation = if stage == Stage::Failed {
        // The words of the failure were written when the Job could still be read; they are kept.
        let failed = sconce_crds::condition::find(&before.conditions, sconce_crds::condition::FAILED);
        Situation::Failed {
            reason: failed.map_or(Reason::JobFailed, |condition| Reason::told(&condition.reason)),
            message: failed
                .map(|condition| condition.message.clone())
                .unwrap_or_default(),
        }
    } else {
        Situation::Finished(judge(
            &training.spec.evaluation.gates,
            &before.metrics,
            before.incumbent.as_ref(),
        ))
    };
    let mut status = compose(training, identity, &situation, now);
    if let Situation::Finished(judgement) = &situation {
        // Raising a gate withdraws nothing that is served; lowering one lets the candidate through.
        status.gates.clone_from(&judgement.results);
        if judgement.passed {
            status.artifact.clone_from(&status.candidate);
        }
        // The Job that learned it, not the one that the spec would start now.
        status.job = before
            .job
            .filter(|_| before.run.as_deref() == Some(&identity.run))
            .or(status.job);
    }
    Outlook {
        status,
        again: None,
        doomed: None,
    }
}

/// The run is at work, or has just ended.
pub fn working(
    training: &ModelTraining,
    identity: &Identity,
    job: &Applied<Job>,
    pods: &[Arc<Pod>],
    progress: Option<&Progress>,
    turn: &Turn,
    now: Timestamp,
) -> Outlook {
    of_job(training, identity, job.get(), pods, progress, turn, now)
}

/// The run is held by `spec.suspend`, and is in no queue meanwhile: it has no Job.
pub fn withdrawn(
    training: &ModelTraining,
    identity: &Identity,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> Outlook {
    let stopping = pods.iter().any(|pod| !observed::is_finished(pod));
    let situation = if stopping {
        Situation::Stopping
    } else {
        Situation::Suspended
    };
    let mut status = compose(training, identity, &situation, now);
    let found = Finding {
        situation,
        trained: None,
        again: None,
    };
    progress::update(&mut status, training.status.as_ref(), None, pods, &found, now);
    accounting::update(&mut status, training, pods, None, now);
    Outlook {
        status,
        again: None,
        doomed: None,
    }
}

/// [`working`], of a Job that need not have been applied.
pub(super) fn of_job(
    training: &ModelTraining,
    identity: &Identity,
    job: &Job,
    pods: &[Arc<Pod>],
    progress: Option<&Progress>,
    turn: &Turn,
    now: Timestamp,
) -> Outlook {
    let mut found = situation(training, job, pods, progress, turn, now);
    let look = watchdog::look(training, identity, pods, progress, &mut found, now);
    let mut status = compose(training, identity, &found.situation, now);
    // An earlier Job of the same run may have ended before.
    status.completion_time = status.completion_time.map(|_| Time(now));
    status.attempts = attempts(job, training.spec.nodes.count);
    if let Some(trained) = &found.trained {
        trained.record(&mut status, identity, &training.spec.evaluation.gates);
    }
    status.watchdog = look.record;
    progress::update(&mut status, training.status.as_ref(), progress, pods, &found, now);
    accounting::update(&mut status, training, pods, progress, now);
    Outlook {
        status,
        again: found.again.into_iter().chain(turn.again).min(),
        doomed: look.doomed,
    }
}

/// Pods that were started for the Job and did not merely yield to their node; of several that learn together, so often
/// as all of them were.
fn attempts(job: &Job, together: u32) -> Option<i32> {
    let status = job.status.as_ref()?;
    let counts = [status.failed, status.succeeded, status.active];
    let pods = counts
        .into_iter()
        .map(|count| count.unwrap_or(0).unsigned_abs())
        .sum::<u32>();
    i32::try_from(pods.div_ceil(together.max(1))).ok()
}

/// The parts of a status that follow from the situation alone; the rest is what the previous status knew.
fn compose(
    training: &ModelTraining,
    identity: &Identity,
    situation: &Situation,
    now: Timestamp,
) -> ModelTrainingStatus {
    let before = training.status.clone().unwrap_or_default();
    let generation = training.meta().generation.unwrap_or_default();
    let phase = situation.phase();
    let ended = matches!(phase, Phase::Succeeded | Phase::Rejected | Phase::Failed);
    let same_run = before.run.as_deref() == Some(&identity.run);
    let interruptions = queue::interruptions(Some(&before), same_run, phase);
    let has_job = !matches!(situation, Situation::Refused(_));
    ModelTrainingStatus {
        observed_generation: Some(generation),
        phase: Some(phase),
        conditions: conditions::settle(&before.conditions, verdicts::of(situation), generation, now),
        run: Some(identity.run.clone()),
        job: has_job.then(|| identity.job.clone()),
        completion_time: ended.then(|| before.completion_time.filter(|_| same_run).unwrap_or(Time(now))),
        progress: before.progress.filter(|_| same_run && has_job),
        attempts: before.attempts.filter(|_| same_run && has_job),
        last_checkpoint: before.last_checkpoint.filter(|_| same_run),
        accelerator_seconds: before.accelerator_seconds.filter(|_| same_run),
        interruptions,
        ..before
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
