//! Brings values to one scale, channel by channel. Composed of operations whose gradients candle records: its own
//! norms drop them.

use candle_core::{D, Tensor, Var};
use sconce_contract::network::{BatchNorm, Norm};

use super::{Built, Named, Source, Stage, Start};
use crate::{EngineError, Random, plan::Planned};

/// Over the rows and points of a batch while training; by what was measured meanwhile when serving.
#[derive(Debug)]
struct Batch {
    scale: Var,
    bias: Var,
    /// Running mean and variance `[channels]`.
    mean: Var,
    variance: Var,
    momentum: f64,
    epsilon: f64,
}

pub(super) fn batch(spec: BatchNorm, source: &mut Source<'_>) -> Result<Built, EngineError> {
    Ok(Built::of(Batch {
        scale: source.var("scale", Start::One)?,
        bias: source.var("bias", Start::Zero)?,
        mean: source.var("mean", Start::Zero)?,
        variance: source.var("variance", Start::One)?,
        momentum: spec.momentum,
        epsilon: spec.epsilon,
    }))
}

/// `(x − mean) / √(variance + ε) · scale + bias`.
fn scaled(
    x: &Tensor,
    [mean, variance]: [&Tensor; 2],
    epsilon: f64,
    [scale, bias]: [&Tensor; 2],
) -> Result<Tensor, EngineError> {
    let deviation = (variance + epsilon)?.sqrt()?;
    let standard = x.broadcast_sub(mean)?.broadcast_div(&deviation)?;
    Ok(standard.broadcast_mul(scale)?.broadcast_add(bias)?)
}

impl Stage for Batch {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        let [scale, bias, mean, variance] =
            [&self.scale, &self.bias, &self.mean, &self.variance].map(Var::as_detached_tensor);
        scaled(x, [&mean, &variance], self.epsilon, [&scale, &bias])
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        let flat = x.reshape(((), x.dim(D::Minus1)?))?;
        let mean = flat.mean_keepdim(0)?;
        let variance = flat.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?;
        for (running, measured) in [(&self.mean, &mean), (&self.variance, &variance)] {
            let kept = (running.as_detached_tensor() * self.momentum)?;
            let new = (measured.detach().squeeze(0)? * (1.0 - self.momentum))?;
            running.set(&(kept + new)?)?;
        }
        let learned = [self.scale.as_tensor(), self.bias.as_tensor()];
        Ok(scaled(&flat, [&mean, &variance], self.epsilon, learned)?.reshape(x.shape())?)
    }

    fn parameters(&self) -> Named<'_> {
        vec![("scale", &self.scale), ("bias", &self.bias)]
    }

    fn measured(&self) -> Named<'_> {
        vec![("mean", &self.mean), ("variance", &self.variance)]
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Batch {
            learned: [("scale", self.scale.as_tensor()), ("bias", self.bias.as_tensor())],
            measured: [self.mean.as_tensor(), self.variance.as_tensor()],
            momentum: self.momentum,
            epsilon: self.epsilon,
        })
    }
}

/// Over the channels of each point.
#[derive(Debug)]
pub(super) struct Point {
    names: [&'static str; 2],
    scale: Var,
    /// Where the mean is taken off too.
    bias: Option<Var>,
    epsilon: f64,
}

pub(super) fn layer(spec: Norm, source: &mut Source<'_>) -> Result<Built, EngineError> {
    Ok(Built::of(Point::new(["scale", "bias"], spec, source)?))
}

pub(super) fn rms(spec: Norm, source: &mut Source<'_>) -> Result<Built, EngineError> {
    Ok(Built::of(Point {
        names: ["scale", "bias"],
        scale: source.var("scale", Start::One)?,
        bias: None,
        epsilon: spec.epsilon,
    }))
}

impl Point {
    /// With a mean that is learned.
    pub(super) fn new(
        names: [&'static str; 2],
        spec: Norm,
        source: &mut Source<'_>,
    ) -> Result<Self, EngineError> {
        Ok(Point {
            names,
            scale: source.var(names[0], Start::One)?,
            bias: Some(source.var(names[1], Start::Zero)?),
            epsilon: spec.epsilon,
        })
    }

    /// `of` reads what is learned, with a record for gradients or without.
    pub(super) fn apply(&self, x: &Tensor, of: impl Fn(&Var) -> Tensor) -> Result<Tensor, EngineError> {
        let scale = of(&self.scale);
        match &self.bias {
            Some(bias) => {
                let mean = x.mean_keepdim(D::Minus1)?;
                let variance = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim(D::Minus1)?;
                scaled(x, [&mean, &variance], self.epsilon, [&scale, &of(bias)])
            }
            None => {
                let root = (x.sqr()?.mean_keepdim(D::Minus1)? + self.epsilon)?.sqrt()?;
                Ok(x.broadcast_div(&root)?.broadcast_mul(&scale)?)
            }
        }
    }
}

impl Stage for Point {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        self.apply(x, Var::as_detached_tensor)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        self.apply(x, |var| var.as_tensor().clone())
    }

    fn parameters(&self) -> Named<'_> {
        let bias = self.bias.as_ref().map(|bias| (self.names[1], bias));
        std::iter::once((self.names[0], &self.scale))
            .chain(bias)
            .collect()
    }

    fn planned(&self) -> Option<Planned<'_>> {
        let bias = self.bias.as_ref();
        Some(Planned::Norm {
            scale: (self.names[0], self.scale.as_tensor()),
            bias: bias.map(|bias| (self.names[1], bias.as_tensor())),
            epsilon: self.epsilon,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::gradient_check::layer;

    #[test]
    fn gradient_norms() {
        for norm in [
            json!({"batchNorm": {"epsilon": 0.01}}),
            json!({"layerNorm": {"epsilon": 0.01}}),
            json!({"rmsNorm": {"epsilon": 0.01}}),
        ] {
            layer(&norm, &json!(5), 4);
            layer(&norm, &json!({"length": 3, "channels": 4}), 3);
            layer(&norm, &json!({"height": 2, "width": 3, "channels": 4}), 2);
        }
    }
}
