//! Whether to try again, and after which pause.
//!
//! Patience is for servers that cannot be reached: only failed tries and pauses count, not the time in which bytes
//! arrive. A try that brought many bytes begins the count anew, so that a large file over a poor line comes to its end.

use std::time::Duration;

/// Pauses between the tries. With the time limits of a try, an unreachable server costs about 20 s.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// No further try starts after so long in vain.
const PATIENCE: Duration = Duration::from_secs(20);
/// So many bytes are progress.
pub(crate) const PROGRESS: u64 = 1 << 20;

/// The tries so far.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    /// Since the last progress.
    tries: usize,
    waited: Duration,
    all: u32,
}

impl Retry {
    /// After a try that came to nothing within `took`: the pause before the next, or nothing where this was the last.
    pub(crate) fn failed(&mut self, took: Duration) -> Option<Duration> {
        self.all += 1;
        self.waited += took;
        let pause = *PAUSES.get(self.tries)?;
        self.tries += 1;
        self.waited += pause;
        (self.waited < PATIENCE).then_some(pause)
    }

    /// After a body that broke off, with so many more bytes than before.
    pub(crate) fn broke_off(&mut self, more: u64) -> Option<Duration> {
        if more >= PROGRESS {
            (self.tries, self.waited) = (0, Duration::ZERO);
        }
        self.failed(Duration::ZERO)
    }

    /// All of them.
    pub(crate) fn tries(&self) -> u32 {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_server_is_tried_for_a_while() {
        let mut quick = Retry::default();
        for pause in PAUSES {
            assert_eq!(quick.failed(Duration::ZERO), Some(pause));
        }
        assert_eq!((quick.failed(Duration::ZERO), quick.tries()), (None, 4));

        let mut slow = Retry::default();
        let took = Duration::from_secs(10);
        assert_eq!((slow.failed(took), slow.failed(took)), (Some(PAUSES[0]), None));
    }

    #[test]
    fn what_makes_progress_is_tried_for_ever_however_long_it_took() {
        let mut retry = Retry::default();
        for _ in 0..1000 {
            assert_eq!(retry.broke_off(PROGRESS), Some(PAUSES[0]));
        }
        for pause in &PAUSES[1..] {
            assert_eq!(retry.broke_off(PROGRESS - 1), Some(*pause));
        }
        assert_eq!(retry.broke_off(PROGRESS - 1), None);
    }
}
