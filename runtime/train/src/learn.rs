//! The loop: epochs of batches. What is between a course and those who learn with it is in [`crate::together`], and how its
//! state is saved in [`crate::saving`].

use std::time::{Duration, Instant};

use sconce_contract::{Hyperparameters, MetricName, TrainingPhase};
use sconce_engine::{EngineError, Learner, Rows, schedules};

use crate::{
    TrainError,
    checkpoint::{Best, Checkpoints, Position},
    data::{Batch, Data, Part},
    display::Display,
    evaluate,
    group::Group,
    track::{Curve, Pace, Point, Tracker},
    watch::{Stop, Watch, eta_seconds},
};

/// What a training came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// Epochs that were taken.
    pub epochs: u32,
    /// Steps that were taken.
    pub steps: u64,
    /// Mean loss over the steps of the last epoch.
    pub loss: f64,
}

/// Steps in all.
pub fn total_steps(hyperparameters: &Hyperparameters, rows: usize) -> u64 {
    u64::from(hyperparameters.epochs) * steps_per_epoch(hyperparameters, rows)
}

/// Steps of an epoch.
pub fn steps_per_epoch(hyperparameters: &Hyperparameters, rows: usize) -> u64 {
    (rows as u64).div_ceil(hyperparameters.rows_per_step())
}

/// A training on its way.
#[derive(Debug)]
pub struct Course<'a> {
    /// What learns.
    pub learner: Learner,
    /// What it learns from.
    pub data: &'a Data,
    /// How.
    pub hyperparameters: &'a Hyperparameters,
    /// Who looks.
    pub watch: &'a Watch,
    /// Who may stop it.
    pub stop: &'a Stop,
    /// Where its state is saved, if it is.
    pub checkpoints: Option<Checkpoints>,
    /// How far it is.
    pub position: Position,
    /// Whether nobody is shown how far it is.
    pub quiet: bool,
    /// What is measured on the validation rows after an epoch, beside the loss.
    pub metrics: &'a [MetricName],
    /// Who is told of the curve.
    pub tracker: Option<&'a Tracker>,
    /// With whom it learns. All but the first worker have nothing else to do.
    pub group: Option<Group>,
}

impl Course<'_> {
    /// Takes the steps that are left. Stops at the next one where it is asked to, and at once where a loss is not
    /// finite.
    pub fn learn(&mut self) -> Result<Learned, TrainError> {
        let learned = self.advance(self.hyperparameters.epochs)?;
        // What is left to do needs nobody else, also after a restart where the state is saved. Who is started again must
        // know that they went before they do.
        if self.group.is_some() && self.save() && self.may_let_go() {
            self.release();
        }
        self.restore_best()?;
        Ok(learned)
    }

    /// The same up to the end of an epoch, counted from 1. The weights are those after it, not those of the best one.
    pub fn advance(&mut self, until: u32) -> Result<Learned, TrainError> {
        let Hyperparameters { epochs, seed, .. } = self.hyperparameters;
        let rows = self.data.training.rows();
        let rows_per_step = usize::try_from(self.hyperparameters.rows_per_step()).unwrap_or(usize::MAX);
        let mut space = Batch::default();
        let total = total_steps(self.hyperparameters, rows);
        self.tell_start(total);
        let mut display = match self.quiet {
            true => Display::Nowhere,
            false => Display::new(total, *epochs),
        };
        let (start, begun) = (Instant::now(), self.position.step);
        // Beside what trials of this pod took before.
        let mut busy = Duration::from_millis(self.watch.snapshot().progress.work.busy_milliseconds);
        let mut pace = Pace::default();
        loop {
            let epoch = self.position.epoch;
            let taken = usize::try_from(self.position.batch).unwrap_or(usize::MAX);
            let mut since = Instant::now();
            let mut batches = self.data.training.epoch(*seed, epoch, rows_per_step, taken);
            if let Some(group) = &self.group {
                batches = batches.shared(group.share(), self.hyperparameters.batch_size as usize);
            }
            while let Some((count, batch)) = batches.next(&mut space)? {
                self.may_go_on()?;
                let rate = self.learning_rate(self.position.step);
                let value = self.step(&batch, count, rate)?;
                let now = Instant::now();
                busy += now - since;
                pace.add(count, now - since);
                since = now;
                let step = self.position.step;
                self.watch.update(|seen| {
                    let progress = &mut seen.progress;
                    progress.step = step;
                    progress.loss = Some(self.position.mean_loss());
                    progress.eta_seconds = eta_seconds(now - start, step - begun, total - step);
                    progress.work.busy_milliseconds = u64::try_from(busy.as_millis()).unwrap_or(u64::MAX);
                    seen.learning_rate = rate;
                    seen.losses.add(step, 1, value);
                });
                display.step(step);
                if self
                    .checkpoints
                    .as_ref()
                    .is_some_and(|checkpoints| checkpoints.due(step, now))
                {
                    // The run goes on without: what is at stake is its work so far, not its result.
                    let is_saved = self.save();
                    since = Instant::now();
                    if is_saved && self.group.as_ref().is_some_and(Group::is_joined_late) {
                        return Err(TrainError::group("a worker came late"));
                    }
                }
            }
            if self.group.is_some() {
                self.may_go_on()?;
            }
            if !self.goes_on(epoch + 1 >= until.min(*epochs), &mut pace, &mut display)? {
                break;
            }
            self.position.epoch += 1;
            self.position.batch = 0;
            self.position.loss_sum = 0.0;
        }
        display.finish();
        Ok(Learned {
            epochs: self.position.epoch + 1,
            steps: self.position.step,
            loss: self.position.mean_loss(),
        })
    }

    fn tell_start(&self, total: u64) {
        let position = &self.position;
        self.watch.update(|seen| {
            let progress = &mut seen.progress;
            progress.phase = TrainingPhase::Training;
            progress.total_steps = total;
            progress.step = position.step;
            progress.epoch = position.epoch;
            progress.epochs = self.hyperparameters.epochs;
            progress.loss = (position.batch > 0).then(|| position.mean_loss());
            progress.validation_loss = position.validation_loss;
            progress.workers = self.group.as_ref().map(|group| group.workers() as u32);
            progress.work.resumed_from = (position.step > 0).then_some(position.step);
            let newest = self.checkpoints.as_ref().and_then(Checkpoints::newest);
            progress.work.last_checkpoint = newest.cloned();
            seen.losses = position.losses.clone();
            seen.validation_losses = position.validation_losses.clone();
        });
    }

    /// That of a step, counted from 0.
    fn learning_rate(&self, step: u64) -> f64 {
        let Hyperparameters {
            epochs,
            optimizer,
            schedule,
            ..
        } = self.hyperparameters;
        let moment = schedules::Moment {
            step,
            steps_per_epoch: steps_per_epoch(self.hyperparameters, self.data.training.rows()),
            epochs: *epochs,
        };
        schedules::learning_rate(schedule, optimizer.learning_rate, &moment)
    }

    /// Learns from this worker's rows of the `count` that all have.
    fn step(&mut self, batch: &Rows<'_>, count: usize, rate: f64) -> Result<f64, TrainError> {
        let value = match &mut self.group {
            None => self.learner.step(batch, rate)?,
            Some(group) => {
                let share = group.share();
                let value = self.learner.step_together(batch, count, share, group, rate);
                let value = value.map_err(|error| match error {
                    EngineError::Group(why) => TrainError::group(why),
                    error => error.into(),
                })?;
                if !value.is_finite() && !group.leads() {
                    return Err(TrainError::group("worker 0 ended: the loss is no longer finite"));
                }
                value
            }
        };
        let position = &mut self.position;
        if !value.is_finite() {
            let at = format!("in epoch {}, step {}", position.epoch + 1, position.step + 1);
            return Err(self.diverged(value, at));
        }
        position.step += 1;
        position.batch += 1;
        position.loss_sum += value;
        Ok(value)
    }

    pub(crate) fn validate(&mut self, pace: &mut Pace) -> Result<(), TrainError> {
        let (epoch, step) = (self.position.epoch + 1, self.position.step);
        // The state that it goes on from was saved after this was measured. Its weights may be those of the best epoch, and
        // the last bit of a loss depends on the number of threads: measured again, it could be better than the best.
        if self.position.validation_losses.has(step) {
            self.watch.update(|seen| seen.progress.epoch = epoch);
            return Ok(());
        }
        let part = &self.data.validation;
        let is_marked = Curve::marks(epoch, self.hyperparameters.epochs);
        let mut outputs = (is_marked && !self.metrics.is_empty()).then(Vec::new);
        let validation = mean_loss_and_outputs(&mut self.learner, part, self.stop, outputs.as_mut())?;
        if let Some(value) = validation.filter(|value| !value.is_finite()) {
            let at = format!("on the validation rows after epoch {epoch}, step {step}");
            return Err(self.diverged(value, at));
        }
        let per_epoch = steps_per_epoch(self.hyperparameters, self.data.training.rows());
        self.position.validation_loss = validation;
        if let (Some(settings), Some(value)) = (&self.hyperparameters.early_stopping, validation) {
            let best = &self.position.best;
            if best
                .as_ref()
                .is_none_or(|best| value < best.loss - settings.min_delta)
            {
                let weights = if settings.restore_best {
                    self.learner.flat_weights()?
                } else {
                    Vec::new()
                };
                self.position.best = Some(Best {
                    epoch: epoch - 1,
                    loss: value,
                    weights,
                });
            }
        }
        if is_marked {
            let width = self.learner.outputs();
            let metrics = outputs.map(|outputs| evaluate::values(self.metrics, part, width, &outputs));
            self.mark(Point {
                epoch,
                step,
                time: Point::now(),
                loss: self.position.mean_loss(),
                validation_loss: validation,
                // Also where another process took that step.
                learning_rate: self.learning_rate(step.saturating_sub(1)),
                rows_per_second: pace.take(),
                metrics: metrics.unwrap_or_default(),
            });
        }
        self.watch.update(|seen| {
            seen.progress.epoch = epoch;
            seen.progress.validation_loss = validation;
            if let Some(value) = validation {
                seen.validation_losses.add(step, per_epoch, value);
            }
        });
        Ok(())
    }

    /// Adds a point to the curve. A run without validation rows that was stopped after its last step makes it again when it
    /// goes on.
    fn mark(&mut self, point: Point) {
        let is_new = self.position.curve.push(point);
        if let (true, Some(tracker), Some(point)) =
            (is_new, self.tracker, self.position.curve.points().last())
        {
            tracker.tell(point);
        }
    }

    /// The model gets the weights of its best epoch, where early stopping wants that and the last was not it.
    pub fn restore_best(&mut self) -> Result<(), TrainError> {
        if let Some(best) = self
            .position
            .best
            .as_ref()
            .filter(|best| !best.weights.is_empty())
        {
            self.learner.set_flat_weights(&best.weights)?;
        }
        Ok(())
    }

    /// The loss is not finite; what else may help depends on how the data was prepared.
    pub(crate) fn diverged(&self, value: f64, at: String) -> TrainError {
        let raw = self
            .data
            .preprocess
            .features
            .iter()
            .all(|feature| feature.mean == 0.0 && feature.scale == 1.0);
        let also = if raw {
            ", or set dataset.standardize to true"
        } else {
            ""
        };
        TrainError::Diverged {
            value,
            at,
            learning_rate: self.hyperparameters.optimizer.learning_rate,
            also,
        }
    }
}

/// Whether the loss on the validation rows has not fallen for as many epochs as early stopping waits.
pub(crate) fn is_enough(hyperparameters: &Hyperparameters, position: &Position) -> bool {
    let patience = hyperparameters.early_stopping.map(|settings| settings.patience);
    let best = position.best.as_ref();
    let waited = best.map(|best| position.epoch.saturating_sub(best.epoch));
    let enough = patience
        .zip(waited)
        .is_some_and(|(patience, waited)| waited >= patience);
    if let (true, Some(best)) = (enough, best) {
        tracing::info!(
            epoch = position.epoch + 1,
            best = best.epoch + 1,
            loss = best.loss,
            "stopped early: the loss on the validation rows no longer falls"
        );
    }
    enough
}

/// Whether a run has all its steps behind it: what is left is done by one.
pub fn is_learned(hyperparameters: &Hyperparameters, position: &Position, rows: usize) -> bool {
    // What was saved before the epoch was measured may be better than all before it.
    let is_measured = position.validation_losses.has(position.step);
    position.batch == steps_per_epoch(hyperparameters, rows)
        && (position.epoch + 1 >= hyperparameters.epochs
            || is_measured && is_enough(hyperparameters, position))
}

/// The mean loss over all rows; nothing where there are none.
pub fn mean_loss(learner: &mut Learner, part: &Part, stop: &Stop) -> Result<Option<f64>, TrainError> {
    mean_loss_and_outputs(learner, part, stop, None)
}

/// The same; what the network says of the rows is put behind what is in `outputs`, where that is wanted.
fn mean_loss_and_outputs(
    learner: &mut Learner,
    part: &Part,
    stop: &Stop,
    mut outputs: Option<&mut Vec<f32>>,
) -> Result<Option<f64>, TrainError> {
    let (mut sum, mut batch) = (0.0, Batch::default());
    for rows in part.pieces(learner.rows_at_once()) {
        if stop.asked() {
            return Err(TrainError::interrupted("while measuring"));
        }
        let count = rows.len() as f64;
        let rows = part.batch(&rows, &mut batch)?;
        let mean = match &mut outputs {
            Some(outputs) => learner.loss_and_outputs(&rows, outputs)?,
            None => learner.loss(&rows)?,
        };
        sum += mean * count;
    }
    Ok((part.rows() > 0).then(|| sum / part.rows() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_of_an_epoch_takes_what_is_left() {
        let hyperparameters = |epochs, batch_size| Hyperparameters {
            epochs,
            batch_size,
            ..Default::default()
        };
        for (epochs, batch, rows, expected) in [(3, 32, 64, 6), (3, 32, 65, 9), (1, 100, 7, 1)] {
            assert_eq!(total_steps(&hyperparameters(epochs, batch), rows), expected);
        }
    }
}
