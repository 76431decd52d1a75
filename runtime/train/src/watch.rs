//! What the loop tells the outside, and what the outside tells the loop.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sconce_contract::history::{Gatherer, History};
use sconce_contract::{Progress, TrainingPhase};

/// What can be seen of a training at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// How far it is.
    pub progress: Progress,
    /// Rows to learn from, to watch and held out; 0 until the table is read.
    pub rows: [u64; 3],
    /// Learning rate of the current epoch.
    pub learning_rate: f64,
    /// Loss after each step.
    pub losses: Gatherer,
    /// Loss on the validation rows after each epoch.
    pub validation_losses: Gatherer,
}

impl Observed {
    /// How the losses went so far.
    pub fn history(&self) -> History {
        History {
            loss: self.losses.series(),
            validation_loss: self.validation_losses.series(),
        }
    }
}

/// Shared between the loop, which writes, and everyone who looks.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Observed>>);

impl Watch {
    /// Changes what is seen.
    pub fn update(&self, change: impl FnOnce(&mut Observed)) {
        change(&mut self.lock());
    }

    /// Enters a phase.
    pub fn enter(&self, phase: TrainingPhase) {
        self.lock().progress.phase = phase;
    }

    /// What is seen now.
    pub fn snapshot(&self) -> Observed {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        // A panic between two assignments leaves figures that are old at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the loop to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on the loop stops at its next step.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Seconds until `left` steps are done at the pace at which `done` took `passed`; nothing before the first step.
pub fn eta_seconds(passed: Duration, done: u64, left: u64) -> Option<f64> {
    (done > 0).then(|| passed.as_secs_f64() / done as f64 * left as f64)
}
