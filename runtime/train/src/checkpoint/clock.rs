//! When a checkpoint is due.

use std::time::{Duration, Instant};

use sconce_contract::Every;

#[derive(Debug)]
pub(super) struct Clock {
    steps: Option<u64>,
    interval: Option<Duration>,
    last: Instant,
}

impl Clock {
    pub(super) fn new(every: &Every, now: Instant) -> Self {
        Clock {
            steps: every.steps.filter(|steps| *steps > 0),
            interval: every.interval.as_ref().map(sconce_contract::Duration::get),
            last: now,
        }
    }

    pub(super) fn due(&self, step: u64, now: Instant) -> bool {
        self.steps.is_some_and(|steps| step.is_multiple_of(steps))
            || self
                .interval
                .is_some_and(|interval| now.saturating_duration_since(self.last) >= interval)
    }

    pub(super) fn restart(&mut self, now: Instant) {
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_comes_first_makes_it_due() {
        let start = Instant::now();
        let of = |steps, seconds: Option<u64>| {
            let interval = seconds.map(sconce_contract::Duration::from_secs);
            Clock::new(&Every { steps, interval }, start)
        };
        for (steps, seconds, step, passed, due) in [
            (Some(10), None, 10, 0, true),
            (Some(10), None, 11, 9_999, false),
            (None, Some(60), 10, 59, false),
            (None, Some(60), 11, 60, true),
            (Some(10), Some(60), 10, 1, true),
            (Some(10), Some(60), 11, 61, true),
            (Some(10), Some(60), 11, 1, false),
        ] {
            let now = start + Duration::from_secs(passed);
            assert_eq!(
                of(steps, seconds).due(step, now),
                due,
                "{steps:?} {seconds:?} {step} {passed}"
            );
        }
        let mut clock = of(None, Some(60));
        clock.restart(start + Duration::from_secs(50));
        assert!(!clock.due(1, start + Duration::from_secs(100)));
    }
}
