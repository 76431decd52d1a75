//! A training from its plan to its report, one step after another.

use std::time::Instant;

use sconce_contract::search::Candidate;
use sconce_contract::{
    Artifact, Facts, Hyperparameters, Manifest, Report, RowsLeftOut, TrainingPhase, TrainingPlan, Work,
};
use sconce_engine::{Learner, Sequential, device};
use sconce_model::Draft;
use sconce_store::shown;

use crate::{
    TrainError, card,
    checkpoint::{Checkpoints, Position},
    data::Data,
    evaluate::{self, Measured, Wanted},
    fit,
    follow::follow,
    group::{self, Group, Seat, SeatArguments},
    incumbent, integers,
    learn::{Course, is_learned},
    lesson::{Material, TRAINER},
    locations, plan,
    room::Room,
    search::{self, Others},
    source::{self, Source},
    split, target,
    track::{Ended, Told, Tracker},
    watch::{Stop, Watch},
};

/// Does what the plan says. `start` is when the process started.
pub fn run(plan: &TrainingPlan, start: Instant, watch: &Watch, stop: &Stop) -> Result<Report, TrainError> {
    let seat = SeatArguments::default().seat(plan.nodes.unwrap_or_default())?;
    run_in(plan, seat.as_ref(), &Room::found(None, None), start, watch, stop)
}

/// The same in a group, where it has a seat there, with so much memory, and the rows that do not fit into it in that
/// folder.
pub fn run_in(
    plan: &TrainingPlan,
    seat: Option<&Seat>,
    room: &Room,
    start: Instant,
    watch: &Watch,
    stop: &Stop,
) -> Result<Report, TrainError> {
    plan::check(plan)?;
    let leads = seat.is_none_or(|seat| seat.worker == 0);
    let Hyperparameters {
        epochs,
        loss: explicit_loss,
        ..
    } = plan.hyperparameters;
    watch.update(|seen| {
        seen.progress.run = plan.run.clone();
        seen.progress.epochs = epochs;
    });
    let own = Candidate::of(plan::network(plan)?, &plan.hyperparameters);
    let network = &own.network;
    Sequential::check(network)?;
    // Before anything is read: a node without a GPU is not worth the time.
    let device = device::open(plan.device)?;
    let (field, last) = fit::last_dense(network)?;
    // What cannot be written to is told before anything is learned.
    let output = locations::of_output(plan);
    if leads {
        output.exists(&plan.output).map_err(|source| {
            let given = plan.output_credentials_ref.is_some();
            locations::refused("output.uri", "output.credentialsRef", given, source)
        })?;
    }

    tracing::info!(uri = shown(&plan.dataset.uri), "reading the table");
    let source = source::read(&locations::of_dataset(plan), &plan.dataset, room, stop)?;
    interrupted_before(stop, "reading the table")?;
    let Source {
        table,
        digest,
        rows: of_each,
    } = source;
    let rows = table.rows() as u64;
    let integers = integers::check(network, &table, &plan.dataset)?;
    let before_target = fit::loss_before_target(explicit_loss, &last);
    let target = target::read(&table.target, &plan.dataset.target, before_target)?;
    let loss = fit::loss(before_target, &target);
    fit::check(loss, &field, &last, &target, &plan.dataset.target)?;
    let parts = split::parts(of_each, &plan.dataset.split)?;
    // Before anything is learned, and before the table's values become the network's inputs where they are.
    let incumbent = match leads {
        true => incumbent::measure(&output, plan, &table, &parts, &target, evaluate::split(&parts))?,
        false => None,
    };
    let data = Data::new(table, parts, &target, &plan.dataset, room)?;
    if let Some(integers) = &integers {
        integers.check_fills(&data.preprocess.features)?;
    }
    tell(&data);
    let read = Material {
        plan,
        device,
        data: &data,
        target: target.kind(),
        digest: &digest,
        greatest: integers.map(|integers| integers.greatest),
    };
    read.objective(&own)?;
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

    let others = seat.map(|seat| Others {
        seat,
        most: room.message(),
    });
    if let Some(seat) = seat.filter(|_| !leads) {
        return match (&plan.search, others) {
            (Some(search), Some(others)) => search::help(search, &read, others, watch, stop),
            _ => follow(&read, &own, seat, watch, stop),
        };
    }

    let found = match &plan.search {
        Some(search) => Some(search::run(search, &read, others, watch, stop)?),
        None => None,
    };
    let (lesson, mut checkpoints, searched) = match found {
        Some(found) => (
            found.candidate,
            found.checkpoints,
            Some((found.record, found.report)),
        ),
        None => {
            let checkpoint = plan.checkpoint.as_ref();
            let checkpoints = checkpoint.map(|checkpoint| {
                let store = locations::of_checkpoints(plan, checkpoint);
                Checkpoints::new(&store, checkpoint, read.subject(&own))
            });
            (own.clone(), checkpoints, None)
        }
    };
    let objective = read.objective(&lesson)?;
    let (learner, position) = read.begin(&lesson, &objective, checkpoints.as_mut())?;
    let group = match seat {
        // The trials were learned by all, and their best is learned.
        Some(seat)
            if searched.is_none()
                && !is_learned(&lesson.hyperparameters, &position, data.training.rows()) =>
        {
            let mut seat = seat.clone();
            // The others may have ended well, and then they never come again.
            if checkpoints.as_ref().is_some_and(Checkpoints::is_released) {
                seat.least = 1;
            }
            Some(gather(&read, &lesson, &seat, &learner, &position, watch, stop)?)
        }
        _ => None,
    };
    let told = Told::of(plan, &lesson, &data, &digest);
    let mut tracker = Tracker::start(plan, &output, &told, &position.curve);
    let watched = evaluate::watched(&wanted, &data, learner.outputs());
    let mut course = Course {
        learner,
        data: &data,
        hyperparameters: &lesson.hyperparameters,
        watch,
        stop,
        checkpoints,
        position,
        quiet: searched.is_some(),
        metrics: &watched,
        tracker: Some(&tracker),
        group,
    };
    let ended = course.learn().and_then(|learned| {
        let measured = measure(&mut course, &wanted)?;
        let (record, report) = searched
            .map(|(record, report)| (record, Box::new(report)))
            .unzip();
        let draft = Draft {
            name: plan.name.clone(),
            run: plan.run.clone(),
            network: lesson.network.clone(),
            weights: course.learner.weights()?,
            preprocess: data.preprocess.clone(),
            formats: plan.formats.clone(),
            metrics: [measured.held_out.clone(), measured.others].concat(),
            data: digest.clone(),
            rows,
            facts: Facts {
                confusion: measured.confusion,
                ..data.facts.clone()
            },
            seed: lesson.hyperparameters.seed,
            hyperparameters: Some(lesson.hyperparameters),
            search: record,
            trainer: TRAINER.to_owned(),
        };
        // From here on a signal changes nothing: the artifact is written whole, and then the work is done.
        watch.enter(TrainingPhase::Saving);
        let seen = watch.snapshot();
        let history = seen.history();
        let describe = |manifest: &Manifest, artifact: &Artifact| {
            card::files(&card::Subject {
                plan,
                network: &lesson.network,
                preprocess: &data.preprocess,
                rows: counts,
                incumbent: incumbent.as_ref(),
                history: &history,
                curve: &course.position.curve,
                manifest,
                artifact,
            })
        };
        let (_, artifact) = sconce_model::save_with(&output, &plan.output, draft, describe)?;
        course.release();
        let mut work = seen.progress.work.clone();
        if report.is_some() {
            // The best trial is taken up where it ended: no pod went on from anywhere.
            work = Work {
                busy_milliseconds: work.busy_milliseconds,
                ..Work::default()
            };
        }
        Ok(Report::Trained {
            run: plan.run.clone(),
            metrics: measured.held_out,
            artifact,
            epochs: learned.epochs,
            steps: learned.steps,
            loss: Some(learned.loss),
            seconds: start.elapsed().as_secs_f64(),
            history,
            work,
            left_out: data.facts.left_out.clone(),
            incumbent: incumbent.clone(),
            search: report,
        })
    });
    let ended = match ended {
        Err(TrainError::Interrupted { .. }) if course.group.is_some() => {
            let why = course.told_to_stop();
            Err(course.abandoned(&why))
        }
        Err(TrainError::Interrupted { .. }) => Err(course.interrupted()),
        Err(TrainError::Group { why, .. }) => Err(course.abandoned(&why)),
        // What was learned is not lost because it could not be written in one place.
        Err(error @ TrainError::Model(_)) => {
            course.save();
            Err(error)
        }
        ended => ended,
    };
    if let Err(error) = &ended {
        course.leave(error);
    }
    tracker.end(&Ended::of(&ended));
    ended
}

/// The first worker meets the others, and gives them what it has.
fn gather(
    read: &Material<'_>,
    lesson: &Candidate,
    seat: &Seat,
    learner: &Learner,
    position: &Position,
    watch: &Watch,
    stop: &Stop,
) -> Result<Group, TrainError> {
    // From here on it stands still for the sake of the others, not because the table or the device hangs.
    watch.update(|seen| seen.progress.workers = Some(1));
    tracing::info!(listen = %seat.listen, "waiting for the group");
    let mut group = group::meet(seat, &read.purpose(&read.subject(lesson), seat), stop)?;
    tracing::info!(workers = group.workers(), "the group has met");
    group::hand_out(&mut group, learner, position)?;
    Ok(group)
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
