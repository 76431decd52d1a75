//! The stages of a network: what is computed between its input and its output.

mod activation;
mod affine;
mod attention;
mod by_hand;
mod cells;
mod convolution;
mod dense;
pub(crate) mod dropout;
mod embedding;
mod flatten;
mod norm;
mod pool;
mod recurrent;
mod relu;
mod residual;
mod source;
pub(crate) mod windows;

use candle_core::{Tensor, Var};
use sconce_contract::{Activation, LayerKind};

use activation::Activate;
pub use activation::activate;
pub(crate) use source::{Source, Start, Weights, narrow};

use crate::{EngineError, Random, plan::Planned};

/// Tensors by their names within a layer.
pub(crate) type Named<'a> = Vec<(&'static str, &'a Var)>;

/// One thing that happens to `[rows, …]`. A layer of the spec is one stage or more.
pub(crate) trait Stage: std::fmt::Debug + Send + Sync {
    /// `[rows, …]` → `[rows, …]`, without a record for gradients.
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError>;

    /// The same while training: with a record for gradients, and with what happens in training only.
    fn train(&self, x: &Tensor, random: &mut Random) -> Result<Tensor, EngineError>;

    /// What is learned, by its name within the layer.
    fn parameters(&self) -> Named<'_> {
        Vec::new()
    }

    /// What is measured while training and used when serving, by its name within the layer.
    fn measured(&self) -> Named<'_> {
        Vec::new()
    }

    /// How a plan does the same. Nothing where it cannot: then the network is left to the graph.
    fn planned(&self) -> Option<Planned<'_>> {
        None
    }
}

/// What a layer of the spec is made of.
#[derive(Debug)]
pub(crate) struct Built {
    /// Its stages; the last one is the activation.
    pub(crate) stages: Vec<Box<dyn Stage>>,
    /// The activation of its output.
    pub(crate) activation: Activation,
}

impl Built {
    /// A stage without an activation.
    fn of(stage: impl Stage + 'static) -> Self {
        Built {
            stages: vec![Box::new(stage)],
            activation: Activation::Linear,
        }
    }

    /// A stage and its activation.
    fn activated(stage: impl Stage + 'static, activation: Activation) -> Self {
        Built {
            stages: vec![Box::new(stage), Box::new(Activate(activation))],
            activation,
        }
    }
}

/// The stages of a layer: one line per kind.
pub(crate) fn stages(kind: LayerKind<'_>, source: &mut Source<'_>) -> Result<Built, EngineError> {
    match kind {
        LayerKind::Dense(dense) => dense::build(*dense, source),
        LayerKind::Activation(function) => Ok(Built::of(Activate(*function))),
        LayerKind::Dropout(dropout) => Ok(dropout::build(*dropout)),
        LayerKind::Flatten(_) => Ok(Built::of(flatten::Flat)),
        LayerKind::Conv2d(layer) => convolution::build(&layer.0, layer.windows(source.input()), source),
        LayerKind::Conv1d(layer) => convolution::build(&layer.0, layer.windows(source.input()), source),
        LayerKind::MaxPool2d(layer) => pool::max(layer.0.over_image(source.input()), source),
        LayerKind::MaxPool1d(layer) => pool::max(layer.0.over_sequence(source.input()), source),
        LayerKind::AveragePool2d(layer) => pool::average(layer.0.over_image(source.input()), source),
        LayerKind::AveragePool1d(layer) => pool::average(layer.0.over_sequence(source.input()), source),
        LayerKind::GlobalAveragePool(_) => Ok(pool::everywhere(source)),
        LayerKind::BatchNorm(spec) => norm::batch(*spec, source),
        LayerKind::LayerNorm(spec) => norm::layer(spec.0, source),
        LayerKind::RmsNorm(spec) => norm::rms(spec.0, source),
        LayerKind::Embedding(spec) => embedding::build(*spec, source),
        LayerKind::PositionEmbedding(spec) => embedding::places(*spec, source),
        LayerKind::Lstm(spec) => recurrent::build(cells::Cell::Lstm, spec.0, source),
        LayerKind::Gru(spec) => recurrent::build(cells::Cell::Gru, spec.0, source),
        LayerKind::Attention(spec) => attention::build(*spec, source),
        LayerKind::TransformerBlock(spec) => attention::block(*spec, source),
        LayerKind::Residual(_) => Ok(Built::of(residual::Sum)),
    }
}
