//! From a Job, its pods and what the trainer says, to the one thing that is going on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sconce_contract::report::EXIT_BAD_INPUT;
use sconce_contract::{
    Artifact, BestTrial, FailureClass, Gate, History, Incumbent, Metric, Progress, Report, RowsLeftOut,
};
use sconce_crds::training::Phase;
use sconce_crds::{ModelTraining, ModelTrainingStatus};

use super::gates::{self, Judgement};
use super::identity::Identity;
use super::queue::{self, Turn, Wait};
use super::refusal;
use super::report;
use super::retries;
use super::running;
use crate::observed::{self, Hindrance};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::seen::{Condition, Job, Pod};

/// What is going on with a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Situation {
    /// The spec cannot be carried out as it stands.
    Refused(Problem),
    /// `spec.suspend` is set and pods are still stopping.
    Stopping,
    /// `spec.suspend` is set and nothing runs.
    Suspended,
    /// Others come first.
    Queued(Wait),
    /// No pod has a node yet.
    Pending {
        /// What stands in the way, if something does.
        hindrance: Option<Hindrance>,
        /// The sentence of the pod that failed before, if one did.
        after: Option<String>,
    },
    /// A pod has a node and its container does not run yet.
    Starting {
        /// What stands in the way, if something does.
        hindrance: Option<Hindrance>,
        /// The sentence of the pod that failed before, if one did.
        after: Option<String>,
    },
    /// The trainer takes steps, or reads its data.
    Training {
        /// For people.
        message: String,
    },
    /// The trainer takes no steps any more, and another pod is to take over.
    Stalled {
        /// For people.
        message: String,
    },
    /// The trainer measures, or writes the artifact.
    Evaluating,
    /// The pod ended and its report is not to be seen yet.
    Ending,
    /// The trainer ended and its pod does not.
    Outlived(Hindrance),
    /// The run ended with an artifact, and this is what the gates say of it.
    Finished(Judgement),
    /// The run ended without one.
    Failed {
        /// CamelCase.
        reason: Reason,
        /// One sentence.
        message: String,
    },
}

impl Situation {
    /// As one word.
    pub fn phase(&self) -> Phase {
        match self {
            Situation::Refused(_) | Situation::Pending { .. } | Situation::Starting { .. } => Phase::Pending,
            Situation::Stopping | Situation::Training { .. } | Situation::Stalled { .. } => Phase::Training,
            Situation::Suspended => Phase::Suspended,
            Situation::Queued(_) => Phase::Queued,
            Situation::Evaluating | Situation::Ending | Situation::Outlived(_) => Phase::Evaluating,
            Situation::Finished(judgement) if judgement.passed => Phase::Succeeded,
            Situation::Finished(_) => Phase::Rejected,
            Situation::Failed { .. } => Phase::Failed,
        }
    }
}

/// What a finished run left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// What it reached.
    pub metrics: Vec<Metric>,
    /// What it wrote.
    pub artifact: Artifact,
    /// Steps that it took.
    pub steps: u64,
    /// Epochs that it took.
    pub epochs: u32,
    /// Mean training loss of its last epoch.
    pub loss: Option<f64>,
    /// How its losses went.
    pub history: History,
    /// Step of the checkpoint that its last pod went on from.
    pub resumed_from: Option<u64>,
    /// What the incumbent reaches, where a gate asked.
    pub incumbent: Option<Incumbent>,
    /// Rows of its table that were left out.
    pub left_out: RowsLeftOut,
    /// The trial of a search that it is.
    pub best_trial: Option<BestTrial>,
}

impl Trained {
    /// Writes it into a status.
    pub fn record(&self, status: &mut ModelTrainingStatus, identity: &Identity, gates: &[Gate]) {
        let judgement = gates::judge(gates, &self.metrics, self.incumbent.as_ref());
        status.incumbent.clone_from(&self.incumbent);
        status.best_trial.clone_from(&self.best_trial);
        status.rows_left_out = Some(self.left_out.clone()).filter(|rows| !rows.is_none());
        status.completed_run = Some(identity.run.clone());
        status.metrics.clone_from(&self.metrics);
        status.gates = judgement.results;
        status.history = Some(self.history.clone()).filter(|history| !history.is_empty());
        status.candidate = Some(self.artifact.clone());
        if judgement.passed {
            status.artifact = Some(self.artifact.clone());
        }
    }
}

/// What was found of a run at work.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is going on.
    pub situation: Situation,
    /// What it left behind, if it just finished.
    pub trained: Option<Trained>,
    /// When to look again even if nothing is seen to change.
    pub again: Option<Duration>,
}

/// How long a Job may be complete before a report that nobody has seen counts as lost.
const REPORT_LOST_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// How often a trainer is asked: often at first, when people watch.
const ASK_SOON: Duration = Duration::from_secs(1);
const ASK_LATER: Duration = Duration::from_secs(5);
const YOUNG: SignedDuration = SignedDuration::from_secs(60);

/// Tells what is going on. `pods` are the Job's, oldest first.
pub fn situation(
    training: &ModelTraining,
    job: &Job,
    pods: &[Arc<Pod>],
    progress: Option<&Progress>,
    turn: &Turn,
    now: Timestamp,
) -> Finding {
    if let Some(complete) = condition(job, "Complete") {
        return finished(training, complete, pods, now);
    }
    if let Some(failed) = condition(job, "Failed") {
        // Where every other pod failed before, the Job holds that against the first one's success (`syncJob`, Kubernetes 1.36).
        if failed.reason.as_deref() == Some("FailedIndexes") && !job.has_lost(0) {
            return finished(training, failed, pods, now);
        }
        if is_untold(failed, pods, now) {
            return just(Situation::Ending, Some(ASK_SOON));
        }
        return just(failed_for_good(training, failed, pods), None);
    }
    if job.has_lost(0) && condition(job, "FailureTarget").is_none() {
        // The Job can do without some of its pods, but without this one the others wait for ever.
        let first: Vec<_> = pods.iter().filter(|pod| observed::leads(pod)).cloned().collect();
        return just(failed_for_good(training, &Condition::default(), &first), None);
    }
    let active: Vec<&Arc<Pod>> = pods.iter().filter(|pod| !observed::is_finished(pod)).collect();
    if training.spec.suspend {
        return just(
            if active.is_empty() {
                Situation::Suspended
            } else {
                Situation::Stopping
            },
            None,
        );
    }
    if let Some(failed) = retries::exhausted(pods) {
        return just(failed, None);
    }
    if let Some(wait) = queue::wait(training, job, &active, turn) {
        return just(Situation::Queued(wait), None);
    }
    let after = last_failure(pods);
    let kept_out = running::kept_out(&active).or_else(|| running::lost(job, pods));
    let Some(pod) = active.iter().rfind(|pod| observed::leads(pod)) else {
        if pods.iter().any(|pod| observed::leads(pod) && is_last(pod)) {
            return just(Situation::Ending, None);
        }
        let refused = refusal::is_likely(job, pods, now);
        let hindrance = refused.then(|| no_pod(job, turn.refusal.as_deref()));
        return just(
            Situation::Pending { hindrance, after },
            pods.is_empty().then_some(refusal::AFTER.unsigned_abs()),
        );
    };
    if observed::is_running(pod) {
        let age = pod
            .creation_timestamp()
            .map_or(SignedDuration::ZERO, |created| now.duration_since(created.0));
        if kept_out.is_some() && running::waits_for_others(training, progress) {
            return just(
                Situation::Starting {
                    hindrance: kept_out,
                    after,
                },
                Some(ASK_LATER),
            );
        }
        return just(
            running::situation(training, progress, kept_out.as_ref()),
            Some(if age < YOUNG { ASK_SOON } else { ASK_LATER }),
        );
    }
    if observed::has_ended(pod) {
        let outlived = observed::outlived(pod, now);
        let again = outlived
            .is_none()
            .then_some(observed::OUTLIVED_AFTER.unsigned_abs());
        return just(outlived.map_or(Situation::Ending, Situation::Outlived), again);
    }
    let hindrance = observed::hindrance(pod);
    if observed::is_scheduled(pod) {
        return just(Situation::Starting { hindrance, after }, None);
    }
    just(Situation::Pending { hindrance, after }, None)
}

fn just(situation: Situation, again: Option<Duration>) -> Finding {
    Finding {
        situation,
        trained: None,
        again,
    }
}

/// Whether no pod comes after this one: it did the work, or found that its input is bad.
fn is_last(pod: &Pod) -> bool {
    let succeeded = pod
        .status
        .as_ref()
        .is_some_and(|status| status.phase.as_deref() == Some("Succeeded"));
    let gave_up = |ending: observed::Ending| ending.exit_code == i32::from(EXIT_BAD_INPUT);
    succeeded || observed::last_ending(pod).is_some_and(gave_up)
}

fn no_pod(job: &Job, refusal: Option<&str>) -> Hindrance {
    let Some(refusal) = refusal else {
        return Hindrance {
            reason: Reason::NoPod,
            message: format!(
                "the Job has no pod, and no event says why; `kubectl describe job {}` may do so later",
                job.name_any()
            ),
        };
    };
    let remedy = if refusal.contains("service account") {
        "create it, or name another one in spec.podOverrides.serviceAccountName"
    } else {
        "ask for less, or have the quota or policy changed"
    };
    Hindrance {
        reason: Reason::PodRefused,
        message: format!("the API server refuses the pod: {refusal}; {remedy}"),
    }
}

/// The Job's condition of that type, where it holds.
pub(super) fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a Condition> {
    job.status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind && condition.status == "True")
}

fn finished(training: &ModelTraining, complete: &Condition, pods: &[Arc<Pod>], now: Timestamp) -> Finding {
    let reported = pods
        .iter()
        .rev()
        .filter(|pod| observed::leads(pod))
        .filter_map(|pod| observed::last_ending(pod))
        .find_map(|ending| match ending.report {
            Report::Trained {
                metrics,
                artifact,
                epochs,
                steps,
                loss,
                history,
                work,
                incumbent,
                left_out,
                search,
                ..
            } => Some(Trained {
                metrics,
                artifact,
                steps,
                epochs,
                loss,
                history,
                resumed_from: work.resumed_from,
                incumbent,
                left_out,
                best_trial: search.map(|search| search.best),
            }),
            Report::Helped { .. } | Report::Failed(_) => None,
        });
    if let Some(trained) = reported {
        if let Some(unusable) = report::unusable(training, &trained.artifact) {
            return just(unusable, None);
        }
        let judgement = gates::judge(
            &training.spec.evaluation.gates,
            &trained.metrics,
            trained.incumbent.as_ref(),
        );
        return Finding {
            situation: Situation::Finished(judgement),
            trained: Some(trained),
            again: None,
        };
    }
    if let Some(missing) = report::missing(pods) {
        return just(missing, None);
    }
    let since = complete
        .last_transition_time
        .as_ref()
        .map_or(SignedDuration::ZERO, |time| now.duration_since(time.0));
    if since < REPORT_LOST_AFTER {
        return just(Situation::Ending, Some(ASK_SOON));
    }
    just(
        Situation::Failed {
            reason: Reason::ReportLost,
            message: format!(
                "the trainer ended well but its pod is gone, and with it the report of what it reached; \
                 a new value of the annotation {} runs it again",
                crate::labels::RERUN
            ),
        },
        None,
    )
}

/// Whether a pod may still be seen that says why the Job has just failed: what is seen of pods may be older than what is seen
/// of Jobs, as where their watch was told to begin again.
fn is_untold(failed: &Condition, pods: &[Arc<Pod>], now: Timestamp) -> bool {
    let since = failed.last_transition_time.as_ref();
    let is_new = since.is_some_and(|since| now.duration_since(since.0) < REPORT_LOST_AFTER);
    is_new && failed.reason.as_deref() != Some("DeadlineExceeded") && failure(pods).is_none()
}

fn failed_for_good(training: &ModelTraining, failed: &Condition, pods: &[Arc<Pod>]) -> Situation {
    if failed.reason.as_deref() == Some("DeadlineExceeded") {
        let seconds = training.spec.active_deadline_seconds.unwrap_or_default();
        return Situation::Failed {
            reason: Reason::DeadlineExceeded,
            message: format!(
                "spec.activeDeadlineSeconds: the training did not end within {seconds} s; ask for less, or allow more and \
                 give the annotation {} a new value, and it goes on from its last checkpoint",
                crate::labels::RESUME
            ),
        };
    }
    let Some((reason, sentence)) = failure(pods) else {
        return Situation::Failed {
            reason: failed.reason.as_deref().map_or(Reason::JobFailed, Reason::told),
            message: format!(
                "the Job failed ({}), and its pods are gone, and with them what they said; with a new value of the annotation \
                 {} it goes on from its last checkpoint",
                failed.message.as_deref().unwrap_or("it gives no reason"),
                crate::labels::RESUME
            ),
        };
    };
    let tries = pods
        .iter()
        .filter(|pod| observed::leads(pod) && observed::is_finished(pod))
        .count();
    let message = if tries > 1 {
        format!("{sentence} (tried {tries} times)")
    } else {
        sentence
    };
    Situation::Failed { reason, message }
}

fn failure(pods: &[Arc<Pod>]) -> Option<(Reason, String)> {
    let mut seen = BTreeSet::new();
    // Of several that learn together, one fails for a reason, and the others are interrupted by that.
    let newest = pods.iter().rev().filter_map(|pod| {
        let Report::Failed(failure) = observed::last_ending(pod)?.report else {
            return None;
        };
        seen.insert(observed::worker(pod)).then_some((pod, failure))
    });
    let (pod, failure) = newest.min_by_key(|(_, failure)| failure.class == FailureClass::Interrupted)?;
    let sentence = observed::of_worker(pod, observed::sentence(&failure));
    Some((observed::class_name(failure.class), sentence))
}

fn last_failure(pods: &[Arc<Pod>]) -> Option<String> {
    failure(pods).map(|(_, sentence)| sentence)
}
