//! Where the weights of a network come from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candle_core::{DType, Device, Tensor};

use crate::{
    EngineError, Purpose, Random,
    layers::{Start, Weights},
};

/// Random weights, each layer from a stream of its own.
pub(crate) struct Initial<'a> {
    seed: u64,
    device: &'a Device,
    streams: BTreeMap<u64, Random>,
}

impl<'a> Initial<'a> {
    pub(crate) fn new(seed: u64, device: &'a Device) -> Self {
        Initial {
            seed,
            device,
            streams: BTreeMap::new(),
        }
    }
}

impl Weights for Initial<'_> {
    fn take(&mut self, _: String, stream: u64, shape: &[usize], start: Start) -> Result<Tensor, EngineError> {
        Ok(match start {
            Start::Zero => Tensor::zeros(shape, DType::F32, self.device)?,
            Start::One => Tensor::ones(shape, DType::F32, self.device)?,
            Start::OneWithin(range) => {
                let count = shape.iter().product();
                let values: Vec<f32> = (0..count)
                    .map(|index| if range.contains(&index) { 1.0 } else { 0.0 })
                    .collect();
                Tensor::from_vec(values, shape, self.device)?
            }
            Start::Uniform { limit } => {
                let random = self
                    .streams
                    .entry(stream)
                    .or_insert_with(|| Random::new(self.seed, Purpose::Weights, stream));
                let values =
                    (0..shape.iter().product()).map(|_| ((2.0 * random.unit() - 1.0) * limit) as f32);
                Tensor::from_vec(values.collect::<Vec<f32>>(), shape, self.device)?
            }
        })
    }
}

/// Weights by name, and which of them were used.
pub(crate) struct Loaded<'a> {
    pub(crate) tensors: &'a HashMap<String, Tensor>,
    pub(crate) used: BTreeSet<String>,
    pub(crate) device: &'a Device,
}

impl Weights for Loaded<'_> {
    fn take(&mut self, name: String, _: u64, shape: &[usize], _: Start) -> Result<Tensor, EngineError> {
        let Some(tensor) = self.tensors.get(&name) else {
            return Err(EngineError::MissingWeight {
                name,
                shape: shape.into(),
            });
        };
        if tensor.dims() != shape {
            let found = tensor.shape().clone();
            return Err(EngineError::WeightShape {
                name,
                expected: shape.into(),
                found,
            });
        }
        if tensor.dtype() != DType::F32 {
            return Err(EngineError::WeightType {
                name,
                expected: DType::F32,
                found: tensor.dtype(),
            });
        }
        let tensor = tensor.to_device(self.device)?.contiguous()?;
        self.used.insert(name);
        Ok(tensor)
    }
}
