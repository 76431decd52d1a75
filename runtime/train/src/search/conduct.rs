//! Carries a search out: one decides, others do.
//!
//! ```text
//!   schedule ──► job ──► journal knows it? ── yes ──► outcome
//!                             │ no                       ▲
//!                             └──► a worker ──► journal ─┘
//! ```

use std::{
    any::Any,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use super::schedule::{Job, Outcome, Schedule, Slot};
use super::tally::Tally;
use super::trial::Bench;
use crate::{TrainError, supervise, watch::Watch};

/// How often to tell how far the trials are.
const TELL: Duration = Duration::from_millis(200);

type Ended = (usize, Result<Outcome, TrainError>);

/// Carries out what the schedule says, with so many workers; all slots of it.
///
/// # Errors
/// What stopped it: a signal, or something that is no trial's fault. What was found is in the journal.
pub fn conduct(
    schedule: &Schedule<'_>,
    bench: &Bench<'_>,
    workers: usize,
    tally: &mut Tally<'_>,
) -> Result<Vec<Slot>, TrainError> {
    let mut slots: Vec<Slot> = Vec::new();
    let (orders, taken) = mpsc::channel::<(usize, Job, Watch)>();
    let taken = Mutex::new(taken);
    let (ended, results) = mpsc::channel::<Ended>();
    thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            let (taken, ended) = (&taken, ended.clone());
            let pool = own_pool(workers);
            thread::Builder::new()
                .name(supervise::WORKER.into())
                .spawn_scoped(scope, move || match &pool {
                    Some(pool) => pool.install(|| work(bench, taken, &ended)),
                    None => work(bench, taken, &ended),
                })
                .map_err(|error| TrainError::Panic(format!("no thread could be started: {error}")))?;
        }
        let mut at_work: HashMap<usize, Watch> = HashMap::new();
        let mut stopped: Option<TrainError> = None;
        let mut best = Best::default();
        loop {
            while stopped.is_none()
                && let Some(known) = schedule.known(&slots).map(<[Slot]>::len)
            {
                if schedule.is_over(&slots) {
                    break;
                }
                let (slot, job) = (slots.len(), schedule.next(&slots, known));
                let before = job.as_ref().zip(bench.journal);
                let outcome = before.and_then(|(job, journal)| journal.outcome(slot, job));
                slots.push(Slot {
                    job: job.clone(),
                    outcome: outcome.clone(),
                });
                match (job, outcome) {
                    (Some(_), Some(_)) => {
                        tally.ended(&slots, slot);
                        best.ended(bench, schedule, &slots, slot);
                    }
                    (Some(job), None) => {
                        let watch = Watch::default();
                        at_work.insert(slot, watch.clone());
                        // The workers listen until the orders end.
                        let _ = orders.send((slot, job, watch));
                    }
                    (None, _) => {}
                }
            }
            tally.tell(&slots, &at_work);
            if at_work.is_empty() {
                break;
            }
            let Ok((slot, result)) = results.recv_timeout(TELL) else {
                continue;
            };
            let watch = at_work.remove(&slot);
            match result {
                Ok(outcome) => {
                    slots[slot].outcome = Some(outcome);
                    tally.worked(watch.as_ref());
                    tally.ended(&slots, slot);
                    best.ended(bench, schedule, &slots, slot);
                }
                Err(error) => {
                    // The others end at their next step, and save where they are.
                    bench.stop.ask();
                    stopped = worse(stopped, error);
                }
            }
        }
        drop(orders);
        stopped.map_or(Ok(()), Err)
    })?;
    Ok(slots)
}

/// A worker's share of the threads that arithmetic has, where several workers share them: together they would otherwise
/// each ask for all.
fn own_pool(workers: usize) -> Option<rayon::ThreadPool> {
    if workers <= 1 {
        return None;
    }
    let share = (rayon::current_num_threads() / workers).max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(share)
        .thread_name(|_| supervise::WORKER.into());
    // Without one of its own a worker uses that of all: slower, and right.
    pool.build().ok()
}

/// Takes one job after another until there are no more orders.
fn work(bench: &Bench<'_>, taken: &Mutex<mpsc::Receiver<(usize, Job, Watch)>>, ended: &mpsc::Sender<Ended>) {
    loop {
        let order = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((slot, job, watch)) = order else {
            return;
        };
        // Nothing that the work could have left half changed is used afterwards.
        let result = catch_unwind(AssertUnwindSafe(|| bench.carry_out(&job, &watch)));
        let result = result.unwrap_or_else(|payload: Box<dyn Any + Send>| {
            Err(TrainError::Panic(supervise::message(&*payload)))
        });
        if let (Ok(outcome), Some(journal)) = (&result, bench.journal)
            && let Err(error) = journal.write(slot, &job, outcome)
        {
            tracing::warn!(trial = job.trial + 1, %error, "what became of a trial could not be written down");
        }
        if ended.send((slot, result)).is_err() {
            return;
        }
    }
}

/// A failure tells more than that the others were told to stop because of it.
fn worse(before: Option<TrainError>, error: TrainError) -> Option<TrainError> {
    match before {
        Some(before) if !matches!(before, TrainError::Interrupted { .. }) => Some(before),
        _ => Some(error),
    }
}

/// Removes the state of trials that cannot be the best any more. Those that may yet be promoted are kept.
#[derive(Debug, Default)]
struct Best(Option<u32>);

impl Best {
    fn ended(&mut self, bench: &Bench<'_>, schedule: &Schedule<'_>, slots: &[Slot], slot: usize) {
        let (Some(journal), 1) = (bench.journal, schedule.rungs.len()) else {
            return;
        };
        let best = super::schedule::best(schedule.goal, slots).and_then(|slot| slot.job.as_ref());
        let best = best.map(|job| job.trial);
        let ended = slots[slot].job.as_ref().map(|job| job.trial);
        let before = std::mem::replace(&mut self.0, best);
        for trial in [before, ended]
            .into_iter()
            .flatten()
            .filter(|trial| best != Some(*trial))
        {
            journal.forget(trial);
        }
    }
}
