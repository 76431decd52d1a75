//! Asks a trainer how far it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sconce_contract::Progress;
use sconce_contract::progress::PROGRESS_PATH;

use crate::ask::PodClient;

/// A trainer that did not answer so often in a row …
const MISSES: u32 = 3;
/// … is asked again after this long: where a network policy swallows the question, each takes a second of a reconcile.
const PAUSE: Duration = Duration::from_secs(30);
/// Trainers that may be silent before those are forgotten that are due to be asked again.
const MANY: usize = 1024;

/// Keeps connections to running trainers.
#[derive(Clone, Default)]
pub struct ProgressClient {
    client: PodClient,
    silent: Arc<Mutex<Silent>>,
}

impl ProgressClient {
    /// What the trainer at this address says, if it says something.
    pub async fn ask(&self, pod_ip: &str) -> Option<Progress> {
        if !self.silent().is_due(pod_ip, Instant::now()) {
            return None;
        }
        let said = self.client.ask(pod_ip, PROGRESS_PATH).await;
        self.silent().note(pod_ip, said.is_some(), Instant::now());
        said
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who did not answer: how often in a row, and when it was asked.
#[derive(Default)]
struct Silent(HashMap<String, (u32, Instant)>);

impl Silent {
    fn is_due(&self, pod_ip: &str, now: Instant) -> bool {
        self.0
            .get(pod_ip)
            .is_none_or(|(misses, asked)| *misses < MISSES || now.duration_since(*asked) >= PAUSE)
    }

    fn note(&mut self, pod_ip: &str, answered: bool, now: Instant) {
        if answered {
            self.0.remove(pod_ip);
            return;
        }
        if self.0.len() >= MANY {
            self.0.retain(|_, (_, asked)| now.duration_since(*asked) < PAUSE);
        }
        let misses = self.0.get(pod_ip).map_or(0, |(misses, _)| *misses);
        self.0.insert(pod_ip.to_owned(), (misses.saturating_add(1), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_silent_is_asked_seldom_until_it_speaks() {
        let (mut silent, start) = (Silent::default(), Instant::now());
        for _ in 0..MISSES {
            assert!(silent.is_due("a", start));
            silent.note("a", false, start);
        }
        assert!(!silent.is_due("a", start) && silent.is_due("b", start));
        assert!(silent.is_due("a", start + PAUSE));
        silent.note("a", false, start + PAUSE);
        assert!(!silent.is_due("a", start + PAUSE));
        silent.note("a", true, start + PAUSE);
        assert!(silent.is_due("a", start + PAUSE));
    }
}
