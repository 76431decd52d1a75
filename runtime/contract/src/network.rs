//! A feed-forward network, said in YAML.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validation::rules;

/// A feed-forward network: the layers between the features and the prediction, in order.
///
/// The input width is the number of feature columns and is not stated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.layers[self.layers.size() - 1].dense)",
     "the last layer must be dense: its units are the outputs of the model"),
])))]
pub struct Network {
    /// The layers, from the input to the output (1 to 64).
    #[schemars(length(min = 1, max = 64))]
    pub layers: Vec<Layer>,
}

/// One layer: exactly one of `dense` and `dropout`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.dense) != has(self.dropout)", "a layer has exactly one of: dense, dropout"),
])))]
pub struct Layer {
    /// A fully connected layer: `activation(x · W + b)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense: Option<Dense>,
    /// Sets a random share of the values to zero while training; does nothing when serving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<Dropout>,
}

/// A layer once it is known which of the alternatives it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LayerKind<'a> {
    /// See [`Layer::dense`].
    Dense(&'a Dense),
    /// See [`Layer::dropout`].
    Dropout(&'a Dropout),
}

impl Layer {
    /// Which layer this is, or nothing where none or more than one is given (the API server refuses that;
    /// a plan written by hand may still hold it).
    pub fn kind(&self) -> Option<LayerKind<'_>> {
        match (&self.dense, &self.dropout) {
            (Some(dense), None) => Some(LayerKind::Dense(dense)),
            (None, Some(dropout)) => Some(LayerKind::Dropout(dropout)),
            _ => None,
        }
    }

    /// A dense layer.
    pub fn dense(units: u32, activation: Activation) -> Self {
        Layer {
            dense: Some(Dense { units, activation }),
            dropout: None,
        }
    }

    /// A dropout layer.
    pub fn dropout(rate: f64) -> Self {
        Layer {
            dense: None,
            dropout: Some(Dropout { rate }),
        }
    }
}

/// A fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dense {
    /// Number of outputs (1 to 65536).
    #[schemars(range(min = 1, max = 65536))]
    pub units: u32,
    /// Function applied to each output.
    #[serde(default)]
    pub activation: Activation,
}

/// Function applied to the outputs of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Activation {
    /// The value itself.
    #[default]
    Linear,
    /// `max(0, x)`.
    ReLU,
    /// `1 / (1 + e^−x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `e^xᵢ / Σ e^xⱼ` over the units of the layer.
    Softmax,
    /// Gaussian error linear unit, `x · Φ(x)`, in its exact form by the error function.
    GELU,
}

/// A dropout layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.rate >= 0.0 && self.rate < 1.0", "dropout.rate must be at least 0 and below 1"),
])))]
pub struct Dropout {
    /// Share of the values set to zero, at least 0 and below 1.
    pub rate: f64,
}
