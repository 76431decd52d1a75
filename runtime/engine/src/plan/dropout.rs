//! Sets a share of the values to zero while learning.

use super::stage::{Compute, Gradient, Known, Pass};
use crate::layers::dropout;

/// Dropout.
#[derive(Clone, Debug)]
pub(super) struct Dropout {
    rate: f64,
    width: usize,
    /// Random numbers that the stages before it take for a row.
    drawn: usize,
    /// What each value was multiplied by, `[rows, width]`.
    mask: Vec<f32>,
}

impl Dropout {
    pub(super) fn new(rate: f64, width: usize, drawn: usize) -> Self {
        Dropout {
            rate,
            width,
            drawn,
            mask: Vec::new(),
        }
    }

    /// Whether it ever drops anything.
    pub(super) fn drops(&self) -> bool {
        self.rate > 0.0
    }
}

impl Compute for Dropout {
    fn fit(&mut self, rows: usize) {
        self.mask.resize(rows * self.width, 0.0);
    }

    fn forward(&mut self, pass: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        let mask = &mut self.mask[..output.len()];
        match pass.chance {
            Some(chance) if self.rate > 0.0 => {
                // Stage by stage for the whole batch, as the graph draws them.
                let drawn = chance.of * self.drawn + chance.row * self.width;
                dropout::fill(self.rate, &mut chance.random.ahead(drawn), mask);
                for ((output, x), mask) in output.iter_mut().zip(x).zip(mask) {
                    *output = x * *mask;
                }
            }
            _ => {
                output.copy_from_slice(x);
                mask.fill(1.0);
            }
        }
    }

    fn backward(
        &mut self,
        _: &Pass<'_>,
        _: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        _: &mut Gradient<'_>,
    ) {
        for ((back, slope), mask) in back.into_iter().flatten().zip(slope).zip(&self.mask) {
            *back = *slope * *mask;
        }
    }
}
