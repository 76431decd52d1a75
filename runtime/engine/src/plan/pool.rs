//! One number of several, channel by channel.

use super::stage::{Compute, Gradient, Known, Pass};
use crate::{layers::windows::Grid, simd::vectorised};

/// The greatest of each window; of equals the first.
#[derive(Clone, Debug)]
pub(super) struct Greatest {
    grid: Grid,
    /// Which point of its window each was, `[rows, places, channels]`.
    found: Vec<u32>,
}

impl Greatest {
    pub(super) fn new(grid: Grid) -> Self {
        Greatest {
            grid,
            found: Vec::new(),
        }
    }

    fn width(&self) -> usize {
        self.grid.places() * self.grid.channels
    }
}

impl Compute for Greatest {
    fn fit(&mut self, rows: usize) {
        self.found.resize(rows * self.width(), 0);
    }

    fn forward(&mut self, _: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        let (width, grid) = (self.width(), self.grid);
        let rows = x.chunks_exact(grid.image()).zip(output.chunks_exact_mut(width));
        vectorised(|| {
            for ((x, output), found) in rows.zip(self.found.chunks_exact_mut(width)) {
                row(&grid, x, output, found);
            }
        });
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
        let (width, grid, channels) = (self.width(), self.grid, self.grid.channels);
        back.fill(0.0);
        let rows = back.chunks_exact_mut(grid.image()).zip(slope.chunks_exact(width));
        vectorised(|| {
            for ((back, slope), found) in rows.zip(self.found.chunks_exact(width)) {
                grid.each(|place, index, to, count| {
                    let slots = place * channels..(place + 1) * channels;
                    let (slope, found) = (&slope[slots.clone()], &found[slots]);
                    for (point, sums) in back[to..to + count].chunks_exact_mut(channels).enumerate() {
                        let point = (index + point) as u32;
                        for ((sum, slope), found) in sums.iter_mut().zip(slope).zip(found) {
                            *sum += if *found == point { *slope } else { 0.0 };
                        }
                    }
                });
            }
        });
    }
}

#[inline(always)]
fn row(grid: &Grid, x: &[f32], output: &mut [f32], found: &mut [u32]) {
    let channels = grid.channels;
    let mut seen = usize::MAX;
    grid.each(|place, index, from, count| {
        let slots = place * channels..(place + 1) * channels;
        let (output, found) = (&mut output[slots.clone()], &mut found[slots]);
        let mut points = x[from..from + count].chunks_exact(channels).zip(index as u32..);
        if seen != place {
            seen = place;
            if let Some((values, point)) = points.next() {
                output.copy_from_slice(values);
                found.fill(point);
            }
        }
        for (values, point) in points {
            for ((best, found), &value) in output.iter_mut().zip(found.iter_mut()).zip(values) {
                // NaN is greater than all, so that a training that diverges is noticed.
                let greater = (value > *best) | (value.is_nan() & !best.is_nan());
                *best = if greater { value } else { *best };
                *found = if greater { point } else { *found };
            }
        }
    });
}

/// The mean of each window.
#[derive(Clone, Debug)]
pub(super) struct Mean {
    pub(super) grid: Grid,
}

impl Mean {
    fn width(&self) -> usize {
        self.grid.places() * self.grid.channels
    }

    fn share(&self) -> f32 {
        1.0 / self.grid.window() as f32
    }
}

impl Compute for Mean {
    fn forward(&mut self, _: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        let (grid, channels, share) = (self.grid, self.grid.channels, self.share());
        output.fill(0.0);
        let rows = x
            .chunks_exact(grid.image())
            .zip(output.chunks_exact_mut(self.width()));
        vectorised(|| {
            for (x, output) in rows {
                grid.each(|place, _, from, count| {
                    let sums = &mut output[place * channels..(place + 1) * channels];
                    for values in x[from..from + count].chunks_exact(channels) {
                        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                    }
                });
                output.iter_mut().for_each(|sum| *sum *= share);
            }
        });
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
        let (grid, channels, share) = (self.grid, self.grid.channels, self.share());
        back.fill(0.0);
        let rows = back
            .chunks_exact_mut(grid.image())
            .zip(slope.chunks_exact(self.width()));
        vectorised(|| {
            for (back, slope) in rows {
                grid.each(|place, _, to, count| {
                    let slope = &slope[place * channels..(place + 1) * channels];
                    for sums in back[to..to + count].chunks_exact_mut(channels) {
                        sums.iter_mut()
                            .zip(slope)
                            .for_each(|(sum, slope)| *sum += share * slope);
                    }
                });
            }
        });
    }
}
