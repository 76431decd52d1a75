//! Carries a search out: one decides, others do.
//!
//! ```text
//!   schedule ──► job ──► journal knows it? ── yes ──► outcome
//!                             │ no                       ▲
//!                             └─► orders ─► a thread ─► journal
//!                                              └ of this process, or one that has another worker do it (`hire`)
//! ```

use std::{
    collections::{BTreeSet, HashMap},
    sync::mpsc,
    thread,
    time::Duration,
};

use sconce_contract::search::Candidate;

use super::epochs;
use super::hire::{self, Crew};
use super::journal::Journal;
use super::orders::{Next, Order, Orders};
use super::schedule::{Outcome, Schedule, Slot};
use super::tally::Tally;
use super::trial::Bench;
use crate::{TrainError, group::Door, supervise, watch::Watch};

/// How often to tell how far the trials are.
const TELL: Duration = Duration::from_millis(200);

/// How long one waits for an order before it looks again.
const PATIENCE: Duration = Duration::from_secs(60);

type Ended = (usize, Result<Outcome, TrainError>);

/// What those who carry out orders share.
#[derive(Clone, Copy, Debug)]
pub struct Floor<'a> {
    /// Where trials are made.
    pub bench: &'a Bench<'a>,
    /// What is to do.
    pub orders: &'a Orders,
    ended: &'a mpsc::Sender<Ended>,
}

impl Floor<'_> {
    /// Says what became of an order, and writes it down before.
    pub fn end(&self, order: &Order, result: Result<Outcome, TrainError>) {
        let epochs = epochs::of(self.bench.search, &order.job);
        if let (Ok(outcome), Some(journal)) = (&result, self.bench.journal)
            && let Err(error) = journal.write(order.slot, &order.job, epochs, outcome)
        {
            let trial = order.job.trial + 1;
            tracing::warn!(trial, %error, "what became of a trial could not be written down");
            order
                .watch
                .update(|seen| seen.progress.checkpoint_failure = Some(error.to_string()));
        }
        // Whoever conducts listens until all orders have ended.
        let _ = self.ended.send((order.slot, result));
    }
}

/// Ends the orders however the conduct ends: those who wait for one would wait for ever.
struct Ending<'a>(&'a Orders);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Carries out what the schedule says, so many jobs at a time in this process, and others with those who come through the
/// door; all slots of it.
///
/// # Errors
/// What stopped it: a signal, or something that is no trial's fault. What was found is in the journal.
pub fn conduct(
    schedule: &Schedule<'_>,
    bench: &Bench<'_>,
    workers: usize,
    door: Option<&Door>,
    tally: &mut Tally<'_>,
) -> Result<Vec<Slot>, TrainError> {
    let mut slots: Vec<Slot> = Vec::new();
    let (orders, crew) = (Orders::default(), Crew::default());
    let (ended, results) = mpsc::channel::<Ended>();
    let floor = Floor {
        bench,
        orders: &orders,
        ended: &ended,
    };
    let crew = &crew;
    thread::scope(|scope| {
        let _ending = Ending(floor.orders);
        let unstarted = |error| TrainError::Panic(format!("no thread could be started: {error}"));
        for _ in 0..workers.max(1) {
            thread::Builder::new()
                .name(supervise::WORKER.into())
                .spawn_scoped(scope, move || in_own_pool(workers, || work(floor)))
                .map_err(unstarted)?;
        }
        if let Some(door) = door {
            thread::Builder::new()
                .name("door".into())
                .spawn_scoped(scope, move || hire::take_in(scope, door, floor, crew))
                .map_err(unstarted)?;
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
                        floor.orders.give(Order { slot, job, watch });
                    }
                    (None, _) => {}
                }
            }
            tally.tell(&slots, &at_work, door.map(|_| crew.workers()));
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
        stopped.map_or(Ok(()), Err)
    })?;
    Ok(slots)
}

/// Works with a share of the threads that arithmetic has, where several workers share them: together they would otherwise
/// each ask for all.
pub fn in_own_pool<T: Send>(workers: usize, work: impl FnOnce() -> T + Send) -> T {
    match own_pool(workers) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

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

/// Carries out one order after another until there are no more.
fn work(floor: Floor<'_>) {
    loop {
        match floor.orders.next(PATIENCE) {
            Next::Over => return,
            Next::Nothing => {}
            Next::Order(order) => {
                let Order { job, watch, .. } = &order;
                let kept = |candidate: &Candidate| floor.bench.checkpoints(job, candidate);
                let result = floor.bench.carry_out(job, watch, kept);
                floor.end(&order, result);
            }
        }
    }
}

/// A failure tells more than that the others were told to stop because of it.
pub fn worse(before: Option<TrainError>, error: TrainError) -> Option<TrainError> {
    match before {
        Some(before) if !matches!(before, TrainError::Interrupted { .. }) => Some(before),
        _ => Some(error),
    }
}

/// Removes the state of all trials but the best: the artifact may need the room.
pub fn forget_but(journal: &Journal, slots: &[Slot], best: u32) {
    let trials = slots
        .iter()
        .filter_map(|slot| slot.job.as_ref())
        .map(|job| job.trial);
    let others: BTreeSet<u32> = trials.filter(|trial| *trial != best).collect();
    others.into_iter().for_each(|trial| journal.forget(trial));
}

/// Removes the state of trials that cannot be the best any more. Those that may yet be promoted are kept.
#[derive(Debug, Default)]
struct Best(Option<u32>);

impl Best {
    fn ended(&mut self, bench: &Bench<'_>, schedule: &Schedule<'_>, slots: &[Slot], slot: usize) {
        let Some(journal) = bench.journal else {
            return;
        };
        if schedule.rungs.len() > 1 {
            if let (Some(job), Some(Outcome::Failed(_))) = (&slots[slot].job, &slots[slot].outcome) {
                journal.forget(job.trial);
            }
            return;
        }
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
