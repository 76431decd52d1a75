//! Where the weights of a network come from.

use std::collections::{BTreeSet, HashMap};

use candle_core::{DType, Device, Tensor};

use crate::{
    EngineError, Purpose, Random,
    layers::{Start, Weights},
    names::weight_name,
};

/// Random weights, each layer from a stream of its own.
pub(crate) struct Initial<'a> {
    pub(crate) seed: u64,
    pub(crate) device: &'a Device,
}

impl Weights for Initial<'_> {
    fn take(
        &mut self,
        layer: usize,
        _: &'static str,
        shape: &[usize],
        start: Start,
    ) -> Result<Tensor, EngineError> {
        Ok(match start {
            Start::Zero => Tensor::zeros(shape, DType::F32, self.device)?,
            Start::Uniform { limit } => {
                let mut random = Random::new(self.seed, Purpose::Weights, layer as u64);
                let values =
                    (0..shape.iter().product()).map(|_| ((2.0 * random.unit() - 1.0) * limit) as f32);
                Tensor::from_vec(values.collect::<Vec<f32>>(), shape, self.device)?
            }
        })
    }
}

/// Weights of no size, for a network that is only looked at.
pub(crate) struct Unfilled;

impl Weights for Unfilled {
    fn take(&mut self, _: usize, _: &'static str, _: &[usize], _: Start) -> Result<Tensor, EngineError> {
        Ok(Tensor::zeros(0, DType::F32, &Device::Cpu)?)
    }
}

/// Weights by name, and which of them were used.
pub(crate) struct Loaded<'a> {
    pub(crate) tensors: &'a HashMap<String, Tensor>,
    pub(crate) used: BTreeSet<String>,
    pub(crate) device: &'a Device,
}

impl Weights for Loaded<'_> {
    fn take(
        &mut self,
        layer: usize,
        name: &'static str,
        shape: &[usize],
        _: Start,
    ) -> Result<Tensor, EngineError> {
        let name = weight_name(layer, name);
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
