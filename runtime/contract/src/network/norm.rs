//! Layers that bring values to one scale.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape::{LayerSpec, Misfit, Outline, Shape, within};

/// Brings each channel to mean 0 and variance 1 over the batch (Ioffe and Szegedy 2015).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchNorm {
    /// Share of the measured mean and variance that stays with each batch (0 to 0.999).
    #[schemars(range(min = 0.0, max = 0.999))]
    #[serde(default = "momentum")]
    pub momentum: f64,
    /// Added to the variance (1e-9 to 1).
    #[schemars(range(min = 1e-9, max = 1.0))]
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

fn momentum() -> f64 {
    0.9
}

fn epsilon() -> f64 {
    1e-5
}

fn small(value: f64) -> Result<(), Misfit> {
    within("epsilon", value, 1e-9..=1.0)
}

impl LayerSpec for BatchNorm {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        within("momentum", self.momentum, 0.0..=0.999)?;
        small(self.epsilon)?;
        let channels = [input.channels()];
        Ok(Outline::new(input, input)?
            .weight("scale", &channels)
            .weight("bias", &channels)
            .weight("mean", &channels)
            .weight("variance", &channels))
    }
}

/// Brings the channels of each point to one scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Norm {
    /// Added to the variance or mean square (1e-9 to 1).
    #[schemars(range(min = 1e-9, max = 1.0))]
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

/// To mean 0 and variance 1 (Ba, Kiros and Hinton 2016).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LayerNorm(pub Norm);

impl LayerSpec for LayerNorm {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        small(self.0.epsilon)?;
        let channels = [input.channels()];
        Ok(Outline::new(input, input)?
            .weight("scale", &channels)
            .weight("bias", &channels))
    }
}

/// To mean square 1 (Zhang and Sennrich 2019).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RmsNorm(pub Norm);

impl LayerSpec for RmsNorm {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        small(self.0.epsilon)?;
        Ok(Outline::new(input, input)?.weight("scale", &[input.channels()]))
    }
}
