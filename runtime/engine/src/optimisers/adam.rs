//! Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019).

use candle_core::Tensor;

use super::Rule;
use crate::simd::vectorised;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

/// `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`, `w ← w − α·λ·w − α·m̂ / (√v̂ + ε)` with the bias-corrected
/// `m̂ = m/(1−β₁ᵗ)`, `v̂ = v/(1−β₂ᵗ)`. λ is 0 for Adam.
#[derive(Debug)]
pub(super) struct Adam {
    pub(super) weight_decay: f64,
}

/// `1−β₁ᵗ` and `1−β₂ᵗ`, in f64 because the latter begins at 0.001.
fn corrections(step: u64) -> (f64, f64) {
    let step = step as f64;
    (1.0 - BETA1.powf(step), 1.0 - BETA2.powf(step))
}

impl Rule for Adam {
    fn slots(&self) -> &'static [&'static str] {
        &["first_moment", "second_moment"]
    }

    fn update(&self, step: u64, rate: f64, weights: &mut [f32], gradient: &[f32], slots: [&mut [f32]; 2]) {
        let [first, second] = slots;
        // α·m̂ and √v̂ with the corrections taken out of the loop.
        let (correct1, correct2) = corrections(step);
        let size = (rate / correct1) as f32;
        let root = (1.0 / correct2.sqrt()) as f32;
        let kept = (1.0 - rate * self.weight_decay) as f32;
        let (keep1, take1) = (BETA1 as f32, (1.0 - BETA1) as f32);
        let (keep2, take2) = (BETA2 as f32, (1.0 - BETA2) as f32);
        vectorised(
            #[inline(always)]
            || {
                let slots = first.iter_mut().zip(second);
                for ((weight, &gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(slots) {
                    *first = keep1 * *first + take1 * gradient;
                    *second = keep2 * *second + take2 * gradient * gradient;
                    *weight = kept * *weight - size * *first / (second.sqrt() * root + EPSILON);
                }
            },
        );
    }

    fn update_tensors(
        &self,
        step: u64,
        rate: f64,
        weights: &Tensor,
        gradient: &Tensor,
        slots: &mut [Tensor; 2],
    ) -> candle_core::Result<Tensor> {
        let [first, second] = slots;
        let (correct1, correct2) = corrections(step);
        *first = ((&*first * BETA1)? + (gradient * (1.0 - BETA1))?)?;
        *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
        let root = second.sqrt()?.affine(1.0 / correct2.sqrt(), f64::from(EPSILON))?;
        let kept = (weights * (1.0 - rate * self.weight_decay))?;
        kept - ((&*first * (rate / correct1))? / root)?
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_close, run},
        *,
    };

    #[test]
    fn steps_of_adam_are_those_of_the_formula() {
        let expected = [
            [0.9, -1.9],
            [0.873_366_3, -1.936_610_4],
            [0.807_555_1, -1.967_737_7],
        ];
        assert_close(&run(&Adam { weight_decay: 0.0 }, 0.1), &expected);
    }

    #[test]
    fn steps_of_adamw_are_those_of_the_formula() {
        let expected = [
            [0.89, -1.88],
            [0.854_466_3, -1.897_810_4],
            [0.780_110_5, -1.909_959_6],
        ];
        assert_close(&run(&Adam { weight_decay: 0.1 }, 0.1), &expected);
    }
}
