//! What a trained model is measured by, and what it must reach.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validation::rules;

/// What the trained model is measured by on the held-out rows, and what it must reach to be served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Evaluation {
    /// Metrics to compute. Default: those that fit the target (loss; accuracy and auroc for classes; mae and
    /// r2 for numbers). A metric that a gate names is computed in any case.
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
    ("has(self.min) || has(self.max)", "a gate needs min, max or both"),
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
}

/// A measure of how good predictions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricName {
    /// The loss that was minimised.
    Loss,
    /// Share of the rows whose class was predicted, 0 to 1.
    Accuracy,
    /// Area under the receiver operating characteristic, 0 to 1; with more than two classes the mean over
    /// one class against the rest.
    Auroc,
    /// Mean absolute error, in the unit of the target.
    Mae,
    /// Coefficient of determination, `1 − Σ(y−ŷ)² / Σ(y−ȳ)²`, at most 1.
    R2,
}

impl MetricName {
    /// The name as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricName::Loss => "loss",
            MetricName::Accuracy => "accuracy",
            MetricName::Auroc => "auroc",
            MetricName::Mae => "mae",
            MetricName::R2 => "r2",
        }
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
