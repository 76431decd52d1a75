//! What each condition says in each situation: one table, so that no two can contradict one another.

use sconce_crds::condition::{
    AVAILABLE, DEGRADED, MODEL_RESOLVED, PROGRESSING, READY, ROLLOUT_COMPLETE, STALLED,
};
use sconce_crds::deployment::DeploymentPhase;

use super::resolve::Resolution;
use super::situation::{Counts, Situation};
use crate::conditions::{Verdict, no, yes};
use crate::reason::Reason;

/// The conditions of a deployment in a situation. `goes_on` is the title of what is served while nothing new
/// can be.
pub fn of(
    situation: &Situation,
    resolution: &Resolution,
    counts: &Counts,
    rolled_out: bool,
    goes_on: Option<&str>,
) -> Vec<Verdict> {
    let (reason, message) = words(situation, goes_on.filter(|_| counts.answering() > 0));
    let mut all = vec![resolved(resolution), available(counts)];
    all.push(if rolled_out {
        yes(
            ROLLOUT_COMPLETE,
            Reason::Complete,
            "no pod of an earlier revision is left",
        )
    } else {
        no(ROLLOUT_COMPLETE, &reason, &message)
    });
    all.extend(summary(situation, &reason, &message));
    all
}

/// As one word. No replica wanted is not Ready: nothing answers.
pub fn phase(situation: &Situation) -> DeploymentPhase {
    match situation {
        Situation::Awaited(_) | Situation::ScaledToZero => DeploymentPhase::Pending,
        Situation::Refused(_) | Situation::Hindered(_) | Situation::RolledBack { .. } => {
            DeploymentPhase::Degraded
        }
        Situation::Moving { .. } => DeploymentPhase::Progressing,
        Situation::Scaling { hindrance, .. } if hindrance.is_some() => DeploymentPhase::Degraded,
        Situation::Scaling { .. } | Situation::Ready { .. } => DeploymentPhase::Ready,
    }
}

fn resolved(resolution: &Resolution) -> Verdict {
    match resolution {
        Resolution::Known { reason, message, .. } => yes(MODEL_RESOLVED, reason, message),
        Resolution::Awaited(problem) | Resolution::Unknown(problem) => {
            no(MODEL_RESOLVED, &problem.reason, problem.sentence())
        }
    }
}

fn available(counts: &Counts) -> Verdict {
    match (counts.ready, counts.others_ready) {
        (0, 0) => no(AVAILABLE, Reason::NoPodAnswers, "no pod answers"),
        (0, _) => yes(AVAILABLE, Reason::EarlierRevision, "an earlier revision answers"),
        (_, 0) => yes(AVAILABLE, Reason::CurrentRevision, "the current revision answers"),
        (_, _) => yes(
            AVAILABLE,
            Reason::BothRevisions,
            "the current revision answers, and an earlier one as well",
        ),
    }
}

fn words(situation: &Situation, goes_on: Option<&str>) -> (Reason, String) {
    match situation {
        Situation::Awaited(problem) | Situation::Refused(problem) => {
            let stays = goes_on
                .map(|title| format!("; until then {title} is served"))
                .unwrap_or_default();
            (problem.reason.clone(), problem.sentence() + &stays)
        }
        Situation::Hindered(hindrance) => (hindrance.reason.clone(), hindrance.message.clone()),
        Situation::RolledBack { message, .. } => (Reason::RolledBack, message.clone()),
        Situation::Moving { reason, message } | Situation::Scaling { reason, message, .. } => {
            (reason.clone(), message.clone())
        }
        Situation::ScaledToZero => (
            Reason::ScaledToZero,
            "spec.replicas is 0: no pod answers, and none is wanted".to_owned(),
        ),
        Situation::Ready { message } => (Reason::Serving, message.clone()),
    }
}

/// Ready, Progressing, Degraded and Stalled, with one reason and one sentence.
///
/// With no replicas wanted, Ready is False: whoever waits for Ready wants to send a request. It is not Degraded
/// either, and nothing progresses, by which a health check can tell it from a rollout.
fn summary(situation: &Situation, reason: &Reason, message: &str) -> [Verdict; 4] {
    let (ready, progressing, degraded) = match situation {
        Situation::Awaited(_) | Situation::Moving { .. } => (false, true, false),
        Situation::Refused(_) => (false, false, true),
        // A hindrance may go by itself (a node that is added), so the work counts as going on as well.
        Situation::Hindered(_) => (false, true, true),
        Situation::RolledBack { settled, .. } => (false, !settled, true),
        Situation::ScaledToZero => (false, false, false),
        // What is promised is kept, whatever becomes of the further pods.
        Situation::Scaling { hindrance, .. } => (true, true, hindrance.is_some()),
        Situation::Ready { .. } => (true, false, false),
    };
    let tell = |kind, holds: bool| {
        if holds {
            yes(kind, reason, message)
        } else {
            no(kind, reason, message)
        }
    };
    let in_the_way = match situation {
        Situation::Scaling { hindrance, .. } => hindrance.as_ref(),
        _ => None,
    };
    [
        tell(READY, ready),
        tell(PROGRESSING, progressing),
        in_the_way.map_or_else(
            || tell(DEGRADED, degraded),
            |hindrance| yes(DEGRADED, &hindrance.reason, &hindrance.message),
        ),
        tell(STALLED, degraded && !progressing),
    ]
}
