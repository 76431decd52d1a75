//! What the schema and the rules say of hyperparameters, for whoever has them from elsewhere: a plan that was written by
//! hand, or a search.

use super::{Hyperparameters, Loss, Optimizer, OptimizerType, Regularization, Schedule, ScheduleType};
use crate::network::Misfit;

impl Hyperparameters {
    /// Refuses values that cannot be honoured, whatever the table.
    ///
    /// # Errors
    /// The first one, by its path in the spec of a ModelTraining.
    pub fn check(&self) -> Result<(), Misfit> {
        check(self)
    }
}

fn check(hyperparameters: &Hyperparameters) -> Result<(), Misfit> {
    let Hyperparameters {
        epochs,
        batch_size,
        optimizer,
        schedule,
        loss,
        regularization,
        ..
    } = hyperparameters;
    let within = |count: &u32, most: u32| (1..=most).contains(count);
    let fits = |losses: &[Loss]| loss.is_none_or(|loss| losses.contains(&loss));
    let [l1, l2] = [
        |penalty: &Regularization| penalty.l1,
        |penalty: &Regularization| penalty.l2,
    ]
    .map(|of| regularization.as_ref().map(of));
    let early = &hyperparameters.early_stopping;
    for (holds, field, problem) in [
        (within(epochs, 100_000), "epochs", "must be between 1 and 100000"),
        (
            within(batch_size, 1_048_576),
            "batchSize",
            "must be between 1 and 1048576",
        ),
        (
            hyperparameters.huber_delta.is_none() || *loss == Some(Loss::Huber),
            "huberDelta",
            "works with loss Huber only",
        ),
        (
            hyperparameters.huber_delta.is_none_or(positive),
            "huberDelta",
            "must be above 0",
        ),
        (
            hyperparameters.label_smoothing.is_none() || fits(&[Loss::CrossEntropy]),
            "labelSmoothing",
            "works with loss CrossEntropy only",
        ),
        (
            hyperparameters.label_smoothing.is_none_or(below_one),
            "labelSmoothing",
            "must be at least 0 and below 1",
        ),
        (
            hyperparameters.class_weights.is_none() || fits(&[Loss::CrossEntropy, Loss::BinaryCrossEntropy]),
            "classWeights",
            "works with loss CrossEntropy or BinaryCrossEntropy only",
        ),
        (
            !matches!((l1, l2), (Some(None), Some(None))),
            "regularization",
            "needs l1, l2 or both",
        ),
        (
            l1.flatten().is_none_or(not_negative),
            "regularization.l1",
            "must be at least 0",
        ),
        (
            l2.flatten().is_none_or(not_negative),
            "regularization.l2",
            "must be at least 0",
        ),
        (
            hyperparameters.clip_norm.is_none_or(positive),
            "clipNorm",
            "must be above 0",
        ),
        (
            hyperparameters
                .accumulate_batches
                .is_none_or(|count| within(&count, 1024)),
            "accumulateBatches",
            "must be between 1 and 1024",
        ),
        (
            early.is_none_or(|early| within(&early.patience, 100_000)),
            "earlyStopping.patience",
            "must be between 1 and 100000",
        ),
        (
            early.is_none_or(|early| not_negative(early.min_delta)),
            "earlyStopping.minDelta",
            "must be at least 0",
        ),
    ] {
        if !holds {
            return Err(Misfit::new(format!("hyperparameters.{field}"), problem));
        }
    }
    check_optimizer(optimizer)?;
    check_schedule(schedule)
}

fn check_optimizer(optimizer: &Optimizer) -> Result<(), Misfit> {
    let Optimizer {
        kind,
        learning_rate,
        momentum,
        nesterov,
        weight_decay,
    } = *optimizer;
    for (holds, field, problem) in [
        (positive(learning_rate), "learningRate", "must be above 0"),
        (
            momentum.is_none() || kind == OptimizerType::Sgd,
            "momentum",
            "works with type SGD only",
        ),
        (
            momentum.is_none_or(below_one),
            "momentum",
            "must be at least 0 and below 1",
        ),
        (
            nesterov.is_none() || momentum.is_some(),
            "nesterov",
            "works with momentum only",
        ),
        (
            weight_decay.is_none() || matches!(kind, OptimizerType::AdamW | OptimizerType::Lion),
            "weightDecay",
            "works with type AdamW or Lion only",
        ),
        (
            weight_decay.is_none_or(not_negative),
            "weightDecay",
            "must be at least 0",
        ),
    ] {
        if !holds {
            return Err(Misfit::new(format!("hyperparameters.optimizer.{field}"), problem));
        }
    }
    Ok(())
}

fn check_schedule(schedule: &Schedule) -> Result<(), Misfit> {
    use ScheduleType::{Cosine, Exponential, InverseTime, Linear, OneCycle, Step};
    let Schedule {
        kind,
        decay,
        factor,
        every_epochs,
        final_learning_rate,
        warmup_epochs,
    } = *schedule;
    let count = |count: u32| (1..=100_000).contains(&count);
    for (holds, field, problem) in [
        (
            (kind == InverseTime) == decay.is_some(),
            "decay",
            "is required with type InverseTime and works with no other",
        ),
        (decay.is_none_or(not_negative), "decay", "must be at least 0"),
        (
            matches!(kind, Exponential | Step) == factor.is_some(),
            "factor",
            "is required with type Exponential or Step and works with no other",
        ),
        (
            factor.is_none_or(|factor| factor > 0.0 && factor <= 1.0),
            "factor",
            "must be above 0 and at most 1",
        ),
        (
            (kind == Step) == every_epochs.is_some(),
            "everyEpochs",
            "is required with type Step and works with no other",
        ),
        (
            every_epochs.is_none_or(count),
            "everyEpochs",
            "must be between 1 and 100000",
        ),
        (
            final_learning_rate.is_none() || matches!(kind, Cosine | Linear),
            "finalLearningRate",
            "works with type Cosine or Linear only",
        ),
        (
            final_learning_rate.is_none_or(not_negative),
            "finalLearningRate",
            "must be at least 0",
        ),
        (
            warmup_epochs.is_none() || kind != OneCycle,
            "warmupEpochs",
            "does not work with type OneCycle, which warms up by itself",
        ),
        (
            warmup_epochs.is_none_or(count),
            "warmupEpochs",
            "must be between 1 and 100000",
        ),
    ] {
        if !holds {
            return Err(Misfit::new(format!("hyperparameters.schedule.{field}"), problem));
        }
    }
    Ok(())
}

fn positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

fn not_negative(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

fn below_one(value: f64) -> bool {
    (0.0..1.0).contains(&value)
}
