//! Whether the pod still moves, and what is done about one that does not.
//!
//! ```text
//!   progress ──► mark ──► the same mark for stallTimeout ──┬─► the pod is replaced, while backoffLimit allows it
//!               (status.watchdog)                          └─► the run has failed
//! ```
//!
//! What was seen is kept in the status, so that a restart of the operator forgets nothing. The status is written
//! before the pod is deleted: a crash in between deletes it the next time, and counts it once.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use sconce_contract::Progress;
use sconce_crds::ModelTraining;
use sconce_crds::training::Watchdog;

use super::identity::Identity;
use super::running;
use super::situation::{Finding, Situation};
use crate::labels;
use crate::observed;
use crate::reason::Reason;
use crate::seen::Pod;

/// What was seen is written this many times within the timeout, and no more often.
const LOOKS: i32 = 8;
/// A gap between two looks that is longer than this, and than half of the timeout, is one in which nobody looked.
const AWAY: SignedDuration = SignedDuration::from_secs(60);

/// A pod that has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Its name.
    pub pod: String,
    /// Its UID: a namesake is spared.
    pub uid: String,
}

/// What there is to remember, and to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// For the status.
    pub record: Option<Watchdog>,
    /// The pod to delete, once that is stored.
    pub doomed: Option<Doomed>,
}

/// Looks at a run. What is going on is told anew where its pod does not move.
pub fn look(
    training: &ModelTraining,
    identity: &Identity,
    pods: &[Arc<Pod>],
    progress: Option<&Progress>,
    finding: &mut Finding,
    now: Timestamp,
) -> Look {
    let policy = &training.spec.failure_policy;
    let Some(timeout) = &policy.stall_timeout else {
        return Look::default();
    };
    let before = training
        .status
        .as_ref()
        .filter(|status| status.job.as_deref() == Some(&identity.job))
        .and_then(|status| status.watchdog.clone());
    let watch = Watch {
        limit: SignedDuration::try_from(timeout.get()).unwrap_or(SignedDuration::MAX),
        text: timeout.to_string(),
        retries: policy.backoff_limit,
        now,
    };
    // Who says that it waits for the other workers stands still for their sake, and gives up by itself.
    let waits =
        training.spec.nodes.is_group() && progress.is_some() && running::waits_for_others(training, progress);
    let at_work = !waits
        && matches!(
            finding.situation,
            Situation::Training { .. } | Situation::Evaluating
        );
    match observed::at_work(pods) {
        Some(pod) if at_work => watch.running(before, pod, progress, finding),
        _ => {
            if let Some(before) = &before {
                watch.between(before, pods, finding);
            }
            Look {
                record: before,
                doomed: None,
            }
        }
    }
}

struct Watch {
    limit: SignedDuration,
    text: String,
    retries: i32,
    now: Timestamp,
}

impl Watch {
    fn running(
        &self,
        before: Option<Watchdog>,
        pod: &Pod,
        progress: Option<&Progress>,
        finding: &mut Finding,
    ) -> Look {
        let name = pod.name_any();
        let doomed = Some(Doomed {
            pod: name.clone(),
            uid: pod.uid().unwrap_or_default(),
        });
        let replaced = before.as_ref().map_or(0, |before| before.replaced);
        let last = before.as_ref().and_then(|before| before.last_replaced.clone());
        if last.as_ref() == Some(&name) {
            let before = before.unwrap_or_default();
            finding.situation = Situation::Stalled {
                message: self.replacing(&before),
            };
            return Look {
                record: Some(before),
                doomed,
            };
        }
        let known = before.filter(|before| before.pod == name);
        let said = progress.map(mark);
        let mark = said.unwrap_or_else(|| known.as_ref().map(|known| known.mark.clone()).unwrap_or_default());
        let fresh = Watchdog {
            pod: name.clone(),
            mark: mark.clone(),
            moved: Some(Time(self.now)),
            looked: Some(Time(self.now)),
            replaced,
            last_replaced: last,
        };
        let Some(known) = known else {
            return self.goes_on(fresh, finding);
        };
        let (moved, looked) = (
            self.since(known.moved.as_ref()),
            self.since(known.looked.as_ref()),
        );
        let away = looked > AWAY.max(self.limit / 2);
        if mark != known.mark || away {
            let rare = looked < self.limit / LOOKS;
            return self.goes_on(if rare && !away { known } else { fresh }, finding);
        }
        if moved < self.limit {
            let again = if looked < self.limit / LOOKS {
                known
            } else {
                Watchdog {
                    looked: Some(Time(self.now)),
                    ..known
                }
            };
            return self.goes_on(again, finding);
        }
        if replaced >= self.retries {
            finding.situation = self.failed(&known);
            finding.again = None;
            return Look {
                record: Some(known),
                doomed: None,
            };
        }
        let record = Watchdog {
            replaced: replaced + 1,
            last_replaced: Some(name),
            ..known
        };
        finding.situation = Situation::Stalled {
            message: self.replacing(&record),
        };
        Look {
            record: Some(record),
            doomed,
        }
    }

    fn goes_on(&self, record: Watchdog, finding: &mut Finding) -> Look {
        let left = self.limit - self.since(record.moved.as_ref());
        let left = std::time::Duration::try_from(left.max(SignedDuration::from_millis(100))).ok();
        finding.again = finding.again.into_iter().chain(left).min();
        Look {
            record: Some(record),
            doomed: None,
        }
    }

    /// No pod runs: what is going on may be the consequence of a pod that was replaced.
    fn between(&self, before: &Watchdog, pods: &[Arc<Pod>], finding: &mut Finding) {
        let Some(replaced) = &before.last_replaced else {
            return;
        };
        let ending = pods
            .iter()
            .any(|pod| pod.name_any() == *replaced && !observed::is_finished(pod));
        let newest_end = pods.iter().rev().find(|pod| observed::is_finished(pod));
        let is_newest = newest_end.is_none_or(|pod| pod.name_any() == *replaced);
        match &mut finding.situation {
            Situation::Pending { .. } | Situation::Starting { .. } | Situation::Ending if ending => {
                finding.situation = Situation::Stalled {
                    message: self.replacing(before),
                };
            }
            Situation::Pending { after, .. } | Situation::Starting { after, .. } if is_newest => {
                *after = Some(self.sentence(before));
            }
            Situation::Failed { reason, .. } if is_newest && *reason != Reason::DeadlineExceeded => {
                finding.situation = self.failed(before);
            }
            _ => {}
        }
    }

    fn failed(&self, record: &Watchdog) -> Situation {
        Situation::Failed {
            reason: Reason::Stalled,
            message: format!(
                "{} (tried {} times); allow more where it is only slow, and with a new value of the annotation {} it goes on \
                 from its last checkpoint",
                self.sentence(record),
                record.replaced + 1,
                labels::RESUME
            ),
        }
    }

    fn replacing(&self, record: &Watchdog) -> String {
        format!(
            "{}; another pod takes over ({} of {} retries)",
            self.sentence(record),
            record.replaced,
            self.retries
        )
    }

    fn sentence(&self, record: &Watchdog) -> String {
        let at = if record.mark.is_empty() {
            "and told nothing of its progress".to_owned()
        } else {
            format!("after {}", record.mark)
        };
        format!(
            "spec.failurePolicy.stallTimeout: the pod {} took no step for {} {at}",
            record.pod, self.text
        )
    }

    fn since(&self, time: Option<&Time>) -> SignedDuration {
        time.map_or(SignedDuration::ZERO, |time| self.now.duration_since(time.0))
    }
}

/// What changes with each step that a trainer takes.
fn mark(progress: &Progress) -> String {
    format!("{:?}, step {}", progress.phase, progress.step)
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
#[path = "watchdog_tests.rs"]
mod tests;
