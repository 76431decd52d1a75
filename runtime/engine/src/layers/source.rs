//! What a layer is built from.

use std::ops::Range;

use candle_core::{Tensor, Var};
use sconce_contract::network::{Misfit, Outline, Shape};

use crate::EngineError;

/// Tensors that layers start from.
pub(crate) trait Weights {
    /// The tensor `<layer>.<name>` of this shape. `stream` is a number that no other layer of the network has.
    fn take(
        &mut self,
        name: String,
        stream: u64,
        shape: &[usize],
        start: Start,
    ) -> Result<Tensor, EngineError>;
}

/// Where a tensor starts when it is not loaded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Start {
    /// All zero.
    Zero,
    /// All one.
    One,
    /// All zero but for these, which are one.
    OneWithin(Range<usize>),
    /// Uniform between −limit and limit.
    Uniform {
        /// The limit.
        limit: f64,
    },
}

/// Where one layer's tensors come from, and what a row is before and after it.
pub(crate) struct Source<'a> {
    weights: &'a mut dyn Weights,
    outline: &'a Outline,
    /// `layers.3.`
    prefix: String,
    /// `model.network.layers[3].conv2d`
    field: String,
    stream: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn new(
        weights: &'a mut dyn Weights,
        outline: &'a Outline,
        prefix: String,
        field: String,
        stream: u64,
    ) -> Self {
        Source {
            weights,
            outline,
            prefix,
            field,
            stream,
        }
    }

    /// What a row is before the layer.
    pub(crate) fn input(&self) -> Shape {
        self.outline.input
    }

    /// What a row is after it.
    pub(crate) fn output(&self) -> Shape {
        self.outline.output
    }

    /// A tensor that its outline names.
    pub(crate) fn tensor(&mut self, name: &'static str, start: Start) -> Result<Tensor, EngineError> {
        let found = self.outline.weights.iter().find(|weight| weight.name == name);
        let Some(weight) = found else {
            return Err(self.misfit(Misfit::new("", format!("its outline has no tensor {name}"))));
        };
        let shape: Vec<usize> = weight.shape.iter().map(|&dim| narrow(dim)).collect();
        self.weights
            .take(format!("{}{name}", self.prefix), self.stream, &shape, start)
    }

    /// The same as something that is learned.
    pub(crate) fn var(&mut self, name: &'static str, start: Start) -> Result<Var, EngineError> {
        Ok(Var::from_tensor(&self.tensor(name, start)?)?)
    }

    /// Path of one of the layer's fields in the spec.
    pub(crate) fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.field)
    }

    /// The error that something in the layer does not fit.
    pub(crate) fn misfit(&self, misfit: Misfit) -> EngineError {
        misfit.within(&self.field).into()
    }
}

/// A length in memory. What is longer than memory is refused where the memory is asked for.
pub(crate) fn narrow(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
