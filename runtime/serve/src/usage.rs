//! How many requests are computed and wait, now and summed over time.
//!
//! One look at a server that answers in microseconds says nothing: between two looks it may have been idle or full.
//! So the time that requests spend here is summed up, and whoever looks twice knows the mean in between.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sconce_contract::LoadSnapshot;

/// Counts, and their sums over time.
#[derive(Debug)]
pub struct Usage(Mutex<State>);

#[derive(Debug)]
struct State {
    start: Instant,
    /// Up to when the sums are right.
    at: Instant,
    in_flight: u64,
    queued: u64,
    /// In nanoseconds: most changes are less than a microsecond apart.
    in_flight_nanos: u128,
    queued_nanos: u128,
}

impl Default for Usage {
    fn default() -> Self {
        let now = Instant::now();
        Usage(Mutex::new(State {
            start: now,
            at: now,
            in_flight: 0,
            queued: 0,
            in_flight_nanos: 0,
            queued_nanos: 0,
        }))
    }
}

impl Usage {
    /// A request is computed from now on.
    pub fn starts(&self) {
        self.advanced().in_flight += 1;
    }

    /// It is no longer.
    pub fn ends(&self) {
        let mut state = self.advanced();
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// A request waits from now on, unless `limit` wait already.
    pub fn waits(&self, limit: u64) -> bool {
        let mut state = self.advanced();
        let room = state.queued < limit;
        state.queued += u64::from(room);
        room
    }

    /// It does no longer.
    pub fn waits_no_longer(&self) {
        let mut state = self.advanced();
        state.queued = state.queued.saturating_sub(1);
    }

    /// All of it, up to now. What is counted elsewhere is 0.
    pub fn now(&self) -> LoadSnapshot {
        let state = self.advanced();
        let micros = |nanos: u128| u64::try_from(nanos / 1000).unwrap_or(u64::MAX);
        LoadSnapshot {
            in_flight: state.in_flight,
            queued: state.queued,
            uptime_micros: micros(state.at.duration_since(state.start).as_nanos()),
            in_flight_micros: micros(state.in_flight_nanos),
            queued_micros: micros(state.queued_nanos),
            ..LoadSnapshot::default()
        }
    }

    fn advanced(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Read with the lock held, or the clock of another thread might be ahead.
        let now = Instant::now();
        let passed = now.duration_since(state.at).as_nanos();
        state.in_flight_nanos += passed * u128::from(state.in_flight);
        state.queued_nanos += passed * u128::from(state.queued);
        state.at = now;
        state
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn load_is_summed_over_time() {
        let usage = Usage::default();
        usage.starts();
        usage.starts();
        assert!(usage.waits(1));
        assert!(!usage.waits(1), "there is one place");
        let before = usage.now();
        std::thread::sleep(Duration::from_millis(20));
        let after = usage.now();
        let passed = after.uptime_micros - before.uptime_micros;
        assert!(passed >= 20_000);
        // A microsecond each is lost to rounding.
        let near = |sum: u64, mean: u64| sum.abs_diff(passed * mean) <= 4;
        assert!(
            near(after.in_flight_micros - before.in_flight_micros, 2),
            "{before:?} {after:?}"
        );
        assert!(
            near(after.queued_micros - before.queued_micros, 1),
            "{before:?} {after:?}"
        );
        usage.ends();
        usage.ends();
        usage.waits_no_longer();
        let idle = usage.now();
        std::thread::sleep(Duration::from_millis(2));
        let later = usage.now();
        assert_eq!((later.in_flight, later.queued), (0, 0));
        assert_eq!(later.in_flight_micros, idle.in_flight_micros);
        assert_eq!(later.queued_micros, idle.queued_micros);
    }
}
