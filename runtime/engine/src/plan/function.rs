//! A function that stands by itself, not behind a product.

use sconce_contract::Activation;

use super::{
    activation,
    stage::{Compute, Gradient, Known, Pass},
};

/// An activation over points of so many units.
#[derive(Clone, Debug)]
pub(super) struct Function {
    activation: Activation,
    /// What a bias would learn; nobody asks.
    unasked: Vec<f32>,
}

impl Function {
    pub(super) fn new(activation: Activation, units: usize) -> Self {
        Function {
            activation,
            unasked: vec![0.0; units],
        }
    }
}

impl Compute for Function {
    fn forward(&mut self, _: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        output.copy_from_slice(x);
        activation::apply(self.activation, self.unasked.len(), output);
    }

    fn backward(
        &mut self,
        _: &Pass<'_>,
        known: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        _: &mut Gradient<'_>,
    ) {
        let Some(back) = back else { return };
        activation::derive(self.activation, known.output, known.x, slope, &mut self.unasked);
        back.copy_from_slice(slope);
    }
}
