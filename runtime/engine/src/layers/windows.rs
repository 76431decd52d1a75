//! Windows over images, `[rows, height, width, channels]`. A sequence is an image of one line.

use candle_core::{Device, Tensor, WithDType};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};
use sconce_contract::network::Windows;

use super::by_hand::{self, for_type, numbers};
use crate::EngineError;

/// The windows of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// Along the height and along the width.
    pub(super) over: [Windows; 2],
    /// Numbers of a point.
    pub(super) channels: usize,
}

impl Grid {
    /// Numbers of a row.
    pub(super) fn image(&self) -> usize {
        self.over[0].points * self.over[1].points * self.channels
    }

    /// Windows of a row.
    pub(super) fn places(&self) -> usize {
        self.over[0].count * self.over[1].count
    }

    /// Points of a window.
    pub(super) fn window(&self) -> usize {
        self.over[0].size * self.over[1].size
    }

    /// Calls with each point of each window that lies on the image: place, index within the window, and where the
    /// point's channels begin in the row.
    pub(super) fn each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let [tall, wide] = self.over;
        for place in 0..self.places() {
            let (line, column) = (place / wide.count, place % wide.count);
            for index in 0..self.window() {
                let (down, right) = (index / wide.size, index % wide.size);
                // What lies before the edge wraps around to far behind it.
                let y = (line * tall.stride + down).wrapping_sub(tall.before);
                let x = (column * wide.stride + right).wrapping_sub(wide.before);
                if y < tall.points && x < wide.points {
                    visit(place, index, (y * wide.points + x) * self.channels);
                }
            }
        }
    }

    /// `[rows, height, width, channels]` → `[rows · places, window · channels]`, zero beyond the edges. Gradients are
    /// recorded where those of `x` are.
    pub(super) fn patches(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        let y = for_type!(x, gather(self, x))?;
        if !x.track_op() {
            return Ok(y.to_device(x.device())?);
        }
        let (grid, shape) = (*self, x.shape().clone());
        by_hand::one(x, y, move |gradient| {
            for_type!(gradient, scatter(&grid, gradient))?.reshape(&shape)
        })
    }
}

fn gather<T: WithDType>(grid: &Grid, x: &Tensor) -> candle_core::Result<Tensor> {
    let x = numbers::<T>(x)?;
    let (image, channels) = (grid.image(), grid.channels);
    let patch = grid.window() * channels;
    let rows = x.len() / image;
    let mut y = vec![T::from_f64(0.0); rows * grid.places() * patch];
    y.par_chunks_mut(grid.places() * patch)
        .zip(x.par_chunks(image))
        .for_each(|(y, x)| {
            grid.each(|place, index, from| {
                let to = place * patch + index * channels;
                y[to..to + channels].copy_from_slice(&x[from..from + channels]);
            });
        });
    Tensor::from_vec(y, (rows * grid.places(), patch), &Device::Cpu)
}

fn scatter<T: WithDType>(grid: &Grid, gradient: &Tensor) -> candle_core::Result<Tensor> {
    let gradient = numbers::<T>(gradient)?;
    let (image, channels) = (grid.image(), grid.channels);
    let patch = grid.window() * channels;
    let rows = gradient.len() / (grid.places() * patch);
    let mut back = vec![T::from_f64(0.0); rows * image];
    back.par_chunks_mut(image)
        .zip(gradient.par_chunks(grid.places() * patch))
        .for_each(|(back, gradient)| {
            grid.each(|place, index, to| {
                let from = place * patch + index * channels;
                let sums = back[to..to + channels].iter_mut();
                sums.zip(&gradient[from..from + channels])
                    .for_each(|(sum, share)| *sum += *share);
            });
        });
    Tensor::from_vec(back, rows * image, &Device::Cpu)
}
