//! `f(x · W + b)`.

use std::ops::Range;

use super::{
    after::After,
    product::{Matrix, multiply},
    stage::{Compute, Gradient, Known, Pass},
};

/// A fully connected layer: `W` `[inputs, units]` and `b` `[units]`, by their places among the weights.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    pub(super) inputs: usize,
    pub(super) weight: Range<usize>,
    pub(super) after: After,
}

impl Compute for Dense {
    fn fit(&mut self, rows: usize) {
        self.after.fit(rows);
    }

    fn forward(&mut self, pass: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        let x = Matrix::new(x, pass.rows, self.inputs);
        let weight = Matrix::new(
            &pass.weights[self.weight.clone()],
            self.inputs,
            self.after.units(),
        );
        multiply(output, false, x, weight, pass.threads);
        self.after.forward(pass.weights, output);
    }

    fn backward(
        &mut self,
        pass: &Pass<'_>,
        known: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        gradient: &mut Gradient<'_>,
    ) {
        let (rows, units) = (pass.rows, self.after.units());
        self.after.backward(known.output, slope, gradient);
        let x = Matrix::new(known.x, rows, self.inputs);
        let slope = Matrix::new(slope, rows, units);
        let place = &mut gradient.values[self.weight.clone()];
        multiply(place, !gradient.fresh, x.transposed(), slope, pass.threads);
        if let Some(back) = back {
            let weight = Matrix::new(&pass.weights[self.weight.clone()], self.inputs, units);
            multiply(back, false, slope, weight.transposed(), pass.threads);
        }
    }
}
