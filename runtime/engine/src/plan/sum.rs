//! Adds what went into an earlier stage.

use super::{
    add,
    stage::{Compute, Gradient, Known, Pass},
};

/// The sum of what comes in and what went into another stage; the lane brings that.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    /// Which stage of the plan.
    pub(super) begin: usize,
    width: usize,
    /// The derivative by the sum, until the way back has come to that stage, `[rows, width]`.
    slope: Vec<f32>,
}

impl Sum {
    pub(super) fn new(begin: usize, width: usize) -> Self {
        Sum {
            begin,
            width,
            slope: Vec::new(),
        }
    }

    /// Adds the derivative by what went into that stage.
    pub(super) fn hand_back(&self, slope: &mut [f32]) {
        add(slope, &self.slope);
    }
}

impl Compute for Sum {
    fn fit(&mut self, rows: usize) {
        self.slope.resize(rows * self.width, 0.0);
    }

    fn forward(&mut self, _: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        output.copy_from_slice(x);
    }

    fn backward(
        &mut self,
        _: &Pass<'_>,
        _: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        _: &mut Gradient<'_>,
    ) {
        let Some(back) = back else { return };
        back.copy_from_slice(slope);
        self.slope[..slope.len()].copy_from_slice(slope);
    }
}
