//! Threads that each lead a part of the rows.
//!
//! Who leads a part does not matter for what comes of it: the parts and the order of their sum are the same always. So
//! a part that no thread has begun when the first is done is led by whoever gave it, and a machine that others keep
//! busy costs little more than one thread would.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{Builder, JoinHandle},
};

use super::{part::Part, signal::Signal};

/// States of a seat.
const IDLE: u32 = 0;
const READY: u32 = 1;
const BUSY: u32 = 2;
const DONE: u32 = 3;
const OVER: u32 = 4;

/// The threads, with a seat for each.
#[derive(Debug, Default)]
pub(super) struct Crew {
    seats: Vec<Arc<Seat>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Seat {
    signal: Signal,
    part: Mutex<Part>,
}

/// Says that a seat is done, even where its thread panics.
struct Finish<'a>(&'a Signal);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        // Unless it is all over meanwhile.
        self.0.swap(BUSY, DONE);
    }
}

impl Seat {
    fn part(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does for as long as there is one who gives orders.
    fn serve(&self) {
        while self.signal.wait(&[READY, OVER]) == READY {
            if self.signal.swap(READY, BUSY) {
                let _finish = Finish(&self.signal);
                // Locked again by who waits for DONE only, so it is let go before that.
                self.part().run();
            }
        }
    }
}

impl Crew {
    /// Sees that there are so many seats.
    pub(super) fn fit(&mut self, seats: usize, part: impl Fn() -> Part) {
        while self.seats.len() < seats {
            let seat = Arc::new(Seat {
                signal: Signal::default(),
                part: Mutex::new(part()),
            });
            let served = seat.clone();
            let name = format!("plan-{}", self.seats.len() + 1);
            // Without a thread its part is led by who gave it.
            self.threads
                .extend(Builder::new().name(name).spawn(move || served.serve()));
            self.seats.push(seat);
        }
    }

    /// Gives a part, counted from 1, its order by `take`.
    pub(super) fn give(&self, part: usize, take: impl FnOnce(&mut Part)) {
        let seat = &self.seats[part - 1];
        take(&mut seat.part());
        seat.signal.set(READY);
    }

    /// Waits for a part that has an order, or does it here where nobody has begun.
    pub(super) fn done(&self, part: usize) -> MutexGuard<'_, Part> {
        let seat = &self.seats[part - 1];
        if seat.signal.swap(READY, BUSY) {
            seat.part().run();
        } else {
            seat.signal.wait(&[DONE]);
        }
        seat.signal.set(IDLE);
        assert!(!seat.part.is_poisoned(), "a thread of the plan panicked");
        seat.part()
    }
}

impl Crew {
    /// Ends the threads; the seats stay.
    pub(super) fn dismiss(&mut self) {
        for seat in &self.seats {
            seat.signal.set(OVER);
        }
        for thread in self.threads.drain(..) {
            // It ended by a panic of its own, which has been said where its part was waited for.
            let _ = thread.join();
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.dismiss();
    }
}
