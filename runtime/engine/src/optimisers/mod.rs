//! How a gradient becomes a step.
//!
//! A rule is arithmetic over slices, one pass for all parameters; [`Optimiser`] keeps its state, which can be saved
//! and restored to the bit.

mod adagrad;
mod adam;
mod lion;
mod rms_prop;
mod sgd;

use std::{collections::BTreeMap, ops::Range};

use sconce_contract::{Optimizer, OptimizerType};

use crate::{EngineError, parameters::Parameters};

/// Numbers that one thread moves at a time; as many again and another thread helps.
const PIECE: usize = 1 << 17;

/// How parameters move.
pub(crate) trait Rule: std::fmt::Debug + Send + Sync {
    /// Names of what is remembered for each weight from step to step; at most two.
    fn slots(&self) -> &'static [&'static str];

    /// One step, the `step`-th counted from 1, of size `rate`. Slices are as long as `weights`; `slots` are
    /// in the order of [`Rule::slots`] and start at 0, those that the rule does not have are empty.
    fn update(&self, step: u64, rate: f64, weights: &mut [f32], gradient: &[f32], slots: [&mut [f32]; 2]);
}

/// The rules: one line each.
fn rule(settings: &Optimizer) -> Box<dyn Rule> {
    match settings.kind {
        OptimizerType::Sgd => Box::new(sgd::Sgd {
            momentum: settings.momentum.unwrap_or(0.0) as f32,
            nesterov: settings.nesterov.unwrap_or(false),
        }),
        OptimizerType::Adam => Box::new(adam::Adam { weight_decay: 0.0 }),
        OptimizerType::AdamW => Box::new(adam::Adam {
            weight_decay: settings.weight_decay.unwrap_or(0.01),
        }),
        OptimizerType::RmsProp => Box::new(rms_prop::RmsProp),
        OptimizerType::Adagrad => Box::new(adagrad::Adagrad),
        OptimizerType::Lion => Box::new(lion::Lion {
            weight_decay: settings.weight_decay.unwrap_or(0.0),
        }),
    }
}

/// An optimiser with its state for the parameters of one network.
#[derive(Debug)]
pub struct Optimiser {
    rule: Box<dyn Rule>,
    step: u64,
    parameters: Parameters,
    /// Each as long as the parameters, or empty.
    slots: [Vec<f32>; 2],
    threads: usize,
}

impl Optimiser {
    /// An optimiser at step 0. The learning rate is given to each step, see [`crate::schedules`].
    pub(crate) fn new(settings: &Optimizer, parameters: Parameters, threads: usize) -> Self {
        let rule = rule(settings);
        let slots = [0, 1].map(|slot| {
            vec![
                0.0;
                if slot < rule.slots().len() {
                    parameters.len()
                } else {
                    0
                }
            ]
        });
        Optimiser {
            rule,
            step: 0,
            parameters,
            slots,
            threads,
        }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Begins the next step.
    pub(crate) fn advance(&mut self) {
        self.step += 1;
    }

    /// Moves the parameters whose place is `range` in this step. All numbers move alike, so it does not matter in
    /// how many ranges, nor how many threads are at it.
    pub(crate) fn update(&mut self, range: Range<usize>, rate: f64, weights: &mut [f32], gradient: &[f32]) {
        let [first, second] = &mut self.slots;
        let slots = [first, second].map(|slot| slot.get_mut(range.clone()).unwrap_or_default());
        let (rule, step) = (&*self.rule, self.step);
        spread(
            weights,
            gradient,
            slots,
            self.threads,
            &|weights, gradient, slots| {
                rule.update(step, rate, weights, gradient, slots);
            },
        );
    }

    /// What must be saved, besides [`Optimiser::steps`], to go on at this step: numbers by name such as
    /// `layers.0.weight.velocity`, in the order of the weights.
    pub fn state(&self) -> BTreeMap<String, &[f32]> {
        let mut state = BTreeMap::new();
        for parameter in self.parameters.iter() {
            for (slot, values) in self.rule.slots().iter().zip(&self.slots) {
                state.insert(
                    format!("{}.{slot}", parameter.name),
                    &values[parameter.range.clone()],
                );
            }
        }
        state
    }

    /// Takes up a state that [`Optimiser::state`] gave. Where anything is missing, left over or does not
    /// fit, nothing changes.
    pub fn restore(&mut self, step: u64, state: &BTreeMap<String, Vec<f32>>) -> Result<(), EngineError> {
        let mut restored = self.slots.clone();
        for parameter in self.parameters.iter() {
            for (slot, values) in self.rule.slots().iter().zip(&mut restored) {
                let values = &mut values[parameter.range.clone()];
                let name = format!("{}.{slot}", parameter.name);
                let missing = || EngineError::OptimiserState(format!("the tensor {name} is missing"));
                let saved = state.get(&name).ok_or_else(missing)?;
                if saved.len() != values.len() {
                    let (found, needed) = (saved.len(), values.len());
                    let problem = format!("the tensor {name} holds {found} numbers instead of {needed}");
                    return Err(EngineError::OptimiserState(problem));
                }
                values.copy_from_slice(saved);
            }
        }
        let known = self.parameters.iter().count() * self.rule.slots().len();
        if state.len() != known {
            let problem = format!("it holds {} tensors instead of {known}", state.len());
            return Err(EngineError::OptimiserState(problem));
        }
        (self.step, self.slots) = (step, restored);
        Ok(())
    }
}

/// Work on a piece of the weights, the gradient and the slots.
type Move<'a> = &'a (dyn Fn(&mut [f32], &[f32], [&mut [f32]; 2]) + Sync);

fn spread(weights: &mut [f32], gradient: &[f32], slots: [&mut [f32]; 2], threads: usize, work: Move<'_>) {
    if threads < 2 || weights.len() < 2 * PIECE {
        return work(weights, gradient, slots);
    }
    let half = weights.len() / 2;
    let (weights, more_weights) = weights.split_at_mut(half);
    let (gradient, more_gradient) = gradient.split_at(half);
    let [(first, more_first), (second, more_second)] =
        slots.map(|slot| slot.split_at_mut(half.min(slot.len())));
    rayon::join(
        || spread(weights, gradient, [first, second], threads, work),
        || {
            spread(
                more_weights,
                more_gradient,
                [more_first, more_second],
                threads,
                work,
            );
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRADIENTS: [[f32; 2]; 3] = [[0.5, -1.0], [-0.25, 2.0], [1.0, 0.1]];

    /// Takes steps of a rule from [1, −2].
    pub(super) fn run(rule: &dyn Rule, rate: f64) -> Vec<[f32; 2]> {
        let mut weights = [1.0f32, -2.0];
        let mut slots = [0, 1].map(|slot| vec![0.0; if slot < rule.slots().len() { 2 } else { 0 }]);
        let mut seen = Vec::new();
        for (index, gradient) in GRADIENTS.iter().enumerate() {
            let [first, second] = &mut slots;
            rule.update(index as u64 + 1, rate, &mut weights, gradient, [first, second]);
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

    fn parameters(count: usize) -> Parameters {
        let mut parameters = Parameters::default();
        parameters.push("w".to_owned(), vec![count]);
        parameters
    }

    fn settings(kind: OptimizerType) -> Optimizer {
        Optimizer {
            kind,
            learning_rate: 0.1,
            momentum: (kind == OptimizerType::Sgd).then_some(0.9),
            ..Optimizer::default()
        }
    }

    /// Down the slope of Σ w².
    fn descend(optimiser: &mut Optimiser, weights: &mut [f32], steps: u32) {
        for _ in 0..steps {
            let gradient: Vec<f32> = weights.iter().map(|weight| 2.0 * weight).collect();
            optimiser.advance();
            optimiser.update(0..weights.len(), 0.1, weights, &gradient);
        }
    }

    #[test]
    fn a_restored_optimiser_goes_on_to_the_bit() {
        for kind in ALL {
            let mut weights = [1.0, -2.0];
            let mut optimiser = Optimiser::new(&settings(kind), parameters(2), 1);
            descend(&mut optimiser, &mut weights, 3);
            let mut copy = weights;
            let mut restored = Optimiser::new(&settings(kind), parameters(2), 1);
            let state = optimiser.state().into_iter();
            let state = state.map(|(name, values)| (name, values.to_vec())).collect();
            restored.restore(optimiser.steps(), &state).unwrap();
            descend(&mut optimiser, &mut weights, 3);
            descend(&mut restored, &mut copy, 3);
            assert_eq!(weights, copy, "{kind:?}");
            assert_eq!(restored.steps(), 6);
            assert!(weights[0].abs() < 1.0, "{kind:?} went the wrong way: {weights:?}");
        }
    }

    #[test]
    fn threads_change_no_bit() {
        for kind in ALL {
            let count = 4 * PIECE + 3;
            let run = |threads| {
                let mut weights: Vec<f32> =
                    (0..count).map(|index| (index % 97) as f32 / 97.0 - 0.5).collect();
                let mut optimiser = Optimiser::new(&settings(kind), parameters(count), threads);
                descend(&mut optimiser, &mut weights, 2);
                weights
            };
            assert!(run(1) == run(2), "{kind:?}");
        }
    }

    #[test]
    fn a_state_that_does_not_fit_is_refused() {
        let mut optimiser = Optimiser::new(&Optimizer::default(), parameters(2), 1);
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

    const ALL: [OptimizerType; 6] = [
        OptimizerType::Sgd,
        OptimizerType::Adam,
        OptimizerType::AdamW,
        OptimizerType::RmsProp,
        OptimizerType::Adagrad,
        OptimizerType::Lion,
    ];
}
