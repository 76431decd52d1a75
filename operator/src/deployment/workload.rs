//! A revision's Deployment, and what its annotations remember.
//!
//! The Deployments themselves say in which order their revisions were asked for, and which of them failed: an operator
//! that starts anew, or has lost a status, goes on where the last one was.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sconce_crds::ModelDeploymentStatus;
use serde::{Deserialize, Serialize};

use super::revision::Served;
use crate::labels;
use crate::reason::Reason;
use crate::seen::Deployment;

/// A revision that did not come up in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When it was given up.
    pub time: Timestamp,
    /// CamelCase.
    pub reason: Reason,
    /// What kept its pods from answering.
    pub message: String,
}

/// A revision's Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The Deployment.
    pub live: Arc<Deployment>,
    /// What it was made for.
    pub served: Served,
    /// Since when its revision is asked for; of an earlier one, since when it was.
    pub since: Timestamp,
    /// When a pod of its that answered was last told to go.
    pub fewer_since: Option<Timestamp>,
    /// When a pod more was last asked for, as all before answered.
    pub more_since: Option<Timestamp>,
    /// When its rollout was complete, the last time.
    pub completed: Option<Timestamp>,
    /// That it was rolled back, and why.
    pub failed: Option<Failed>,
    /// The value of the annotation by which a person had it tried again.
    pub retry: Option<String>,
}

/// How far the clocks of two operators may be apart.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

impl Workload {
    /// Reads a Deployment of ours. `status` is what the ModelDeployment's status said before.
    ///
    /// Annotations can be written by whoever may write Deployments: a time that lies further ahead than any clock goes
    /// wrong counts for nothing.
    pub fn read(
        live: Arc<Deployment>,
        status: Option<&ModelDeploymentStatus>,
        now: Timestamp,
    ) -> Option<Self> {
        let served = Served::read(&live)?;
        let annotation = |key: &str| live.annotations().get(key);
        let created = live.creation_timestamp().map(|time| time.0);
        let time = |key: &str| {
            let told = annotation(key).and_then(|time| time.parse::<Timestamp>().ok());
            told.filter(|told| told.duration_since(now) < SKEW)
        };
        let since = time(labels::WANTED_SINCE);
        Some(Workload {
            since: since.or(created).unwrap_or(Timestamp::UNIX_EPOCH),
            fewer_since: time(labels::FEWER_SINCE),
            more_since: time(labels::MORE_SINCE),
            completed: status.and_then(|status| completed(status, &served.revision)),
            failed: annotation(labels::ROLLED_BACK).and_then(|failed| serde_json::from_str(failed).ok()),
            retry: annotation(labels::RETRIED).cloned(),
            served,
            live,
        })
    }

    /// Its revision.
    pub fn revision(&self) -> &str {
        &self.served.revision
    }

    /// Pods that it asks for.
    pub fn replicas(&self) -> i32 {
        self.live
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1)
    }

    /// Whether its rollout was complete since it was last asked for.
    pub fn is_complete(&self) -> bool {
        self.completed.is_some_and(|completed| completed >= self.since)
    }
}

fn completed(status: &ModelDeploymentStatus, revision: &str) -> Option<Timestamp> {
    let told = status.revisions.iter().find(|told| told.name == revision)?;
    told.completed.as_ref().map(|time| time.0)
}

/// The one that was asked for last comes first.
pub fn sort(workloads: &mut [Workload]) {
    workloads.sort_by(|one, other| {
        let latest = other.since.cmp(&one.since);
        latest.then_with(|| one.live.name_any().cmp(&other.live.name_any()))
    });
}
