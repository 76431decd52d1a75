//! A loss with its settings, for one network.

use sconce_contract::{Activation, Hyperparameters, Loss};

use crate::metrics::Targets;

/// What is minimised.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The formula.
    pub loss: Loss,
    /// The activation of the network's last layer.
    pub last: Activation,
    /// Huber: error up to which the loss is quadratic.
    pub delta: f32,
    /// CrossEntropy: share of the target that is spread over all classes.
    pub smoothing: f32,
    /// How much a row counts by its class; empty where all count 1.
    pub class_weights: Vec<f32>,
}

impl Objective {
    /// The loss with what the hyperparameters say of it.
    pub fn new(loss: Loss, last: Activation, settings: &Hyperparameters, class_weights: Vec<f32>) -> Self {
        Objective {
            loss,
            last,
            delta: settings.huber_delta.unwrap_or(1.0) as f32,
            smoothing: settings.label_smoothing.unwrap_or(0.0) as f32,
            class_weights,
        }
    }

    /// Whether the formula takes what comes before the last activation.
    pub fn takes_logits(&self) -> bool {
        matches!(self.loss, Loss::BinaryCrossEntropy | Loss::CrossEntropy)
    }

    /// How much a row of this class counts.
    pub(crate) fn weight_of_class(&self, class: u32) -> f32 {
        self.class_weights.get(class as usize).copied().unwrap_or(1.0)
    }

    /// How much a row counts.
    pub(crate) fn weight_of(&self, targets: &Targets<'_>, row: usize) -> f32 {
        match targets {
            Targets::Classes(classes) if !self.class_weights.is_empty() => self.weight_of_class(classes[row]),
            _ => 1.0,
        }
    }
}
