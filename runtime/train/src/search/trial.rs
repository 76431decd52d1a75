//! A trial: some epochs of learning with other values, and what they come to on the validation rows.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use sconce_contract::search::Candidate;
use sconce_contract::{FailureClass, MetricName, Search};

use super::epochs;
use super::journal::Journal;
use super::schedule::{Job, Outcome};
use crate::checkpoint::Checkpoints;
use crate::lesson::Material;
use crate::{
    TrainError, evaluate,
    learn::Course,
    supervise,
    target::Target,
    watch::{Stop, Watch},
};

/// Where trials are made.
#[derive(Debug)]
pub struct Bench<'a> {
    /// What they learn from.
    pub table: &'a Material<'a>,
    /// What is searched.
    pub search: &'a Search,
    /// Where their state is kept, if it is.
    pub journal: Option<&'a Journal>,
    /// Who may stop them.
    pub stop: &'a Stop,
}

impl Bench<'_> {
    /// The spec with the values of a trial.
    pub fn candidate(&self, job: &Job) -> Result<Candidate, TrainError> {
        let plan = self.table.plan;
        let base = Candidate::of(crate::plan::network(plan)?, &plan.hyperparameters);
        let values = self.search.space.iter().zip(&job.point);
        let mut candidate = base;
        for (parameter, value) in values {
            candidate = candidate
                .with(&parameter.path, value)
                .map_err(|misfit| TrainError::setting(&parameter.path, misfit.problem))?;
        }
        candidate.check(Some(self.table.data.width() as u64))?;
        Ok(candidate)
    }

    /// Where the state of a job's trial is kept, if it is.
    pub fn checkpoints(&self, job: &Job, candidate: &Candidate) -> Option<Checkpoints> {
        let journal = self.journal?;
        Some(journal.checkpoints(job.trial, self.table.subject(candidate)))
    }

    /// Carries a job out, with its state where `kept` says. What is the trial's own fault is an outcome, all else an error.
    pub fn carry_out(
        &self,
        job: &Job,
        watch: &Watch,
        kept: impl FnOnce(&Candidate) -> Option<Checkpoints>,
    ) -> Result<Outcome, TrainError> {
        // Nothing that the work could have left half changed is used afterwards.
        let learned = catch_unwind(AssertUnwindSafe(|| self.learn(job, watch, kept)));
        let learned = learned.unwrap_or_else(|payload: Box<dyn Any + Send>| {
            Err(TrainError::Panic(supervise::message(&*payload)))
        });
        match learned {
            Ok(value) => Ok(Outcome::Reached(value)),
            Err(error) if is_its_own(error.class()) => Ok(Outcome::Failed(error.failure())),
            Err(error) => Err(error),
        }
    }

    fn learn(
        &self,
        job: &Job,
        watch: &Watch,
        kept: impl FnOnce(&Candidate) -> Option<Checkpoints>,
    ) -> Result<f64, TrainError> {
        let candidate = self.candidate(job)?;
        self.reads_alike(&candidate)?;
        let objective = self.table.objective(&candidate)?;
        let mut checkpoints = kept(&candidate);
        let (learner, position) = self.table.begin(&candidate, &objective, checkpoints.as_mut())?;
        let mut course = Course {
            learner,
            data: self.table.data,
            hyperparameters: &candidate.hyperparameters,
            watch,
            stop: self.stop,
            checkpoints,
            position,
            quiet: true,
            metrics: &[],
            tracker: None,
            group: None,
        };
        let until = epochs::of(self.search, job);
        let last = until >= candidate.hyperparameters.epochs;
        let learned = course.advance(until);
        if let Err(TrainError::Interrupted { .. }) = learned {
            return Err(course.interrupted());
        }
        learned?;
        // Where the next stretch begins, or the model that is kept is found.
        course.save();
        if last {
            course.restore_best()?;
        }
        let metric = self.search.objective.metric;
        let value = evaluate::value(
            &mut course.learner,
            &self.table.data.validation,
            metric,
            self.stop,
        )?;
        match value.is_finite() {
            true => Ok(value),
            false => Err(course.diverged(value, format!("on the validation rows after epoch {until}"))),
        }
    }

    /// Refuses a loss of numbers where the spec's own is one of classes, or the reverse: the table is read once.
    fn reads_alike(&self, candidate: &Candidate) -> Result<(), TrainError> {
        let numbers = matches!(self.table.target, Target::Numbers(_));
        match candidate.hyperparameters.loss {
            Some(loss) if crate::fit::of_numbers(loss) != numbers => Err(TrainError::setting(
                "hyperparameters.loss",
                format!(
                    "{loss:?} reads the target otherwise than the spec's own loss: search losses of one kind"
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a failure is the trial's own fault.
pub fn is_its_own(class: FailureClass) -> bool {
    match class {
        FailureClass::BadInput | FailureClass::Diverged => true,
        // What other trials hold of a device at the same time decides it.
        FailureClass::OutOfMemory
        | FailureClass::Interrupted
        | FailureClass::Storage
        | FailureClass::Internal => false,
    }
}

/// Refuses an objective that cannot be measured on the validation rows.
pub fn check(search: &Search, table: &Material<'_>) -> Result<(), TrainError> {
    let part = &table.data.validation;
    let metric: MetricName = search.objective.metric;
    if part.rows() == 0 {
        return Err(TrainError::setting(
            "dataset.split.validation",
            "there are no validation rows to compare the trials of search by: set it above 0",
        ));
    }
    evaluate::fits(metric, "search.objective.metric", table.data)?;
    if !evaluate::defined(metric, part) {
        let problem = format!(
            "{metric} is undefined on the {} validation row(s), which do not hold each class (or hold one number only): \
             raise dataset.split.validation, or change dataset.split.seed; where dataset.validationUri gives them, have \
             it hold each class",
            part.rows()
        );
        return Err(TrainError::setting("search.objective.metric", problem));
    }
    Ok(())
}
