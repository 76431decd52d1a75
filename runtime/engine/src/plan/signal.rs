//! How two threads tell each other how far they are.

use std::{
    hint,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// How long to look again and again: a step is tens of microseconds, so the next one is near.
const SPIN: Duration = Duration::from_micros(20);
/// How long to let others have the processor between looks, before sleeping.
const YIELD: Duration = Duration::from_micros(200);
/// Looks between two at the clock.
const LOOKS: u32 = 64;

/// A number that one thread sets and another waits for.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: AtomicU32,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    bell: Condvar,
}

impl Signal {
    /// Sets the number, and wakes who sleeps. What was written before is seen by whoever sees the number.
    pub(super) fn set(&self, state: u32) {
        self.state.store(state, SeqCst);
        self.wake();
    }

    fn wake(&self) {
        // Who is about to sleep has been counted before he looked for the last time; so either he saw the new number,
        // or he is counted here, and holds the lock until he sleeps.
        if self.sleepers.load(SeqCst) > 0 {
            let _guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.bell.notify_all();
        }
    }

    /// The same where the number was `from`; whether it was.
    pub(super) fn swap(&self, from: u32, to: u32) -> bool {
        let swapped = self.state.compare_exchange(from, to, SeqCst, SeqCst).is_ok();
        if swapped {
            self.wake();
        }
        swapped
    }

    /// Waits for one of these numbers and answers it: spins, then yields, then sleeps.
    pub(super) fn wait(&self, wanted: &[u32]) -> u32 {
        let seen = || Some(self.state.load(SeqCst)).filter(|state| wanted.contains(state));
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if let Some(state) = seen() {
                    return state;
                }
                hint::spin_loop();
            }
            let waited = start.elapsed();
            if waited > YIELD {
                break;
            }
            if waited > SPIN {
                thread::yield_now();
            }
        }
        self.sleepers.fetch_add(1, SeqCst);
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        let state = loop {
            if let Some(state) = seen() {
                break state;
            }
            guard = self.bell.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, SeqCst);
        state
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Every second number is waited for until the waiting thread sleeps.
    #[test]
    fn no_number_is_missed_by_who_spins_or_sleeps() {
        let (there, back) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
        let (heard, answer) = (there.clone(), back.clone());
        let other = thread::spawn(move || {
            for number in 1..=2_000 {
                assert_eq!(heard.wait(&[number]), number);
                answer.set(number);
            }
        });
        for number in 1..=2_000 {
            if number % 20 == 0 {
                while there.sleepers.load(SeqCst) == 0 {
                    thread::yield_now();
                }
            }
            there.set(number);
            back.wait(&[number]);
        }
        other.join().unwrap();
    }

    #[test]
    fn only_one_can_swap() {
        let signal = Signal::default();
        signal.set(1);
        assert!(signal.swap(1, 2) && !signal.swap(1, 2));
        assert_eq!(signal.wait(&[1, 2]), 2);
    }
}
