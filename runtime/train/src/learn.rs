//! The loop: epochs of batches.

use std::time::Instant;

use sconce_contract::{Hyperparameters, Loss, TrainingPhase};
use sconce_engine::{EngineError, Learner, Purpose, Random, schedules};

use crate::{
    TrainError,
    data::{Data, Part},
    display::Display,
    watch::{Stop, Watch, eta_seconds},
};

/// Rows that are computed at once where nothing is learned.
pub(crate) const PIECE: usize = 1024;

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
    u64::from(hyperparameters.epochs) * (rows as u64).div_ceil(u64::from(hyperparameters.batch_size.max(1)))
}

/// Takes all epochs. Stops at the next step where it is asked to, and at once where a loss is not finite.
pub fn learn(
    learner: &mut Learner,
    data: &Data,
    loss: Loss,
    hyperparameters: &Hyperparameters,
    watch: &Watch,
    stop: &Stop,
) -> Result<Learned, TrainError> {
    let Hyperparameters {
        epochs,
        batch_size,
        seed,
        optimizer,
        schedule,
        ..
    } = hyperparameters;
    let rows = data.training.rows();
    let total = total_steps(hyperparameters, rows);
    watch.update(|seen| {
        seen.progress.phase = TrainingPhase::Training;
        seen.progress.total_steps = total;
    });
    let mut display = Display::new(total, *epochs);
    let start = Instant::now();
    let mut step = 0;
    let mut mean = 0.0;
    for epoch in 0..*epochs {
        let rate = schedules::learning_rate(schedule, optimizer.learning_rate, epoch);
        watch.update(|seen| seen.learning_rate = rate);
        let mut order: Vec<usize> = (0..rows).collect();
        Random::new(*seed, Purpose::Order, u64::from(epoch)).shuffle(&mut order);
        let mut sum = 0.0;
        for (index, batch) in order.chunks(*batch_size as usize).enumerate() {
            if stop.asked() {
                return Err(TrainError::Interrupted {
                    at: format!("at step {step} of {total}"),
                });
            }
            let (x, targets) = data.training.batch(batch, loss)?;
            let value = learner.step(&x, &targets, rate)?;
            step += 1;
            if !value.is_finite() {
                return Err(diverged(
                    value,
                    format!("in epoch {}, step {step}", epoch + 1),
                    data,
                    optimizer.learning_rate,
                ));
            }
            sum += value;
            mean = sum / (index + 1) as f64;
            watch.update(|seen| {
                seen.progress.step = step;
                seen.progress.loss = Some(mean);
                seen.progress.eta_seconds = eta_seconds(start, step, total);
                seen.losses.add(step, 1, value);
            });
            display.step(step);
        }
        let validation = mean_loss(learner, &data.validation, loss)?;
        if let Some(value) = validation.filter(|value| !value.is_finite()) {
            let at = format!("on the validation rows after epoch {}, step {step}", epoch + 1);
            return Err(diverged(value, at, data, optimizer.learning_rate));
        }
        watch.update(|seen| {
            seen.progress.epoch = epoch + 1;
            seen.progress.validation_loss = validation;
            if let Some(value) = validation {
                seen.validation_losses
                    .add(step, total / u64::from(*epochs), value);
            }
        });
        display.epoch(&watch.snapshot());
    }
    display.finish();
    Ok(Learned {
        epochs: *epochs,
        steps: step,
        loss: mean,
    })
}

/// The mean loss over all rows; nothing where there are none.
pub fn mean_loss(learner: &Learner, part: &Part, loss: Loss) -> Result<Option<f64>, EngineError> {
    let mut sum = 0.0;
    for rows in part.pieces(PIECE) {
        let (x, targets) = part.batch(&rows, loss)?;
        sum += learner.loss(&x, &targets)? * rows.len() as f64;
    }
    Ok((part.rows() > 0).then(|| sum / part.rows() as f64))
}

/// The loss is not finite; what else may help depends on how the data was prepared.
pub(crate) fn diverged(value: f64, at: String, data: &Data, learning_rate: f64) -> TrainError {
    let raw = data
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
        learning_rate,
        also,
    }
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
