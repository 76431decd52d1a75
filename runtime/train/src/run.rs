//! A training from its plan to its report, one step after another.

use std::time::Instant;

use candle_core::Device;
use sconce_contract::{FileDigest, Hyperparameters, Report, TrainingPhase, TrainingPlan};
use sconce_engine::{Learner, Sequential};
use sconce_model::Draft;
use sconce_store::Store;

use crate::{
    TrainError,
    data::Data,
    evaluate, fit,
    learn::{self, diverged},
    plan, table, target,
    watch::{Stop, Watch},
};

/// Most bytes of a table: it is read whole.
const TABLE_LIMIT: u64 = 4 << 30;

/// Version that the manifest names.
const TRAINER: &str = concat!("sconce-trainer ", env!("CARGO_PKG_VERSION"));

/// Does what the plan says. `start` is when the process started.
pub fn run(plan: &TrainingPlan, start: Instant, watch: &Watch, stop: &Stop) -> Result<Report, TrainError> {
    plan::check(plan)?;
    let Hyperparameters {
        epochs,
        seed,
        optimizer,
        loss: explicit_loss,
        ..
    } = plan.hyperparameters;
    watch.update(|seen| {
        seen.progress.run = plan.run.clone();
        seen.progress.epochs = epochs;
    });
    let network = plan::network(plan)?;
    Sequential::check(network)?;
    let Some((field, last)) = fit::last_layer(network) else {
        return Err(TrainError::setting(
            "model.network.layers",
            "the last layer must be dense",
        ));
    };
    let store = Store::new(plan.mounts.clone());
    store.exists(&plan.output).map_err(|source| TrainError::Store {
        field: "output.uri",
        source,
    })?;

    tracing::info!(uri = plan.dataset.uri, "reading the table");
    let bytes = store
        .read(&plan.dataset.uri, TABLE_LIMIT)
        .map_err(|source| TrainError::Store {
            field: "dataset.uri",
            source,
        })?;
    interrupted_before(stop, "reading the table")?;
    let digest = FileDigest::of(&bytes);
    let table = table::read(&bytes, &plan.dataset)?;
    drop(bytes);
    let rows = table.rows() as u64;
    let before_target = fit::loss_before_target(explicit_loss, &last);
    let target = target::read(&table.target, &plan.dataset.target, before_target)?;
    let loss = fit::loss(before_target, &target);
    fit::check(loss, &field, &last, &target, &plan.dataset.target)?;
    let data = Data::new(table, &target, &plan.dataset)?;
    let wanted = evaluate::plan(&plan.evaluation, &data)?;
    let counts = [&data.training, &data.validation, &data.test].map(|part| part.rows() as u64);
    watch.update(|seen| seen.rows = counts);
    tracing::info!(
        training = counts[0],
        validation = counts[1],
        test = counts[2],
        features = data.preprocess.features.len(),
        ?loss,
        "training"
    );

    let model = Sequential::initialised(network, data.preprocess.features.len(), seed, &Device::Cpu)?;
    let mut learner = Learner::new(model, loss, &optimizer, seed);
    let learned = learn::learn(&mut learner, &data, loss, &plan.hyperparameters, watch, stop)?;

    watch.enter(TrainingPhase::Evaluating);
    interrupted_before(stop, "measuring the model")?;
    let metrics = evaluate::measure(&learner, &data, &wanted, loss)?;
    let weights = learner.model().weights()?;
    let finite = weights.values().try_fold(true, |finite, tensor| {
        let sum = tensor.abs()?.sum_all()?.to_scalar::<f32>()?;
        Ok::<bool, candle_core::Error>(finite && sum.is_finite())
    });
    let bad = metrics
        .iter()
        .map(|metric| metric.value)
        .find(|value| !value.is_finite());
    if let Some(value) = bad.or((!finite.map_err(sconce_engine::EngineError::from)?).then_some(f64::NAN)) {
        let at = format!("after the last step, {}", learned.steps);
        return Err(diverged(value, at, &data, optimizer.learning_rate));
    }

    interrupted_before(stop, "saving the model")?;
    // From here on a signal changes nothing: the artifact is written whole, and then the work is done.
    watch.enter(TrainingPhase::Saving);
    let draft = Draft {
        name: plan.name.clone(),
        run: plan.run.clone(),
        network: network.clone(),
        weights,
        preprocess: data.preprocess,
        metrics: metrics.clone(),
        data: digest,
        rows,
        seed,
        trainer: TRAINER.to_owned(),
    };
    let (_, artifact) = sconce_model::save(&store, &plan.output, draft)?;
    Ok(Report::Trained {
        run: plan.run.clone(),
        metrics,
        artifact,
        epochs: learned.epochs,
        steps: learned.steps,
        loss: Some(learned.loss),
        seconds: start.elapsed().as_secs_f64(),
        history: watch.snapshot().history(),
    })
}

fn interrupted_before(stop: &Stop, what: &str) -> Result<(), TrainError> {
    match stop.asked() {
        true => Err(TrainError::Interrupted {
            at: format!("while {what}"),
        }),
        false => Ok(()),
    }
}
