//! How the learning rate changes in the course of a training.

mod by_epoch;
mod by_step;

use sconce_contract::{Schedule, ScheduleType};

/// A moment of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Finished steps.
    pub step: u64,
    /// Steps of an epoch, at least 1.
    pub steps_per_epoch: u64,
    /// Epochs in all.
    pub epochs: u32,
}

/// The learning rate of the next step, from the base rate α. The warm-up lasts for whole epochs, at most for all;
/// the rule counts from its end.
pub fn learning_rate(schedule: &Schedule, base: f64, moment: &Moment) -> f64 {
    let per_epoch = moment.steps_per_epoch.max(1);
    let warm = u64::from(schedule.warmup_epochs.unwrap_or(0).min(moment.epochs)) * per_epoch;
    if moment.step < warm {
        return base * (moment.step + 1) as f64 / warm as f64;
    }
    let step = moment.step - warm;
    let steps = (u64::from(moment.epochs) * per_epoch).saturating_sub(warm);
    let epoch = (step / per_epoch) as f64;
    let last = schedule.final_learning_rate.unwrap_or(0.0);
    let factor = schedule.factor.unwrap_or(1.0);
    match schedule.kind {
        ScheduleType::Constant => base,
        ScheduleType::InverseTime => by_epoch::inverse_time(base, schedule.decay.unwrap_or(0.0), epoch),
        ScheduleType::Exponential => by_epoch::exponential(base, factor, epoch),
        ScheduleType::Step => by_epoch::step(base, factor, schedule.every_epochs.unwrap_or(1), epoch),
        ScheduleType::Cosine => by_step::cosine(base, last, share(step, steps)),
        ScheduleType::Linear => by_step::linear(base, last, share(step, steps)),
        ScheduleType::OneCycle => by_step::one_cycle(base, step, steps),
    }
}

/// How much of the way is behind, 0 to 1.
fn share(step: u64, steps: u64) -> f64 {
    step.min(steps) as f64 / steps.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: &Schedule, epochs: u32, steps_per_epoch: u64) -> Vec<f64> {
        (0..u64::from(epochs) * steps_per_epoch)
            .map(|step| {
                let moment = Moment {
                    step,
                    steps_per_epoch,
                    epochs,
                };
                learning_rate(schedule, 0.1, &moment)
            })
            .collect()
    }

    fn of(kind: ScheduleType) -> Schedule {
        Schedule {
            kind,
            ..Schedule::default()
        }
    }

    #[track_caller]
    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn rules_by_epochs_hold_through_an_epoch() {
        assert_close(&rates(&of(ScheduleType::Constant), 2, 2), &[0.1; 4]);
        let inverse = Schedule {
            decay: Some(0.5),
            ..of(ScheduleType::InverseTime)
        };
        assert_close(
            &rates(&inverse, 3, 2),
            &[0.1, 0.1, 0.1 / 1.5, 0.1 / 1.5, 0.05, 0.05],
        );
        let exponential = Schedule {
            factor: Some(0.5),
            ..of(ScheduleType::Exponential)
        };
        assert_close(&rates(&exponential, 3, 1), &[0.1, 0.05, 0.025]);
        let step = Schedule {
            factor: Some(0.1),
            every_epochs: Some(2),
            ..of(ScheduleType::Step)
        };
        assert_close(&rates(&step, 5, 1), &[0.1, 0.1, 0.01, 0.01, 0.001]);
    }

    #[test]
    fn rules_by_steps_end_at_the_last_step() {
        let linear = Schedule {
            final_learning_rate: Some(0.02),
            ..of(ScheduleType::Linear)
        };
        assert_close(&rates(&linear, 2, 2), &[0.1, 0.08, 0.06, 0.04]);
        let cosine = Schedule {
            final_learning_rate: Some(0.02),
            ..of(ScheduleType::Cosine)
        };
        let half = 0.04 / 2f64.sqrt();
        assert_close(&rates(&cosine, 2, 2), &[0.1, 0.06 + half, 0.06, 0.06 - half]);
    }

    /// As PyTorch's `OneCycleLR(max_lr=0.1, total_steps=10)`.
    #[test]
    fn one_cycle_rises_and_falls() {
        let found = rates(&of(ScheduleType::OneCycle), 5, 2);
        let expected = [
            0.004,
            0.052,
            0.1,
            0.095_048_445_3,
            0.081_174_490_0,
            0.061_126_046_0,
            0.038_874_354_0,
            0.018_825_910_0,
            0.004_951_954_7,
            0.000_000_4,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_warm_up_rises_step_by_step_before_the_rule() {
        let schedule = Schedule {
            warmup_epochs: Some(2),
            ..of(ScheduleType::Linear)
        };
        assert_close(
            &rates(&schedule, 4, 2),
            &[0.025, 0.05, 0.075, 0.1, 0.1, 0.075, 0.05, 0.025],
        );
        // All of it, and no rule after it.
        assert_close(&rates(&schedule, 1, 4), &[0.025, 0.05, 0.075, 0.1]);
    }
}
