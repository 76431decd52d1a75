//! Jobs that wait for somebody to carry them out. What one took who is gone goes to the next who asks.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::schedule::Job;
use crate::watch::Watch;

/// A job, and where it is told how far it is.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its slot of the schedule.
    pub slot: usize,
    /// The job.
    pub job: Job,
    /// Who looks.
    pub watch: Watch,
}

/// Who asks gets.
#[derive(Debug)]
pub enum Next {
    /// This to do.
    Order(Order),
    /// Nothing for now.
    Nothing,
    /// Nothing any more.
    Over,
}

/// The jobs that wait.
#[derive(Debug, Default)]
pub struct Orders {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: VecDeque<Order>,
    is_over: bool,
}

impl Orders {
    /// Puts one behind the others.
    pub fn give(&self, order: Order) {
        self.lock().orders.push_back(order);
        self.changed.notify_all();
    }

    /// Puts one before the others: it was their turn before.
    pub fn give_back(&self, order: Order) {
        // Nobody is told any more how far who is gone was.
        order.watch.update(|seen| *seen = Default::default());
        self.lock().orders.push_front(order);
        self.changed.notify_all();
    }

    /// From now on there is nothing to do.
    pub fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    /// The next one, as soon as there is one within that time.
    pub fn next(&self, patience: Duration) -> Next {
        let waits = |waiting: &mut Waiting| waiting.orders.is_empty() && !waiting.is_over;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, waits);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        match waiting.orders.pop_front() {
            _ if waiting.is_over => Next::Over,
            Some(order) => Next::Order(order),
            None => Next::Nothing,
        }
    }

    /// Whether the end comes within that time.
    pub fn is_over(&self, patience: Duration) -> bool {
        let waits = |waiting: &mut Waiting| !waiting.is_over;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic leaves the queue as it was before or after a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(slot: usize) -> Order {
        Order {
            slot,
            job: Job {
                trial: 0,
                rung: 0,
                epochs: 1,
                point: Vec::new(),
            },
            watch: Watch::default(),
        }
    }

    fn slot(next: Next) -> usize {
        match next {
            Next::Order(order) => order.slot,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_given_back_is_the_next_and_nobody_is_shown_how_far_it_was() {
        let orders = Orders::default();
        assert!(matches!(orders.next(Duration::ZERO), Next::Nothing));
        for slot in [3, 4, 5] {
            orders.give(order(slot));
        }
        let Next::Order(taken) = orders.next(Duration::ZERO) else {
            panic!("there are three")
        };
        let watch = taken.watch.clone();
        watch.update(|seen| seen.progress.step = 7);
        assert_eq!(slot(orders.next(Duration::ZERO)), 4);
        orders.give_back(taken);
        assert_eq!(watch.snapshot().progress.step, 0);
        assert_eq!(slot(orders.next(Duration::ZERO)), 3);
        assert_eq!(slot(orders.next(Duration::ZERO)), 5);
    }

    #[test]
    fn whoever_waits_hears_of_an_order_and_of_the_end() {
        let orders = Orders::default();
        std::thread::scope(|scope| {
            let wait = || orders.next(Duration::from_secs(60));
            let (one, other) = (scope.spawn(wait), scope.spawn(wait));
            orders.give(order(1));
            orders.give(order(2));
            let found = slot(one.join().unwrap()) + slot(other.join().unwrap());
            assert_eq!(found, 3);
            let waits = scope.spawn(wait);
            assert!(!orders.is_over(Duration::ZERO));
            orders.end();
            assert!(orders.is_over(Duration::ZERO));
            assert!(matches!(waits.join().unwrap(), Next::Over));
        });
    }
}
