//! Sets a random share of the values to zero while training (Srivastava et al. 2014).

use candle_core::Tensor;
use sconce_contract::{Activation, Dropout};

use super::{Built, Stage};
use crate::{EngineError, Random, names::layer_field, plan::Planned};

/// Keeps a value with probability `1 − rate` and divides it by that, so that the expectation stays.
#[derive(Debug)]
pub(super) struct Drop {
    rate: f64,
}

pub(super) fn build(dropout: Dropout, index: usize, inputs: usize) -> Result<Built, EngineError> {
    if !(0.0..1.0).contains(&dropout.rate) {
        return Err(EngineError::Network {
            field: format!("{}.dropout.rate", layer_field(index)),
            problem: format!("{} is not at least 0 and below 1", dropout.rate),
        });
    }
    Ok(Built {
        stages: vec![Box::new(Drop { rate: dropout.rate })],
        outputs: inputs,
        activation: Activation::Linear,
    })
}

impl Stage for Drop {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        Ok(x.clone())
    }

    fn train(&self, x: &Tensor, random: &mut Random) -> Result<Tensor, EngineError> {
        if self.rate == 0.0 {
            return Ok(x.clone());
        }
        let mut mask = vec![0.0; x.elem_count()];
        fill(self.rate, random, &mut mask);
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
        Ok(x.mul(&mask)?)
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Dropout(self.rate))
    }
}

/// What each value is multiplied by: 0, or what makes up for those that are.
pub(crate) fn fill(rate: f64, random: &mut Random, mask: &mut [f32]) {
    let dropped_below = (rate * 2f64.powi(32)) as u32;
    let kept = (1.0 / (1.0 - rate)) as f32;
    for factor in mask {
        *factor = if random.bits() < dropped_below { 0.0 } else { kept };
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::{Purpose, gradient_check::check};

    #[test]
    fn the_share_and_the_expectation_are_kept() {
        let x = Tensor::ones((100, 100), DType::F32, &Device::Cpu).unwrap();
        let drop = Drop { rate: 0.25 };
        let y = drop.train(&x, &mut Random::new(7, Purpose::Dropout, 0)).unwrap();
        let y: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        let zeros = y.iter().filter(|&&value| value == 0.0).count();
        assert!((2_300..2_700).contains(&zeros), "{zeros}");
        assert!(
            y.iter()
                .all(|&value| value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6)
        );
        let same = drop
            .infer(&x)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert!(same.iter().all(|&value| value == 1.0));
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        check("dropout", &[0.3, -1.2, 2.0, -0.4, 0.9, -2.5], &[2, 3], |x| {
            Drop { rate: 0.5 }.train(x, &mut Random::new(7, Purpose::Dropout, 0))
        });
    }

    #[test]
    fn a_rate_of_one_is_refused() {
        for rate in [1.0, -0.1, f64::NAN] {
            let error = build(Dropout { rate }, 1, 3).err().unwrap().to_string();
            assert!(
                error.starts_with("model.network.layers[1].dropout.rate: "),
                "{error}"
            );
        }
    }
}
