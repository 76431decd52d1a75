//! A search: many trials with other values, of which the best becomes the model.
//!
//! ```text
//!   space, random, grid, tpe, asha ── schedule ──► conduct ──► trial (learn, measure on the validation rows)
//!   (pure: values and decisions)      (pure: what   │  ▲            │
//!                                     is next)      ▼  └── journal ◄┘
//!                                                 tally          (on disk)
//! ```
//!
//! With several pods the first one conducts and has the others carry jobs out, over connections ([`hire`], [`help`],
//! [`wire`]): who carries a job out decides nothing about what comes of it.
//!
//! Read [`schedule`] first. Trials are compared on the validation rows only: the test rows judge the one that is chosen.

pub mod asha;
mod conduct;
pub mod epochs;
pub mod grid;
mod help;
mod hire;
pub mod journal;
mod orders;
pub mod schedule;
pub mod space;
mod tally;
pub mod tpe;
mod trial;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use sconce_contract::TrainingPlan;
use sconce_contract::digest::short_hash;
use sconce_contract::search::{
    BestTrial, Candidate, Search, SearchRecord, SearchReport, TrialNote, TrialRecord,
};
use sconce_engine::threads;
use serde_json::Value;

use crate::checkpoint::{Checkpoints, Subject};
use crate::group::{Door, Seat};
use crate::lesson::Material;
use crate::{
    TrainError, learn,
    watch::{Stop, Watch},
};
pub use help::help;
use journal::Journal;
use schedule::{Job, Outcome, Schedule, Slot};
use tally::Tally;
use trial::Bench;

/// How the workers of a search reach each other.
#[derive(Clone, Copy, Debug)]
pub struct Others<'a> {
    /// The place of this one.
    pub seat: &'a Seat,
    /// Most bytes that one may send another at a time.
    pub most: u64,
}

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// What the best trial learned, and how.
    pub candidate: Candidate,
    /// Where its state is, if it is kept.
    pub checkpoints: Option<Checkpoints>,
    /// All trials, for the manifest.
    pub record: SearchRecord,
    /// All trials, for the report.
    pub report: SearchReport,
}

/// Makes the trials, or takes from the journal what became of them. Others take trials too where there may be some, as soon
/// as they come.
///
/// # Errors
/// It was told to stop, something could not be read or written, or all trials failed.
pub fn run(
    search: &Search,
    table: &Material<'_>,
    others: Option<Others<'_>>,
    watch: &Watch,
    stop: &Stop,
) -> Result<Found, TrainError> {
    trial::check(search, table)?;
    let hyperparameters = &table.plan.hyperparameters;
    let schedule = Schedule::new(search, hyperparameters);
    let subject = subject(search, table)?;
    let door =
        others.map(|others| Door::open(others.seat, table.purpose(&subject, others.seat), others.most));
    let door = door.transpose()?;
    let journal = Journal::open(table.plan, subject)?;
    let bench = Bench {
        table,
        search,
        journal: journal.as_ref(),
        stop,
    };
    let workers = places(search, table.plan);
    tracing::info!(
        algorithm = search.algorithm.as_str(),
        trials = search.trials(),
        metric = %search.objective.metric,
        workers,
        pods = table.plan.nodes.unwrap_or_default().count,
        "searching"
    );
    let per_epoch = learn::steps_per_epoch(hyperparameters, table.data.training.rows());
    let mut tally = Tally::new(&schedule, watch, per_epoch);
    let slots = conduct::conduct(&schedule, &bench, workers, door.as_ref(), &mut tally);
    let slots = slots.map_err(|error| interrupted(error, watch, journal.is_some()))?;
    let Some((job, value)) = schedule::best(schedule.goal, &slots)
        .and_then(|slot| Some((slot.job.clone()?, slot.outcome.as_ref()?.value()?)))
    else {
        return Err(all_failed(&slots));
    };
    let candidate = bench.candidate(&job)?;
    // Of a single rung, all but the best went as they ended.
    if let Some(journal) = journal.as_ref().filter(|_| schedule.rungs.len() > 1) {
        conduct::forget_but(journal, &slots, job.trial);
    }
    let checkpoints = journal
        .as_ref()
        .map(|journal| journal.checkpoints(job.trial, table.subject(&candidate)));
    let trials = ended(&schedule, &slots);
    tracing::info!(trial = job.trial + 1, value, "the best of the search");
    Ok(Found {
        candidate,
        checkpoints,
        report: report(search, &trials, &job, value),
        record: record(search, &trials, &job),
    })
}

/// Trials at a time in this process: its part of all, as far as it has cores.
fn places(search: &Search, plan: &TrainingPlan) -> usize {
    let part = search.trials_per_pod(plan.nodes.unwrap_or_default().count);
    threads::available().min(part as usize).max(1)
}

/// What the journal is of.
fn subject(search: &Search, table: &Material<'_>) -> Result<Subject, TrainError> {
    let plan = table.plan;
    let base = Candidate::of(crate::plan::network(plan)?, &plan.hyperparameters);
    let own = table.subject(&base);
    Ok(Subject {
        asked: short_hash(&(&own.asked, search)),
        ..own
    })
}

fn interrupted(error: TrainError, watch: &Watch, kept: bool) -> TrainError {
    let TrainError::Interrupted { .. } = error else {
        return error;
    };
    let trials = watch.snapshot().progress.trials.unwrap_or_default();
    TrainError::Interrupted {
        at: format!("after {} of {} trials", trials.finished, trials.total),
        next: match kept {
            true => "what became of them is kept, and the next attempt goes on from there".to_owned(),
            false => {
                "nothing is saved without checkpoint, and the next attempt begins at the beginning".to_owned()
            }
        },
    }
}

fn all_failed(slots: &[Slot]) -> TrainError {
    let failures = slots.iter().filter_map(|slot| match slot.outcome.as_ref()? {
        Outcome::Failed(failure) => Some(failure.clone()),
        Outcome::Reached(_) => None,
    });
    let failures: Vec<_> = failures.collect();
    let count = failures.len();
    match failures.into_iter().next() {
        Some(first) => TrainError::AllTrials {
            count,
            first: Box::new(first),
        },
        None => TrainError::Panic("a search without a trial".to_owned()),
    }
}

/// Each trial's last job, in the order of the trials.
fn ended<'s>(schedule: &Schedule<'_>, slots: &'s [Slot]) -> Vec<(&'s Job, &'s Outcome, bool)> {
    let mut last: BTreeMap<u32, (&Job, &Outcome, bool)> = BTreeMap::new();
    for slot in slots {
        if let (Some(job), Some(outcome)) = (&slot.job, &slot.outcome) {
            let stopped = asha::is_stopped(job, outcome, &schedule.rungs);
            last.insert(job.trial, (job, outcome, stopped));
        }
    }
    last.into_values().collect()
}

fn parameters(search: &Search, job: &Job) -> BTreeMap<String, Value> {
    let values = search.space.iter().zip(&job.point);
    values
        .map(|(parameter, value)| (parameter.path.clone(), value.clone()))
        .collect()
}

fn record(search: &Search, trials: &[(&Job, &Outcome, bool)], best: &Job) -> SearchRecord {
    let trials = trials.iter().map(|(job, outcome, _)| TrialRecord {
        trial: job.trial + 1,
        parameters: parameters(search, job),
        epochs: epochs::of(search, job),
        value: outcome.value(),
        failure: match outcome {
            Outcome::Failed(failure) => Some(failure.message.clone()),
            Outcome::Reached(_) => None,
        },
    });
    SearchRecord {
        algorithm: search.algorithm,
        metric: search.objective.metric,
        best: best.trial + 1,
        trials: trials.collect(),
    }
}

fn report(search: &Search, trials: &[(&Job, &Outcome, bool)], best: &Job, value: f64) -> SearchReport {
    let notes = trials.iter().map(|(job, outcome, _)| TrialNote {
        trial: job.trial + 1,
        with: job.point.clone(),
        epochs: epochs::of(search, job),
        value: outcome.value().map(short),
    });
    let count = |holds: fn(&(&Job, &Outcome, bool)) -> bool| {
        let found: BTreeSet<u32> = trials
            .iter()
            .filter(|trial| holds(trial))
            .map(|trial| trial.0.trial)
            .collect();
        u32::try_from(found.len()).unwrap_or(u32::MAX)
    };
    SearchReport {
        metric: search.objective.metric,
        best: BestTrial {
            trial: best.trial + 1,
            value,
            parameters: parameters(search, best),
            trials: count(|_| true),
            failed: count(|trial| trial.1.value().is_none()),
            stopped: count(|trial| trial.2),
        },
        space: search
            .space
            .iter()
            .map(|parameter| parameter.path.clone())
            .collect(),
        trials: notes.collect(),
    }
}

/// Six significant digits: a report has room for little.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
