//! From a live Deployment and its pods to the one thing that is going on.

use std::sync::Arc;

use jiff::SignedDuration;
use sconce_contract::Report;
use sconce_crds::custom::CustomServer;
use sconce_crds::rollout::RETRY_ANNOTATION;

use super::revision::Served;
use super::rollout::decide::Manner;
use super::rollout::{Back, Rollout};
use super::workload::Failed;
use crate::labels;
use crate::observed::{self, Hindrance};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::seen::{Condition, Deployment, Pod};

/// What is going on with a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Situation {
    /// What the spec names is not there yet, or a person has not chosen.
    Awaited(Problem),
    /// The spec cannot be carried out as it stands.
    Refused(Problem),
    /// Something stands in the way of the wanted revision's pods.
    Hindered(Hindrance),
    /// The wanted revision did not come up in time, and an earlier one is served again.
    RolledBack {
        /// CamelCase: why it did not come up.
        because: Reason,
        /// One sentence.
        message: String,
        /// Whether the earlier one's pods are all there.
        settled: bool,
    },
    /// Pods come or go.
    Moving {
        /// CamelCase.
        reason: Reason,
        /// One sentence.
        message: String,
    },
    /// An autoscaler changes the number of pods, and those that were promised before answer.
    Scaling {
        /// CamelCase.
        reason: Reason,
        /// One sentence.
        message: String,
        /// What stands in the way of the further pods.
        hindrance: Option<Hindrance>,
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

/// The wanted revision as it is applied.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Its Deployment.
    pub live: &'a Deployment,
    /// What it serves.
    pub wanted: &'a Served,
    /// The server, where it is the user's own.
    pub custom: Option<&'a CustomServer>,
    /// Pods that are wanted in all.
    pub replicas: i32,
    /// What the rollout decided.
    pub rollout: &'a Rollout,
    /// Whether it was complete before.
    pub was_complete: bool,
    /// Pods that have to answer while an autoscaler changes their number; nothing where no autoscaler does.
    pub promised: Option<i32>,
    /// Pods of every revision.
    pub pods: &'a [Arc<Pod>],
}

impl Sight<'_> {
    fn counts(&self) -> Counts {
        Counts::of(self.pods, Some(&self.wanted.revision))
    }

    /// Whether its pods are all there, and no others are or will be.
    fn is_alone(&self) -> bool {
        is_seen(self.live) && self.counts().current == self.replicas && self.is_without_others()
    }

    /// Whether no pods of another revision are there or will be.
    fn is_without_others(&self) -> bool {
        self.counts().others == 0
            && self.rollout.others.iter().all(|(live, count)| {
                *count == 0 && live.spec.as_ref().and_then(|spec| spec.replicas) == Some(0)
            })
    }

    /// Whether an autoscaler changes the number of pods of a revision that was rolled out, or has come as far as there is
    /// room, and those that were promised answer. What the Deployment's status has seen does not matter: they do.
    pub fn is_scaling(&self) -> bool {
        let counts = self.counts();
        let kept = |promised| counts.ready >= promised && self.replicas > 0;
        (self.was_complete || self.lacks_room_alone())
            && self.promised.is_some_and(kept)
            && self.rollout.back.is_none()
            && self.is_without_others()
            && !self.is_settled()
    }

    /// Whether some of its pods do not answer, all of these have found no node or could not be made, and nothing else is
    /// wrong.
    fn lacks_room_alone(&self) -> bool {
        let counts = self.counts();
        let is_ours = |pod: &&Arc<Pod>| revision(pod) == Some(&self.wanted.revision);
        let mut unready = self
            .pods
            .iter()
            .filter(is_ours)
            .filter(|pod| !observed::is_ready(pod));
        counts.ready < self.replicas
            && (counts.current >= self.replicas || refusal(self.live).is_some())
            && unready.all(|pod| observed::no_node(pod).is_some())
    }

    /// Whether every replica is of the wanted revision and answers.
    pub fn is_settled(&self) -> bool {
        self.is_alone() && self.counts().ready == self.replicas
    }

    /// Whether no pod of an earlier revision is left, and those of the wanted one have all answered once.
    pub fn is_rolled_out(&self) -> bool {
        // Where no pod is wanted, none of a revision that was given up is there either.
        self.rollout.back.is_none()
            && (self.is_settled() || self.is_scaling() || (self.is_alone() && self.was_complete))
    }
}

/// What is going on with a revision that is applied.
pub fn situation(sight: &Sight<'_>) -> Situation {
    let (counts, replicas, rollout) = (sight.counts(), sight.replicas, sight.rollout);
    let title = sight.wanted.model.title();
    if let Some(back) = &rollout.back {
        return rolled_back(sight, back);
    }
    if sight.is_settled() && replicas == 0 {
        return Situation::ScaledToZero;
    }
    if sight.is_settled() {
        return Situation::Ready {
            message: format!("{} with {title}", answer(replicas)),
        };
    }
    let hindrance = hindrance(sight.live, &sight.wanted.revision, sight.pods);
    if sight.is_scaling() {
        return scaling(sight, hindrance);
    }
    if let Some(hindrance) = hindrance {
        return Situation::Hindered(with_manner(hindrance, sight));
    }
    let silent = silent(sight.custom, &sight.wanted.revision, sight.pods)
        .map(|silent| format!("; {silent}"))
        .unwrap_or_default();
    let message = format!(
        "{} of {replicas} replicas answer with {title}{silent}",
        counts.ready
    );
    if rollout.overdue {
        return Situation::Hindered(Hindrance {
            reason: Reason::ProgressDeadlineExceeded,
            message: format!(
                "{message}, and no further one did in spec.rollout.progressDeadline; `kubectl describe pod` tells what it does; {RETRY}"
            ),
        });
    }
    if counts.others > 0 || !sight.was_complete {
        let earlier = if counts.others_ready > 0 {
            "; an earlier revision answers until they do"
        } else {
            ""
        };
        let manner = if counts.others > 0 {
            format!("; {}", rollout.manner)
        } else {
            String::new()
        };
        return Situation::Moving {
            reason: Reason::RollingOut,
            message: message + earlier + &manner,
        };
    }
    if counts.current > replicas {
        let message = format!("{} pods are there, {replicas} are wanted", counts.current);
        return Situation::Moving {
            reason: Reason::ScalingDown,
            message,
        };
    }
    Situation::Moving {
        reason: Reason::ReplicasStarting,
        message,
    }
}

fn answer(replicas: i32) -> String {
    let noun = if replicas == 1 {
        "replica answers"
    } else {
        "replicas answer"
    };
    format!("{replicas} {noun}")
}

fn scaling(sight: &Sight<'_>, hindrance: Option<Hindrance>) -> Situation {
    let (counts, replicas) = (sight.counts(), sight.replicas);
    let title = sight.wanted.model.title();
    let more = counts.current <= replicas;
    let toward = if more {
        format!("{} more on their way", replicas - counts.ready)
    } else {
        format!("{} are there and {replicas} are wanted", counts.current)
    };
    let why = hindrance
        .as_ref()
        .map(|hindrance| format!("; {}", hindrance.message))
        .unwrap_or_default();
    Situation::Scaling {
        reason: if more {
            Reason::ScalingUp
        } else {
            Reason::ScalingDown
        },
        message: format!("{} with {title}, {toward}{why}", answer(counts.ready)),
        hindrance,
    }
}

const RETRY: &str = "a new value of the annotation sconce.dev/retry has it tried again";

fn rolled_back(sight: &Sight<'_>, back: &Back) -> Situation {
    let counts = Counts::of(sight.pods, Some(&back.to.revision));
    let Failed { reason, message, .. } = &back.failed;
    // The words of an image name it already.
    let retry = if message.contains(RETRY_ANNOTATION) {
        String::new()
    } else {
        format!(": then {RETRY}")
    };
    Situation::RolledBack {
        because: reason.clone(),
        message: format!(
            "{} did not come up in spec.rollout.progressDeadline and was rolled back: {message}; {} of {} replicas answer \
             with {}, which was complete before; change the spec, train again, or mend what is wrong{retry}",
            sight.wanted.model.title(),
            counts.ready,
            sight.replicas,
            back.to.model.title(),
        ),
        settled: counts.others == 0 && counts.ready == sight.replicas,
    }
}

/// Why a pod that finds no room is not given an earlier one's.
fn with_manner(mut hindrance: Hindrance, sight: &Sight<'_>) -> Hindrance {
    let why = match sight.rollout.manner {
        _ if sight.counts().others == 0 || hindrance.reason != Reason::Unschedulable => return hindrance,
        Manner::SurgeAsked => {
            "spec.rollout.strategy is Surge, which needs room for one more pod: with Auto or DrainFirst an earlier one goes first".to_owned()
        }
        manner => manner.to_string(),
    };
    hindrance.message = format!("{}; {why}", hindrance.message);
    hindrance
}

/// Whether the Deployment's status speaks of its present spec.
fn is_seen(live: &Deployment) -> bool {
    let seen = live.status.as_ref().and_then(|status| status.observed_generation);
    seen.is_some() && seen >= live.metadata.generation
}

/// Why the API server makes no pod of the Deployment, as where a quota is used up.
pub fn refusal(live: &Deployment) -> Option<&str> {
    let found = failure(live).filter(|found| is_seen(live) && found.status == "True")?;
    Some(found.message.as_deref().unwrap_or("no reason was given"))
}

fn failure(live: &Deployment) -> Option<&Condition> {
    live.status.as_ref()?.replica_failure()
}

/// What stands in the way of the wanted revision: its pods know best, then the Deployment.
pub fn hindrance(live: &Deployment, revision: &str, pods: &[Arc<Pod>]) -> Option<Hindrance> {
    let waiting = |pod: &&Arc<Pod>| self::revision(pod) == Some(revision) && !observed::is_ready(pod);
    pods.iter()
        .filter(waiting)
        .find_map(|pod| observed::hindrance(pod).or_else(|| crashed(pod)))
        .or_else(|| refused(live))
}

/// What a pod of the revision with a server of the user's own is waited for, once its container runs: only its image
/// knows when that comes true.
pub fn silent(custom: Option<&CustomServer>, revision: &str, pods: &[Arc<Pod>]) -> Option<String> {
    let CustomServer {
        port, readiness_path, ..
    } = custom?;
    let runs = |pod: &Arc<Pod>| {
        self::revision(pod) == Some(revision) && observed::is_running(pod) && !observed::is_ready(pod)
    };
    pods.iter().any(runs).then(|| {
        format!(
            "a container runs, and GET :{port}{readiness_path} (spec.server.custom.readinessPath) does not answer with \
             200 to 399"
        )
    })
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
        reason: observed::class_name(failure.class),
        message: observed::sentence(&failure),
    })
}

/// Whether the running container has been ready once: then an earlier failure is not what keeps it from being so
/// now. The kubelet notes that a pod is no longer ready up to a few seconds after it has restarted its container.
fn has_answered_since(pod: &Pod) -> bool {
    const LATE: SignedDuration = SignedDuration::from_secs(5);
    let Some(status) = &pod.status else { return false };
    let running = observed::container(pod)
        .and_then(|container| container.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let ready = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    let changed = ready.and_then(|condition| condition.last_transition_time.as_ref());
    matches!((running, changed), (Some(running), Some(changed)) if changed.0.duration_since(running.0) > LATE)
}

/// Pods that the API server refused.
fn refused(live: &Deployment) -> Option<Hindrance> {
    let told = refusal(live)?;
    let reason = failure(live).and_then(|found| found.reason.as_deref());
    // The words of Pod Security's check of volumes (k8s.io/pod-security-admission, policy/check_hostPathVolumes.go and
    // check_restrictedVolumes.go).
    let remedy = if told.contains("violates PodSecurity")
        && told.contains("hostPath")
        && has_node_folder(live)
    {
        "; spec.cache.strategy: Node needs a folder of the node, which the Pod Security Standard of this namespace \
         forbids: choose SharedVolume or None, or have the namespace labelled \
         pod-security.kubernetes.io/enforce: privileged"
    } else {
        ""
    };
    Some(Hindrance {
        reason: reason.map_or(Reason::ReplicaFailure, Reason::told),
        message: format!("a pod cannot be created: {told}{remedy}"),
    })
}

fn has_node_folder(live: &Deployment) -> bool {
    let volumes = live.template().and_then(|pod| pod.volumes.as_ref());
    volumes
        .into_iter()
        .flatten()
        .any(|volume| volume.host_path.is_some())
}

#[cfg(test)]
#[path = "situation_tests.rs"]
mod tests;
