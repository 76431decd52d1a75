//! The last word of a pod: its termination message and its exit code.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history::SERIES_LIMIT;
use crate::{Artifact, CheckpointMark, History, Incumbent, Metric, RowsLeftOut, SearchReport};

/// Where a container leaves its report (Kubernetes' default `terminationMessagePath`).
pub const REPORT_PATH: &str = "/dev/termination-log";
/// Longest report: the kubelet cuts a termination message at 4096 bytes.
pub const REPORT_LIMIT: usize = 4096;
/// Longest [`Failure::message`] in bytes, so that a report with every other field full stays below the limit.
pub const MESSAGE_LIMIT: usize = 2048;

/// Exit code of a pod that did its work.
pub const EXIT_OK: u8 = 0;
/// Exit code where the input is bad and retrying is pointless (EX_DATAERR).
pub const EXIT_BAD_INPUT: u8 = 65;
/// Exit code of a pod that was told to stop before it was done (EX_TEMPFAIL).
pub const EXIT_INTERRUPTED: u8 = 75;
/// Exit code of every other failure: retrying may help.
pub const EXIT_FAILURE: u8 = 1;

/// How a pod ended, in at most [`REPORT_LIMIT`] bytes of JSON.
#[allow(clippy::large_enum_variant)] // One is made in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome", rename_all_fields = "camelCase")]
pub enum Report {
    /// The training is done and its artifact is written.
    Trained {
        /// The run, see [`crate::TrainingPlan::run`].
        run: String,
        /// What the model reached on the held-out rows.
        metrics: Vec<Metric>,
        /// What was written.
        artifact: Artifact,
        /// Epochs that were taken.
        epochs: u32,
        /// Steps that were taken.
        steps: u64,
        /// Mean training loss of the last epoch.
        #[serde(skip_serializing_if = "Option::is_none")]
        loss: Option<f64>,
        /// Wall-clock seconds from the start of the process.
        seconds: f64,
        /// How the losses went.
        #[serde(default, skip_serializing_if = "History::is_empty")]
        history: History,
        /// What this pod did of it.
        #[serde(default)]
        work: Work,
        /// Rows of the table that were left out.
        #[serde(default, skip_serializing_if = "RowsLeftOut::is_none")]
        left_out: RowsLeftOut,
        /// What the incumbent reaches, where a gate asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incumbent: Option<Incumbent>,
        /// The search whose best trial this is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        search: Option<Box<SearchReport>>,
    },
    /// The pod learned along with the first one of its group, or took trials of its search; that one has the rest to tell.
    Helped {
        /// The run.
        run: String,
        /// Its number, from 1.
        worker: u32,
        /// Steps that were taken, over all attempts; of a search those of this pod.
        steps: u64,
        /// What this pod did of it.
        #[serde(default)]
        work: Work,
    },
    /// The pod could not do its work.
    Failed(Failure),
}

impl Report {
    /// The report as JSON that fits a termination message; a failure's sentence is cut where it must be, and what
    /// is for people only is left out where long URIs leave no room for it, then the worst trials of a search.
    pub fn to_json(&self) -> String {
        let report = match self {
            Report::Failed(failure) => Report::Failed(failure.truncated(MESSAGE_LIMIT)),
            other => other.clone(),
        };
        // Serialising plain structs with string keys cannot fail; an empty message would still be a valid one.
        let json = serde_json::to_string(&report).unwrap_or_default();
        if json.len() <= REPORT_LIMIT {
            return json;
        }
        let mut report = report.shortened();
        loop {
            let json = serde_json::to_string(&report).unwrap_or_default();
            if json.len() <= REPORT_LIMIT || !report.leaves_out_trials() {
                return json;
            }
        }
    }

    /// Leaves out half of a search's trials, the worse ones; false where there are none.
    fn leaves_out_trials(&mut self) -> bool {
        let Report::Trained {
            search: Some(search), ..
        } = self
        else {
            return false;
        };
        match search.halved() {
            Some(halved) => **search = halved,
            None => return false,
        }
        true
    }

    /// Reads a report that any program may have written.
    ///
    /// # Errors
    /// What is wrong with it: it is none, or the status of an object could not hold it, whose numbers have 64 bits with
    /// a sign, and whose series at most [`SERIES_LIMIT`] values.
    pub fn parse(text: &str) -> Result<Self, String> {
        let report: Report = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let fits = match &report {
            Report::Trained { history, .. } => [&history.loss, &history.validation_loss]
                .iter()
                .all(|series| series.values.len() <= SERIES_LIMIT),
            Report::Helped { .. } | Report::Failed(_) => true,
        };
        if !fits {
            return Err(format!(
                "a series of its history has more than {SERIES_LIMIT} values"
            ));
        }
        if !is_small(&value) {
            return Err(format!("one of its numbers is larger than {}", i64::MAX));
        }
        Ok(report)
    }

    fn shortened(mut self) -> Self {
        match &mut self {
            Report::Trained { history, work, .. } => {
                *history = History::default();
                work.last_checkpoint = None;
            }
            Report::Helped { work, .. } => work.last_checkpoint = None,
            Report::Failed(failure) => {
                if let Some(work) = &mut failure.work {
                    work.last_checkpoint = None;
                }
            }
        }
        self
    }

    /// The exit code that goes with the report.
    pub fn exit_code(&self) -> u8 {
        match self {
            Report::Trained { .. } | Report::Helped { .. } => EXIT_OK,
            Report::Failed(failure) => failure.class.exit_code(),
        }
    }
}

fn is_small(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_u64() || number.is_i64(),
        Value::Array(all) => all.iter().all(is_small),
        Value::Object(all) => all.values().all(is_small),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// What one pod did for a run, which other pods may have begun or may go on with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Work {
    /// Step of the checkpoint that it went on from; absent where it began at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<u64>,
    /// Time spent computing steps, in milliseconds.
    pub busy_milliseconds: u64,
    /// The newest checkpoint that is known to be good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<CheckpointMark>,
}

/// Why a pod could not do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Whose fault it is, and so whether a retry can help.
    pub class: FailureClass,
    /// One sentence for a person: what is wrong, where, and what to do.
    pub message: String,
    /// The field of the spec to change, such as `dataset.target`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What a trainer had done by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Box<Work>>,
}

impl Failure {
    /// A failure that no field of the spec would mend.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Failure {
            class,
            message: message.into(),
            field: None,
            work: None,
        }
    }

    /// Bad input, with the field to change.
    pub fn bad_input(field: impl Into<String>, message: impl Into<String>) -> Self {
        Failure {
            class: FailureClass::BadInput,
            message: message.into(),
            field: Some(field.into()),
            work: None,
        }
    }

    fn truncated(&self, limit: usize) -> Self {
        let mut cut = self.clone();
        if cut.message.len() > limit {
            let end = (0..=limit - '…'.len_utf8())
                .rev()
                .find(|&i| cut.message.is_char_boundary(i))
                .unwrap_or(0);
            cut.message.truncate(end);
            cut.message.push('…');
        }
        cut
    }
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureClass {
    /// The spec or the data must change.
    BadInput,
    /// The memory limit must rise or the work must shrink.
    OutOfMemory,
    /// The pod was told to stop.
    Interrupted,
    /// The loss became NaN or infinite; the same run would do so again.
    Diverged,
    /// Something could not be read or written; it may be there again later.
    Storage,
    /// A defect of ours.
    Internal,
}

impl FailureClass {
    /// The exit code by which the Job decides whether to retry.
    pub fn exit_code(self) -> u8 {
        match self {
            FailureClass::BadInput | FailureClass::Diverged => EXIT_BAD_INPUT,
            FailureClass::Interrupted => EXIT_INTERRUPTED,
            FailureClass::OutOfMemory | FailureClass::Storage | FailureClass::Internal => EXIT_FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_sentence_is_cut_between_characters_and_the_report_still_parses() {
        let report = Report::Failed(Failure::new(FailureClass::Internal, "é\"\n".repeat(4000)));
        let json = report.to_json();
        assert!(json.len() <= REPORT_LIMIT, "{} bytes", json.len());
        let Report::Failed(failure) = serde_json::from_str(&json).unwrap() else {
            panic!("not a failure")
        };
        assert!(failure.message.ends_with('…'));
    }

    #[test]
    fn what_no_status_could_hold_is_no_report() {
        let trained = |steps: &str, values: usize| {
            let values = vec!["1"; values].join(",");
            format!(
                r#"{{"outcome": "trained", "run": "r", "metrics": [], "epochs": 1, "steps": {steps}, "seconds": 1,
                "artifact": {{"uri": "u", "digest": "d", "sizeBytes": 1}}, "history": {{"loss": {{"values": [{values}]}}}}}}"#
            )
        };
        assert!(Report::parse(&trained("9223372036854775807", 64)).is_ok());
        assert!(Report::parse(&trained("9223372036854775808", 64)).is_err());
        assert!(Report::parse(&trained("1", 65)).is_err());
        assert!(Report::parse("{").is_err());
    }

    #[test]
    fn a_long_uri_of_a_checkpoint_does_not_cost_the_report() {
        let mut failure = Failure::new(FailureClass::Interrupted, "m".repeat(MESSAGE_LIMIT));
        let mark = |length| CheckpointMark {
            step: 1,
            epoch: 0,
            time: 0,
            uri: "u".repeat(length),
        };
        for (length, kept) in [(100, true), (2048, false)] {
            failure.work = Some(Box::new(Work {
                last_checkpoint: Some(mark(length)),
                ..Work::default()
            }));
            let json = Report::Failed(failure.clone()).to_json();
            assert!(json.len() <= REPORT_LIMIT, "{} bytes", json.len());
            let Report::Failed(read) = serde_json::from_str(&json).unwrap() else {
                panic!("not a failure")
            };
            assert_eq!(read.work.unwrap().last_checkpoint.is_some(), kept);
        }
    }

    #[test]
    fn a_search_of_many_trials_keeps_the_best_of_them() {
        let report = |count: u32| {
            let trial = |number| json!({"trial": number, "with": [0.000_123_45 * f64::from(number), 64], "epochs": 10, "value": 1.0 / f64::from(number)});
            let best = json!({"trial": 1, "value": 1, "parameters": {}, "trials": count});
            let trials: Vec<Value> = (1..=count).map(trial).collect();
            let search = json!({"metric": "accuracy", "best": best, "space": ["a", "b"], "trials": trials});
            let values: Vec<f64> = (0..64).map(|value| 1.234 + f64::from(value)).collect();
            let report: Report = serde_json::from_value(json!({
                "outcome": "trained", "run": "r", "metrics": [], "epochs": 1, "steps": 1, "seconds": 1.5, "search": search,
                "artifact": {"uri": "u".repeat(200), "digest": "d".repeat(71), "sizeBytes": 1},
                "history": {"loss": {"values": values}, "validationLoss": {"values": values}},
            }))
            .unwrap();
            let json = report.to_json();
            assert!(json.len() <= REPORT_LIMIT, "{} bytes", json.len());
            match Report::parse(&json).unwrap() {
                Report::Trained {
                    search: Some(search), ..
                } => search.trials,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(report(24).len(), 24, "all of an ordinary search");
        let kept: Vec<u32> = report(1000).iter().map(|trial| trial.trial).collect();
        assert!(
            kept.len() > 20 && kept == (1..=kept.len() as u32).collect::<Vec<_>>(),
            "{kept:?}"
        );
    }

    #[test]
    fn only_failures_that_a_retry_can_mend_ask_for_one() {
        assert_eq!(FailureClass::BadInput.exit_code(), 65);
        assert_eq!(FailureClass::Diverged.exit_code(), 65);
        assert_eq!(FailureClass::Interrupted.exit_code(), 75);
        assert_eq!(FailureClass::Storage.exit_code(), 1);
    }
}
