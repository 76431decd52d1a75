//! How far a search is, for those who look.

use std::collections::HashMap;

use sconce_contract::{TrainingPhase, Trials};

use super::epochs;
use super::schedule::{Outcome, Schedule, Slot, begun, best};
use crate::watch::{Watch, eta_seconds};

/// Counts what the trials have done, in epochs: those of a trial that ended early count as taken.
#[derive(Debug)]
pub struct Tally<'a> {
    schedule: &'a Schedule<'a>,
    watch: &'a Watch,
    /// Steps of an epoch, by the spec's own batch size.
    per_epoch: u64,
    busy: u64,
    start: std::time::Instant,
    /// Epochs that an earlier attempt has taken.
    taken_before: Option<f64>,
    /// Why the state of the trial that ended last, or what became of it, could not be saved.
    unsaved: Option<String>,
}

impl<'a> Tally<'a> {
    /// Of a search that begins now.
    pub fn new(schedule: &'a Schedule<'a>, watch: &'a Watch, per_epoch: u64) -> Self {
        Tally {
            schedule,
            watch,
            per_epoch,
            busy: 0,
            start: std::time::Instant::now(),
            taken_before: None,
            unsaved: None,
        }
    }

    /// A worker has ended a job.
    pub fn worked(&mut self, watch: Option<&Watch>) {
        let Some(progress) = watch.map(|watch| watch.snapshot().progress) else {
            return;
        };
        self.busy += progress.work.busy_milliseconds;
        self.unsaved = progress.checkpoint_failure;
    }

    /// Says in the log what became of a job.
    pub fn ended(&self, slots: &[Slot], slot: usize) {
        let Some((job, outcome)) = slots[slot].job.as_ref().zip(slots[slot].outcome.as_ref()) else {
            return;
        };
        let search = self.schedule.search;
        let parameters: Vec<String> = search
            .space
            .iter()
            .zip(&job.point)
            .map(|(parameter, value)| format!("{}={value}", parameter.path))
            .collect();
        let (trial, of, epochs) = (job.trial + 1, search.trials(), epochs::of(search, job));
        let parameters = parameters.join(" ");
        match outcome {
            Outcome::Reached(value) => {
                tracing::info!(trial, of, epochs, value, parameters, "trial");
            }
            Outcome::Failed(failure) => {
                tracing::warn!(trial, of, epochs, parameters, "trial failed: {}", failure.message);
            }
        }
    }

    /// Says how far all are, and how many workers take part where there may be several.
    pub fn tell(&mut self, slots: &[Slot], at_work: &HashMap<usize, Watch>, workers: Option<u32>) {
        let (mut taken, mut finished) = (0.0, 0);
        let mut busy = self.busy;
        let mut unsaved = None;
        for (index, slot) in slots.iter().enumerate() {
            let Some(job) = &slot.job else { continue };
            let before = job
                .rung
                .checked_sub(1)
                .map_or(0, |rung| self.schedule.rungs[rung]);
            let all = f64::from(epochs::of(self.schedule.search, job) - before);
            match at_work.get(&index) {
                Some(watch) => {
                    let progress = watch.snapshot().progress;
                    let share = progress.step as f64 / progress.total_steps.max(1) as f64;
                    let epochs = share * f64::from(progress.epochs) - f64::from(before);
                    taken += epochs.clamp(0.0, all);
                    busy += progress.work.busy_milliseconds;
                    unsaved = unsaved.or(progress.checkpoint_failure);
                }
                None => taken += all,
            }
            finished += u32::from(slot.outcome.is_some() && job.rung == 0);
        }
        let total = self.expected(slots).max(taken);
        let before = *self.taken_before.get_or_insert(taken);
        let steps = |epochs: f64| (epochs * self.per_epoch as f64) as u64;
        let now = steps(taken - before);
        let eta = eta_seconds(self.start.elapsed(), now, steps(total - taken));
        let trials = Trials {
            finished,
            total: self.schedule.search.trials(),
            best: best(self.schedule.goal, slots).and_then(|slot| slot.outcome.as_ref()?.value()),
        };
        self.watch.update(|seen| {
            let progress = &mut seen.progress;
            progress.phase = TrainingPhase::Training;
            progress.step = steps(taken);
            progress.total_steps = steps(total);
            progress.eta_seconds = eta;
            progress.trials = Some(trials);
            progress.workers = workers;
            progress.work.busy_milliseconds = busy;
            progress.checkpoint_failure = unsaved.or_else(|| self.unsaved.clone());
        });
    }

    /// Epochs of all trials together, as far as can be told.
    fn expected(&self, slots: &[Slot]) -> f64 {
        match epochs::mean(self.schedule.search) {
            Some(mean) => self.expected_by_values(slots, mean),
            None => self.expected_by_rungs(),
        }
    }

    /// Where each trial has a number of its own: those that have not begun count as the mean one.
    fn expected_by_values(&self, slots: &[Slot], mean: f64) -> f64 {
        let search = self.schedule.search;
        let jobs = slots.iter().filter_map(|slot| slot.job.as_ref());
        let known: f64 = jobs.map(|job| f64::from(epochs::of(search, job))).sum();
        let left = search.trials().saturating_sub(begun(slots));
        known + mean * f64::from(left)
    }

    /// Where one in `factor` of a rung goes on.
    fn expected_by_rungs(&self) -> f64 {
        let search = self.schedule.search;
        let factor = search
            .reduction_factor
            .unwrap_or(sconce_contract::search::REDUCTION_FACTOR);
        let (mut trials, mut before, mut all) = (search.trials(), 0, 0.0);
        for epochs in &self.schedule.rungs {
            all += f64::from(trials) * f64::from(epochs - before);
            (trials, before) = ((trials / factor).max(1), *epochs);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use sconce_contract::{Hyperparameters, Search};
    use serde_json::json;

    use super::*;

    /// Two trials, of one epoch and of four.
    fn search() -> Search {
        serde_json::from_value(json!({
            "algorithm": "Grid", "objective": {"metric": "rmse"},
            "space": [{"path": "hyperparameters.epochs", "choice": [1, 4]}],
        }))
        .unwrap()
    }

    #[test]
    fn epochs_that_are_searched_count_as_each_trial_has_them() {
        let search = search();
        let hyperparameters = Hyperparameters {
            epochs: 2,
            ..Hyperparameters::default()
        };
        let schedule = Schedule::new(&search, &hyperparameters);
        let watch = Watch::default();
        let mut tally = Tally::new(&schedule, &watch, 10);
        let mut slots: Vec<Slot> = Vec::new();
        let mut told = Vec::new();
        for _ in 0..3 {
            tally.tell(&slots, &HashMap::new(), None);
            let progress = watch.snapshot().progress;
            told.push((progress.step, progress.total_steps));
            let job = schedule.next(&slots, slots.len());
            let outcome = job.as_ref().map(|_| Outcome::Reached(1.0));
            slots.push(Slot { job, outcome });
        }
        assert_eq!(told, [(0, 50), (10, 35), (50, 50)]);
    }

    #[test]
    fn a_state_that_could_not_be_saved_is_told_until_another_one_was() {
        let search = search();
        let hyperparameters = Hyperparameters::default();
        let schedule = Schedule::new(&search, &hyperparameters);
        let watch = Watch::default();
        let mut tally = Tally::new(&schedule, &watch, 10);
        let job = schedule.next(&[], 0);
        let slots = [Slot { job, outcome: None }];
        let at_work = HashMap::from([(0, Watch::default())]);
        let told = |tally: &mut Tally<'_>, at_work: &HashMap<usize, Watch>| {
            tally.tell(&slots, at_work, None);
            watch.snapshot().progress.checkpoint_failure
        };
        assert_eq!(told(&mut tally, &at_work), None);
        let full = Some("the disk is full".to_owned());
        at_work[&0].update(|seen| seen.progress.checkpoint_failure.clone_from(&full));
        assert_eq!(told(&mut tally, &at_work), full, "at work");
        tally.worked(at_work.get(&0));
        assert_eq!(told(&mut tally, &HashMap::new()), full, "ended");
        tally.worked(Some(&Watch::default()));
        assert_eq!(told(&mut tally, &HashMap::new()), None, "another one was saved");
    }
}
