//! Pools: one number of several, channel by channel.

use candle_core::{Device, Tensor, WithDType};
use sconce_contract::network::{Misfit, Windows};

use super::{
    Built, Source, Stage,
    by_hand::{self, for_type, numbers},
    source::narrow,
    windows::Grid,
};
use crate::{EngineError, Random};

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

/// The greatest, and where in all numbers each lies.
fn look<T: WithDType>(stage: &Greatest, x: &Tensor) -> candle_core::Result<(Tensor, Vec<usize>)> {
    let grid = &stage.grid;
    let x = numbers::<T>(x)?;
    let (rows, channels) = (x.len() / grid.image(), grid.channels);
    let mut found = vec![usize::MAX; rows * grid.places() * channels];
    for row in 0..rows {
        let (from, to) = (row * grid.image(), row * grid.places() * channels);
        grid.each(|place, _, point| {
            for channel in 0..channels {
                let (best, here) = (
                    &mut found[to + place * channels + channel],
                    from + point + channel,
                );
                // NaN is greater than all, so that a training that diverges is noticed.
                let nan = |place: usize| x[place].to_f64().is_nan();
                if *best == usize::MAX || x[here] > x[*best] || (nan(here) && !nan(*best)) {
                    *best = here;
                }
            }
        });
    }
    let values: Vec<T> = found.iter().map(|&place| x[place]).collect();
    let shape = [&[rows], &*stage.output].concat();
    Ok((Tensor::from_vec(values, shape, &Device::Cpu)?, found))
}

impl Greatest {
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
        let (y, _) = for_type!(x, look(self, x))?;
        Ok(y)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        if !x.device().is_cpu() {
            return self.taken(x);
        }
        let (y, found) = for_type!(x, look(self, x))?;
        let shape = x.shape().clone();
        by_hand::one(x, y, move |gradient| {
            for_type!(gradient, scatter(&found, gradient, shape.elem_count()))?.reshape(&shape)
        })
    }
}

fn scatter<T: WithDType>(found: &[usize], gradient: &Tensor, count: usize) -> candle_core::Result<Tensor> {
    let mut back = vec![T::from_f64(0.0); count];
    for (&place, share) in found.iter().zip(numbers::<T>(gradient)?) {
        back[place] += share;
    }
    Tensor::from_vec(back, count, &Device::Cpu)
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
}

/// The mean over all points.
#[derive(Debug)]
pub(super) struct Everywhere;

impl Stage for Everywhere {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        let channels = x.dim(candle_core::D::Minus1)?;
        Ok(x.reshape((x.dim(0)?, (), channels))?.mean(1)?)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        self.infer(x)
    }
}

#[cfg(test)]
mod tests {
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
