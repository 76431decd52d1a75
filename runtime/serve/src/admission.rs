//! Who is computed, who waits and who is turned away.
//!
//! A slot is taken before a body is parsed and given back when its answer is ready or its client is gone.
//! Where all slots are taken a bounded number of requests wait in order; the rest is refused at once, which
//! costs almost nothing, so that overload does not slow down those who were admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sconce_contract::LoadSnapshot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots and the queue.
#[derive(Debug)]
pub struct Admission {
    slots: Arc<Semaphore>,
    capacity: usize,
    waiting: AtomicUsize,
    max_queue: usize,
    completed: AtomicU64,
}

/// The right to compute; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// That there is neither a slot nor a place in the queue.
#[derive(Debug)]
pub struct Full;

impl Admission {
    /// So many at a time, and so many waiting.
    pub fn new(capacity: usize, max_queue: usize) -> Self {
        Admission {
            slots: Arc::new(Semaphore::new(capacity)),
            capacity,
            waiting: AtomicUsize::new(0),
            max_queue,
            completed: AtomicU64::new(0),
        }
    }

    /// Whether the next request would be refused: asked before its body is read.
    pub fn is_full(&self) -> bool {
        self.slots.available_permits() == 0 && self.waiting.load(Ordering::Relaxed) >= self.max_queue
    }

    /// Takes a slot, at once or after those who came earlier.
    pub async fn enter(&self) -> Result<Slot, Full> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Slot { _permit: permit });
        }
        let _place = Place::take(self).ok_or(Full)?;
        // The semaphore is never closed.
        let permit = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Full)?;
        Ok(Slot { _permit: permit })
    }

    /// Counts an answer.
    pub fn completed(&self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    /// How busy the server is.
    pub fn snapshot(&self) -> LoadSnapshot {
        LoadSnapshot {
            in_flight: (self.capacity - self.slots.available_permits().min(self.capacity)) as u64,
            queued: self.waiting.load(Ordering::Relaxed) as u64,
            completed: self.completed.load(Ordering::Relaxed),
        }
    }
}

/// A place in the queue; given back when dropped, also where the client is gone.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(admission: &'a Admission) -> Option<Self> {
        let room = |waiting| (waiting < admission.max_queue).then_some(waiting + 1);
        admission
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .ok()?;
        Some(Place(&admission.waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(admission: &Admission) -> (u64, u64) {
        let load = admission.snapshot();
        (load.in_flight, load.queued)
    }

    #[tokio::test]
    async fn one_computes_one_waits_one_is_refused() {
        let admission = Arc::new(Admission::new(1, 1));
        let slot = admission.enter().await.unwrap();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.enter().await.unwrap() }
        });
        while counts(&admission) != (1, 1) {
            tokio::task::yield_now().await;
        }
        assert!(admission.is_full());
        assert!(admission.enter().await.is_err());
        drop(slot);
        let slot = waiting.await.unwrap();
        assert_eq!(counts(&admission), (1, 0));
        drop(slot);
        assert_eq!(counts(&admission), (0, 0));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_no_trace() {
        let admission = Arc::new(Admission::new(1, 1));
        let _slot = admission.enter().await.unwrap();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.enter().await.is_ok() }
        });
        while counts(&admission) != (1, 1) {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(counts(&admission), (1, 0));
    }
}
