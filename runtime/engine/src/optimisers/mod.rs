//! How a gradient becomes a step.
//!
//! A rule is arithmetic over slices, one pass per parameter; [`Optimiser`] keeps its state, which can be saved
//! and restored to the bit, and applies it in place.

mod adam;
mod sgd;

use std::{cell::RefCell, collections::BTreeMap};

use candle_core::{CpuStorage, InplaceOp2, Layout, Var, backprop::GradStore};
use sconce_contract::{Optimizer, OptimizerType};

use crate::EngineError;

/// How one parameter moves.
pub(crate) trait Rule: std::fmt::Debug + Send + Sync {
    /// Names of what is remembered for each weight from step to step.
    fn slots(&self) -> &'static [&'static str];

    /// One step, the `step`-th counted from 1, of size `rate`. All slices are as long as `weights`; `slots` are
    /// in the order of [`Rule::slots`] and start at 0.
    fn update(&self, step: u64, rate: f64, weights: &mut [f32], gradient: &[f32], slots: &mut [Vec<f32>]);
}

/// The rules: one line each.
fn rule(settings: &Optimizer) -> Box<dyn Rule> {
    match settings.kind {
        OptimizerType::Sgd => Box::new(sgd::Sgd {
            momentum: settings.momentum.unwrap_or(0.0) as f32,
        }),
        OptimizerType::Adam => Box::new(adam::Adam { weight_decay: 0.0 }),
        OptimizerType::AdamW => Box::new(adam::Adam {
            weight_decay: settings.weight_decay.unwrap_or(0.01),
        }),
    }
}

/// An optimiser with its state for the parameters of one network.
#[derive(Debug)]
pub struct Optimiser {
    rule: Box<dyn Rule>,
    step: u64,
    /// Per parameter, in the network's order.
    slots: Vec<(String, Vec<Vec<f32>>)>,
}

impl Optimiser {
    /// An optimiser at step 0 for parameters as [`crate::Sequential::parameters`] gives them. The learning rate
    /// is given to each step, see [`crate::schedules`].
    pub fn new(settings: &Optimizer, parameters: &[(String, &Var)]) -> Self {
        let rule = rule(settings);
        let slots = parameters
            .iter()
            .map(|(name, var)| {
                (
                    name.clone(),
                    vec![vec![0.0; var.elem_count()]; rule.slots().len()],
                )
            })
            .collect();
        Optimiser { rule, step: 0, slots }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Moves the parameters, the same and in the same order as were given to [`Optimiser::new`], in place. One
    /// without a gradient stays.
    pub fn step(
        &mut self,
        parameters: &[(String, &Var)],
        gradients: &GradStore,
        rate: f64,
    ) -> Result<(), EngineError> {
        self.step += 1;
        for ((_, var), (_, slots)) in parameters.iter().zip(&mut self.slots) {
            if let Some(gradient) = gradients.get(var.as_tensor()) {
                let update = Update {
                    rule: &*self.rule,
                    step: self.step,
                    rate,
                    slots: RefCell::new(slots),
                };
                var.inplace_op2(&gradient.contiguous()?, &update)?;
            }
        }
        Ok(())
    }

    /// What must be saved, besides [`Optimiser::steps`], to go on at this step: numbers by name such as
    /// `layers.0.weight.velocity`, in the order of the weights.
    pub fn state(&self) -> BTreeMap<String, &[f32]> {
        let mut state = BTreeMap::new();
        for (name, slots) in &self.slots {
            for (slot, values) in self.rule.slots().iter().zip(slots) {
                state.insert(format!("{name}.{slot}"), values.as_slice());
            }
        }
        state
    }

    /// Takes up a state that [`Optimiser::state`] gave. Where anything is missing, left over or does not
    /// fit, nothing changes.
    pub fn restore(&mut self, step: u64, state: &BTreeMap<String, Vec<f32>>) -> Result<(), EngineError> {
        let mut restored = self.slots.clone();
        for (name, slots) in &mut restored {
            for (slot, values) in self.rule.slots().iter().zip(slots) {
                let name = format!("{name}.{slot}");
                let missing = || EngineError::OptimiserState(format!("the tensor {name} is missing"));
                let saved = state.get(&name).ok_or_else(missing)?;
                if saved.len() != values.len() {
                    let (found, needed) = (saved.len(), values.len());
                    let problem = format!("the tensor {name} holds {found} numbers instead of {needed}");
                    return Err(EngineError::OptimiserState(problem));
                }
                values.clone_from(saved);
            }
        }
        let known = self.slots.len() * self.rule.slots().len();
        if state.len() != known {
            let problem = format!("it holds {} tensors instead of {known}", state.len());
            return Err(EngineError::OptimiserState(problem));
        }
        (self.step, self.slots) = (step, restored);
        Ok(())
    }
}

/// Applies a rule to a parameter's own memory.
struct Update<'a> {
    rule: &'a dyn Rule,
    step: u64,
    rate: f64,
    slots: RefCell<&'a mut Vec<Vec<f32>>>,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "optimiser-step"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        weights_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let gradient = match gradient_layout.contiguous_offsets() {
            Some((from, to)) => &gradient.as_slice::<f32>()?[from..to],
            None => candle_core::bail!("the gradient is not contiguous"),
        };
        let weights = match (weights, weights_layout.contiguous_offsets()) {
            (CpuStorage::F32(weights), Some((from, to))) => &mut weights[from..to],
            _ => candle_core::bail!("the parameter is not contiguous F32"),
        };
        self.rule.update(
            self.step,
            self.rate,
            weights,
            gradient,
            self.slots.borrow_mut().as_mut_slice(),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const GRADIENTS: [[f32; 2]; 3] = [[0.5, -1.0], [-0.25, 2.0], [1.0, 0.1]];

    /// Takes steps of a rule from [1, −2].
    pub(super) fn run(rule: &dyn Rule, rate: f64) -> Vec<[f32; 2]> {
        let mut weights = [1.0f32, -2.0];
        let mut slots = vec![vec![0.0; 2]; rule.slots().len()];
        let mut seen = Vec::new();
        for (index, gradient) in GRADIENTS.iter().enumerate() {
            rule.update(index as u64 + 1, rate, &mut weights, gradient, &mut slots);
            seen.push(weights);
        }
        seen
    }

    pub(super) fn assert_close(found: &[[f32; 2]], expected: &[[f32; 2]]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 2e-6, "{found} is not {expected}");
        }
    }

    fn parameter() -> Var {
        Var::from_slice(&[1.0f32, -2.0], 2, &Device::Cpu).unwrap()
    }

    /// d/dw of Σ w² scaled, so that each step has another gradient.
    fn gradients(var: &Var) -> GradStore {
        var.as_tensor()
            .sqr()
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap()
    }

    #[test]
    fn a_restored_optimiser_goes_on_to_the_bit() {
        for kind in [OptimizerType::Sgd, OptimizerType::Adam, OptimizerType::AdamW] {
            let momentum = (kind == OptimizerType::Sgd).then_some(0.9);
            let settings = Optimizer {
                kind,
                learning_rate: 0.1,
                momentum,
                weight_decay: None,
            };
            let var = parameter();
            let parameters = [("w".to_owned(), &var)];
            let mut optimiser = Optimiser::new(&settings, &parameters);
            for _ in 0..3 {
                optimiser.step(&parameters, &gradients(&var), 0.1).unwrap();
            }
            let copy = Var::from_tensor(&var.copy().unwrap()).unwrap();
            let copies = [("w".to_owned(), &copy)];
            let mut restored = Optimiser::new(&settings, &copies);
            let state = optimiser
                .state()
                .into_iter()
                .map(|(name, values)| (name, values.to_vec()));
            restored.restore(optimiser.steps(), &state.collect()).unwrap();
            for _ in 0..3 {
                optimiser.step(&parameters, &gradients(&var), 0.1).unwrap();
                restored.step(&copies, &gradients(&copy), 0.1).unwrap();
            }
            let (a, b): (Vec<f32>, Vec<f32>) = (var.to_vec1().unwrap(), copy.to_vec1().unwrap());
            assert_eq!(a, b, "{kind:?}");
            assert_eq!(restored.steps(), 6);
            assert!(a[0].abs() < 1.0, "{kind:?} went the wrong way: {a:?}");
        }
    }

    #[test]
    fn a_state_that_does_not_fit_is_refused() {
        let var = parameter();
        let settings = Optimizer::default();
        let mut optimiser = Optimiser::new(&settings, &[("w".to_owned(), &var)]);
        let error = optimiser.restore(3, &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("w.first_moment is missing"), "{error}");
        let of = |names: &[&str]| {
            names
                .iter()
                .map(|name| ((*name).to_owned(), vec![0.0; 2]))
                .collect()
        };
        let error = optimiser
            .restore(3, &of(&["w.first_moment", "w.second_moment", "w.third_moment"]))
            .unwrap_err();
        assert!(error.to_string().contains("3 tensors instead of 2"), "{error}");
        assert_eq!(optimiser.steps(), 0);
    }
}
