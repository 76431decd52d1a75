//! What follows a product: the bias and the activation.

use std::ops::Range;

use sconce_contract::Activation;

use super::{activation, stage::Gradient};

/// `f(values + b)`, row after row.
#[derive(Clone, Debug)]
pub(super) struct After {
    /// The place of `b` `[units]` among the weights.
    bias: Range<usize>,
    activation: Activation,
    /// Rows of so many units that a row of the table becomes.
    places: usize,
    /// GELU's argument, else empty.
    before: Vec<f32>,
}

impl After {
    /// Without an activation yet.
    pub(super) fn new(bias: Range<usize>, places: usize) -> Self {
        After {
            bias,
            activation: Activation::Linear,
            places,
            before: Vec::new(),
        }
    }

    /// Takes the activation of points of so many channels, where it has none; whether it could.
    pub(super) fn set(&mut self, function: Activation, channels: usize) -> bool {
        // Softmax alone minds which numbers are a point: behind a flatten they are all of a row.
        let fits = function != Activation::Softmax || channels == self.units();
        let free = self.activation == Activation::Linear && fits;
        if free {
            self.activation = function;
        }
        free
    }

    /// The place of the bias.
    pub(super) fn bias(&self) -> Range<usize> {
        self.bias.clone()
    }

    /// Numbers of a bias.
    pub(super) fn units(&self) -> usize {
        self.bias.len()
    }

    pub(super) fn fit(&mut self, rows: usize) {
        if self.activation == Activation::GELU {
            self.before.resize(rows * self.places * self.units(), 0.0);
        }
    }

    pub(super) fn forward(&mut self, weights: &[f32], output: &mut [f32]) {
        let before = self.before.len().min(output.len());
        activation::activate(
            self.activation,
            &weights[self.bias.clone()],
            output,
            &mut self.before[..before],
        );
    }

    /// `slope` becomes that by what went in, which is the product.
    pub(super) fn backward(&self, output: &[f32], slope: &mut [f32], gradient: &mut Gradient<'_>) {
        let of_bias = &mut gradient.values[self.bias()];
        if gradient.fresh {
            of_bias.fill(0.0);
        }
        self.derive(output, slope, of_bias);
    }

    /// The same, with the bias's own derivative added to these sums.
    pub(super) fn derive(&self, output: &[f32], slope: &mut [f32], of_bias: &mut [f32]) {
        activation::derive(self.activation, output, &self.before, slope, of_bias);
    }
}
