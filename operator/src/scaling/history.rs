//! What is remembered of a deployment's load: means over the last windows, and the highest over a long time. Pure; times
//! are those of a monotonic clock.

use std::collections::VecDeque;
use std::time::Duration;

use super::measure::Usage;

/// Parts that the time before a scale-down is divided into: the highest of each is kept, however long it is.
const PARTS: u32 = 60;

/// The load of one deployment over time.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    highest: VecDeque<(Duration, f64)>,
    known_since: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    from: Duration,
    until: Duration,
    usage: Usage,
}

impl History {
    /// Remembers the mean from one moment until another, and forgets what is older than `window`.
    pub fn record(&mut self, from: Duration, until: Duration, usage: Usage, window: Duration) {
        self.samples.push_back(Sample { from, until, usage });
        let oldest = until.saturating_sub(window);
        while self.samples.len() > 1 && self.samples.front().is_some_and(|sample| sample.until <= oldest) {
            self.samples.pop_front();
        }
    }

    /// The mean over the last `span` before `now`, as far as it is known; nothing where nothing of it is.
    pub fn mean(&self, span: Duration, now: Duration) -> Option<Usage> {
        let start = now.saturating_sub(span);
        let (mut covered, mut sum) = (0.0, Usage::default());
        for sample in &self.samples {
            let length = sample.until.saturating_sub(sample.from.max(start)).as_secs_f64();
            covered += length;
            sum = sum
                + Usage {
                    computed: sample.usage.computed * length,
                    queued: sample.usage.queued * length,
                };
        }
        if covered > 0.0 {
            return Some(Usage {
                computed: sum.computed / covered,
                queued: sum.queued / covered,
            });
        }
        // One look has no length.
        let last = self.samples.back().filter(|sample| sample.until >= start)?;
        Some(last.usage)
    }

    /// Remembers what was asked for at a moment, for as long as `delay`.
    pub fn asked(&mut self, demand: f64, now: Duration, delay: Duration) {
        // What is lower and older than another can never be the highest again.
        while self.highest.back().is_some_and(|&(_, highest)| highest <= demand) {
            self.highest.pop_back();
        }
        // One a part is enough: it is the higher of the two, and stays for a part longer.
        let part = delay / PARTS;
        match self.highest.back() {
            Some(&(at, _)) if now.saturating_sub(at) < part => {}
            _ => self.highest.push_back((now, demand)),
        }
        let oldest = now.saturating_sub(delay + part);
        while self.highest.len() > 1 && self.highest.front().is_some_and(|&(at, _)| at < oldest) {
            self.highest.pop_front();
        }
    }

    /// The highest that was asked for within the delay.
    pub fn highest(&self) -> f64 {
        self.highest.front().map_or(0.0, |&(_, demand)| demand)
    }

    /// The load was known at this moment, of every replica.
    pub fn known(&mut self, now: Duration) {
        self.known_since.get_or_insert(now);
    }

    /// It was not.
    pub fn unknown(&mut self) {
        self.known_since = None;
    }

    /// For how long it has been known without a gap.
    pub fn known_for(&self, now: Duration) -> Duration {
        self.known_since
            .map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn computed(computed: f64) -> Usage {
        Usage {
            computed,
            queued: 0.0,
        }
    }

    #[test]
    fn a_mean_weighs_what_lies_in_its_span() {
        let mut history = History::default();
        assert_eq!(history.mean(at(10), at(0)), None);
        history.record(at(0), at(10), computed(1.0), at(60));
        history.record(at(10), at(12), computed(4.0), at(60));
        // 2 s of the first, 2 s of the second.
        assert_eq!(history.mean(at(4), at(12)).unwrap().computed, 2.5);
        assert_eq!(history.mean(at(2), at(12)).unwrap().computed, 4.0);
        assert_eq!(history.mean(at(60), at(12)).unwrap().computed, 1.5);
        assert_eq!(history.mean(at(2), at(30)), None, "nothing is known of then");
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut history = History::default();
        for second in 0..1000 {
            history.record(at(second), at(second + 1), computed(1.0), at(30));
        }
        assert_eq!(history.samples.len(), 30);
    }

    #[test]
    fn a_gap_starts_the_time_anew() {
        let mut history = History::default();
        history.known(at(5));
        history.known(at(9));
        assert_eq!(history.known_for(at(15)), at(10));
        history.unknown();
        assert_eq!(history.known_for(at(16)), at(0));
        history.known(at(20));
        assert_eq!(history.known_for(at(21)), at(1));
    }

    proptest! {
        /// Never lower than the true highest within the delay, never higher than that within a delay and two parts.
        #[test]
        fn the_highest_is_what_was_asked_for_within_the_delay(
            demands in prop::collection::vec(0.0..100.0_f64, 1..300), delay in 0_u64..200,
        ) {
            let (mut history, delay) = (History::default(), at(delay));
            for (second, demand) in demands.iter().enumerate() {
                let now = at(second as u64);
                history.asked(*demand, now, delay);
                let within = |span: Duration| {
                    let from = now.saturating_sub(span).as_secs() as usize;
                    demands[from..=second].iter().copied().fold(0.0, f64::max)
                };
                prop_assert!(history.highest() >= within(delay), "{} < {}", history.highest(), within(delay));
                let longest = delay + 2 * (delay / PARTS) + at(1);
                prop_assert!(history.highest() <= within(longest), "{} > {}", history.highest(), within(longest));
                prop_assert!(history.highest.len() <= PARTS as usize + 2);
            }
        }
    }
}
