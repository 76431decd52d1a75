//! A training from its plan to its report, one step after another.

use std::time::Instant;

use candle_core::Device;
use sconce_contract::digest::short_hash;
use sconce_contract::{Dataset, Facts, Hyperparameters, Report, RowsLeftOut, TrainingPhase, TrainingPlan};
use sconce_engine::{EngineError, Learner, Objective, Sequential, device};
use sconce_model::Draft;
use sconce_store::shown;

use crate::{
    TrainError,
    checkpoint::{Checkpoints, Position, Subject},
    data::Data,
    evaluate::{self, Measured, Wanted},
    fit, incumbent,
    learn::{self, Course},
    locations, plan,
    source::{self, Source},
    split, target,
    watch::{Stop, Watch},
};

/// Version that the manifest names.
const TRAINER: &str = concat!("sconce-trainer ", env!("CARGO_PKG_VERSION"));

/// Does what the plan says. `start` is when the process started.
pub fn run(plan: &TrainingPlan, start: Instant, watch: &Watch, stop: &Stop) -> Result<Report, TrainError> {
    plan::check(plan)?;
    let Hyperparameters {
        epochs,
        seed,
        loss: explicit_loss,
        ..
    } = plan.hyperparameters;
    watch.update(|seen| {
        seen.progress.run = plan.run.clone();
        seen.progress.epochs = epochs;
    });
    let network = plan::network(plan)?;
    Sequential::check(network)?;
    // Before anything is read: a node without a GPU is not worth the time.
    let device = device::open(plan.device)?;
    let Some((field, last)) = fit::last_layer(network) else {
        return Err(TrainError::setting(
            "model.network.layers",
            "the last layer must be dense",
        ));
    };
    // What cannot be written to is told before anything is learned.
    let output = locations::of_output(plan);
    output.exists(&plan.output).map_err(|source| {
        let given = plan.output_credentials_ref.is_some();
        locations::refused("output.uri", "output.credentialsRef", given, source)
    })?;

    tracing::info!(uri = shown(&plan.dataset.uri), "reading the table");
    let source = source::read(&locations::of_dataset(plan), &plan.dataset, stop)?;
    interrupted_before(stop, "reading the table")?;
    let Source {
        table,
        digest,
        rows: of_each,
    } = source;
    let rows = table.rows() as u64;
    fit::check_integers(network, &table, &plan.dataset)?;
    let before_target = fit::loss_before_target(explicit_loss, &last);
    let target = target::read(&table.target, &plan.dataset.target, before_target)?;
    let loss = fit::loss(before_target, &target);
    fit::check(loss, &field, &last, &target, &plan.dataset.target)?;
    let parts = split::parts(of_each, &plan.dataset.split)?;
    let data = Data::new(&table, &parts, &target, &plan.dataset)?;
    tell(&data);
    network
        .outline(Some(data.width() as u64))
        .map_err(EngineError::from)?;
    fit::check_settings(&plan.hyperparameters, loss, &data)?;
    let weights = fit::class_weights(&plan.hyperparameters, &data.training);
    let objective = Objective::new(loss, last.activation, &plan.hyperparameters, weights);
    let wanted = evaluate::plan(&plan.evaluation, &data)?;
    // Before anything is learned: what cannot be compared is not worth the time.
    let incumbent = incumbent::measure(&output, plan, &table, &parts, &target, wanted.split)?;
    drop(table);
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

    // Who reads the table decides nothing about what is in it.
    let dataset = Dataset {
        credentials_ref: None,
        ..plan.dataset.clone()
    };
    let subject = Subject {
        name: plan.name.clone(),
        run: plan.run.clone(),
        asked: short_hash(&(network, &dataset, &plan.hyperparameters)),
        data: digest.clone(),
        trainer: TRAINER.to_owned(),
    };
    let checkpoint = plan.checkpoint.as_ref();
    let mut checkpoints = checkpoint.map(|checkpoint| {
        let store = locations::of_checkpoints(plan, checkpoint);
        Checkpoints::new(&store, checkpoint, subject)
    });
    let (learner, position) = begin(plan, &device, &data, &objective, checkpoints.as_mut())?;
    let mut course = Course {
        learner,
        data: &data,
        hyperparameters: &plan.hyperparameters,
        watch,
        stop,
        checkpoints,
        position,
    };
    let ended = course.learn().and_then(|learned| {
        let measured = measure(&mut course, &wanted)?;
        let draft = Draft {
            name: plan.name.clone(),
            run: plan.run.clone(),
            network: network.clone(),
            weights: course.learner.weights()?,
            preprocess: data.preprocess.clone(),
            metrics: [measured.held_out.clone(), measured.others].concat(),
            data: digest,
            rows,
            facts: Facts {
                confusion: measured.confusion,
                ..data.facts.clone()
            },
            seed,
            trainer: TRAINER.to_owned(),
        };
        // From here on a signal changes nothing: the artifact is written whole, and then the work is done.
        watch.enter(TrainingPhase::Saving);
        let (_, artifact) = sconce_model::save(&output, &plan.output, draft)?;
        Ok(Report::Trained {
            run: plan.run.clone(),
            metrics: measured.held_out,
            artifact,
            epochs: learned.epochs,
            steps: learned.steps,
            loss: Some(learned.loss),
            seconds: start.elapsed().as_secs_f64(),
            history: watch.snapshot().history(),
            work: watch.snapshot().progress.work,
            left_out: data.facts.left_out.clone(),
            incumbent,
        })
    });
    match ended {
        Err(TrainError::Interrupted { .. }) => Err(course.interrupted()),
        // What was learned is not lost because it could not be written in one place.
        Err(error @ TrainError::Model(_)) => {
            course.save();
            Err(error)
        }
        ended => ended,
    }
}

/// A learner at the beginning, or where a checkpoint says.
fn begin(
    plan: &TrainingPlan,
    device: &Device,
    data: &Data,
    objective: &Objective,
    checkpoints: Option<&mut Checkpoints>,
) -> Result<(Learner, Position), TrainError> {
    let network = plan::network(plan)?;
    let width = data.width();
    let settings = &plan.hyperparameters;
    let epochs = settings.epochs;
    let per_epoch = learn::steps_per_epoch(&plan.hyperparameters, data.training.rows());
    let resumed = checkpoints.map(|checkpoints| {
        checkpoints.resume(|saved| {
            let Position {
                step, epoch, batch, ..
            } = saved.position;
            if epoch >= epochs {
                return Err(format!(
                    "it is in epoch {}, but there are {epochs}",
                    u64::from(epoch) + 1
                ));
            }
            if batch > per_epoch || u64::from(epoch) * per_epoch + batch != step {
                return Err(format!("step {step} is not step {batch} of epoch {epoch}"));
            }
            let model = Sequential::from_weights(network, width, &saved.weights, device)
                .map_err(|error| error.to_string())?;
            let learner = Learner::resumed(model, objective, settings, step, &saved.optimiser)
                .map_err(|error| error.to_string())?;
            Ok((learner, saved.position))
        })
    });
    if let Some((learner, position)) = resumed.transpose()?.flatten() {
        tracing::info!(
            step = position.step,
            epoch = position.epoch,
            "going on from a checkpoint"
        );
        return Ok((learner, position));
    }
    let model = Sequential::initialised(network, width, settings.seed, device)?;
    let learner = Learner::new(model, objective, settings)?;
    Ok((learner, Position::default()))
}

/// What the model reached, all of it finite.
fn measure(course: &mut Course<'_>, wanted: &Wanted) -> Result<Measured, TrainError> {
    course.watch.enter(TrainingPhase::Evaluating);
    interrupted_before(course.stop, "measuring the model")?;
    let measured = evaluate::measure(&mut course.learner, course.data, wanted, course.stop)?;
    let weights = course.learner.flat_weights()?;
    let finite = weights.iter().all(|weight| weight.is_finite());
    let bad = measured
        .held_out
        .iter()
        .map(|metric| metric.value)
        .find(|value| !value.is_finite());
    if let Some(value) = bad.or((!finite).then_some(f64::NAN)) {
        let at = format!("after the last step, {}", course.position.step);
        return Err(course.diverged(value, at));
    }
    interrupted_before(course.stop, "saving the model")?;
    Ok(measured)
}

/// Says in the log what a person should know of the table.
fn tell(data: &Data) {
    let RowsLeftOut {
        malformed,
        missing,
        first,
    } = &data.facts.left_out;
    if *malformed > 0 {
        tracing::warn!(rows = malformed, first, "left out: rows that cannot be read");
    }
    if *missing > 0 {
        tracing::warn!(rows = missing, "left out: rows that lack a value");
    }
    for column in &data.facts.columns {
        if column.numbers.is_some_and(|numbers| numbers.deviation == 0.0) || column.words == Some(1) {
            tracing::warn!(
                column = column.name,
                "holds the same value in each row: it tells nothing, leave it out of dataset.features"
            );
        }
    }
}

fn interrupted_before(stop: &Stop, what: &str) -> Result<(), TrainError> {
    match stop.asked() {
        true => Err(TrainError::interrupted(format!("while {what}"))),
        false => Ok(()),
    }
}
