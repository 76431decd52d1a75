//! How often is often enough: what many objects at once would say is held back where a later word says more.
//!
//! Pure: time is passed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A status that changes again within this time is written once, as it then is.
pub const PAUSE: Duration = Duration::from_millis(500);
/// Statuses of all objects that tell of mere progress and are written at once …
pub const BURST: u32 = 50;
/// … and per second from then on: a thousand objects that start together would have as many pods' every step told.
pub const PER_SECOND: u32 = 10;
/// They take a fifth of one request's time at most: where the API server is slow because it has much to do,
/// they are what can wait, and each costs it some 10 ms of a processor (bench/RESULTS.md).
const PART: u32 = 5;
/// But one of them is told in this time, however slow it is.
const SLOWEST: Duration = Duration::from_secs(1);
/// How soon it is looked again whether the server is faster, by those that wait for long.
const LOOK: Duration = Duration::from_secs(30);
/// An object whose turn came this long ago has gone, or has had nothing to say since.
const FORGET: Duration = Duration::from_secs(60);

/// What a status has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// How far things are. Where very many say so, few are told at a time, and each as it then is.
    Progress,
    /// That an object works now, or no longer, or cannot: told after the pause.
    News,
    /// What may soon be seen nowhere else: told at once.
    Urgent,
}

/// When each object's status may be written next.
///
/// A new object gets its children at once and its first status a moment later: by then the pod may have a node, or
/// run. Of five steps that a pod takes within a second, one is told.
#[derive(Debug, Default)]
pub struct Pace {
    objects: HashMap<String, Turn>,
    tidied: Option<Instant>,
    ration: Ration,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Not before this.
    due: Instant,
    /// Its share of the ration, where one was taken for it.
    share: Option<u64>,
}

impl Pace {
    /// How long the next write of this object's status has to wait; nothing where it may be sent now, which counts
    /// as sent. `first` is the status of an object that has none, `latency` what a write takes the API server.
    pub fn wait(
        &mut self,
        key: &str,
        first: bool,
        worth: Worth,
        latency: Duration,
        now: Instant,
    ) -> Option<Duration> {
        self.tidy(now);
        let mut turn = self.objects.get(key).copied().unwrap_or(Turn {
            due: if first { now + PAUSE } else { now },
            share: None,
        });
        match worth {
            Worth::Urgent => turn.due = now,
            // A turn that was put off by the ration is put off by the pause at most.
            Worth::News => turn.due = turn.due.min(now + PAUSE),
            Worth::Progress => {
                self.ration.pass(latency, now);
                let share = *turn.share.get_or_insert_with(|| self.ration.take());
                turn.due = turn.due.max(now + self.ration.left(share).min(LOOK));
            }
        }
        if turn.due > now {
            self.objects.insert(key.to_owned(), turn);
            return Some(turn.due - now);
        }
        let next = Turn {
            due: now + PAUSE,
            share: None,
        };
        self.objects.insert(key.to_owned(), next);
        None
    }

    /// A turn that has come is kept: its object may be about to ask for it, and would else begin to wait anew.
    fn tidy(&mut self, now: Instant) {
        if now.saturating_duration_since(*self.tidied.get_or_insert(now)) < FORGET {
            return;
        }
        self.tidied = Some(now);
        self.objects
            .retain(|_, turn| now.saturating_duration_since(turn.due) < FORGET);
    }
}

/// Shares that are handed out in the order in which they were asked for, as fast as the API server allows.
#[derive(Debug)]
struct Ration {
    /// Shares that were asked for.
    taken: u64,
    /// Shares that were handed out, and parts of one.
    out: f64,
    /// From one to the next.
    pause: Duration,
    at: Option<Instant>,
}

impl Default for Ration {
    fn default() -> Self {
        Ration {
            taken: 0,
            out: BURST.into(),
            pause: Duration::from_secs(1) / PER_SECOND,
            at: None,
        }
    }
}

impl Ration {
    /// Time passes, in which the API server took so long for a write. What nobody asks for is kept up to [`BURST`].
    fn pass(&mut self, latency: Duration, now: Instant) {
        let passed = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(now);
        self.pause = latency
            .saturating_mul(PART)
            .clamp(Duration::from_secs(1) / PER_SECOND, SLOWEST);
        let most = self.taken as f64 + f64::from(BURST);
        self.out = (self.out + passed.as_secs_f64() / self.pause.as_secs_f64()).min(most);
    }

    /// The next share, by its number.
    fn take(&mut self) -> u64 {
        self.taken += 1;
        self.taken
    }

    /// How long until it is handed out, at this pace.
    fn left(&self, share: u64) -> Duration {
        let before = (share as f64 - self.out).max(0.0);
        Duration::try_from_secs_f64(before * self.pause.as_secs_f64()).unwrap_or(LOOK)
    }
}

/// How many events may be sent: so many at once, and so many a second from then on (a token bucket).
#[derive(Debug)]
pub struct Bucket {
    burst: f64,
    per_second: f64,
    left: f64,
    at: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub fn new(burst: u16, per_second: u16) -> Self {
        Bucket {
            burst: burst.into(),
            per_second: per_second.into(),
            left: burst.into(),
            at: None,
        }
    }

    /// Whether one more may be sent now; it then counts.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(now);
        self.left = (self.left + passed.as_secs_f64() * self.per_second).min(self.burst);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const FAST: Duration = Duration::from_millis(1);

    #[test]
    fn a_new_objects_first_status_waits_and_then_one_is_written_in_each_pause() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut wait = |first, after| pace.wait("a", first, Worth::Progress, FAST, start + after);
        assert_eq!(wait(true, Duration::ZERO), Some(PAUSE));
        assert_eq!(wait(true, 200 * MS), Some(PAUSE - 200 * MS));
        assert_eq!(wait(true, PAUSE), None);
        assert_eq!(wait(false, PAUSE + MS), Some(PAUSE - MS));
        assert_eq!(wait(false, PAUSE + PAUSE), None);
    }

    #[test]
    fn what_must_not_be_lost_and_what_comes_after_a_long_time_is_written_at_once() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait("a", true, Worth::Urgent, FAST, start), None);
        assert_eq!(pace.wait("a", false, Worth::Urgent, FAST, start + MS), None);
        assert_eq!(pace.wait("b", false, Worth::Progress, FAST, start), None);
    }

    #[test]
    fn of_many_that_only_go_on_few_are_told_at_a_time_and_news_of_any_is_told() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let waits: Vec<_> = (0..BURST + 20)
            .map(|number| pace.wait(&number.to_string(), false, Worth::Progress, FAST, start))
            .collect();
        let told = waits.iter().filter(|wait| wait.is_none()).count();
        assert_eq!((told, waits.len() - told), (BURST as usize, 20));
        let last = (BURST + 19).to_string();
        assert_eq!(
            waits.last().unwrap(),
            &Some(2000 * MS),
            "the twentieth, at ten a second"
        );
        assert_eq!(
            pace.wait(&last, false, Worth::News, FAST, start + MS),
            Some(PAUSE)
        );
        assert_eq!(
            pace.wait(&last, false, Worth::News, FAST, start + MS + PAUSE),
            None
        );
        assert_eq!(
            pace.wait("60", false, Worth::Progress, FAST, start + 1100 * MS),
            None
        );
    }

    #[test]
    fn where_the_server_is_slow_less_is_told_of_mere_progress_and_as_much_as_before_once_it_is_fast_again() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let names: Vec<String> = (0..200).map(|name| name.to_string()).collect();
        let mut told_within = |latency, from: u32, seconds: u32| {
            let mut told = 0;
            for second in from..from + seconds {
                for name in &names {
                    let now = start + second * 1000 * MS;
                    told += u32::from(pace.wait(name, false, Worth::Progress, latency, now).is_none());
                }
            }
            told
        };
        let first = told_within(400 * MS, 0, 10);
        assert!(
            (50..=61).contains(&first),
            "{first}: what was kept, and one a second"
        );
        let slow = told_within(9000 * MS, 10, 100);
        assert!((80..=110).contains(&slow), "{slow}");
        let fast = told_within(FAST, 110, 60);
        assert!((400..=620).contains(&fast), "{fast}");
    }

    #[test]
    fn each_of_very_many_new_objects_is_told_of_when_its_turn_comes() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let names: Vec<String> = (0..2000).map(|name| name.to_string()).collect();
        for name in &names {
            assert_eq!(pace.wait(name, true, Worth::News, FAST, start), Some(PAUSE));
        }
        for name in &names {
            assert_eq!(
                pace.wait(name, true, Worth::News, FAST, start + PAUSE),
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn entries_that_are_long_over_are_forgotten() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for name in 0..2000 {
            pace.wait(&name.to_string(), false, Worth::Urgent, FAST, start);
        }
        pace.wait("late", false, Worth::Progress, FAST, start + PAUSE + FORGET);
        assert_eq!(pace.objects.len(), 1);
    }

    #[test]
    fn a_burst_is_let_through_and_then_so_many_a_second() {
        let (mut bucket, start) = (Bucket::new(3, 2), Instant::now());
        let taken = |bucket: &mut Bucket, at: Instant| (0..10).filter(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(taken(&mut bucket, start + 1000 * MS), 2);
        assert_eq!(taken(&mut bucket, start + 60_000 * MS), 3);
    }
}
