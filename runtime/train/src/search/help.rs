//! What every worker of a search but the first one does: it carries out what it is told, and leaves nothing behind.
//!
//! Each trial that it may have at work at a time has a connection of its own to the first worker. The state of a trial comes
//! with its task and goes back over the connection, so that only the first worker needs the storage.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use sconce_contract::{Report, Search, TrainingPhase};
use sconce_store::StoreError;

use super::conduct::{in_own_pool, worse};
use super::journal::of_trial;
use super::schedule::Outcome;
use super::trial::{self, Bench};
use super::wire::{Pace, Said, Task, Word};
use super::{Others, places, subject};
use crate::checkpoint::{Checkpoints, Files, Place, Snapshot};
use crate::group::{self, GroupError, Heard, Line, Mouth, Purpose};
use crate::lesson::Material;
use crate::{
    TrainError, supervise,
    watch::{Stop, Watch},
};

/// Carries out tasks until the first worker says that nothing is left to do.
///
/// # Errors
/// The first worker is lost, this one was told to stop, or something is wrong that is no trial's fault.
pub fn help(
    search: &Search,
    table: &Material<'_>,
    others: Others<'_>,
    watch: &Watch,
    stop: &Stop,
) -> Result<Report, TrainError> {
    trial::check(search, table)?;
    let helper = Helper {
        bench: Bench {
            table,
            search,
            journal: None,
            stop,
        },
        others,
        purpose: table.purpose(&subject(search, table)?, others.seat),
        watch,
        is_done: AtomicBool::new(false),
    };
    let (worker, places) = (others.seat.worker, places(search, table.plan));
    tracing::info!(
        worker,
        leader = others.seat.leader,
        places,
        "looking for the search"
    );
    let ended = thread::scope(|scope| {
        let mut hands = Vec::new();
        let mut failed = None;
        for _ in 0..places {
            let work = || in_own_pool(places, || helper.work());
            let started = thread::Builder::new()
                .name(supervise::WORKER.into())
                .spawn_scoped(scope, work);
            match started {
                Ok(hand) => hands.push(hand),
                Err(error) => {
                    stop.ask();
                    let problem = format!("no thread could be started: {error}");
                    failed = Some(TrainError::Panic(problem));
                    break;
                }
            }
        }
        for hand in hands {
            let ended = hand.join();
            let ended = ended.unwrap_or_else(|payload| Err(TrainError::Panic(supervise::message(&*payload))));
            if let Err(error) = ended {
                failed = worse(failed, error);
            }
        }
        failed
    });
    match ended {
        Some(error) if !helper.is_done.load(Ordering::Relaxed) => Err(match error {
            TrainError::Interrupted { .. } => gone(&helper.stopped()),
            error => error,
        }),
        _ => {
            watch.enter(TrainingPhase::Saving);
            let progress = watch.snapshot().progress;
            Ok(Report::Helped {
                run: table.plan.run.clone(),
                worker,
                steps: progress.step,
                work: progress.work,
            })
        }
    }
}

/// Another worker than the first one.
#[derive(Debug)]
struct Helper<'a> {
    bench: Bench<'a>,
    others: Others<'a>,
    purpose: Purpose,
    watch: &'a Watch,
    /// Whether the first worker said that nothing is left to do.
    is_done: AtomicBool,
}

impl Helper<'_> {
    /// Carries out one task after another. Where one connection is lost all are given up.
    fn work(&self) -> Result<(), TrainError> {
        let stop = self.bench.stop;
        let ended = self.take_tasks();
        if !matches!(&ended, Ok(()) | Err(TrainError::Interrupted { .. })) {
            stop.ask();
        }
        ended
    }

    fn take_tasks(&self) -> Result<(), TrainError> {
        let (seat, stop) = (self.others.seat, self.bench.stop);
        let at_work = AtWork::default();
        let tells = {
            let at_work = at_work.clone();
            move || serde_json::to_vec(&at_work.pace()?).ok()
        };
        let line = match group::join(seat, &self.purpose, self.others.most, tells, stop) {
            Err(GroupError::Stopped { .. }) => return Err(interrupted()),
            // Never taken in, however often it comes again.
            Err(refused @ GroupError::Refused { .. }) => return Err(refused.into()),
            line => line.map_err(|error| gone(&error))?,
        };
        tracing::info!(worker = seat.worker, "taking trials");
        self.watch.enter(TrainingPhase::Training);
        loop {
            let heard = line.hear(stop).map_err(|error| gone(&error))?;
            let parts = match heard {
                Some(Heard::Message(parts)) => parts,
                Some(Heard::Aside(_)) => return Err(gone(&line.unexpected("an aside", "a task"))),
                None => return Err(interrupted()),
            };
            let mut parts = parts.into_iter();
            let word = line
                .parse(&parts.next().unwrap_or_default())
                .map_err(|error| gone(&error))?;
            match word {
                Word::Done => {
                    self.is_done.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Word::Task(task) => self.carry_out(&line, &task, parts.collect(), &at_work)?,
            }
        }
    }

    fn carry_out(
        &self,
        line: &Line,
        task: &Task,
        state: Vec<Vec<u8>>,
        at_work: &AtWork,
    ) -> Result<(), TrainError> {
        let Bench { table, search, .. } = self.bench;
        let rungs = search.rungs(table.plan.hyperparameters.epochs);
        let unknown = || gone(&line.unexpected("a task", "one of this search"));
        let job = task.job(search, &rungs).ok_or_else(unknown)?;
        let mut state = state.into_iter();
        let given = match (&task.state, state.next(), state.next(), state.next()) {
            (Some(name), Some(record), Some(state), None) => Some(Snapshot::of(name.clone(), record, state)),
            (None, None, None, None) => None,
            _ => return Err(unknown()),
        };
        let mouth = line.mouth().map_err(|error| gone(&error))?;
        let watch = Watch::default();
        at_work.set(Some(watch.clone()));
        let result = self.bench.carry_out(&job, &watch, |candidate| {
            let plan = table.plan.checkpoint.as_ref()?;
            let relay = Relay {
                given: Mutex::new(given),
                mouth: mouth.clone(),
            };
            let subject = of_trial(job.trial, table.subject(candidate));
            Some(Checkpoints::at(Box::new(relay), plan, subject))
        });
        at_work.set(None);
        self.count(&watch);
        let said = match &result {
            Ok(Outcome::Reached(value)) => Said::Reached(value.to_bits()),
            Ok(Outcome::Failed(failure)) => Said::Failed(failure.clone()),
            Err(TrainError::Interrupted { .. }) => Said::Left(self.stopped().to_string()),
            Err(error) => Said::Left(format!("worker {} ended: {error}", self.others.seat.worker)),
        };
        let told = mouth.say(&said, &[]);
        match result {
            Ok(_) => told.map_err(|error| gone(&error)),
            // It may have been the end of the connection that stopped the trial.
            Err(error @ TrainError::Interrupted { .. }) => Err(line
                .hear_within(Duration::ZERO)
                .err()
                .map_or(error, |end| gone(&end))),
            Err(error) => Err(error),
        }
    }

    /// Adds up what this worker did.
    fn count(&self, watch: &Watch) {
        let done = watch.snapshot().progress;
        let steps = done.step.saturating_sub(done.work.resumed_from.unwrap_or(0));
        self.watch.update(|seen| {
            seen.progress.step += steps;
            seen.progress.work.busy_milliseconds += done.work.busy_milliseconds;
        });
    }

    fn stopped(&self) -> GroupError {
        GroupError::Stopped {
            worker: self.others.seat.worker,
        }
    }
}

/// Told to stop, by whomever.
fn interrupted() -> TrainError {
    TrainError::interrupted("while it took trials")
}

fn gone(error: &GroupError) -> TrainError {
    TrainError::Group {
        why: error.to_string(),
        next: "this worker starts again, and takes trials as soon as worker 0 is there".to_owned(),
    }
}

/// The trial that is at work on a connection.
#[derive(Clone, Debug, Default)]
struct AtWork(Arc<Mutex<Option<Watch>>>);

impl AtWork {
    fn set(&self, watch: Option<Watch>) {
        *self.lock() = watch;
    }

    fn pace(&self) -> Option<Pace> {
        let progress = self.lock().as_ref()?.snapshot().progress;
        Some(Pace {
            step: progress.step,
            total_steps: progress.total_steps,
            epochs: progress.epochs,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Watch>> {
        // It is set in one go.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the state of a trial with the first worker.
#[derive(Debug)]
struct Relay {
    /// What came with the task.
    given: Mutex<Option<Snapshot>>,
    mouth: Mouth,
}

impl Relay {
    fn given(&self) -> MutexGuard<'_, Option<Snapshot>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place for Relay {
    fn uri(&self) -> &str {
        "worker 0"
    }

    fn tidy(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.given().iter().map(|given| given.name.clone()).collect())
    }

    fn read(&self, name: &str, file: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        match &*self.given() {
            Some(given) if given.name == name => given.file(file, limit),
            _ => Err(StoreError::NotFound {
                uri: format!("{}/{name}", self.uri()),
            }),
        }
    }

    fn write(&self, name: &str, files: &Files) -> Result<String, StoreError> {
        let uri = format!("{}/{name}", self.uri());
        match self
            .mouth
            .say(&Said::State(name.to_owned()), &Snapshot::parts(files))
        {
            Ok(()) => {
                // Nobody goes back to what it began from.
                *self.given() = None;
                Ok(uri)
            }
            Err(error) => Err(StoreError::Io {
                uri,
                action: "handing on",
                source: io::Error::other(error),
            }),
        }
    }

    fn remove(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}
