//! Who is computed, who waits and who is turned away.
//!
//! A slot is taken before a body is parsed and given back when its answer is ready or its client is gone.
//! Where all slots are taken a bounded number of requests wait in order; the rest is refused at once, which
//! costs almost nothing, so that overload does not slow down those who were admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sconce_contract::LoadSnapshot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::usage::Usage;

/// The slots and the queue.
#[derive(Debug)]
pub struct Admission {
    slots: Arc<Semaphore>,
    capacity: usize,
    usage: Arc<Usage>,
    max_queue: usize,
    completed: AtomicU64,
}

/// The right to compute; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    usage: Arc<Usage>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.usage.ends();
    }
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
            usage: Arc::default(),
            max_queue,
            completed: AtomicU64::new(0),
        }
    }

    /// Whether the next request would be refused: asked before its body is read.
    pub fn is_full(&self) -> bool {
        self.slots.available_permits() == 0 && self.usage.now().queued >= self.max_queue as u64
    }

    /// Takes a slot, at once or after those who came earlier.
    pub async fn enter(&self) -> Result<Slot, Full> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(self.slot(permit));
        }
        let place = Place::take(self).ok_or(Full)?;
        // The semaphore is never closed.
        let permit = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Full)?;
        drop(place);
        Ok(self.slot(permit))
    }

    fn slot(&self, permit: OwnedSemaphorePermit) -> Slot {
        self.usage.starts();
        Slot {
            usage: Arc::clone(&self.usage),
            _permit: permit,
        }
    }

    /// Counts an answer.
    pub fn completed(&self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    /// How busy the server is, and has been.
    pub fn snapshot(&self) -> LoadSnapshot {
        LoadSnapshot {
            completed: self.completed.load(Ordering::Relaxed),
            slots: self.capacity as u64,
            ..self.usage.now()
        }
    }
}

/// A place in the queue; given back when dropped, also where the client is gone.
struct Place<'a>(&'a Usage);

impl<'a> Place<'a> {
    fn take(admission: &'a Admission) -> Option<Self> {
        let room = admission.usage.waits(admission.max_queue as u64);
        room.then(|| Place(&admission.usage))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waits_no_longer();
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
