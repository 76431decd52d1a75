//! How a model learns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validation::rules;

/// How a model learns: how long, in what steps, towards what.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Hyperparameters {
    /// Number of passes over the training rows (1 to 100000).
    #[schemars(range(min = 1, max = 100_000))]
    pub epochs: u32,
    /// Rows per step (1 to 1048576). The last step of an epoch takes what is left.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch_size: u32,
    /// Seed of the initial weights, the order of the rows and dropout. The same seed, data and thread count
    /// give the same bits.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub seed: u64,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// How the learning rate changes from epoch to epoch.
    pub schedule: Schedule,
    /// What is minimised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Hyperparameters {
            epochs: 10,
            batch_size: 32,
            seed: 42,
            optimizer: Optimizer::default(),
            schedule: Schedule::default(),
            loss: None,
        }
    }
}

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.learningRate > 0.0", "optimizer.learningRate must be above 0"),
    ("!has(self.momentum) || self.type == 'SGD'", "optimizer.momentum works with type SGD only"),
    ("!has(self.momentum) || (self.momentum >= 0.0 && self.momentum < 1.0)", "optimizer.momentum must be at least 0 and below 1"),
    ("!has(self.weightDecay) || self.type == 'AdamW'", "optimizer.weightDecay works with type AdamW only"),
    ("!has(self.weightDecay) || self.weightDecay >= 0.0", "optimizer.weightDecay must be at least 0"),
])))]
pub struct Optimizer {
    /// The rule.
    #[serde(rename = "type")]
    pub kind: OptimizerType,
    /// Size of a step, α, above 0.
    pub learning_rate: f64,
    /// SGD only: share of the previous step that is added to this one, at least 0 and below 1. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// AdamW only: share of each weight taken off per step, times the learning rate. Default 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer {
            kind: OptimizerType::Adam,
            learning_rate: 0.001,
            momentum: None,
            weight_decay: None,
        }
    }
}

/// Rule by which a gradient becomes a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OptimizerType {
    /// Stochastic gradient descent, with momentum where it is asked for.
    #[serde(rename = "SGD")]
    Sgd,
    /// Adaptive moments (Kingma and Ba 2015), β₁ 0.9, β₂ 0.999, ε 1e−8.
    #[default]
    Adam,
    /// Adam with weight decay taken off the weights themselves (Loshchilov and Hutter 2019).
    AdamW,
}

/// How the learning rate changes. `t` counts finished epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("(self.type == 'InverseTime') == has(self.decay)", "schedule.decay is required with type InverseTime and works with no other"),
    ("!has(self.decay) || self.decay >= 0.0", "schedule.decay must be at least 0"),
])))]
pub struct Schedule {
    /// The rule.
    #[serde(rename = "type")]
    pub kind: ScheduleType,
    /// InverseTime only: β, at least 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
}

/// Rule by which the learning rate changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScheduleType {
    /// α throughout.
    #[default]
    Constant,
    /// `α / (1 + β·t)`, where t counts finished epochs.
    InverseTime,
}

/// What is minimised. Inferred from the last layer and the target when absent: a Sigmoid unit gives
/// BinaryCrossEntropy, Softmax or a target of classes CrossEntropy, everything else MeanSquaredError.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Loss {
    /// Mean of `(y − ŷ)²`, for numbers.
    MeanSquaredError,
    /// `−y·ln ŷ − (1−y)·ln(1−ŷ)`, for a target of two classes and a last layer of one unit.
    BinaryCrossEntropy,
    /// `−ln ŷ[class]`, for a target of classes and a last layer of one unit per class.
    CrossEntropy,
}
