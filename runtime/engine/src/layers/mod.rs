//! The stages of a network: what is computed between its input and its output.

mod activation;
mod affine;
mod dense;
pub(crate) mod dropout;
mod relu;

use candle_core::{Tensor, Var};
use sconce_contract::{Activation, Layer, LayerKind};

use activation::Activate;
pub use activation::activate;

use crate::{EngineError, Random, names::layer_field, plan::Planned};

/// One thing that happens to `[rows, inputs]`. A layer of the spec is one stage or more.
pub(crate) trait Stage: std::fmt::Debug + Send + Sync {
    /// `[rows, inputs]` → `[rows, outputs]`, without a record for gradients.
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError>;

    /// The same while training: with a record for gradients, and with what happens in training only.
    fn train(&self, x: &Tensor, random: &mut Random) -> Result<Tensor, EngineError>;

    /// What is learned, by its name within the layer.
    fn parameters(&self) -> Vec<(&'static str, &Var)> {
        Vec::new()
    }

    /// How a plan does the same. Nothing where it cannot: then the network is left to the graph.
    fn planned(&self) -> Option<Planned<'_>> {
        None
    }
}

/// Tensors that a layer starts from.
pub(crate) trait Weights {
    /// The tensor `layers.<layer>.<name>` of this shape.
    fn take(
        &mut self,
        layer: usize,
        name: &'static str,
        shape: &[usize],
        start: Start,
    ) -> Result<Tensor, EngineError>;
}

/// Where a tensor starts when it is not loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    /// All zero.
    Zero,
    /// Uniform between −limit and limit.
    Uniform {
        /// The limit.
        limit: f64,
    },
}

/// What a layer of the spec is made of.
pub(crate) struct Built {
    /// Its stages; the activation is left out of the last layer, so that losses see the logits.
    pub(crate) stages: Vec<Box<dyn Stage>>,
    /// Width of its output.
    pub(crate) outputs: usize,
    /// The activation of its output.
    pub(crate) activation: Activation,
}

/// The stages of a layer: one line per kind.
pub(crate) fn stages(
    layer: &Layer,
    index: usize,
    inputs: usize,
    weights: &mut dyn Weights,
) -> Result<Built, EngineError> {
    match layer.kind() {
        Some(LayerKind::Dense(dense)) => dense::build(*dense, index, inputs, weights),
        Some(LayerKind::Dropout(dropout)) => dropout::build(*dropout, index, inputs),
        None => Err(EngineError::Network {
            field: layer_field(index),
            problem: "a layer has exactly one of: dense, dropout".to_owned(),
        }),
    }
}
