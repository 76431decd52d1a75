//! One step of learning.

use std::collections::BTreeMap;

use candle_core::Tensor;
use sconce_contract::{Loss, Optimizer};

use crate::{EngineError, Optimiser, Purpose, Random, Sequential, losses};

/// A network, what it minimises and how.
#[derive(Debug)]
pub struct Learner {
    model: Sequential,
    loss: Loss,
    optimiser: Optimiser,
    seed: u64,
}

impl Learner {
    /// A learner at step 0. The seed decides what dropout drops.
    pub fn new(model: Sequential, loss: Loss, optimizer: &Optimizer, seed: u64) -> Self {
        let optimiser = Optimiser::new(optimizer, &model.parameters());
        Learner {
            model,
            loss,
            optimiser,
            seed,
        }
    }

    /// Goes on at a step: with the network as it was then, what the optimiser remembered ([`Optimiser::state`]),
    /// and the same settings.
    pub fn resumed(
        model: Sequential,
        loss: Loss,
        optimizer: &Optimizer,
        seed: u64,
        step: u64,
        state: &BTreeMap<String, Vec<f32>>,
    ) -> Result<Self, EngineError> {
        let mut learner = Self::new(model, loss, optimizer, seed);
        learner.optimiser.restore(step, state)?;
        Ok(learner)
    }

    /// The network as it is now.
    pub fn model(&self) -> &Sequential {
        &self.model
    }

    /// The optimiser as it is now.
    pub fn optimiser(&self) -> &Optimiser {
        &self.optimiser
    }

    /// Learns from the rows `x` `[rows, inputs]` and their targets (see [`losses::loss`]) and answers their
    /// loss before the step. A loss that is not finite leaves the weights as they were.
    pub fn step(&mut self, x: &Tensor, targets: &Tensor, rate: f64) -> Result<f64, EngineError> {
        let mut random = Random::new(self.seed, Purpose::Dropout, self.optimiser.steps());
        let logits = self.model.forward_train(x, &mut random)?;
        let loss = losses::loss(self.loss, self.model.last_activation(), &logits, targets)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if value.is_finite() {
            let gradients = loss.backward()?;
            self.optimiser.step(&self.model.parameters(), &gradients, rate)?;
        }
        Ok(value)
    }

    /// The loss of rows, nothing learned and nothing dropped.
    pub fn loss(&self, x: &Tensor, targets: &Tensor) -> Result<f64, EngineError> {
        let logits = self.model.logits(x)?;
        let loss = losses::loss(self.loss, self.model.last_activation(), &logits, targets)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use sconce_contract::{Activation, Layer, Network};

    use super::*;

    fn learner(seed: u64) -> Learner {
        let network = Network {
            layers: vec![
                Layer::dense(16, Activation::Tanh),
                Layer::dropout(0.1),
                Layer::dense(1, Activation::Sigmoid),
            ],
        };
        let model = Sequential::initialised(&network, 2, seed, &Device::Cpu).unwrap();
        let optimizer = Optimizer {
            learning_rate: 0.05,
            ..Optimizer::default()
        };
        Learner::new(model, Loss::BinaryCrossEntropy, &optimizer, seed)
    }

    /// Exclusive or: no network without a hidden layer learns it.
    fn rows() -> (Tensor, Tensor) {
        let x = Tensor::from_slice(&[0f32, 0., 0., 1., 1., 0., 1., 1.], (4, 2), &Device::Cpu).unwrap();
        let y = Tensor::from_slice(&[0f32, 1., 1., 0.], (4, 1), &Device::Cpu).unwrap();
        (x, y)
    }

    #[test]
    fn a_network_learns_exclusive_or() {
        let (x, y) = rows();
        let mut learner = learner(42);
        let before = learner.loss(&x, &y).unwrap();
        for _ in 0..300 {
            learner.step(&x, &y, 0.05).unwrap();
        }
        let after = learner.loss(&x, &y).unwrap();
        assert!(before > 0.5 && after < 0.05, "{before} → {after}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bits() {
        let (x, y) = rows();
        let run = |seed| {
            let mut learner = learner(seed);
            let losses: Vec<u64> = (0..20)
                .map(|_| learner.step(&x, &y, 0.05).unwrap().to_bits())
                .collect();
            losses
        };
        assert_eq!(run(42), run(42));
        assert_ne!(run(42), run(43));
    }

    #[test]
    fn a_loss_that_is_not_finite_leaves_the_weights() {
        let (_, y) = rows();
        let x = Tensor::full(f32::NAN, (4, 2), &Device::Cpu).unwrap();
        let mut learner = learner(42);
        assert!(!learner.step(&x, &y, 0.05).unwrap().is_finite());
        let weights = &learner.model().weights().unwrap()["layers.0.weight"];
        let sum: f32 = weights.sum_all().unwrap().to_scalar().unwrap();
        assert!(sum.is_finite());
    }
}
