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
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use sconce_contract::Progress;
use sconce_crds::ModelTraining;
use sconce_crds::training::Watchdog;

use super::identity::Identity;
use super::situation::{Finding, Situation};
use crate::observed;
use crate::reason::Reason;

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
    let at_work = matches!(
        finding.situation,
        Situation::Training { .. } | Situation::Evaluating
    );
    match pods.iter().rev().find(|pod| observed::is_running(pod)) {
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
            message: format!("{} (tried {} times)", self.sentence(record), record.replaced + 1),
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
mod tests {
    use sconce_contract::TrainingPhase;
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(NOW + second).unwrap()
    }

    fn training(retries: i32, watchdog: Option<&Watchdog>) -> ModelTraining {
        serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": "iris"},
            "spec": {
                "model": {"custom": {"image": "a"}}, "dataset": {"uri": "file:///a.csv", "target": "y"},
                "failurePolicy": {"backoffLimit": retries, "stallTimeout": "10m"},
            },
            "status": {"job": "iris-1", "watchdog": watchdog},
        }))
        .unwrap()
    }

    fn pod(name: &str, phase: &str, state: Value) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": format!("uid-{name}")}, "spec": {"nodeName": "n", "containers": []},
                "status": {"phase": phase, "containerStatuses": [
                    {"name": "sconce", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state},
                ]},
            }))
            .unwrap(),
        )
    }

    fn running(name: &str) -> Arc<Pod> {
        pod(name, "Running", json!({"running": {}}))
    }

    fn step(step: u64) -> Progress {
        Progress {
            phase: TrainingPhase::Training,
            step,
            ..Progress::default()
        }
    }

    fn at_work() -> Finding {
        Finding {
            situation: Situation::Training {
                message: String::new(),
            },
            trained: None,
            again: None,
        }
    }

    /// One look `second` s after the first, with what the one before remembered.
    fn see(
        retries: i32,
        before: Option<&Watchdog>,
        pods: &[Arc<Pod>],
        progress: Option<Progress>,
        second: i64,
        situation: Option<Situation>,
    ) -> (Look, Situation) {
        let identity = Identity {
            run: "1".to_owned(),
            job: "iris-1".to_owned(),
        };
        let mut finding = at_work();
        finding.situation = situation.unwrap_or(finding.situation);
        let training = training(retries, before);
        let look = look(
            &training,
            &identity,
            pods,
            progress.as_ref(),
            &mut finding,
            at(second),
        );
        (look, finding.situation)
    }

    /// Looks each 5 s from `from` to `to`, as the controller does.
    fn watch(
        mut record: Option<Watchdog>,
        pods: &[Arc<Pod>],
        progress: impl Fn(i64) -> Option<Progress>,
        from: i64,
        to: i64,
    ) -> (Look, Situation, usize) {
        let mut writes = 0;
        let mut last = (Look::default(), at_work().situation);
        for second in (from..=to).step_by(5) {
            last = see(1, record.as_ref(), pods, progress(second), second, None);
            writes += usize::from(last.0.record != record);
            record = last.0.record.clone();
            if last.0.doomed.is_some() {
                break;
            }
        }
        (last.0, last.1, writes)
    }

    #[test]
    fn a_pod_that_takes_steps_goes_on_for_ever_and_costs_few_writes() {
        let pods = [running("a")];
        let (look, situation, writes) =
            watch(None, &pods, |second| Some(step(second.unsigned_abs())), 0, 6000);
        assert!(
            look.doomed.is_none() && situation == at_work().situation,
            "{situation:?}"
        );
        assert!(writes <= 81, "{writes} writes in ten timeouts");
    }

    #[test]
    fn one_that_takes_none_is_replaced_after_the_timeout_and_not_before() {
        let pods = [running("a")];
        let (look, ..) = watch(None, &pods, |_| Some(step(7)), 0, 595);
        assert_eq!(look.doomed, None);
        let (look, situation, _) = watch(None, &pods, |_| Some(step(7)), 0, 2000);
        let record = look.record.unwrap();
        assert_eq!(look.doomed.unwrap().pod, "a");
        assert_eq!((record.replaced, record.last_replaced.as_deref()), (1, Some("a")));
        let Situation::Stalled { message } = situation else {
            panic!("{situation:?}")
        };
        assert_eq!(
            message,
            "spec.failurePolicy.stallTimeout: the pod a took no step for 10m after Training, step 7; \
             another pod takes over (1 of 1 retries)"
        );
    }

    #[test]
    fn one_that_answers_nothing_is_replaced_too() {
        let pods = [running("a")];
        let (look, situation, _) = watch(None, &pods, |_| None, 0, 700);
        assert!(look.doomed.is_some());
        assert!(
            matches!(&situation, Situation::Stalled { message } if message.contains("told nothing of its progress"))
        );
    }

    #[test]
    fn a_crash_between_the_status_and_the_deletion_deletes_again_and_counts_once() {
        let pods = [running("a")];
        let (first, ..) = watch(None, &pods, |_| Some(step(7)), 0, 700);
        let (again, situation) = see(1, first.record.as_ref(), &pods, Some(step(7)), 705, None);
        assert_eq!(again, first);
        assert!(matches!(situation, Situation::Stalled { .. }));
    }

    #[test]
    fn after_the_last_retry_the_run_has_failed() {
        let (first, ..) = watch(None, &[running("a")], |_| Some(step(7)), 0, 700);
        let (last, situation, _) = watch(first.record, &[running("b")], |_| Some(step(9)), 705, 1400);
        assert_eq!(last.doomed, None);
        assert_eq!(
            situation,
            Situation::Failed {
                reason: Reason::Stalled,
                message: "spec.failurePolicy.stallTimeout: the pod b took no step for 10m after Training, step 9 (tried 2 times)"
                    .to_owned(),
            }
        );
    }

    #[test]
    fn nobody_is_blamed_for_the_time_in_which_the_operator_was_away() {
        let pods = [running("a")];
        let (look, ..) = watch(None, &pods, |_| Some(step(7)), 0, 100);
        // An hour later; the pod happens not to answer the first time.
        let (look, situation) = see(1, look.record.as_ref(), &pods, None, 3700, None);
        assert_eq!(look.doomed, None);
        assert_eq!(situation, at_work().situation);
        // What was seen before a short restart still counts.
        let (look, ..) = watch(None, &pods, |_| Some(step(7)), 0, 580);
        let (look, _) = see(1, look.record.as_ref(), &pods, Some(step(7)), 620, None);
        assert!(look.doomed.is_some());
    }

    #[test]
    fn while_the_next_pod_is_on_its_way_the_reason_stays() {
        let (first, ..) = watch(None, &[running("a")], |_| Some(step(7)), 0, 700);
        let pending = || Situation::Pending {
            hindrance: None,
            after: Some("the pod a ended with exit code 137".to_owned()),
        };
        let gone = [pod("a", "Failed", json!({"terminated": {"exitCode": 137}}))];
        for pods in [&gone[..], &[]] {
            let (look, situation) = see(1, first.record.as_ref(), pods, None, 710, Some(pending()));
            assert_eq!(look.record, first.record);
            assert!(
                matches!(&situation, Situation::Pending { after: Some(after), .. } if after.contains("took no step for 10m")),
                "{situation:?}"
            );
        }
        // Another pod failed since, for a reason of its own.
        let later = [
            gone[0].clone(),
            pod("b", "Failed", json!({"terminated": {"exitCode": 1}})),
        ];
        let (_, situation) = see(1, first.record.as_ref(), &later, None, 720, Some(pending()));
        assert_eq!(situation, pending());
    }

    #[test]
    fn without_a_timeout_nothing_is_watched() {
        let mut training = training(1, None);
        training.spec.failure_policy.stall_timeout = None;
        let identity = Identity {
            run: "1".to_owned(),
            job: "iris-1".to_owned(),
        };
        let mut finding = at_work();
        let seen = look(&training, &identity, &[running("a")], None, &mut finding, at(0));
        assert_eq!((seen, finding), (Look::default(), at_work()));
    }
}
