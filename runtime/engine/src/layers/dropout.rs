//! Sets a random share of the values to zero while training (Srivastava et al. 2014).

use candle_core::Tensor;
use sconce_contract::Dropout;

use super::{Built, Stage};
use crate::{EngineError, Random, plan::Planned};

/// Keeps a value with probability `1 − rate` and divides it by that, so that the expectation stays.
#[derive(Debug)]
pub(super) struct Drop {
    rate: f64,
}

pub(super) fn build(dropout: Dropout) -> Built {
    Built::of(Drop { rate: dropout.rate })
}

impl Stage for Drop {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        Ok(x.clone())
    }

    fn train(&self, x: &Tensor, random: &mut Random) -> Result<Tensor, EngineError> {
        drop(self.rate, x, random)
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Dropout(self.rate))
    }
}

/// Sets a share of the values to zero, and divides the others by the share that stays.
pub(super) fn drop(rate: f64, x: &Tensor, random: &mut Random) -> Result<Tensor, EngineError> {
    if rate == 0.0 {
        return Ok(x.clone());
    }
    let mut mask = vec![0.0; x.elem_count()];
    fill(rate, random, &mut mask);
    let mask = Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
    Ok(x.mul(&mask)?)
}

/// What each value is multiplied by: 0, or what makes up for those that are.
pub(crate) fn fill(rate: f64, random: &mut Random, mask: &mut [f32]) {
    let dropped_below = (rate * 2f64.powi(32)) as u32;
    let kept = (1.0 / (1.0 - rate)) as f32;
    random.bits_of_rows(mask, |bits| if bits < dropped_below { 0.0 } else { kept });
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
}
