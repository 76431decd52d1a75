//! The first worker of a search has the others carry out orders, whenever they come.
//!
//! Each connection has a thread here that takes orders as those of this process do, and has them carried out at the other
//! end. Where that end is lost the order goes to somebody else, from the trial's last state.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{self, Scope},
    time::{Duration, Instant},
};

use super::conduct::Floor;
use super::orders::{Next, Order};
use super::schedule::Outcome;
use super::trial::is_its_own;
use super::wire::{Pace, Said, Task, Word};
use crate::checkpoint::{Checkpoints, Snapshot};
use crate::group::{Door, GroupError, Heard, Line};
use crate::{TrainError, watch::Watch};

/// From one look at the door to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// How often one that waits looks round.
const LOOK: Duration = Duration::from_millis(100);
/// How long another worker may take to hand its state over once it is to stop: well within the 30 seconds that Kubernetes
/// gives a pod.
const LEAVING: Duration = Duration::from_secs(10);
/// Why the others leave with this worker.
const STOPPED: &str = "worker 0 was told to stop";

/// Who is there: connections by the number of the worker.
#[derive(Debug, Default)]
pub struct Crew(Mutex<BTreeMap<u32, usize>>);

impl Crew {
    /// Workers that take part, this one too.
    pub fn workers(&self) -> u32 {
        u32::try_from(self.lock().len())
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }

    fn enter(&self, worker: u32) {
        *self.lock().entry(worker).or_default() += 1;
    }

    fn leave(&self, worker: u32) {
        let mut there = self.lock();
        if let Some(count) = there.get_mut(&worker) {
            *count -= 1;
            there.retain(|_, count| *count > 0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        // A panic leaves the numbers as they were before or after a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in whoever comes until the orders are over.
pub fn take_in<'s>(scope: &'s Scope<'s, '_>, door: &'s Door, floor: Floor<'s>, crew: &'s Crew) {
    while !floor.orders.is_over(PAUSE) {
        while let Some(line) = door.next() {
            let started = thread::Builder::new()
                .name("hired".into())
                .spawn_scoped(scope, move || {
                    let worker = line.worker();
                    crew.enter(worker);
                    tracing::info!(worker, workers = crew.workers(), "a worker takes trials");
                    let left = give(&line, floor);
                    crew.leave(worker);
                    match left {
                        Ok(()) => tracing::info!(worker, "a worker is let go"),
                        Err(error) => tracing::warn!(worker, %error, "a worker is gone"),
                    }
                });
            if let Err(error) = started {
                // Whoever came sees the end, and comes again.
                tracing::warn!(%error, "no thread could be started for a worker");
            }
        }
    }
}

/// Gives the worker at the other end one order after another.
fn give(line: &Line, floor: Floor<'_>) -> Result<(), GroupError> {
    loop {
        let next = floor.orders.next(LOOK);
        if floor.bench.stop.asked() {
            if let Next::Order(order) = next {
                // Those of this process tell that it is not done.
                floor.orders.give_back(order);
            }
            line.leave(STOPPED);
            return Ok(());
        }
        match next {
            Next::Over => return line.mouth()?.say(&Word::Done, &[]),
            Next::Nothing => line.is_silent()?,
            Next::Order(order) => match have_done(line, floor, &order) {
                Ok(result) => floor.end(&order, result),
                Err(error) => {
                    let trial = order.job.trial + 1;
                    tracing::warn!(worker = line.worker(), trial, "a trial is given to somebody else");
                    floor.orders.give_back(order);
                    return Err(error);
                }
            },
        }
    }
}

/// What comes of an order at the other end; the outer error is the worker's, the inner one that of this process.
fn have_done(
    line: &Line,
    floor: Floor<'_>,
    order: &Order,
) -> Result<Result<Outcome, TrainError>, GroupError> {
    let (bench, job) = (floor.bench, &order.job);
    // What does not fit together is told by whoever tries it.
    let candidate = bench.candidate(job).ok();
    let mut checkpoints = candidate.and_then(|candidate| bench.checkpoints(job, &candidate));
    let state = match checkpoints.as_mut().map(Checkpoints::hand_on).transpose() {
        Ok(state) => state.flatten(),
        Err(error) => return Ok(Err(error)),
    };
    let name = state.as_ref().map(|state| state.name.clone());
    let Some(task) = Task::of(bench.search, job, name) else {
        let problem = "a trial has a value that its parameter cannot have".to_owned();
        return Ok(Err(TrainError::Panic(problem)));
    };
    let parts = state.as_ref().map(|state| Snapshot::parts(&state.files));
    let parts = parts.as_ref().map_or(&[][..], |parts| &parts[..]);
    line.mouth()?.say(&Word::Task(task), parts)?;
    let mut leaves: Option<Instant> = None;
    loop {
        match line.hear_within(LOOK)? {
            Some(Heard::Aside(json)) => follow(&order.watch, line.parse(&json)?),
            Some(Heard::Message(parts)) => {
                if let Some(outcome) = hear(line, parts, checkpoints.as_mut())? {
                    return Ok(Ok(outcome));
                }
            }
            None if !bench.stop.asked() => {}
            None => match leaves {
                None => {
                    line.leave(STOPPED);
                    leaves = Some(Instant::now());
                }
                Some(since) if since.elapsed() < LEAVING => {}
                Some(_) => {
                    let why = STOPPED.to_owned();
                    return Err(GroupError::Left { why });
                }
            },
        }
    }
}

/// What a message says of the order's end; nothing where it goes on.
fn hear(
    line: &Line,
    parts: Vec<Vec<u8>>,
    checkpoints: Option<&mut Checkpoints>,
) -> Result<Option<Outcome>, GroupError> {
    let mut parts = parts.into_iter();
    let said = line.parse(&parts.next().unwrap_or_default())?;
    match (said, checkpoints, parts.next(), parts.next(), parts.next()) {
        (Said::State(name), Some(checkpoints), Some(record), Some(state), None) => {
            let kept = checkpoints.take_in(&Snapshot::of(name, record, state));
            if let Err(error) = kept {
                // The trial goes on without, as it does where this process cannot save its own.
                tracing::warn!(worker = line.worker(), %error, "the state of a trial could not be kept");
            }
            Ok(None)
        }
        (Said::Reached(bits), _, None, None, None) if f64::from_bits(bits).is_finite() => {
            Ok(Some(Outcome::Reached(f64::from_bits(bits))))
        }
        (Said::Failed(failure), _, None, None, None) if is_its_own(failure.class) => {
            Ok(Some(Outcome::Failed(failure)))
        }
        (Said::Left(why), _, None, None, None) => Err(GroupError::Left { why }),
        _ => Err(line.unexpected("what no trial comes to", "what came of a trial")),
    }
}

/// How far the trial is. The time is counted by who spends it.
fn follow(watch: &Watch, pace: Pace) {
    watch.update(|seen| {
        let progress = &mut seen.progress;
        progress.step = pace.step.min(pace.total_steps);
        progress.total_steps = pace.total_steps;
        progress.epochs = pace.epochs;
    });
}

#[cfg(test)]
mod tests {
    use sconce_contract::{Failure, FailureClass};

    use super::*;
    use crate::{
        group::{Purpose, Seat, join},
        watch::Stop,
    };

    /// A line from the first worker to another one, and that one's end of it.
    fn line() -> (Line, Line) {
        let leader = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = leader.local_addr().unwrap();
        drop(leader);
        let seat = |worker| Seat {
            worker,
            leader: listen.to_string(),
            listen,
            token: "s".to_owned(),
            least: 2,
            settle: Duration::ZERO,
            wait: Duration::from_secs(60),
        };
        let purpose = Purpose {
            trainer: "t".to_owned(),
            token: "s".to_owned(),
            run: "r".to_owned(),
            subject: "q".to_owned(),
            count: 2,
        };
        let door = Door::open(&seat(0), purpose.clone(), 1 << 20).unwrap();
        thread::scope(|scope| {
            let joins = scope.spawn(|| join(&seat(1), &purpose, 1 << 20, || None, &Stop::default()));
            let ours = loop {
                if let Some(line) = door.next() {
                    break line;
                }
                thread::yield_now();
            };
            (ours, joins.join().unwrap().unwrap())
        })
    }

    fn failed(class: FailureClass) -> Failure {
        Failure {
            class,
            field: None,
            message: "it did".to_owned(),
            work: None,
        }
    }

    #[test]
    fn only_what_a_trial_comes_to_is_taken_for_an_outcome() {
        let (ours, theirs) = line();
        let said = |said: &Said, bytes: &[&[u8]]| {
            theirs.mouth().unwrap().say(said, bytes).unwrap();
            let Some(Heard::Message(parts)) = ours.hear(&Stop::default()).unwrap() else {
                panic!("nothing was said")
            };
            hear(&ours, parts, None)
        };
        let value = 0.1 + 0.2;
        let reached = said(&Said::Reached(f64::to_bits(value)), &[]).unwrap();
        assert_eq!(reached, Some(Outcome::Reached(value)));
        let own = failed(FailureClass::Diverged);
        let outcome = said(&Said::Failed(own.clone()), &[]).unwrap();
        assert_eq!(outcome, Some(Outcome::Failed(own)));
        let left = said(&Said::Left("worker 1 was told to stop".to_owned()), &[]).unwrap_err();
        assert_eq!(left.to_string(), "worker 1 was told to stop");
        for (other, bytes) in [
            (Said::Reached(f64::NAN.to_bits()), &[][..]),
            (Said::Reached(f64::INFINITY.to_bits()), &[]),
            (Said::Reached(0), &[b"more" as &[u8]]),
            (Said::Failed(failed(FailureClass::Storage)), &[]),
            // Nothing is kept of this search.
            (Said::State("step-1".to_owned()), &[b"a", b"b"]),
            (Said::State("step-1".to_owned()), &[]),
        ] {
            let error = said(&other, bytes).unwrap_err();
            assert!(
                matches!(error, GroupError::OutOfStep { worker: 1, .. }),
                "{error}"
            );
        }
        theirs.mouth().unwrap().say(&"no word of ours", &[]).unwrap();
        let Some(Heard::Message(parts)) = ours.hear(&Stop::default()).unwrap() else {
            panic!("nothing was said")
        };
        assert!(hear(&ours, parts, None).is_err());
        thread::scope(|scope| {
            // Each waits for the end of the other.
            scope.spawn(|| drop(ours));
            drop(theirs);
        });
    }

    #[test]
    fn a_worker_with_several_connections_counts_once_until_the_last_of_them_ends() {
        let crew = Crew::default();
        assert_eq!(crew.workers(), 1);
        for worker in [2, 1, 2] {
            crew.enter(worker);
        }
        assert_eq!(crew.workers(), 3);
        crew.leave(2);
        assert_eq!(crew.workers(), 3);
        crew.leave(2);
        crew.leave(7);
        assert_eq!(crew.workers(), 2);
    }
}
