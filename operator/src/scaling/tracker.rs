//! What is known of one deployment's load, from reading to reading. Pure; times are those of a monotonic clock.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sconce_contract::LoadSnapshot;

use super::decide::{Load, demand};
use super::history::History;
use super::measure::{Usage, between};
use super::policy::Policy;
use super::source::Reading;

/// Times that somebody may not answer before what it said last counts no more.
const MISSES: u32 = 3;
/// Between two readings while there is load.
pub const PAUSE: Duration = Duration::from_secs(1);
/// Between two readings when there has been none for long.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A pause is this part of the time that there has been no load.
const IDLE_PART: u32 = 12;

/// Remembers the load of one deployment.
#[derive(Debug, Default)]
pub struct Tracker {
    tellers: HashMap<String, Teller>,
    history: History,
    sampled: Option<Duration>,
    /// The first of the samples that follow each other.
    since: Option<Duration>,
    busy: Duration,
}

/// One who tells the load.
#[derive(Debug, Default)]
struct Teller {
    last: Option<LoadSnapshot>,
    usage: Usage,
    misses: u32,
}

impl Teller {
    fn hears(&mut self, snapshot: Option<LoadSnapshot>) {
        let Some(snapshot) = snapshot else {
            self.misses = self.misses.saturating_add(1);
            return;
        };
        self.usage = between(self.last.as_ref(), &snapshot);
        self.last = Some(snapshot);
        self.misses = 0;
    }

    fn is_silent(&self) -> bool {
        self.misses >= MISSES
    }

    fn known(&self) -> Option<&LoadSnapshot> {
        self.last.as_ref().filter(|_| !self.is_silent())
    }
}

impl Tracker {
    /// Takes one reading of each who should know; `ready` replicas answer. Nothing where nobody has told the load lately.
    #[allow(clippy::cast_precision_loss)] // Slots and tellers are counted in thousands at most.
    pub fn observe(
        &mut self,
        policy: &Policy,
        readings: &[Reading],
        ready: u32,
        now: Duration,
    ) -> Option<Load> {
        let present: HashSet<&str> = readings.iter().map(|reading| reading.who.as_str()).collect();
        self.tellers.retain(|who, _| present.contains(who.as_str()));
        for reading in readings {
            self.tellers
                .entry(reading.who.clone())
                .or_default()
                .hears(reading.snapshot);
        }
        let known: Vec<&Teller> = self
            .tellers
            .values()
            .filter(|teller| teller.known().is_some())
            .collect();
        if known.is_empty() {
            self.history.unknown();
            self.sampled = None;
            self.since = None;
            // Whoever is there is asked again soon.
            self.busy = now;
            return None;
        }
        let usage: Usage = known.iter().map(|teller| teller.usage).sum();
        let slots: u64 = known
            .iter()
            .filter_map(|teller| teller.known())
            .map(|load| load.slots)
            .sum();
        let slots = slots as f64 / known.len() as f64;
        let complete = !self.tellers.values().any(Teller::is_silent);
        if usage.in_flight() > 0.0 || self.tellers.values().any(|teller| teller.misses > 0) {
            self.busy = now;
        }
        let from = self.sampled.replace(now).unwrap_or(now);
        self.history
            .record(from, now, usage, policy.window.max(policy.short));
        if complete {
            self.history.known(now);
        } else {
            self.history.unknown();
        }
        let (steady, short) = (
            self.history.mean(policy.window, now)?,
            self.history.mean(policy.short, now)?,
        );
        let seen_for = now.saturating_sub(*self.since.get_or_insert(now));
        // What an instant asks for is not kept as the highest for as long as the delay.
        if seen_for >= policy.short {
            let (asked, _) = demand(steady, short, slots, ready);
            self.history.asked(asked, now, policy.scale_down_delay);
        }
        Some(Load {
            seen_for,
            steady,
            short,
            highest: self.history.highest(),
            slots,
            known_for: self.history.known_for(now),
            complete,
        })
    }

    /// Requests in flight on one of those who tell; nothing where that is not known.
    pub fn in_flight(&self, who: &str) -> Option<f64> {
        let teller = self.tellers.get(who).filter(|teller| teller.known().is_some())?;
        Some(teller.usage.in_flight())
    }

    /// Time until the next reading: the longer there has been no load, the longer.
    pub fn pause(&self, now: Duration) -> Duration {
        (now.saturating_sub(self.busy) / IDLE_PART).clamp(PAUSE, LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn policy() -> Policy {
        Policy {
            min: 1,
            max: 8,
            target: Some(1.0),
            window: at(30),
            short: at(3),
            scale_down_delay: at(60),
        }
    }

    /// A server that has had `mean` requests in flight ever since its start.
    fn tells(who: &str, mean: u64, uptime: u64) -> Reading {
        Reading {
            who: who.to_owned(),
            snapshot: Some(LoadSnapshot {
                in_flight: mean,
                slots: 2,
                uptime_micros: uptime * 1_000_000,
                in_flight_micros: uptime * 1_000_000 * mean,
                ..LoadSnapshot::default()
            }),
        }
    }

    fn silent(who: &str) -> Reading {
        Reading {
            who: who.to_owned(),
            snapshot: None,
        }
    }

    #[test]
    fn the_load_of_all_is_summed_and_averaged() {
        let mut tracker = Tracker::default();
        for second in 0..=10 {
            let readings = [tells("a", 1, 100 + second), tells("b", 3, 200 + second)];
            let load = tracker.observe(&policy(), &readings, 2, at(second)).unwrap();
            assert_eq!(
                (load.steady.computed, load.slots, load.complete),
                (4.0, 2.0, true)
            );
            // An instant is no demand yet.
            let highest = if second < 3 { 0.0 } else { 4.0 };
            assert_eq!((load.highest, load.known_for), (highest, at(second)));
            assert_eq!(load.seen_for, at(second));
        }
        assert_eq!(
            (tracker.in_flight("a"), tracker.in_flight("b")),
            (Some(1.0), Some(3.0))
        );
        // One goes, and its share with it; what was the highest stays known.
        let load = tracker
            .observe(&policy(), &[tells("a", 1, 111)], 1, at(11))
            .unwrap();
        assert_eq!((load.highest, load.complete), (4.0, true));
        assert_eq!(tracker.in_flight("b"), None);
    }

    #[test]
    fn who_is_silent_for_a_moment_is_believed_and_who_stays_so_is_missed() {
        let mut tracker = Tracker::default();
        let both = [tells("a", 1, 10), tells("b", 3, 10)];
        tracker.observe(&policy(), &both, 2, at(0)).unwrap();
        for (second, complete, in_flight) in
            [(1, true, 4.0), (2, true, 4.0), (3, false, 3.0), (4, false, 2.5)]
        {
            let readings = [tells("a", 1, 10 + second), silent("b")];
            let load = tracker.observe(&policy(), &readings, 2, at(second)).unwrap();
            assert_eq!(
                (load.complete, load.steady.in_flight()),
                (complete, in_flight),
                "{second}"
            );
        }
        assert_eq!(tracker.in_flight("b"), None);
        // Back again: the time for which everything is known starts anew.
        let load = tracker
            .observe(&policy(), &[tells("a", 1, 15), tells("b", 3, 15)], 2, at(5))
            .unwrap();
        assert_eq!((load.complete, load.known_for), (true, at(0)));
    }

    #[test]
    fn nobody_who_tells_is_no_load() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.observe(&policy(), &[], 0, at(0)), None);
        assert_eq!(tracker.observe(&policy(), &[silent("a")], 1, at(1)), None);
        assert!(
            tracker
                .observe(&policy(), &[tells("a", 2, 9)], 1, at(2))
                .is_some()
        );
        for second in 3..5 {
            assert!(
                tracker
                    .observe(&policy(), &[silent("a")], 1, at(second))
                    .is_some()
            );
        }
        assert_eq!(tracker.observe(&policy(), &[silent("a")], 1, at(5)), None);
        // What was measured before the gap is not taken for the present.
        let load = tracker
            .observe(&policy(), &[tells("a", 0, 60)], 1, at(50))
            .unwrap();
        assert_eq!((load.steady.in_flight(), load.known_for), (0.0, at(0)));
        assert_eq!(load.seen_for, at(0));
    }

    #[test]
    fn without_load_it_is_asked_less_often() {
        let mut tracker = Tracker::default();
        let mut asked = 0;
        let mut now = at(0);
        while now < at(3600) {
            asked += 1;
            tracker.observe(&policy(), &[tells("a", 0, 100 + now.as_secs())], 1, now);
            now += tracker.pause(now);
        }
        assert!(asked < 3600 / 10 + 60, "{asked}");
        tracker.observe(&policy(), &[tells("a", 1, 9000)], 1, now);
        assert_eq!(tracker.pause(now), PAUSE);
    }
}
