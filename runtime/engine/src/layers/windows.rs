//! Windows over images, `[rows, height, width, channels]`. A sequence is an image of one line.

use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};
use sconce_contract::network::Windows;

use super::by_hand::{self, Function, Real};
use crate::EngineError;

/// The windows of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grid {
    /// Along the height and along the width.
    pub(crate) over: [Windows; 2],
    /// Numbers of a point.
    pub(crate) channels: usize,
}

impl Grid {
    /// Numbers of a row.
    pub(crate) fn image(&self) -> usize {
        self.over[0].points * self.over[1].points * self.channels
    }

    /// Windows of a row.
    pub(crate) fn places(&self) -> usize {
        self.over[0].count * self.over[1].count
    }

    /// Points of a window.
    pub(crate) fn window(&self) -> usize {
        self.over[0].size * self.over[1].size
    }

    /// Calls with each stretch of points that lie side by side in a window and on the image: place, index of its first
    /// point within the window, where its numbers begin in the row, and how many they are.
    #[inline(always)]
    pub(crate) fn each(&self, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let [tall, wide] = self.over;
        for line in 0..tall.count {
            for column in 0..wide.count {
                let place = line * wide.count + column;
                // Counted from where the first window begins, which may be before the edge.
                let first = column * wide.stride;
                let left = first.max(wide.before);
                let right = (first + wide.size).min(wide.before + wide.points);
                for down in 0..tall.size {
                    // What lies before the edge wraps around to far behind it.
                    let y = (line * tall.stride + down).wrapping_sub(tall.before);
                    if y < tall.points && left < right {
                        let point = y * wide.points + left - wide.before;
                        let index = down * wide.size + left - first;
                        let count = (right - left) * self.channels;
                        visit(place, index, point * self.channels, count);
                    }
                }
            }
        }
    }

    /// `[rows, height, width, channels]` → `[rows · places, window · channels]`, zero beyond the edges. Gradients are
    /// recorded where those of `x` are.
    pub(super) fn patches(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        if !x.device().is_cpu() {
            return Ok(self.slices(x)?);
        }
        let patch = self.window() * self.channels;
        by_hand::one(x, (x.dim(0)? * self.places(), patch), Patches(*self))
    }
}

impl Grid {
    /// `[rows, height, width, channels]` → `[rows · places, window, channels]`.
    pub(super) fn windows(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        let shape = (x.dim(0)? * self.places(), self.window(), self.channels);
        Ok(self.patches(x)?.reshape(shape)?)
    }

    /// What [`Grid::patches`] gives, for a device of its own: each point of the windows is a slice of the image, from which
    /// every so many points are taken.
    fn slices(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let [tall, wide] = self.over;
        let rows = x.dim(0)?;
        let mut x = x.reshape((rows, tall.points, wide.points, self.channels))?;
        for (axis, over) in [(1, tall), (2, wide)] {
            // As far as the last slice reaches; what lies behind the last window is never taken.
            let reach = over.size - 1 + over.count * over.stride;
            let behind = reach.saturating_sub(over.before + over.points);
            if over.before + behind > 0 {
                x = x.pad_with_zeros(axis, over.before, behind)?;
            }
        }
        let mut slices = Vec::with_capacity(self.window());
        for point in 0..self.window() {
            let slice = x
                .narrow(1, point / wide.size, tall.count * tall.stride)?
                .narrow(2, point % wide.size, wide.count * wide.stride)?
                .contiguous()?
                .reshape(vec![
                    rows,
                    tall.count,
                    tall.stride,
                    wide.count,
                    wide.stride,
                    self.channels,
                ])?
                .narrow(2, 0, 1)?
                .narrow(4, 0, 1)?;
            slices.push(
                slice
                    .contiguous()?
                    .reshape((rows * self.places(), self.channels))?,
            );
        }
        Tensor::cat(&slices, 1)
    }
}

/// Each window's numbers, one after another.
struct Patches(Grid);

impl Patches {
    /// Numbers of all windows of a row.
    fn width(&self) -> usize {
        self.0.places() * self.0.window() * self.0.channels
    }

    /// Calls with each stretch: where it lies among the numbers of the windows, and where in the row.
    fn each(&self, mut visit: impl FnMut(Range<usize>, Range<usize>)) {
        let (grid, patch) = (&self.0, self.0.window() * self.0.channels);
        grid.each(|place, index, from, count| {
            let to = place * patch + index * grid.channels;
            visit(to..to + count, from..from + count);
        });
    }
}

impl Function for Patches {
    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let (image, width) = (self.0.image(), self.width());
        let mut y = vec![T::from_f64(0.0); x.len() / image * width];
        y.par_chunks_mut(width)
            .zip(x.par_chunks(image))
            .for_each(|(y, x)| self.each(|to, from| y[to].copy_from_slice(&x[from])));
        y
    }

    fn backward<T: Real>(&self, gradient: &[T]) -> Vec<T> {
        let (image, width) = (self.0.image(), self.width());
        let mut back = vec![T::from_f64(0.0); gradient.len() / width * image];
        back.par_chunks_mut(image)
            .zip(gradient.par_chunks(width))
            .for_each(|(back, gradient)| {
                self.each(|from, to| {
                    let sums = back[to].iter_mut().zip(&gradient[from]);
                    sums.for_each(|(sum, share)| *sum += *share);
                });
            });
        back
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use sconce_contract::network::Padding;

    use super::*;

    /// Values and gradient, by a function with another slope for each number.
    fn both(of: impl Fn(&Tensor) -> Tensor, x: &Var) -> [Vec<f32>; 2] {
        let y = of(x.as_tensor());
        let numbers = y.flatten_all().unwrap();
        let weights = Tensor::arange(0f32, y.elem_count() as f32, &Device::Cpu).unwrap();
        let gradients = numbers
            .mul(&weights)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        let gradient = gradients.get(x.as_tensor()).unwrap();
        [
            numbers.to_vec1().unwrap(),
            gradient.flatten_all().unwrap().to_vec1().unwrap(),
        ]
    }

    #[test]
    fn slices_are_the_windows_that_are_gathered() {
        for (height, width, size, stride, padding) in [
            (4, 5, 3, 1, Padding::Valid),
            (4, 5, 3, 1, Padding::Same),
            (5, 4, 2, 2, Padding::Valid),
            (5, 7, 3, 2, Padding::Same),
            (7, 8, 2, 3, Padding::Valid),
            (1, 9, 1, 4, Padding::Same),
        ] {
            let along = |points| Windows::new(points, size, stride, padding).unwrap();
            let grid = Grid {
                over: [along(height), along(width)],
                channels: 2,
            };
            let count = 3 * grid.image();
            let values: Vec<f32> = (0..count).map(|index| (index * 7 % 23) as f32 - 11.0).collect();
            let shape = (3, height as usize, width as usize, 2);
            let x = Var::from_vec(values, shape, &Device::Cpu).unwrap();
            let gathered = both(|x| grid.patches(x).unwrap(), &x);
            let sliced = both(|x| grid.slices(x).unwrap(), &x);
            assert_eq!(gathered, sliced, "{size} by {stride}, {padding:?}");
        }
    }
}
