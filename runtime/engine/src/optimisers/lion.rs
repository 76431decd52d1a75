//! Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms").

use candle_core::Tensor;

use super::Rule;
use crate::simd::vectorised;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.99;

/// `w ← w − α·λ·w − α·sign(β₁·m + (1−β₁)·g)`, then `m ← β₂·m + (1−β₂)·g`. Where the average is 0, w stays.
#[derive(Debug)]
pub(super) struct Lion {
    pub(super) weight_decay: f64,
}

impl Rule for Lion {
    fn slots(&self) -> &'static [&'static str] {
        &["momentum"]
    }

    fn update(&self, _: u64, rate: f64, weights: &mut [f32], gradient: &[f32], slots: [&mut [f32]; 2]) {
        let [momentum, _] = slots;
        let kept = (1.0 - rate * self.weight_decay) as f32;
        let rate = rate as f32;
        let (keep1, take1) = (BETA1 as f32, (1.0 - BETA1) as f32);
        let (keep2, take2) = (BETA2 as f32, (1.0 - BETA2) as f32);
        vectorised(
            #[inline(always)]
            || {
                for ((weight, &gradient), momentum) in weights.iter_mut().zip(gradient).zip(momentum) {
                    let average = keep1 * *momentum + take1 * gradient;
                    let sign = if average == 0.0 {
                        0.0
                    } else {
                        1f32.copysign(average)
                    };
                    *weight = kept * *weight - rate * sign;
                    *momentum = keep2 * *momentum + take2 * gradient;
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
        let [momentum, _] = slots;
        let average = ((&*momentum * BETA1)? + (gradient * (1.0 - BETA1))?)?;
        *momentum = ((&*momentum * BETA2)? + (gradient * (1.0 - BETA2))?)?;
        (weights * (1.0 - rate * self.weight_decay))? - (average.sign()? * rate)?
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_close, run},
        *,
    };

    /// m: [0.005, −0.01], [0.002 45, 0.0101]; averages: [0.05, −0.1], [−0.0205, 0.191], [0.1022, 0.01909].
    #[test]
    fn steps_are_those_worked_out_by_hand() {
        let plain = [[0.9, -1.9], [1.0, -2.0], [0.9, -2.1]];
        assert_close(&run(&Lion { weight_decay: 0.0 }, 0.1), &plain);
        let decayed = [[0.89, -1.88], [0.9811, -1.9612], [0.871_289, -2.041_588]];
        assert_close(&run(&Lion { weight_decay: 0.1 }, 0.1), &decayed);
    }
}
