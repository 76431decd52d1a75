//! From what a server says about itself at two moments to how busy it was in between. Pure.

use sconce_contract::LoadSnapshot;

/// How busy one server, or all of a deployment, were over a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Mean number of requests being computed.
    pub computed: f64,
    /// Mean number of requests that waited for their turn.
    pub queued: f64,
}

impl Usage {
    /// Requests in flight: computed or waiting.
    pub fn in_flight(&self) -> f64 {
        self.computed + self.queued
    }
}

impl std::ops::Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            computed: self.computed + other.computed,
            queued: self.queued + other.queued,
        }
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(all: I) -> Usage {
        all.fold(Usage::default(), |sum, one| sum + one)
    }
}

/// Means between two snapshots of one server, by its own clock. What it computes now, where there is no earlier one, it
/// has started anew since, or it keeps no counters.
#[allow(clippy::cast_precision_loss)] // Means are rounded to hundredths where they are told.
pub fn between(before: Option<&LoadSnapshot>, after: &LoadSnapshot) -> Usage {
    let means = || {
        let before = before?;
        let passed = after.uptime_micros.checked_sub(before.uptime_micros)?;
        let mean = |after: u64, before: u64| {
            let sum = after.checked_sub(before)?;
            (passed > 0).then(|| sum as f64 / passed as f64)
        };
        Some(Usage {
            computed: mean(after.in_flight_micros, before.in_flight_micros)?,
            queued: mean(after.queued_micros, before.queued_micros)?,
        })
    };
    means().unwrap_or(Usage {
        computed: after.in_flight as f64,
        queued: after.queued as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(uptime: u64, in_flight: u64, queued: u64) -> LoadSnapshot {
        LoadSnapshot {
            in_flight: 1,
            queued: 9,
            uptime_micros: uptime,
            in_flight_micros: in_flight,
            queued_micros: queued,
            ..LoadSnapshot::default()
        }
    }

    #[test]
    fn the_mean_is_over_the_time_in_between() {
        let (before, after) = (
            snapshot(1_000_000, 500_000, 0),
            snapshot(3_000_000, 1_500_000, 6_000_000),
        );
        let usage = between(Some(&before), &after);
        assert_eq!((usage.computed, usage.queued), (0.5, 3.0));
        assert_eq!(usage.in_flight(), 3.5);
    }

    #[test]
    fn without_an_earlier_look_the_moment_counts() {
        let moment = Usage {
            computed: 1.0,
            queued: 9.0,
        };
        let now = snapshot(2_000_000, 10, 10);
        assert_eq!(between(None, &now), moment);
        // Started anew; no counters; asked twice in a microsecond.
        assert_eq!(between(Some(&snapshot(9_000_000, 5, 5)), &now), moment);
        assert_eq!(between(Some(&snapshot(0, 0, 0)), &snapshot(0, 0, 0)), moment);
        assert_eq!(between(Some(&now), &now), moment);
        // Started anew and up for longer than the one before was.
        assert_eq!(between(Some(&snapshot(1_000_000, 99, 99)), &now), moment);
    }
}
