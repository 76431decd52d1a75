//! What every worker of a group but the first one does: it learns along, and leaves nothing behind but the sums.

use sconce_contract::{Report, TrainingPhase, search::Candidate};
use sconce_engine::{Learner, Sequential};

use crate::{
    TrainError,
    group::{self, Seat},
    learn::Course,
    lesson::Material,
    watch::{Stop, Watch},
};

/// Learns along until the first worker says that it is done.
pub fn follow(
    read: &Material<'_>,
    lesson: &Candidate,
    seat: &Seat,
    watch: &Watch,
    stop: &Stop,
) -> Result<Report, TrainError> {
    let Candidate {
        network,
        hyperparameters,
    } = lesson;
    let objective = read.objective(lesson)?;
    let model = Sequential::initialised(network, read.data.width(), hyperparameters.seed, &read.device)?;
    let mut learner = Learner::new(model, &objective, hyperparameters)?;
    tracing::info!(
        worker = seat.worker,
        leader = seat.leader,
        "looking for the group"
    );
    let mut group = group::meet(seat, &read.purpose(&read.subject(lesson), seat), stop)?;
    tracing::info!(workers = group.workers(), "the group has met");
    let taken = group::take_over(&mut group, &mut learner);
    let position = match taken {
        Ok(position) => position,
        Err(error) => {
            group.leave(&error.to_string());
            return Err(error);
        }
    };
    let mut course = Course {
        learner,
        data: read.data,
        hyperparameters,
        watch,
        stop,
        checkpoints: None,
        position,
        quiet: true,
        metrics: &[],
        tracker: None,
        group: Some(group),
    };
    match course.advance(hyperparameters.epochs) {
        Ok(learned) => {
            watch.enter(TrainingPhase::Saving);
            Ok(Report::Helped {
                run: read.plan.run.clone(),
                worker: seat.worker,
                steps: learned.steps,
                work: watch.snapshot().progress.work,
            })
        }
        Err(error) => {
            let error = match error {
                TrainError::Interrupted { .. } => TrainError::group(course.told_to_stop()),
                error => error,
            };
            course.leave(&error);
            Err(error)
        }
    }
}
