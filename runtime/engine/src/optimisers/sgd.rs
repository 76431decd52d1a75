//! Stochastic gradient descent with momentum.

use candle_core::Tensor;

use super::Rule;
use crate::simd::vectorised;

/// `v ← μ·v + g`, `w ← w − α·v`; with Nesterov's momentum `w ← w − α·(g + μ·v)` (both as PyTorch's `SGD`, without
/// dampening).
#[derive(Debug)]
pub(super) struct Sgd {
    pub(super) momentum: f32,
    pub(super) nesterov: bool,
}

impl Rule for Sgd {
    fn slots(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["velocity"] }
    }

    fn update(&self, _: u64, rate: f64, weights: &mut [f32], gradient: &[f32], slots: [&mut [f32]; 2]) {
        let (rate, momentum) = (rate as f32, self.momentum);
        let [velocity, _] = slots;
        let pairs = weights.iter_mut().zip(gradient);
        vectorised(
            #[inline(always)]
            || {
                if momentum == 0.0 {
                    for (weight, &gradient) in pairs {
                        *weight -= rate * gradient;
                    }
                    return;
                }
                // Of the step, the share of the velocity and of the gradient.
                let (of_velocity, of_gradient) = if self.nesterov {
                    (momentum, 1.0)
                } else {
                    (1.0, 0.0)
                };
                for ((weight, &gradient), velocity) in pairs.zip(velocity) {
                    *velocity = momentum * *velocity + gradient;
                    *weight -= rate * (of_velocity * *velocity + of_gradient * gradient);
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
        let momentum = f64::from(self.momentum);
        if momentum == 0.0 {
            return weights - (gradient * rate)?;
        }
        let [velocity, _] = slots;
        *velocity = ((&*velocity * momentum)? + gradient)?;
        if !self.nesterov {
            return weights - (&*velocity * rate)?;
        }
        weights - (((&*velocity * momentum)? + gradient)? * rate)?
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_close, run},
        *,
    };

    fn sgd(momentum: f32, nesterov: bool) -> Sgd {
        Sgd { momentum, nesterov }
    }

    #[test]
    fn steps_are_those_worked_out_by_hand() {
        let plain = [[0.95, -1.9], [0.975, -2.1], [0.875, -2.11]];
        assert_close(&run(&sgd(0.0, false), 0.1), &plain);
        // v: [0.5, −1], [0.2, 1.1], [1.18, 1.09].
        let momentum = [[0.95, -1.9], [0.93, -2.01], [0.812, -2.119]];
        assert_close(&run(&sgd(0.9, false), 0.1), &momentum);
        // g + 0.9 · v: [0.95, −1.9], [−0.07, 2.99], [2.062, 1.081].
        let nesterov = [[0.905, -1.81], [0.912, -2.109], [0.7058, -2.2171]];
        assert_close(&run(&sgd(0.9, true), 0.1), &nesterov);
    }
}
