//! RMSprop (Tieleman and Hinton 2012).

use candle_core::Tensor;

use super::Rule;
use crate::simd::vectorised;

const KEPT: f64 = 0.9;
const EPSILON: f32 = 1e-7;

/// `v ← ρ·v + (1−ρ)·g²`, `w ← w − α·g / (√v + ε)`: PyTorch's formula, with ρ = 0.9 and ε = 1e-7, which are Keras'
/// defaults; Keras itself adds ε under the root.
#[derive(Debug)]
pub(super) struct RmsProp;

impl Rule for RmsProp {
    fn slots(&self) -> &'static [&'static str] {
        &["mean_square"]
    }

    fn update(&self, _: u64, rate: f64, weights: &mut [f32], gradient: &[f32], slots: [&mut [f32]; 2]) {
        let [square, _] = slots;
        let (rate, keep, take) = (rate as f32, KEPT as f32, (1.0 - KEPT) as f32);
        vectorised(
            #[inline(always)]
            || {
                for ((weight, &gradient), square) in weights.iter_mut().zip(gradient).zip(square) {
                    *square = keep * *square + take * gradient * gradient;
                    *weight -= rate * gradient / (square.sqrt() + EPSILON);
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
        let [square, _] = slots;
        *square = ((&*square * KEPT)? + (gradient.sqr()? * (1.0 - KEPT))?)?;
        weights - ((gradient * rate)? / (square.sqrt()? + f64::from(EPSILON))?)?
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_close, run},
        *,
    };

    /// v: [0.025, 0.1], [0.028 75, 0.49], [0.125 875, 0.442].
    #[test]
    fn steps_are_those_worked_out_by_hand() {
        let expected = [
            [1.0 - 0.05 / 0.025f32.sqrt(), -2.0 + 0.1 / 0.1f32.sqrt()],
            [0.831_215, -1.969_486],
            [0.549_355, -1.984_527],
        ];
        assert_close(&run(&RmsProp, 0.1), &expected);
    }
}
