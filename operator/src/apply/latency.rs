//! How long the API server takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Part of a new duration in the mean.
const WEIGHT: u64 = 8;

/// The mean time of the last writes, the newest of which weigh most; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Latency(Arc<AtomicU64>);

impl Latency {
    /// A write took so long.
    pub fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let newer = |mean: u64| Some(mean - mean / WEIGHT + took / WEIGHT);
        // It never fails: there is always a newer one.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, newer);
    }

    /// The mean; zero before the first write.
    pub fn mean(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_writes_take() {
        let latency = Latency::default();
        let of = |millis, times| {
            (0..times).for_each(|_| latency.note(Duration::from_millis(millis)));
            latency.mean().as_millis()
        };
        assert!((150..=200).contains(&of(200, 20)));
        assert!((5..30).contains(&of(5, 20)));
        latency.note(Duration::MAX);
        assert!(latency.mean() > Duration::from_secs(1), "and nothing overflows");
    }
}
