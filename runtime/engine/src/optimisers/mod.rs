//! How a gradient becomes a step.
//!
//! A rule is arithmetic over slices, one pass for all parameters, and the same over tensors for a device of their own;
//! [`Optimiser`] keeps its state, which can be saved and restored to the bit.

mod adagrad;
mod adam;
mod lion;
mod rms_prop;
mod sgd;

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use candle_core::{Device, Tensor};
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

    /// The same by tensors, on a device of their own: replaces the slots and answers the weights after the step.
    fn update_tensors(
        &self,
        step: u64,
        rate: f64,
        weights: &Tensor,
        gradient: &Tensor,
        slots: &mut [Tensor; 2],
    ) -> candle_core::Result<Tensor>;
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
    slots: Slots,
    threads: usize,
}

/// What is remembered: each as long as the parameters, or empty.
#[derive(Debug)]
enum Slots {
    Here([Vec<f32>; 2]),
    /// On a device of their own.
    There([Tensor; 2]),
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
            slots: Slots::Here(slots),
            threads,
        }
    }

    /// Remembers on a device of its own from now on: then [`Optimiser::update_tensors`] moves the parameters.
    pub(crate) fn move_to(&mut self, device: &Device) -> Result<(), EngineError> {
        self.slots = Slots::There(upload(&self.numbers()?, device)?);
        Ok(())
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
        let Slots::Here([first, second]) = &mut self.slots else {
            return;
        };
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

    /// Moves all parameters in this step, one after another in tensors.
    pub(crate) fn update_tensors(
        &mut self,
        rate: f64,
        weights: &Tensor,
        gradient: &Tensor,
    ) -> Result<Tensor, EngineError> {
        match &mut self.slots {
            Slots::There(slots) => Ok(self
                .rule
                .update_tensors(self.step, rate, weights, gradient, slots)?),
            Slots::Here(_) => Ok(weights.clone()),
        }
    }

    /// What is remembered, brought here.
    fn numbers(&self) -> Result<[Cow<'_, [f32]>; 2], EngineError> {
        Ok(match &self.slots {
            Slots::Here(slots) => slots.each_ref().map(|slot| Cow::Borrowed(&slot[..])),
            Slots::There([first, second]) => [Cow::Owned(first.to_vec1()?), Cow::Owned(second.to_vec1()?)],
        })
    }

    /// What must be saved, besides [`Optimiser::steps`], to go on at this step: numbers by name such as
    /// `layers.0.weight.velocity`, in the order of the weights.
    pub fn state(&self) -> Result<BTreeMap<String, Cow<'_, [f32]>>, EngineError> {
        let numbers = self.numbers()?;
        let mut state = BTreeMap::new();
        for parameter in self.parameters.iter() {
            for (slot, values) in self.rule.slots().iter().zip(&numbers) {
                let range = parameter.range.clone();
                let values = match values {
                    Cow::Borrowed(values) => Cow::Borrowed(&values[range]),
                    Cow::Owned(values) => Cow::Owned(values[range].to_vec()),
                };
                state.insert(format!("{}.{slot}", parameter.name), values);
            }
        }
        Ok(state)
    }

    /// Takes up a state that [`Optimiser::state`] gave. Where anything is missing, left over or does not
    /// fit, nothing changes.
    pub fn restore(&mut self, step: u64, state: &BTreeMap<String, Vec<f32>>) -> Result<(), EngineError> {
        let mut restored = self.numbers()?.map(Cow::into_owned);
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
        self.slots = match &self.slots {
            Slots::Here(_) => Slots::Here(restored),
            Slots::There([first, _]) => Slots::There(upload(&restored.map(Cow::Owned), first.device())?),
        };
        self.step = step;
        Ok(())
    }
}

fn upload(slots: &[Cow<'_, [f32]>; 2], device: &Device) -> Result<[Tensor; 2], EngineError> {
    let [first, second] = slots.each_ref().map(|slot| {
        // CUDA has no memory of no size.
        let values: &[f32] = if slot.is_empty() { &[0.0] } else { slot };
        Tensor::from_slice(values, values.len(), device)
    });
    Ok([first?, second?])
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
            let state = optimiser.state().unwrap().into_iter();
            let state = state.map(|(name, values)| (name, values.into_owned())).collect();
            restored.restore(optimiser.steps(), &state).unwrap();
            descend(&mut optimiser, &mut weights, 3);
            descend(&mut restored, &mut copy, 3);
            assert_eq!(weights, copy, "{kind:?}");
            assert_eq!(restored.steps(), 6);
            assert!(weights[0].abs() < 1.0, "{kind:?} went the wrong way: {weights:?}");
        }
    }

    #[test]
    fn tensors_move_as_slices_do() {
        let settings = ALL.map(settings).into_iter().chain([
            Optimizer {
                nesterov: Some(true),
                ..settings(OptimizerType::Sgd)
            },
            Optimizer {
                momentum: None,
                ..settings(OptimizerType::Sgd)
            },
            Optimizer {
                weight_decay: Some(0.1),
                ..settings(OptimizerType::Lion)
            },
        ]);
        for settings in settings {
            let mut here = Optimiser::new(&settings, parameters(3), 1);
            let mut there = Optimiser::new(&settings, parameters(3), 1);
            there.move_to(&Device::Cpu).unwrap();
            // The last neither moves nor has a slope.
            let mut weights = [1.0, -2.0, 0.0];
            let mut tensor = Tensor::new(&weights, &Device::Cpu).unwrap();
            for gradient in GRADIENTS {
                let gradient = [gradient[0], gradient[1], 0.0];
                here.advance();
                here.update(0..3, 0.1, &mut weights, &gradient);
                there.advance();
                let gradient = Tensor::new(&gradient, &Device::Cpu).unwrap();
                tensor = there.update_tensors(0.1, &tensor, &gradient).unwrap();
                for (found, expected) in tensor.to_vec1::<f32>().unwrap().iter().zip(weights) {
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{settings:?}: {found} is not {expected}"
                    );
                }
            }
            let (here, there) = (here.state().unwrap(), there.state().unwrap());
            assert!(here.keys().eq(there.keys()));
            for (here, there) in here.values().zip(there.values()) {
                assert!(
                    here.iter()
                        .zip(there.iter())
                        .all(|(here, there)| (here - there).abs() < 1e-6)
                );
            }
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
