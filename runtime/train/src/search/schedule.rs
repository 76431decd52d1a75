//! Which trial is next. Pure: what is decided depends on the search, the seed and the outcomes that may be known.
//!
//! ```text
//!   slot      0    1    2    3    4    5    6 …        parallelTrials = 3
//!   outcome   ✓    ✓    ✓    ✓    …    …    ?
//!             └──── known ────┘    at work  └ decided once slot 3 has its outcome, from slots 0 to 3 alone
//! ```
//!
//! A slot is decided from the outcomes of the slots that lie `parallelTrials` and more before it, however many others
//! have ended by then: so the same search makes the same trials on any machine, and after any interruption.

use std::collections::BTreeSet;

use sconce_contract::Search;
use sconce_contract::search::Algorithm;
use sconce_contract::{Goal, Hyperparameters};
use sconce_engine::{Purpose, Random};
use serde::Serialize;
use serde_json::Value;

use super::{asha, grid, space, tpe};

/// A stretch of learning of a trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Job {
    /// The trial, from 0.
    pub trial: u32,
    /// Place of its last epoch among [`Search::rungs`].
    pub rung: usize,
    /// The epoch of that place, counted from 1: its last, but where the search varies epochs, see [`super::epochs`].
    pub epochs: u32,
    /// A value for each parameter of the space.
    pub point: Vec<Value>,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The value of the objective.
    Reached(f64),
    /// Why there is none: class, field and sentence.
    Failed(sconce_contract::Failure),
}

impl Outcome {
    /// The value of the objective, where there is one.
    pub fn value(&self) -> Option<f64> {
        match self {
            Outcome::Reached(value) => Some(*value),
            Outcome::Failed(_) => None,
        }
    }
}

/// A decision and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// What is done; nothing where there was nothing to do before others end.
    pub job: Option<Job>,
    /// What came of it.
    pub outcome: Option<Outcome>,
}

/// All that decisions depend on.
#[derive(Clone, Debug)]
pub struct Schedule<'a> {
    /// What is searched.
    pub search: &'a Search,
    /// Seed of the run.
    pub seed: u64,
    /// Which values of the objective are better.
    pub goal: Goal,
    /// Epochs after which trials are compared.
    pub rungs: Vec<u32>,
}

impl<'a> Schedule<'a> {
    /// Of a search.
    pub fn new(search: &'a Search, hyperparameters: &Hyperparameters) -> Self {
        Schedule {
            search,
            seed: hyperparameters.seed,
            goal: search.objective.metric.goal(),
            rungs: search.rungs(hyperparameters.epochs),
        }
    }

    /// The slots whose outcomes the next decision is made from; nothing where it has to wait for one of them.
    pub fn known<'s>(&self, slots: &'s [Slot]) -> Option<&'s [Slot]> {
        let hidden = self.search.parallel_trials.max(1) as usize - 1;
        let known = &slots[..slots.len().saturating_sub(hidden)];
        let ended = |slot: &Slot| slot.job.is_none() || slot.outcome.is_some();
        known.iter().all(ended).then_some(known)
    }

    /// What the next slot is, given the slots so far and how many of them are known.
    pub fn next(&self, slots: &[Slot], known: usize) -> Option<Job> {
        let at_work = slots[known..].iter().any(|slot| slot.job.is_some());
        if self.search.algorithm == Algorithm::Asha
            && let Some(job) = asha::promoted(&self.rungs, self.factor(), self.goal, slots, known)
        {
            return Some(job);
        }
        let trial = begun(slots);
        if trial < self.search.trials() {
            let point = self.point(trial, &slots[..known])?;
            return Some(Job {
                trial,
                rung: 0,
                epochs: self.rungs[0],
                point,
            });
        }
        match self.search.algorithm {
            Algorithm::Asha if !at_work => asha::champion(&self.rungs, self.goal, slots),
            _ => None,
        }
    }

    /// Whether nothing will ever be done again: there was nothing to do when all outcomes were known.
    pub fn is_over(&self, slots: &[Slot]) -> bool {
        let last = slots
            .iter()
            .rev()
            .take(self.search.parallel_trials.max(1) as usize);
        !slots.is_empty() && last.into_iter().all(|slot| slot.job.is_none())
    }

    fn factor(&self) -> u32 {
        self.search
            .reduction_factor
            .unwrap_or(sconce_contract::search::REDUCTION_FACTOR)
    }

    fn point(&self, trial: u32, known: &[Slot]) -> Option<Vec<Value>> {
        let space = &self.search.space;
        let mut random = Random::new(self.seed, Purpose::Search, u64::from(trial));
        match self.search.algorithm {
            Algorithm::Grid => grid::point(space, trial),
            Algorithm::Random | Algorithm::Asha => Some(space::drawn(space, &mut random)),
            Algorithm::Tpe => Some(tpe::point(space, self.goal, known, &mut random)),
        }
    }
}

/// Trials that were begun.
pub fn begun(slots: &[Slot]) -> u32 {
    let jobs = slots.iter().filter_map(|slot| slot.job.as_ref());
    jobs.map(|job| job.trial + 1).max().unwrap_or(0)
}

/// The best of those that learned longest, the earliest of equals; nothing where all failed. One that failed later on has
/// failed, whatever it had reached before.
pub fn best(goal: Goal, slots: &[Slot]) -> Option<&Slot> {
    let failed = slots.iter().filter_map(|slot| match &slot.outcome {
        Some(Outcome::Failed(_)) => slot.job.as_ref().map(|job| job.trial),
        _ => None,
    });
    let failed: BTreeSet<u32> = failed.collect();
    let reached = |slot: &&Slot| {
        let has_value = slot.outcome.as_ref().and_then(Outcome::value).is_some();
        has_value && slot.job.as_ref().is_some_and(|job| !failed.contains(&job.trial))
    };
    let mut done: Vec<&Slot> = slots.iter().filter(reached).collect();
    let key = |slot: &Slot| {
        slot.job
            .as_ref()
            .map(|job| (job.rung, job.trial))
            .unwrap_or_default()
    };
    done.sort_by(|one, other| {
        let (a, b) = (key(one), key(other));
        let value = |slot: &Slot| slot.outcome.as_ref().and_then(Outcome::value);
        b.0.cmp(&a.0)
            .then(goal.compare(value(one), value(other)))
            .then(a.1.cmp(&b.1))
    });
    done.first().copied()
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
