//! Reading the plan, and refusing what cannot be honoured before any data is read.
//!
//! The API server's rules refuse most of this already; a plan may also be written by hand.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use sconce_contract::artifact::ModelFormat;
use sconce_contract::{
    Categorical, CheckpointPlan, Dataset, DatasetFormat, Device, Encoding, Evaluation, Every, MetricName,
    Network, Text, TrainingPlan, UnknownWords, search,
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
    if let Some(field) = search::unknown_field(&given, &understood, "") {
        return Err(malformed(format!(
            "there is no field {field}; check its spelling and place"
        )));
    }
    check(&plan)?;
    Ok(plan)
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
    if let (true, Some(network)) = (plan.formats.contains(&ModelFormat::KerasH5), &plan.network) {
        network
            .held_by_keras()
            .map_err(|misfit| TrainError::setting(&misfit.field, misfit.problem))?;
    }
    check_dataset(&plan.dataset)?;
    if let Some(network) = &plan.network {
        plan.dataset.fits(network)?;
    }
    plan.hyperparameters.check()?;
    check_gates(&plan.evaluation)?;
    if let (Some(nodes), Some(network)) = (&plan.nodes, &plan.network) {
        nodes.fits(network, plan.search.as_ref())?;
    }
    match (&plan.search, &plan.network) {
        (Some(search), Some(network)) => Ok(search.check(network, &plan.hyperparameters, None)?),
        _ => Ok(()),
    }
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
    let texts = |check: &dyn Fn(&Text) -> bool| dataset.text.as_ref().is_none_or(check);
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
            dataset.text.is_some() || dataset.format != Some(DatasetFormat::Text),
            "text",
            "goes with dataset.format Text, which needs it",
        ),
        (
            texts(&|_| dataset.features.is_empty() && categorical.is_none() && dataset.images.is_none()),
            "text",
            "its column is the only feature: leave features, categorical and images out",
        ),
        (
            texts(&|text| !text.column.is_empty() && text.column != dataset.target),
            "text.column",
            "name the column of the texts, which is not the target",
        ),
        (
            texts(&|text| (1..=4096).contains(&text.length)),
            "text.length",
            "must be between 1 and 4096",
        ),
        (
            texts(&|text| (3..=1_048_576).contains(&text.vocabulary)),
            "text.vocabulary",
            "must be between 3 and 1048576",
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
