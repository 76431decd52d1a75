//! Reading the plan, and refusing what cannot be honoured before any data is read.
//!
//! The API server's rules refuse most of this already; a plan may also be written by hand.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use sconce_contract::{
    Categorical, CheckpointPlan, Dataset, DatasetFormat, Device, Encoding, Evaluation, Every,
    Hyperparameters, Loss, MetricName, Network, Optimizer, OptimizerType, Regularization, Schedule,
    ScheduleType, TrainingPlan, UnknownWords,
};
use sconce_engine::device::is_built_for;
use serde_json::Value;

use crate::{TrainError, table::Format};

/// Reads and checks the plan.
pub fn read(path: &Path) -> Result<TrainingPlan, TrainError> {
    let text = fs::read_to_string(path).map_err(|source| TrainError::PlanUnreadable {
        path: path.to_owned(),
        source,
    })?;
    let malformed = |problem: String| TrainError::PlanMalformed {
        path: path.to_owned(),
        problem,
    };
    let plan: TrainingPlan = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    // serde ignores unknown fields of the types that the custom resources embed; a typing error must not
    // silently become a default.
    let given: Value = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let understood = serde_json::to_value(&plan).map_err(|error| malformed(error.to_string()))?;
    if let Some(field) = unknown_field(&given, &understood, "") {
        return Err(malformed(format!(
            "there is no field {field}; check its spelling and place"
        )));
    }
    check(&plan)?;
    Ok(plan)
}

/// The first field that was given but not understood. Nulls and empty lists count as not given.
fn unknown_field(given: &Value, understood: &Value, path: &str) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => given.iter().find_map(|(key, value)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            match understood.get(key) {
                Some(understood) => unknown_field(value, understood, &path),
                None if value.is_null() || value.as_array().is_some_and(Vec::is_empty) => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(understood)) => {
            given
                .iter()
                .zip(understood)
                .enumerate()
                .find_map(|(index, (given, understood))| {
                    unknown_field(given, understood, &format!("{path}[{index}]"))
                })
        }
        _ => None,
    }
}

/// The network to train, which a plan for another trainer may lack.
///
/// # Errors
/// There is none.
pub fn network(plan: &TrainingPlan) -> Result<&Network, TrainError> {
    let absent = || TrainError::setting("model.network", "say which layers the network has");
    plan.network.as_ref().ok_or_else(absent)
}

/// Refuses a plan with a value that cannot be honoured. The layers are checked where the network is built.
pub fn check(plan: &TrainingPlan) -> Result<(), TrainError> {
    if !is_built_for(plan.device) {
        let device = serde_json::to_value(plan.device).unwrap_or_default();
        let device = device.as_str().unwrap_or_default();
        let here = if is_built_for(Device::Cuda) {
            "the CPU and CUDA"
        } else {
            "the CPU"
        };
        return Err(TrainError::setting(
            "accelerator",
            format!(
                "this image computes on {here}, not on {device}: leave accelerator out or choose a profile whose \
                 image for the trainer is built for {device}"
            ),
        ));
    }
    if plan.output.is_empty() {
        return Err(TrainError::setting(
            "output.uri",
            "name the folder for the model, such as pvc://CLAIM/PATH",
        ));
    }
    if let Some(checkpoint) = &plan.checkpoint {
        check_checkpoint(checkpoint)?;
    }
    check_dataset(&plan.dataset)?;
    check_hyperparameters(&plan.hyperparameters)?;
    check_gates(&plan.evaluation)
}

fn check_checkpoint(checkpoint: &CheckpointPlan) -> Result<(), TrainError> {
    let Every { steps, interval } = &checkpoint.every;
    let short = |interval: &sconce_contract::Duration| interval.get() < Duration::from_secs(1);
    for (holds, field, problem) in [
        (
            !checkpoint.uri.is_empty(),
            "uri",
            "name a folder, such as pvc://CLAIM/PATH",
        ),
        (checkpoint.keep >= 1, "keep", "must be at least 1"),
        (
            steps.is_some() || interval.is_some(),
            "every",
            "needs steps, interval or both",
        ),
        (*steps != Some(0), "every.steps", "must be at least 1"),
        (
            !interval.as_ref().is_some_and(short),
            "every.interval",
            "must be at least 1s",
        ),
    ] {
        if !holds {
            return Err(TrainError::setting(format!("checkpoint.{field}"), problem));
        }
    }
    Ok(())
}

fn check_dataset(dataset: &Dataset) -> Result<(), TrainError> {
    let path = dataset.uri.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    // What has no end may be a folder, whose files have.
    if dataset.format.is_none() && name.contains('.') && Format::of_path(path).is_none() {
        let problem = format!(
            "{} does not end in one of {}: say which format it has, such as CSV",
            sconce_store::shown(&dataset.uri),
            Format::ends()
        );
        return Err(TrainError::setting("dataset.format", problem));
    }
    check_policies(dataset)?;
    if dataset.target.is_empty() {
        return Err(TrainError::setting(
            "dataset.target",
            "name the column to predict",
        ));
    }
    if dataset.features.contains(&dataset.target) {
        let problem = format!(
            "{:?} is dataset.target too: the model would be told the answer",
            dataset.target
        );
        return Err(TrainError::setting("dataset.features", problem));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = dataset.features.iter().find(|name| !seen.insert(*name)) {
        return Err(TrainError::setting(
            "dataset.features",
            format!("{twice:?} is there twice"),
        ));
    }
    let split = &dataset.split;
    if !(split.validation >= 0.0 && split.test >= 0.0 && split.validation + split.test < 1.0) {
        let problem = format!(
            "validation {} and test {} must be at least 0, and their sum below 1",
            split.validation, split.test
        );
        return Err(TrainError::setting("dataset.split", problem));
    }
    Ok(())
}

fn check_policies(dataset: &Dataset) -> Result<(), TrainError> {
    let categorical = dataset.categorical.as_ref();
    let words = |check: fn(&Categorical) -> bool| categorical.is_none_or(check);
    for (holds, field, problem) in [
        (
            words(|words| words.encoding == Encoding::OneHot || words.unknown == UnknownWords::Refuse),
            "categorical.unknown",
            "Ignore goes with encoding OneHot: an index has no place for a word that is not known",
        ),
        (
            words(|words| (2..=10_000).contains(&words.max_words)),
            "categorical.maxWords",
            "must be between 2 and 10000",
        ),
        (
            dataset.images.is_some() == (dataset.format == Some(DatasetFormat::Images)),
            "images",
            "goes with dataset.format Images, which needs it",
        ),
        (
            dataset.images.is_none_or(|images| {
                let side = |length: u32| (1..=512).contains(&length);
                side(images.height) && side(images.width) && [1, 3, 4].contains(&images.channels)
            }),
            "images",
            "height and width must be between 1 and 512, and channels 1, 3 or 4",
        ),
        (
            dataset
                .malformed_rows
                .is_none_or(|rows| (1..=1_000_000).contains(&rows.skip_up_to)),
            "malformedRows.skipUpTo",
            "must be between 1 and 1000000",
        ),
    ] {
        if !holds {
            return Err(TrainError::setting(format!("dataset.{field}"), problem));
        }
    }
    Ok(())
}

fn check_hyperparameters(hyperparameters: &Hyperparameters) -> Result<(), TrainError> {
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
            return Err(TrainError::setting(format!("hyperparameters.{field}"), problem));
        }
    }
    check_optimizer(optimizer)?;
    check_schedule(schedule)
}

fn check_optimizer(optimizer: &Optimizer) -> Result<(), TrainError> {
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
            return Err(TrainError::setting(
                format!("hyperparameters.optimizer.{field}"),
                problem,
            ));
        }
    }
    Ok(())
}

fn check_schedule(schedule: &Schedule) -> Result<(), TrainError> {
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
            return Err(TrainError::setting(
                format!("hyperparameters.schedule.{field}"),
                problem,
            ));
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

fn check_gates(evaluation: &Evaluation) -> Result<(), TrainError> {
    for (index, gate) in evaluation.gates.iter().enumerate() {
        let problem = match (gate.min, gate.max) {
            (None, None) if gate.beats.is_none() => "a gate needs min, max or beats",
            _ if gate.beats.is_some() && gate.metric == MetricName::Loss => {
                "a gate with beats needs a metric that does not depend on how each model was trained: logLoss, rmse or \
                 another one, not loss"
            }
            (Some(min), Some(max)) if min > max => "a gate's min must not be above its max",
            _ => continue,
        };
        return Err(TrainError::setting(format!("evaluation.gates[{index}]"), problem));
    }
    Ok(())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
