//! What each condition says in each situation: one table, so that no two can contradict one another.

use sconce_crds::condition::{
    ACCEPTED, COMPLETE, DEGRADED, FAILED, GATES_PASSED, PROGRESSING, READY, RUNNING, SCHEDULED, STALLED,
    SUSPENDED,
};

use super::gates::Judgement;
use super::queue::Wait;
use super::situation::Situation;
use crate::conditions::{Verdict, no, unknown, yes};
use crate::observed::Hindrance;
use crate::reason::Reason;

/// The conditions of a training in a situation.
pub fn of(situation: &Situation) -> Vec<Verdict> {
    match situation {
        Situation::Refused(problem) => {
            let sentence = problem.sentence();
            let mut all = vec![
                no(ACCEPTED, &problem.reason, &sentence),
                not_suspended(),
                not_failed(),
            ];
            all.extend(summary(false, false, true, &problem.reason, &sentence));
            all
        }
        Situation::Stopping => {
            let message = "spec.suspend is set; the pod saves its state and stops";
            let mut all = vec![
                accepted(),
                yes(RUNNING, Reason::Stopping, message),
                no(SUSPENDED, Reason::Stopping, message),
                not_failed(),
            ];
            all.extend(summary(false, true, false, Reason::Stopping, message));
            all
        }
        Situation::Suspended => {
            let message = "held by spec.suspend; set it to false to go on from status.lastCheckpoint, or from the beginning where there is none";
            let mut all = vec![
                accepted(),
                no(RUNNING, Reason::Suspended, message),
                yes(SUSPENDED, Reason::Suspended, message),
                not_failed(),
            ];
            all.extend(summary(false, false, false, Reason::Suspended, message));
            all
        }
        Situation::Queued(wait) => queued(wait),
        Situation::Pending { hindrance, after } => waiting(false, hindrance.as_ref(), after.as_deref()),
        Situation::Starting { hindrance, after } => waiting(true, hindrance.as_ref(), after.as_deref()),
        Situation::Training { message } => at_work(Reason::Training, message),
        Situation::Stalled { message } => {
            let mut all = vec![
                accepted(),
                yes(SCHEDULED, Reason::Scheduled, "the pod has a node"),
                no(RUNNING, Reason::Stalled, message),
                not_suspended(),
                not_failed(),
            ];
            all.extend(summary(false, true, true, Reason::Stalled, message));
            all
        }
        Situation::Evaluating => at_work(Reason::Evaluating, "measuring what was learned, and writing it"),
        Situation::Ending => at_work(Reason::Ending, "the pod has ended; its report is being read"),
        Situation::Outlived(hindrance) => {
            let mut all = vec![
                accepted(),
                yes(SCHEDULED, Reason::Scheduled, "the pod has a node"),
                no(RUNNING, &hindrance.reason, &hindrance.message),
                not_suspended(),
                not_failed(),
            ];
            all.extend(summary(false, false, true, &hindrance.reason, &hindrance.message));
            all
        }
        Situation::Finished(judgement) => finished(judgement),
        Situation::Failed { reason, message } => {
            let mut all = vec![
                accepted(),
                no(RUNNING, reason, message),
                not_suspended(),
                no(COMPLETE, reason, message),
                yes(FAILED, reason, message),
            ];
            all.extend(summary(false, false, true, reason, message));
            all
        }
    }
}

fn accepted() -> Verdict {
    yes(ACCEPTED, Reason::Valid, "the spec can be carried out")
}

fn not_suspended() -> Verdict {
    no(SUSPENDED, Reason::NotAsked, "spec.suspend is not set")
}

fn not_failed() -> Verdict {
    no(FAILED, Reason::NotFailed, "no run has failed for good")
}

/// Ready, Progressing, Degraded and Stalled, with one reason and one sentence.
fn summary(
    ready: bool,
    progressing: bool,
    degraded: bool,
    reason: impl Into<Reason>,
    message: &str,
) -> [Verdict; 4] {
    let reason = reason.into();
    let tell = |kind, holds: bool| {
        if holds {
            yes(kind, &reason, message)
        } else {
            no(kind, &reason, message)
        }
    };
    [
        tell(READY, ready),
        tell(PROGRESSING, progressing),
        tell(DEGRADED, degraded),
        tell(STALLED, degraded && !progressing),
    ]
}

fn queued(wait: &Wait) -> Vec<Verdict> {
    let (reason, message) = (&wait.reason, wait.message.as_str());
    let running = if wait.stopping {
        yes(RUNNING, reason, message)
    } else {
        no(RUNNING, reason, message)
    };
    let mut all = vec![
        accepted(),
        no(SCHEDULED, reason, message),
        running,
        not_suspended(),
        not_failed(),
    ];
    all.extend(summary(false, true, false, reason, message));
    all
}

fn waiting(scheduled: bool, hindrance: Option<&Hindrance>, after: Option<&str>) -> Vec<Verdict> {
    let (reason, now) = match hindrance {
        Some(hindrance) => (hindrance.reason.clone(), hindrance.message.clone()),
        None if scheduled => (Reason::Starting, "the pod has a node and starts".to_owned()),
        None if after.is_some() => (Reason::Retrying, "waiting to try again".to_owned()),
        None => (Reason::Pending, "waiting for the pod to get a node".to_owned()),
    };
    let message = match after {
        Some(after) => format!("{now}; the pod before failed: {after}"),
        None => now,
    };
    let placed = if scheduled {
        yes(SCHEDULED, Reason::Scheduled, "the pod has a node")
    } else {
        no(SCHEDULED, &reason, &message)
    };
    let mut all = vec![
        accepted(),
        placed,
        no(RUNNING, &reason, &message),
        not_suspended(),
        not_failed(),
    ];
    // A hindrance may go by itself (a node that is added), so the work counts as going on as well.
    all.extend(summary(
        false,
        true,
        hindrance.is_some() || after.is_some(),
        reason,
        &message,
    ));
    all
}

fn at_work(reason: Reason, message: &str) -> Vec<Verdict> {
    let mut all = vec![
        accepted(),
        yes(SCHEDULED, Reason::Scheduled, "the pod has a node"),
        yes(RUNNING, &reason, message),
        not_suspended(),
        unknown(GATES_PASSED, Reason::NotMeasured, "the run has not ended"),
        not_failed(),
    ];
    all.extend(summary(false, true, false, reason, message));
    all
}

fn finished(judgement: &Judgement) -> Vec<Verdict> {
    let ended = "the run has ended";
    let mut all = vec![accepted(), no(RUNNING, Reason::Ended, ended), not_suspended()];
    if judgement.passed {
        let reason = if judgement.results.is_empty() {
            Reason::NoGates
        } else {
            Reason::AllPassed
        };
        all.extend([
            yes(GATES_PASSED, reason, &judgement.message),
            yes(COMPLETE, Reason::Succeeded, ended),
            not_failed(),
        ]);
        all.extend(summary(true, false, false, Reason::Succeeded, &judgement.message));
    } else {
        all.extend([
            no(GATES_PASSED, Reason::GateMissed, &judgement.message),
            no(COMPLETE, Reason::Rejected, &judgement.message),
            not_failed(),
        ]);
        let message = format!("{}; nothing new is served", judgement.message);
        all.extend(summary(false, false, true, Reason::Rejected, &message));
    }
    all
}
