//! Layers of plain numbers, and those that take any row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape::{LayerSpec, Misfit, Outline, Shape, bounded};
use crate::validation::rules;

/// A fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dense {
    /// Number of outputs (1 to 65536).
    #[schemars(range(min = 1, max = 65536))]
    pub units: u32,
    /// Function applied to each output.
    #[serde(default)]
    pub activation: Activation,
}

impl LayerSpec for Dense {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        let units = bounded("units", self.units, 1..=65_536)?;
        let inputs = input.flat()?;
        Ok(Outline::new(input, Shape::Flat(units))?
            .weight("weight", &[inputs, units])
            .weight("bias", &[units]))
    }
}

/// Function applied to the outputs of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Activation {
    /// The value itself.
    #[default]
    Linear,
    /// `max(0, x)`.
    ReLU,
    /// `1 / (1 + e^−x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `e^xᵢ / Σ e^xⱼ` over the units of the layer.
    Softmax,
    /// Gaussian error linear unit, `x · Φ(x)`, in its exact form by the error function.
    GELU,
}

impl LayerSpec for Activation {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        Outline::new(input, input)
    }
}

/// A dropout layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.rate >= 0.0 && self.rate < 1.0", "dropout.rate must be at least 0 and below 1"),
])))]
pub struct Dropout {
    /// Share of the values set to zero, at least 0 and below 1.
    pub rate: f64,
}

impl LayerSpec for Dropout {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        if !(0.0..1.0).contains(&self.rate) {
            let problem = format!("{} is not at least 0 and below 1", self.rate);
            return Err(Misfit::new("rate", problem));
        }
        // A mask and a product, as wide as what comes in.
        Outline::new(input, input)
    }
}

/// Makes the rows flat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Flatten {}

impl LayerSpec for Flatten {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        let mut outline = Outline::new(input, Shape::Flat(input.values()))?;
        outline.kept = 0;
        Ok(outline)
    }
}
