//! Whether the process still gets on, for `/livez`.
//!
//! What must never rest beats. Each part comes round whatever the API server does, because nothing waits for that
//! without a limit: one that is silent for much longer is stuck, and only a new process helps. One that has not begun,
//! as the work of a replica that waits for the lease, is not asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest silence of a part: twice the longest time that a reconcile may take ([`crate::reconcile`]), and many times
/// that of the others.
pub const LIMIT: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(5);

/// What has to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The lease is asked for, or renewed.
    Lease,
    /// What the watches show is read.
    Watches,
    /// Objects are reconciled.
    Reconciles,
}

/// A part that has been silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    part: Part,
    silent: Duration,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.part {
            Part::Lease => "the loop that holds the lease",
            Part::Watches => "the loop that reads the watches",
            Part::Reconciles => "the loop that reconciles",
        };
        let seconds = self.silent.as_secs();
        write!(
            f,
            "{what} has not come round for {seconds} s: the process is stuck and must be restarted"
        )
    }
}

/// The part that has been silent longest, where that is longer than [`LIMIT`].
fn judge(beats: &BTreeMap<Part, Instant>, now: Instant) -> Option<Stuck> {
    let silent = beats.iter().map(|(part, last)| Stuck {
        part: *part,
        silent: now.saturating_duration_since(*last),
    });
    silent
        .filter(|part| part.silent > LIMIT)
        .max_by_key(|part| part.silent)
}

/// When each part has come round last; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    beats: Mutex<BTreeMap<Part, Instant>>,
    at_work: AtomicUsize,
}

impl Pulse {
    /// The part has come round.
    pub fn beat(&self, part: Part) {
        let mut beats = self.0.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.insert(part, Instant::now());
    }

    /// Beats for the task that polls this, for as long as it is polled; ends never. The task must do the part's work.
    pub async fn keep(&self, part: Part) {
        loop {
            // A reconcile that is at work tells of itself, by its end.
            if part != Part::Reconciles || self.0.at_work.load(Ordering::Relaxed) == 0 {
                self.beat(part);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// A reconcile waits for its turn or is at work, until what is returned is dropped.
    pub fn at_work(&self) -> AtWork {
        self.0.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(self.clone())
    }

    /// What is stuck.
    pub fn stuck(&self, now: Instant) -> Option<Stuck> {
        judge(&self.0.beats.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

/// A reconcile that has not ended.
#[derive(Debug)]
pub struct AtWork(Pulse);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.0.at_work.fetch_sub(1, Ordering::Relaxed);
        self.0.beat(Part::Reconciles);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn what_was_silent_longest_is_told_once_that_is_too_long() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let told = |beats: &[(Part, u64)], now| {
            let beats = beats.iter().map(|(part, last)| (*part, after(*last))).collect();
            judge(&beats, after(now)).map(|stuck| stuck.to_string())
        };
        assert_eq!(told(&[], 1000), None, "nothing has begun");
        // A replica that waits for the lease has nothing else to do.
        assert_eq!(told(&[(Part::Lease, 955)], 1000), None);
        let all = [(Part::Lease, 100), (Part::Watches, 99), (Part::Reconciles, 90)];
        assert_eq!(told(&all, 150), None);
        let says = told(&all, 151).unwrap();
        assert!(says.contains("reconciles has not come round for 61 s"), "{says}");
        let says = told(&[(Part::Lease, 10), (Part::Watches, 20)], 100).unwrap();
        assert!(says.contains("the lease has not come round for 90 s"), "{says}");
    }

    #[test]
    fn a_reconcile_that_does_not_end_is_not_covered_by_the_loop_that_waits_for_it() {
        let pulse = Pulse::default();
        let last = || pulse.0.beats.lock().unwrap().get(&Part::Reconciles).copied();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let come_round = || runtime.block_on(async { pulse.keep(Part::Reconciles).now_or_never() });
        let (one, other) = (pulse.at_work(), pulse.at_work());
        come_round();
        assert_eq!(last(), None, "both may hang");
        drop(one);
        let first = last().expect("one has ended");
        come_round();
        assert_eq!(last(), Some(first), "the other may hang");
        assert!(pulse.stuck(first + LIMIT + EVERY).is_some());
        drop(other);
        let rests = last();
        come_round();
        assert!(last() > rests, "with nothing to do, the loop itself beats");
    }
}
