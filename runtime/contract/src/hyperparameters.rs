//! How a model learns.

mod check;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validation::rules;

/// How a model learns: how long, in what steps, towards what.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.huberDelta) || (has(self.loss) && self.loss == 'Huber')", "huberDelta works with loss Huber only"),
    ("!has(self.huberDelta) || self.huberDelta > 0.0", "huberDelta must be above 0"),
    ("!has(self.labelSmoothing) || !has(self.loss) || self.loss == 'CrossEntropy'", "labelSmoothing works with loss CrossEntropy only"),
    ("!has(self.labelSmoothing) || (self.labelSmoothing >= 0.0 && self.labelSmoothing < 1.0)", "labelSmoothing must be at least 0 and below 1"),
    ("!has(self.classWeights) || !has(self.loss) || self.loss in ['CrossEntropy', 'BinaryCrossEntropy']", "classWeights works with loss CrossEntropy or BinaryCrossEntropy only"),
    ("!has(self.clipNorm) || self.clipNorm > 0.0", "clipNorm must be above 0"),
])))]
pub struct Hyperparameters {
    /// Number of passes over the training rows (1 to 100000).
    #[schemars(range(min = 1, max = 100_000))]
    pub epochs: u32,
    /// Rows per step (1 to 1048576). The last step of an epoch takes what is left.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch_size: u32,
    /// Seed of weights, order and dropout: the same seed, data and thread count give the same bits.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub seed: u64,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// How the learning rate changes from epoch to epoch.
    pub schedule: Schedule,
    /// What is minimised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Loss Huber only: error up to which the loss is quadratic, in the unit of the target, above 0. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huber_delta: Option<f64>,
    /// Loss CrossEntropy only: share of the target spread over all classes, at least 0 and below 1. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_smoothing: Option<f64>,
    /// For a target of classes: how much a row of each class counts in the loss that is learned from. All the same
    /// when absent. The losses that are told of validation and test rows count them so too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// What is added to the loss for the size of weights; not in the losses that are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regularization: Option<Regularization>,
    /// Greatest length (Euclidean) of the gradient of all weights, above 0: a longer one is shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Batches whose mean gradient makes one step (1 to 1024). Default 1.
    #[schemars(range(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accumulate_batches: Option<u32>,
    /// Ends early when the loss on validation rows, which it needs, no longer falls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
}

impl Hyperparameters {
    /// Rows that one step learns from.
    pub fn rows_per_step(&self) -> u64 {
        u64::from(self.batch_size.max(1)) * u64::from(self.accumulate_batches.unwrap_or(1).max(1))
    }
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
            huber_delta: None,
            label_smoothing: None,
            class_weights: None,
            regularization: None,
            clip_norm: None,
            accumulate_batches: None,
            early_stopping: None,
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
    ("!has(self.nesterov) || has(self.momentum)", "optimizer.nesterov works with momentum only"),
    ("!has(self.weightDecay) || self.type in ['AdamW', 'Lion']", "optimizer.weightDecay works with type AdamW or Lion only"),
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
    /// SGD with momentum only: Nesterov's, which looks ahead. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
    /// AdamW and Lion only: share of each weight taken off per step, times the learning rate. Default 0.01, of Lion 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer {
            kind: OptimizerType::Adam,
            learning_rate: 0.001,
            momentum: None,
            nesterov: None,
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
    /// Gradient over the root of its running mean square (Tieleman and Hinton 2012), ρ 0.9, ε 1e−7.
    #[serde(rename = "RMSprop")]
    RmsProp,
    /// Gradient over the root of the sum of its squares (Duchi et al. 2011), ε 1e−10.
    Adagrad,
    /// Sign of an average of gradients (Chen et al. 2023), β₁ 0.9, β₂ 0.99: a tenth of Adam's learning rate suits.
    Lion,
}

/// How the learning rate changes. `t` counts finished epochs, `s` finished steps of `S`; both begin after the
/// warm-up, where there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("(self.type == 'InverseTime') == has(self.decay)", "schedule.decay is required with type InverseTime and works with no other"),
    ("!has(self.decay) || self.decay >= 0.0", "schedule.decay must be at least 0"),
    ("(self.type in ['Exponential', 'Step']) == has(self.factor)", "schedule.factor is required with type Exponential or Step and works with no other"),
    ("!has(self.factor) || (self.factor > 0.0 && self.factor <= 1.0)", "schedule.factor must be above 0 and at most 1"),
    ("(self.type == 'Step') == has(self.everyEpochs)", "schedule.everyEpochs is required with type Step and works with no other"),
    ("!has(self.finalLearningRate) || self.type in ['Cosine', 'Linear']", "schedule.finalLearningRate works with type Cosine or Linear only"),
    ("!has(self.finalLearningRate) || self.finalLearningRate >= 0.0", "schedule.finalLearningRate must be at least 0"),
    ("!has(self.warmupEpochs) || self.type != 'OneCycle'", "schedule.warmupEpochs does not work with type OneCycle, which warms up by itself"),
])))]
pub struct Schedule {
    /// The rule.
    #[serde(rename = "type")]
    pub kind: ScheduleType,
    /// InverseTime only: β, at least 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// Exponential and Step only: γ, above 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Step only: epochs from one fall to the next (1 to 100000).
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_epochs: Option<u32>,
    /// Cosine and Linear only: the learning rate ω that is reached at the end, at least 0. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_learning_rate: Option<f64>,
    /// Epochs in which the learning rate rises evenly to α before the rule begins (1 to 100000).
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_epochs: Option<u32>,
}

/// Rule by which the learning rate changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScheduleType {
    /// α throughout.
    #[default]
    Constant,
    /// `α / (1 + β·t)`, where t counts finished epochs.
    InverseTime,
    /// `α · γᵗ`.
    Exponential,
    /// `α · γ^⌊t / everyEpochs⌋`.
    Step,
    /// `ω + ½ · (α − ω) · (1 + cos(π · s / S))` (Loshchilov and Hutter 2017, without restarts).
    Cosine,
    /// `α + (ω − α) · s / S`.
    Linear,
    /// From α/25 up to α in the first 30 % of the steps, then down to α/250000, both along a cosine (Smith and Topin
    /// 2018).
    OneCycle,
}

/// How much a row counts by its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClassWeights {
    /// Each class as much as any other, however many training rows it has: `rows / (classes · rows of the class)`.
    Balanced,
}

/// Penalties for the size of the layers' weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.l1) || has(self.l2)", "regularization needs l1, l2 or both"),
    ("!has(self.l1) || self.l1 >= 0.0", "regularization.l1 must be at least 0"),
    ("!has(self.l2) || self.l2 >= 0.0", "regularization.l2 must be at least 0"),
])))]
pub struct Regularization {
    /// Adds `l1 · Σ |w|`, at least 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l1: Option<f64>,
    /// Adds `l2 · Σ w²`, at least 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<f64>,
}

/// When to end before the last epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.minDelta >= 0.0", "earlyStopping.minDelta must be at least 0"),
])))]
pub struct EarlyStopping {
    /// Epochs in a row that may pass without a better loss on the validation rows (1 to 100000). Default 5.
    #[schemars(range(min = 1, max = 100_000))]
    pub patience: u32,
    /// How far a loss must fall below the best one so far to be better, at least 0. Default 0.
    pub min_delta: f64,
    /// Whether the weights are those of the epoch with the best loss, not the last. Default true.
    pub restore_best: bool,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        EarlyStopping {
            patience: 5,
            min_delta: 0.0,
            restore_best: true,
        }
    }
}

/// What is minimised. Absent: inferred from the last layer and the target (docs/train.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Loss {
    /// Mean of `(y − ŷ)²`, for numbers.
    MeanSquaredError,
    /// Mean of `|y − ŷ|`, for numbers: a few that are far off count less.
    MeanAbsoluteError,
    /// `½·e²` for an error e of at most δ (huberDelta), `δ·(|e| − ½·δ)` beyond (Huber 1964), for numbers.
    Huber,
    /// `−y·ln ŷ − (1−y)·ln(1−ŷ)`, for a target of two classes and a last layer of one unit.
    BinaryCrossEntropy,
    /// `−ln ŷ[class]`, for a target of classes and a last layer of one unit per class.
    CrossEntropy,
}
