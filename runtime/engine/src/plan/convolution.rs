//! Convolutions: the windows as the rows of a matrix, times the filters.

use std::ops::Range;

use super::{
    after::After,
    product::{Matrix, multiply},
    stage::{Compute, Gradient, Known, Pass},
};
use crate::{layers::windows::Grid, simd::vectorised};

/// Filters `[window · channels, filters]` by their place among the weights, and the windows of a row.
#[derive(Clone, Debug)]
pub(super) struct Convolution {
    grid: Grid,
    weight: Range<usize>,
    pub(super) after: After,
    /// Each window's numbers, `[rows · places, window · channels]`; what lies beyond the edges stays 0.
    patches: Vec<f32>,
    /// The derivative by them.
    slopes: Vec<f32>,
}

impl Convolution {
    pub(super) fn new(grid: Grid, weight: Range<usize>, bias: Range<usize>) -> Self {
        Convolution {
            weight,
            after: After::new(bias, grid.places()),
            patches: Vec::new(),
            slopes: Vec::new(),
            grid,
        }
    }

    fn patch(&self) -> usize {
        self.grid.window() * self.grid.channels
    }

    /// Numbers of all windows of a row.
    pub(super) fn patches_of_row(&self) -> usize {
        self.grid.places() * self.patch()
    }
}

impl Compute for Convolution {
    fn fit(&mut self, rows: usize) {
        self.after.fit(rows);
        self.patches.resize(rows * self.patches_of_row(), 0.0);
    }

    fn forward(&mut self, pass: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        let (patch, all) = (self.patch(), self.patches_of_row());
        let rows = self
            .patches
            .chunks_exact_mut(all)
            .zip(x.chunks_exact(self.grid.image()));
        rows.for_each(|(patches, x)| gather(&self.grid, x, patches));
        let patches = Matrix::new(&self.patches, pass.rows * self.grid.places(), patch);
        let filters = Matrix::new(&pass.weights[self.weight.clone()], patch, self.after.units());
        multiply(output, false, patches, filters, pass.threads);
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
        let (patch, filters) = (self.patch(), self.after.units());
        let places = pass.rows * self.grid.places();
        self.after.backward(known.output, slope, gradient);
        let slope = Matrix::new(slope, places, filters);
        let patches = Matrix::new(&self.patches, places, patch);
        let place = &mut gradient.values[self.weight.clone()];
        multiply(place, !gradient.fresh, patches.transposed(), slope, pass.threads);
        if let Some(back) = back {
            let all = self.patches_of_row();
            self.slopes.resize(self.patches.len(), 0.0);
            let weight = Matrix::new(&pass.weights[self.weight.clone()], patch, filters);
            multiply(&mut self.slopes, false, slope, weight.transposed(), pass.threads);
            let rows = back
                .chunks_exact_mut(self.grid.image())
                .zip(self.slopes.chunks_exact(all));
            rows.for_each(|(back, slopes)| scatter(&self.grid, slopes, back));
        }
    }
}

/// The windows of a row.
fn gather(grid: &Grid, x: &[f32], patches: &mut [f32]) {
    let patch = grid.window() * grid.channels;
    vectorised(
        #[inline(always)]
        || {
            grid.each(
                #[inline(always)]
                |place, index, from, count| {
                    let to = place * patch + index * grid.channels;
                    let (to, from) = (&mut patches[to..to + count], &x[from..from + count]);
                    match count {
                        // A copy of known length is two instructions, and no call: usual kernels over one channel.
                        3 => to.copy_from_slice(&[from[0], from[1], from[2]]),
                        5 => to.copy_from_slice(&[from[0], from[1], from[2], from[3], from[4]]),
                        _ => to.copy_from_slice(from),
                    }
                },
            );
        },
    );
}

/// The sum over the windows that a number is in.
fn scatter(grid: &Grid, slopes: &[f32], back: &mut [f32]) {
    let patch = grid.window() * grid.channels;
    back.fill(0.0);
    vectorised(
        #[inline(always)]
        || {
            grid.each(
                #[inline(always)]
                |place, index, to, count| {
                    let from = place * patch + index * grid.channels;
                    let sums = back[to..to + count].iter_mut().zip(&slopes[from..from + count]);
                    sums.for_each(|(sum, slope)| *sum += slope);
                },
            );
        },
    );
}
