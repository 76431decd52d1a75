//! How far a revision is: whether it has time left, is given up, or lacks nothing but room.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sconce_crds::ModelDeployment;
use sconce_crds::condition::{ROLLOUT_COMPLETE, find};

use super::{deadline, last_good};
use crate::deployment::dereference::Found;
use crate::deployment::workload::{Failed, Workload};
use crate::deployment::{replicas, situation};
use crate::observed;
use crate::reason::Reason;
use crate::seen::Pod;

/// How far the revision is that is asked for.
pub(super) enum Progress<'a> {
    /// It is asked for since now.
    Begins,
    /// It was complete.
    Complete,
    /// It has this long until it is given up.
    Goes(Duration),
    /// Its time is over, and there is none to go back to.
    Overdue,
    /// It is given up.
    Failed {
        /// Why.
        failed: Failed,
        /// Whether that is found just now.
        new: bool,
        /// What is gone back to.
        to: &'a Workload,
    },
}

impl Progress<'_> {
    /// How long it has left, where it goes on.
    pub(super) fn left(&self) -> Option<Duration> {
        match self {
            Progress::Goes(left) => Some(*left),
            _ => None,
        }
    }
}

/// How far the revision is of what was asked for last.
pub(super) fn progress<'a>(
    deployment: &ModelDeployment,
    current: &Workload,
    found: &'a Found,
    now: Timestamp,
) -> Progress<'a> {
    let to = last_good(found, current.revision());
    if let Some(failed) = &current.failed {
        return match to {
            Some(to) => Progress::Failed {
                failed: failed.clone(),
                new: false,
                to,
            },
            None => Progress::Overdue,
        };
    }
    if current.is_complete() || replicas::wanted(deployment) == 0 {
        return Progress::Complete;
    }
    let limit = deadline(deployment);
    let passed = now.duration_since(last_progress(deployment, current, found, now));
    if passed < limit {
        let left = Duration::try_from(limit - passed).unwrap_or_default();
        return Progress::Goes(left);
    }
    let Some(to) = to else { return Progress::Overdue };
    if lacks_room_alone(current, found, limit, now) {
        return Progress::Overdue;
    }
    let hindrance = situation::hindrance(&current.live, current.revision(), &found.pods);
    let (reason, message) = match hindrance {
        Some(hindrance) => (hindrance.reason, hindrance.message),
        None => (
            Reason::ProgressDeadlineExceeded,
            situation::silent(deployment.spec.custom(), current.revision(), &found.pods)
                .unwrap_or_else(|| "no further pod answered in time".to_owned()),
        ),
    };
    Progress::Failed {
        failed: Failed {
            time: now,
            reason,
            message,
        },
        new: true,
        to,
    }
}

/// Whether the revision answers wherever there is room, and no other has any: to go back would gain none. A pod that has just
/// found room, or was replaced or started again, has as long to answer as a new one.
fn lacks_room_alone(current: &Workload, found: &Found, limit: SignedDuration, now: Timestamp) -> bool {
    let counts = found.counts(current.revision());
    let mut unready = found
        .pods
        .iter()
        .filter(|pod| situation::revision(pod) == Some(current.revision()) && !observed::is_ready(pod));
    let has_time = |pod: &Pod| {
        let created = pod.creation_timestamp().map(|time| time.0);
        let changed = ["Ready", "PodScheduled"].map(|kind| observed::since(pod, kind));
        let latest = changed.into_iter().flatten().chain(created).max();
        latest.is_some_and(|latest| now.duration_since(latest) < limit)
    };
    counts.ready > 0
        && counts.others == 0
        && unready.all(|pod| observed::no_node(pod).is_some() || has_time(pod))
}

/// Whether each pod that was asked for answers.
pub(super) fn all_answer(current: &Workload, found: &Found) -> bool {
    found.counts(current.revision()).ready >= current.replicas()
}

/// When the revision was asked for, or a pod more of it, or an earlier one was told to make way, or one of its pods began to
/// answer, or pods were wanted again after none was.
fn last_progress(
    deployment: &ModelDeployment,
    current: &Workload,
    found: &Found,
    now: Timestamp,
) -> Timestamp {
    let status = deployment.status.as_ref();
    let told = status.and_then(|status| find(&status.conditions, ROLLOUT_COMPLETE));
    let wanted_again = told.map(|told| {
        if told.status == "True" {
            now
        } else {
            told.last_transition_time.0
        }
    });
    let answered = found
        .pods
        .iter()
        .filter(|pod| situation::revision(pod) == Some(current.revision()) && observed::is_ready(pod))
        .filter_map(|pod| observed::since(pod, "Ready"));
    let others = found
        .workloads
        .iter()
        .filter(|other| other.revision() != current.revision());
    let given = others.filter_map(|other| other.fewer_since);
    let asked = given.chain(current.more_since).chain([current.since]);
    let latest = answered.chain(wanted_again).chain(asked).max();
    latest.unwrap_or(now)
}
