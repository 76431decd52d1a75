//! Pools: one number of several, channel by channel.

use std::sync::OnceLock;

use candle_core::Tensor;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};
use sconce_contract::network::{Misfit, Windows};

use super::{
    Built, Source, Stage,
    by_hand::{self, Function, Real},
    source::narrow,
    windows::Grid,
};
use crate::{EngineError, Random, plan::Planned};

pub(super) fn max(
    windows: Result<[Windows; 2], Misfit>,
    source: &mut Source<'_>,
) -> Result<Built, EngineError> {
    let (grid, output) = grid(windows, source)?;
    Ok(Built::of(Greatest { grid, output }))
}

pub(super) fn average(
    windows: Result<[Windows; 2], Misfit>,
    source: &mut Source<'_>,
) -> Result<Built, EngineError> {
    let (grid, output) = grid(windows, source)?;
    Ok(Built::of(Mean { grid, output }))
}

fn grid(
    windows: Result<[Windows; 2], Misfit>,
    source: &Source<'_>,
) -> Result<(Grid, Vec<usize>), EngineError> {
    let over = windows.map_err(|misfit| source.misfit(misfit))?;
    let channels = narrow(source.input().channels());
    let output = source.output().dims().into_iter().map(narrow).collect();
    Ok((Grid { over, channels }, output))
}

/// The greatest of each window; of equals the first, so that the gradient goes one way only.
#[derive(Debug)]
struct Greatest {
    grid: Grid,
    /// Of a row that comes out.
    output: Vec<usize>,
}

/// The greatest of each window and channel, and which of its row's numbers each is.
struct Look {
    grid: Grid,
    found: OnceLock<Vec<u32>>,
}

impl Look {
    /// Numbers that come of a row.
    fn width(&self) -> usize {
        self.grid.places() * self.grid.channels
    }

    /// Looks through a row.
    fn row<T: Real>(&self, x: &[T], y: &mut [T], found: &mut [u32]) {
        let channels = self.grid.channels;
        self.grid.each(|place, _, from, count| {
            let slots = place * channels..(place + 1) * channels;
            let (y, found) = (&mut y[slots.clone()], &mut found[slots]);
            for (point, values) in x[from..from + count].chunks_exact(channels).enumerate() {
                let slots = y.iter_mut().zip(found.iter_mut()).zip(values).enumerate();
                for (channel, ((best, place), &value)) in slots {
                    // NaN is greater than all, so that a training that diverges is noticed.
                    let nan = |value: T| value.partial_cmp(&value).is_none();
                    if *place == NOWHERE || value > *best || nan(value) && !nan(*best) {
                        *best = value;
                        *place = (from + point * channels + channel) as u32;
                    }
                }
            }
        });
    }
}

/// Of no number: a row has fewer.
const NOWHERE: u32 = u32::MAX;

impl Function for Look {
    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let (image, width) = (self.grid.image(), self.width());
        let count = x.len() / image * width;
        let (mut y, mut found) = (vec![T::from_f64(0.0); count], vec![NOWHERE; count]);
        y.par_chunks_mut(width)
            .zip(found.par_chunks_mut(width))
            .zip(x.par_chunks(image))
            .for_each(|((y, found), x)| self.row(x, y, found));
        // Asked for once.
        let _ = self.found.set(found);
        y
    }

    fn backward<T: Real>(&self, gradient: &[T]) -> Vec<T> {
        let (image, width) = (self.grid.image(), self.width());
        let found = self.found.get().map(Vec::as_slice).unwrap_or_default();
        let mut back = vec![T::from_f64(0.0); gradient.len() / width * image];
        back.par_chunks_mut(image)
            .zip(gradient.par_chunks(width))
            .zip(found.par_chunks(width))
            .for_each(|((back, gradient), found)| {
                for (&place, share) in found.iter().zip(gradient) {
                    back[place as usize] += *share;
                }
            });
        back
    }
}

impl Greatest {
    fn looked(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        let shape = [&[x.dim(0)?], &*self.output].concat();
        let look = Look {
            grid: self.grid,
            found: OnceLock::new(),
        };
        by_hand::one(x, shape, look)
    }

    /// The same for a device of its own.
    fn taken(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        let windows = self.grid.windows(x)?;
        let found = windows.detach().argmax_keepdim(1)?;
        let shape = [&[x.dim(0)?], &*self.output].concat();
        Ok(windows.gather(&found, 1)?.reshape(shape)?)
    }
}

impl Stage for Greatest {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        if !x.device().is_cpu() {
            return self.taken(x);
        }
        self.looked(x)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        if !x.device().is_cpu() {
            return self.taken(x);
        }
        self.looked(x)
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Greatest(self.grid))
    }
}

/// The mean of each window.
#[derive(Debug)]
struct Mean {
    grid: Grid,
    /// Of a row that comes out.
    output: Vec<usize>,
}

impl Stage for Mean {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        let shape = [&[x.dim(0)?], &*self.output].concat();
        Ok(self.grid.windows(x)?.mean(1)?.reshape(shape)?)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        self.infer(x)
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Mean(self.grid))
    }
}

pub(super) fn everywhere(source: &Source<'_>) -> Built {
    let input = source.input();
    let [values, channels] = [input.values(), input.channels()].map(narrow);
    let points = values / channels.max(1);
    let all = Windows {
        points,
        size: points,
        stride: 1,
        before: 0,
        count: 1,
    };
    Built::of(Everywhere {
        grid: Grid {
            over: [Windows::none(), all],
            channels,
        },
    })
}

/// The mean over all points.
#[derive(Debug)]
struct Everywhere {
    /// One window with all of them.
    grid: Grid,
}

impl Stage for Everywhere {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        let channels = x.dim(candle_core::D::Minus1)?;
        Ok(x.reshape((x.dim(0)?, (), channels))?.mean(1)?)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        self.infer(x)
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Mean(self.grid))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use sconce_contract::network::Padding;
    use serde_json::json;

    use super::*;
    use crate::gradient_check::layer;

    #[test]
    fn what_is_taken_is_the_greatest() {
        let along = |points| Windows::new(points, 2, 2, Padding::Valid).unwrap();
        let stage = Greatest {
            grid: Grid {
                over: [along(4), along(6)],
                channels: 3,
            },
            output: vec![2, 3, 3],
        };
        let values: Vec<f32> = (0..2 * 72)
            .map(|index| (index * 31 % 101) as f32 - 50.0)
            .collect();
        let x = Tensor::from_vec(values, (2, 4, 6, 3), &Device::Cpu).unwrap();
        let values = |y: Tensor| y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(stage.taken(&x).unwrap()), values(stage.infer(&x).unwrap()));
    }

    #[test]
    fn gradient_pools_of_images() {
        for pool in ["maxPool2d", "averagePool2d"] {
            for (size, stride) in [(2, 2), (3, 1), (2, 3)] {
                let spec = json!({pool: {"poolSize": size, "stride": stride}});
                layer(&spec, &json!({"height": 5, "width": 4, "channels": 2}), 2);
            }
        }
    }

    #[test]
    fn gradient_pools_of_sequences() {
        for pool in ["maxPool1d", "averagePool1d"] {
            layer(
                &json!({pool: {"poolSize": 3, "stride": 2}}),
                &json!({"length": 8, "channels": 3}),
                2,
            );
        }
    }

    #[test]
    fn gradient_global_average_pool() {
        let spec = json!({"globalAveragePool": {}});
        layer(&spec, &json!({"length": 4, "channels": 3}), 2);
        layer(&spec, &json!({"height": 2, "width": 3, "channels": 2}), 2);
    }
}
