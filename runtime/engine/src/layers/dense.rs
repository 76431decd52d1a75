//! A fully connected layer: `x · W + b`, then its activation as a stage of its own.

use candle_core::{Tensor, Var};
use sconce_contract::{Activation, Dense};

use super::{Built, Named, Source, Stage, Start, affine::affine, source::narrow};
use crate::{EngineError, Random, plan::Planned};

/// `x · W + b` with `W` `[inputs, units]` and `b` `[units]`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Var,
    bias: Var,
}

pub(super) fn build(dense: Dense, source: &mut Source<'_>) -> Result<Built, EngineError> {
    let [inputs, units] = [source.input(), source.output()].map(|shape| narrow(shape.values()));
    let start = Start::Uniform {
        limit: limit(dense.activation, inputs, units),
    };
    let linear = Linear {
        weight: source.var("weight", start)?,
        bias: source.var("bias", Start::Zero)?,
    };
    Ok(Built::activated(linear, dense.activation))
}

/// Half the width of the interval that weights start in. Variance 2/inputs keeps the scale of values through
/// functions that cut about half of them (He et al. 2015), 2/(inputs + units) through the others (Glorot and
/// Bengio 2010); a uniform number below `limit` has variance limit²/3.
pub(super) fn limit(activation: Activation, inputs: usize, units: usize) -> f64 {
    let fan = match activation {
        Activation::ReLU | Activation::GELU => inputs,
        Activation::Linear | Activation::Sigmoid | Activation::Tanh | Activation::Softmax => inputs + units,
    };
    (6.0 / fan.max(1) as f64).sqrt()
}

impl Stage for Linear {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        affine(
            x,
            &self.weight.as_detached_tensor(),
            &self.bias.as_detached_tensor(),
        )
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        affine(x, self.weight.as_tensor(), self.bias.as_tensor())
    }

    fn parameters(&self) -> Named<'_> {
        vec![("weight", &self.weight), ("bias", &self.bias)]
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Affine {
            weight: self.weight.as_tensor(),
            bias: self.bias.as_tensor(),
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::{Purpose, gradient_check::check};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let x = [0.3, -1.2, 2.0, -0.4, 0.9, -2.5];
        let weight = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6];
        let bias = [0.7, -0.8];
        let tensor =
            |values: &[f64], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        let run = |x: &Tensor, weight: &Tensor, bias: &Tensor| {
            // A Var made from a Var's tensor would be another leaf; so the stage is taken apart here.
            let random = &mut Random::new(0, Purpose::Dropout, 0);
            let linear = Linear {
                weight: Var::from_tensor(weight).unwrap(),
                bias: Var::from_tensor(bias).unwrap(),
            };
            (linear.train(x, random).unwrap(), linear)
        };
        check("x", &x, &[2, 3], |x| {
            Ok(run(x, &tensor(&weight, &[3, 2]), &tensor(&bias, &[2])).0)
        });
        crate::gradient_check::check_parameters("dense", &[(&weight, &[3, 2]), (&bias, &[2])], |values| {
            let (y, linear) = run(&tensor(&x, &[2, 3]), &values[0], &values[1]);
            Ok((y, vec![linear.weight, linear.bias]))
        });
    }

    #[test]
    fn weights_start_within_the_limit_of_their_activation() {
        assert!((limit(Activation::ReLU, 6, 100) - 1.0).abs() < 1e-12);
        assert!((limit(Activation::Tanh, 3, 3) - 1.0).abs() < 1e-12);
    }
}
