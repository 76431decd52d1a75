//! What a trained model is measured by, and what it must reach.

use std::cmp::Ordering;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validation::rules;

/// What the trained model is measured by on the held-out rows, and what it must reach to be served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Evaluation {
    /// Metrics to compute; those of gates are in any case. Default: those that fit the target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub metrics: Vec<MetricName>,
    /// Bounds that all must hold; otherwise the training ends as Rejected and nothing new is served.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["metric"]))]
    pub gates: Vec<Gate>,
}

/// A bound on a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.min) || has(self.max) || has(self.beats)", "a gate needs min, max or beats"),
    ("!has(self.beats) || self.metric != 'loss'", "a gate with beats needs a metric that does not depend on how each model was trained: logLoss, rmse or another one, not loss"),
    ("!(has(self.min) && has(self.max)) || self.min <= self.max", "a gate's min must not be above its max"),
])))]
pub struct Gate {
    /// The metric.
    pub metric: MetricName,
    /// The lowest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The highest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The model to be better than.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beats: Option<Rival>,
}

/// A model that must be worse in the metric on the same rows. Where there is none yet, the gate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rival {
    /// What the ModelDeployments that follow the training serve when its pod is made. They must serve the same.
    Incumbent,
}

/// A model that is served already, and what it reaches on the held-out rows of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Incumbent {
    /// Its digest; absent where nothing was served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What it reaches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
}

/// A measure of how good predictions are; of two classes for the second one, of more the macro mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MetricName {
    /// The loss that was minimised.
    Loss,
    /// Share of the rows whose class was predicted, 0 to 1; precision, recall and f1 by their micro mean too.
    Accuracy,
    /// Area under the receiver operating characteristic, 0 to 1; with more than two classes the mean over
    /// one class against the rest.
    Auroc,
    /// Mean absolute error, in the unit of the target.
    Mae,
    /// Coefficient of determination, `1 − Σ(y−ŷ)² / Σ(y−ȳ)²`, at most 1.
    R2,
    /// Share of the rows predicted as a class that are of it, 0 to 1; 0 where none is predicted.
    Precision,
    /// Share of the rows of a class that are predicted as it, 0 to 1.
    Recall,
    /// Harmonic mean of precision and recall, 0 to 1.
    F1,
    /// Area under the precision-recall curve as average precision, 0 to 1.
    Auprc,
    /// Mean of `−ln p` of each row's class, in nats; unlike loss without smoothing, weights and penalties.
    LogLoss,
    /// `e` to the logLoss: among how many equally likely classes the model hesitates, at least 1.
    Perplexity,
    /// Root of the mean squared error, in the unit of the target.
    Rmse,
}

/// Which of two values of a metric is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The higher.
    Maximize,
    /// The lower.
    Minimize,
}

impl Goal {
    /// The better one first; what is not known comes last.
    pub fn compare(self, one: Option<f64>, other: Option<f64>) -> Ordering {
        match (one, other, self) {
            (Some(one), Some(other), Goal::Minimize) => one.total_cmp(&other),
            (Some(one), Some(other), Goal::Maximize) => other.total_cmp(&one),
            (one, other, _) => other.is_some().cmp(&one.is_some()),
        }
    }
}

impl MetricName {
    /// The name as users write it, and which of its values are better.
    const fn about(self) -> (&'static str, Goal) {
        use Goal::{Maximize, Minimize};
        match self {
            MetricName::Loss => ("loss", Minimize),
            MetricName::Accuracy => ("accuracy", Maximize),
            MetricName::Auroc => ("auroc", Maximize),
            MetricName::Mae => ("mae", Minimize),
            MetricName::R2 => ("r2", Maximize),
            MetricName::Precision => ("precision", Maximize),
            MetricName::Recall => ("recall", Maximize),
            MetricName::F1 => ("f1", Maximize),
            MetricName::Auprc => ("auprc", Maximize),
            MetricName::LogLoss => ("logLoss", Minimize),
            MetricName::Perplexity => ("perplexity", Minimize),
            MetricName::Rmse => ("rmse", Minimize),
        }
    }

    /// The name as users write it.
    pub const fn as_str(self) -> &'static str {
        self.about().0
    }

    /// Which of its values are better.
    pub const fn goal(self) -> Goal {
        self.about().1
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A measured value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// What was measured.
    pub name: MetricName,
    /// The value.
    pub value: f64,
    /// The rows that it was measured on.
    pub split: MetricSplit,
}

/// Which rows a metric was measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricSplit {
    /// The rows that the model learned from.
    Train,
    /// The rows watched while training.
    Validation,
    /// The rows held out.
    Test,
}
