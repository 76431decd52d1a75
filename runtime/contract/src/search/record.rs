//! What became of the trials: all of it in the manifest, in short in the report and in the object's status.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Algorithm;
use crate::MetricName;

/// A search that is done, as the manifest has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchRecord {
    /// How values were chosen.
    pub algorithm: Algorithm,
    /// What the trials were compared by, on the validation rows.
    pub metric: MetricName,
    /// Number of the trial whose model this is.
    pub best: u32,
    /// All trials, in the order in which they began.
    pub trials: Vec<TrialRecord>,
}

/// A trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialRecord {
    /// Its number, from 1.
    pub trial: u32,
    /// The values that it had in the place of the spec's, by their paths.
    pub parameters: BTreeMap<String, Value>,
    /// Epochs that it was given: fewer than all where ASHA stopped it.
    pub epochs: u32,
    /// What it reached after them; absent where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A search that is done, as the report has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchReport {
    /// What the trials were compared by.
    pub metric: MetricName,
    /// The one whose model this is.
    pub best: BestTrial,
    /// Paths of the parameters, in the order of [`TrialNote::with`].
    pub space: Vec<String>,
    /// All trials in the order in which they began; where they are too many for a report, the best of them.
    pub trials: Vec<TrialNote>,
}

/// A trial in a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialNote {
    /// Its number, from 1.
    pub trial: u32,
    /// Its values.
    pub with: Vec<Value>,
    /// Epochs that it was given.
    pub epochs: u32,
    /// What it reached; absent where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// The best trial of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BestTrial {
    /// Its number, from 1.
    pub trial: u32,
    /// What it reached in the objective.
    pub value: f64,
    /// Its values, by their paths.
    #[schemars(schema_with = "any_by_path")]
    pub parameters: BTreeMap<String, Value>,
    /// Trials in all.
    pub trials: u32,
    /// Trials that failed.
    pub failed: u32,
    /// Trials that ASHA stopped before their last epoch.
    pub stopped: u32,
}

fn any_by_path(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object", "additionalProperties": {"x-kubernetes-preserve-unknown-fields": true}
    })
}

impl SearchReport {
    /// The same with half as many trials, the best ones; nothing where none is left to leave out.
    pub(crate) fn halved(&self) -> Option<Self> {
        let count = self.trials.len();
        if count == 0 {
            return None;
        }
        let mut trials = self.trials.clone();
        let goal = self.metric.goal();
        trials.sort_by(|one, other| goal.compare(one.value, other.value));
        trials.truncate(count / 2);
        trials.sort_by_key(|trial| trial.trial);
        Some(SearchReport {
            trials,
            ..self.clone()
        })
    }
}
