//! Functions applied to the outputs of a layer.
//!
//! All are built from operations whose gradients candle records; its fused ones (`softmax_last_dim` and the
//! like) drop the gradient without an error.

use candle_core::{D, Tensor};
use sconce_contract::Activation;

use super::{Stage, relu::relu};
use crate::{EngineError, Random, plan::Planned};

/// Applies the function to `[rows, units]`; the shape stays. Gradients are recorded where the input's are.
pub fn activate(activation: Activation, x: &Tensor) -> Result<Tensor, EngineError> {
    Ok(match activation {
        Activation::Linear => x.clone(),
        Activation::ReLU => relu(x)?,
        Activation::Sigmoid => {
            // 1 / (1 + e^−x), where e^−x has to stay finite in F32, or its slope of 0 · ∞ is NaN. Below −88 it is that
            // of −88, 6e-39: of no matter, in F64 neither. By a choice and not by `maximum`: NaN is not less than
            // anything and stays on every device, where greater and less of NaN are each device's own affair.
            let least = (x.zeros_like()? - 88.0)?;
            let near = x.detach().lt(&least)?.where_cond(&least, x)?;
            (near.neg()?.exp()? + 1.0)?.recip()?
        }
        Activation::Tanh => x.tanh()?,
        Activation::Softmax => {
            // Taking the greatest value off leaves the result as it is and keeps e^x finite.
            let shifted = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
            let exponentials = shifted.exp()?;
            exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)?
        }
        Activation::GELU => x.gelu_erf()?,
    })
}

#[derive(Debug)]
pub(super) struct Activate(pub(super) Activation);

impl Stage for Activate {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        activate(self.0, x)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        activate(self.0, x)
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Activation(self.0))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::gradient_check::check;

    const ALL: [Activation; 6] = [
        Activation::Linear,
        Activation::ReLU,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softmax,
        Activation::GELU,
    ];

    fn apply(activation: Activation, values: &[f32]) -> Vec<f32> {
        let x = Tensor::from_slice(values, (1, values.len()), &Device::Cpu).unwrap();
        activate(activation, &x)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    }

    /// Values by the formulas in double precision.
    #[test]
    fn values_are_those_of_the_formulas() {
        for (activation, expected) in [
            (Activation::Linear, [-2.0, 0.0, 1.5]),
            (Activation::ReLU, [0.0, 0.0, 1.5]),
            (Activation::Sigmoid, [0.119_202_92, 0.5, 0.817_574_5]),
            (Activation::Tanh, [-0.964_027_6, 0.0, 0.905_148_3]),
            (Activation::Softmax, [0.024_093_8, 0.178_030_2, 0.797_876]),
            (Activation::GELU, [-0.045_500_26, 0.0, 1.399_789_2]),
        ] {
            let found = apply(activation, &[-2.0, 0.0, 1.5]);
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{activation:?}: {found} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn relu_has_no_slope_at_zero_and_passes_nan_on() {
        let x = candle_core::Var::from_slice(&[0f32, 1.0, -1.0], 3, &Device::Cpu).unwrap();
        let y = activate(Activation::ReLU, x.as_tensor()).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let gradient: Vec<f32> = gradients.get(x.as_tensor()).unwrap().to_vec1().unwrap();
        assert_eq!(gradient, [0.0, 1.0, 0.0]);
        assert!(apply(Activation::ReLU, &[f32::NAN])[0].is_nan());
    }

    #[test]
    fn sigmoid_has_a_finite_slope_everywhere_and_passes_nan_on() {
        let x = candle_core::Var::from_slice(&[-1e30f32, -100.0, 0.0, 100.0], 4, &Device::Cpu).unwrap();
        let y = activate(Activation::Sigmoid, x.as_tensor()).unwrap();
        let values: Vec<f32> = y.to_vec1().unwrap();
        assert!((0.0..1e-38).contains(&values[1]), "{values:?}");
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let gradient: Vec<f32> = gradients.get(x.as_tensor()).unwrap().to_vec1().unwrap();
        assert_eq!(gradient[..3], [0.0, 0.0, 0.25]);
        assert!((0.0..1e-38).contains(&gradient[3]), "{gradient:?}");
        assert!(apply(Activation::Sigmoid, &[f32::NAN])[0].is_nan());
    }

    #[test]
    fn extreme_values_give_no_nan() {
        for activation in ALL {
            let found = apply(activation, &[-1e30, -1e4, 0.0, 1e4, 1e30]);
            assert!(
                found.iter().all(|value| value.is_finite()),
                "{activation:?}: {found:?}"
            );
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for activation in ALL {
            let x = [0.3, -1.2, 2.0, -0.4, 0.9, -2.5];
            check(&format!("{activation:?}"), &x, &[2, 3], |x| {
                activate(activation, x)
            });
        }
    }
}
