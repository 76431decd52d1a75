//! Adagrad (Duchi, Hazan and Singer 2011).

use candle_core::Tensor;

use super::Rule;
use crate::simd::vectorised;

const EPSILON: f32 = 1e-10;

/// `v ← v + g²`, `w ← w − α·g / (√v + ε)`, as PyTorch's.
#[derive(Debug)]
pub(super) struct Adagrad;

impl Rule for Adagrad {
    fn slots(&self) -> &'static [&'static str] {
        &["sum_of_squares"]
    }

    fn update(&self, _: u64, rate: f64, weights: &mut [f32], gradient: &[f32], slots: [&mut [f32]; 2]) {
        let [sum, _] = slots;
        let rate = rate as f32;
        vectorised(
            #[inline(always)]
            || {
                for ((weight, &gradient), sum) in weights.iter_mut().zip(gradient).zip(sum) {
                    *sum += gradient * gradient;
                    *weight -= rate * gradient / (sum.sqrt() + EPSILON);
                }
            },
        );
    }

    fn update_tensors(
        &self,
        _: u64,
        rate: f64,
        weights: &Tensor,
        gradient: &Tensor,
        slots: &mut [Tensor; 2],
    ) -> candle_core::Result<Tensor> {
        let [sum, _] = slots;
        *sum = (&*sum + gradient.sqr()?)?;
        weights - ((gradient * rate)? / (sum.sqrt()? + f64::from(EPSILON))?)?
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_close, run},
        *,
    };

    /// v: [0.25, 1], [0.3125, 5], [1.3125, 5.01].
    #[test]
    fn steps_are_those_worked_out_by_hand() {
        let expected = [[0.9, -1.9], [0.944_721, -1.989_443], [0.857_434, -1.993_91]];
        assert_close(&run(&Adagrad, 0.1), &expected);
    }
}
