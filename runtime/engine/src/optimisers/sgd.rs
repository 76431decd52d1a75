//! Stochastic gradient descent with momentum.

use super::Rule;

/// `v ← μ·v + g`, `w ← w − α·v` (as PyTorch's `SGD`, without dampening).
#[derive(Debug)]
pub(super) struct Sgd {
    pub(super) momentum: f32,
}

impl Rule for Sgd {
    fn slots(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["velocity"] }
    }

    fn update(&self, _: u64, rate: f64, weights: &mut [f32], gradient: &[f32], slots: &mut [Vec<f32>]) {
        let rate = rate as f32;
        match slots {
            [velocity, ..] => {
                for ((weight, &gradient), velocity) in weights.iter_mut().zip(gradient).zip(velocity) {
                    *velocity = self.momentum * *velocity + gradient;
                    *weight -= rate * *velocity;
                }
            }
            [] => {
                for (weight, &gradient) in weights.iter_mut().zip(gradient) {
                    *weight -= rate * gradient;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_close, run},
        *,
    };

    #[test]
    fn steps_are_those_worked_out_by_hand() {
        let plain = [[0.95, -1.9], [0.975, -2.1], [0.875, -2.11]];
        assert_close(&run(&Sgd { momentum: 0.0 }, 0.1), &plain);
        // v: [0.5, −1], [0.2, 1.1], [1.18, 1.09].
        let momentum = [[0.95, -1.9], [0.93, -2.01], [0.812, -2.119]];
        assert_close(&run(&Sgd { momentum: 0.9 }, 0.1), &momentum);
    }
}
