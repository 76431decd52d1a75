//! From a live Deployment and its pods to the one thing that is going on.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use sconce_contract::Report;

use super::revision::Served;
use crate::labels;
use crate::observed::{self, Hindrance};
use crate::problem::Problem;

/// What is going on with a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Situation {
    /// What the spec names is not there yet, or a person has not chosen.
    Awaited(Problem),
    /// The spec cannot be carried out as it stands.
    Refused(Problem),
    /// Something stands in the way of the wanted revision's pods.
    Hindered(Hindrance),
    /// Pods come or go.
    Moving {
        /// CamelCase.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
    /// No replica is wanted and none is there.
    ScaledToZero,
    /// Every replica is of the wanted revision and answers.
    Ready {
        /// One sentence.
        message: String,
    },
}

/// Pods, as they are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of the current revision.
    pub current: i32,
    /// Of the current revision, and ready.
    pub ready: i32,
    /// Of any other revision.
    pub others: i32,
    /// Of any other revision, and ready.
    pub others_ready: i32,
}

impl Counts {
    /// Counts pods; without a current revision, all are others.
    pub fn of(pods: &[Arc<Pod>], current: Option<&str>) -> Self {
        let mut counts = Counts::default();
        for pod in pods {
            let ready = i32::from(observed::is_ready(pod));
            if current.is_some() && revision(pod) == current {
                counts.current += 1;
                counts.ready += ready;
            } else {
                counts.others += 1;
                counts.others_ready += ready;
            }
        }
        counts
    }

    /// All pods.
    pub fn all(&self) -> i32 {
        self.current + self.others
    }

    /// All pods that answer.
    pub fn answering(&self) -> i32 {
        self.ready + self.others_ready
    }
}

/// The revision that a pod is of.
pub fn revision(pod: &Pod) -> Option<&str> {
    pod.labels().get(labels::REVISION).map(String::as_str)
}

/// What is going on with a Deployment that is as it should be.
pub fn situation(live: &Deployment, wanted: &Served, replicas: i32, pods: &[Arc<Pod>]) -> Situation {
    let counts = Counts::of(pods, Some(&wanted.revision));
    let title = wanted.model.title();
    let settled =
        is_seen(live) && counts.others == 0 && counts.current == replicas && counts.ready == replicas;
    if settled && replicas == 0 {
        return Situation::ScaledToZero;
    }
    if settled {
        let noun = if replicas == 1 {
            "replica answers"
        } else {
            "replicas answer"
        };
        return Situation::Ready {
            message: format!("{replicas} {noun} with {title}"),
        };
    }
    if let Some(hindrance) = hindrance(live, &wanted.revision, pods) {
        return Situation::Hindered(hindrance);
    }
    let message = format!("{} of {replicas} replicas answer with {title}", counts.ready);
    if counts.others > 0 || !was_rolled_out(live) {
        let earlier = if counts.others_ready > 0 {
            "; an earlier revision answers until they do"
        } else {
            ""
        };
        return Situation::Moving {
            reason: "RollingOut",
            message: message + earlier,
        };
    }
    if counts.current > replicas {
        let message = format!("{} pods are there, {replicas} are wanted", counts.current);
        return Situation::Moving {
            reason: "ScalingDown",
            message,
        };
    }
    Situation::Moving {
        reason: "ReplicasStarting",
        message,
    }
}

/// Whether no pod of an earlier revision is left, and those of the wanted one have all answered once.
pub fn is_rolled_out(live: &Deployment, wanted: &Served, replicas: i32, pods: &[Arc<Pod>]) -> bool {
    let counts = Counts::of(pods, Some(&wanted.revision));
    let all_there = is_seen(live) && counts.others == 0 && counts.current == replicas;
    all_there && (counts.ready == replicas || was_rolled_out(live))
}

/// Whether the Deployment's status speaks of its present spec.
fn is_seen(live: &Deployment) -> bool {
    let seen = live.status.as_ref().and_then(|status| status.observed_generation);
    seen.is_some() && seen >= live.metadata.generation
}

/// The Deployment's own memory that its rollout was completed (Kubernetes, `pkg/controller/deployment/util`):
/// it stays when a pod fails later.
fn was_rolled_out(live: &Deployment) -> bool {
    is_seen(live)
        && condition(live, "Progressing")
            .is_some_and(|found| found.reason.as_deref() == Some("NewReplicaSetAvailable"))
}

fn condition<'a>(live: &'a Deployment, kind: &str) -> Option<&'a DeploymentCondition> {
    live.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// What stands in the way of the wanted revision: its pods know best, then the Deployment.
fn hindrance(live: &Deployment, revision: &str, pods: &[Arc<Pod>]) -> Option<Hindrance> {
    let waiting = |pod: &&Arc<Pod>| self::revision(pod) == Some(revision) && !observed::is_ready(pod);
    pods.iter()
        .filter(waiting)
        .find_map(|pod| observed::hindrance(pod).or_else(|| crashed(pod)))
        .or_else(|| refused(live))
}

/// A container that runs again after it failed: told until it is ready, or the words would come and go with
/// each attempt.
fn crashed(pod: &Pod) -> Option<Hindrance> {
    let ending =
        observed::last_ending(pod).filter(|ending| ending.exit_code != 0 && !has_answered_since(pod))?;
    let Report::Failed(failure) = ending.report else {
        return None;
    };
    Some(Hindrance {
        reason: observed::class_name(failure.class).to_owned(),
        message: observed::sentence(&failure),
    })
}

/// Whether the running container has been ready once: then an earlier failure is not what keeps it from being so
/// now. The kubelet notes that a pod is no longer ready up to a few seconds after it has restarted its container.
fn has_answered_since(pod: &Pod) -> bool {
    const LATE: SignedDuration = SignedDuration::from_secs(5);
    let Some(status) = &pod.status else { return false };
    let container = status.container_statuses.iter().flatten().next();
    let running =
        container.and_then(|container| container.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let ready = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    let changed = ready.and_then(|condition| condition.last_transition_time.as_ref());
    matches!((running, changed), (Some(running), Some(changed)) if changed.0.duration_since(running.0) > LATE)
}

/// Pods that the API server refused, and a rollout that has come to a halt.
fn refused(live: &Deployment) -> Option<Hindrance> {
    if !is_seen(live) {
        return None;
    }
    let told = |found: &DeploymentCondition| {
        found
            .message
            .clone()
            .unwrap_or_else(|| "no reason was given".to_owned())
    };
    if let Some(found) = condition(live, "ReplicaFailure").filter(|found| found.status == "True") {
        return Some(Hindrance {
            reason: found
                .reason
                .clone()
                .unwrap_or_else(|| "ReplicaFailure".to_owned()),
            message: format!("a pod cannot be created: {}", told(found)),
        });
    }
    let halted = condition(live, "Progressing")
        .filter(|found| found.reason.as_deref() == Some("ProgressDeadlineExceeded"))?;
    Some(Hindrance {
        reason: "ProgressDeadlineExceeded".to_owned(),
        message: format!("no further replica became ready in time: {}", told(halted)),
    })
}

#[cfg(test)]
#[path = "situation_tests.rs"]
mod tests;
