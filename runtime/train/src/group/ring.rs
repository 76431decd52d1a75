//! What workers do together once they have met.

use std::time::{Duration, Instant};

use sconce_engine::{AllReduce, Share};
use serde::{Deserialize, Serialize};

use super::{
    GroupError,
    frame::{self, Kind, MOST_NUMBERS},
    late::Late,
    link::{Inbox, Outbox},
    schedule::{self, Round},
};
use crate::watch::Stop;

/// How long the reason of a worker that is gone may take to come round from the other side.
const REASON: Duration = Duration::from_secs(1);

/// What the first worker says to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    /// The state follows, which is that of this position.
    Start {
        /// Finished steps.
        step: u64,
        /// The epoch that is at work, from 0.
        epoch: u32,
        /// Finished steps of that epoch.
        batch: u64,
    },
    /// An epoch is over and the next one begins.
    Next,
    /// All epochs are over, and what is left to do the first worker does alone.
    Done,
}

/// A worker among others.
#[derive(Debug)]
pub struct Group {
    worker: u32,
    place: usize,
    workers: usize,
    share: Share,
    /// Nothing where it is alone.
    ring: Option<(Inbox, Outbox)>,
    stop: Stop,
    /// Whether somebody was told to stop.
    stops: bool,
    pub(super) late: Late,
}

impl Group {
    pub(super) fn new(
        worker: u32,
        [place, workers]: [usize; 2],
        before: Inbox,
        next: Outbox,
        stop: &Stop,
    ) -> Self {
        Group {
            worker,
            place,
            workers,
            share: Share::new(place, workers).unwrap_or(Share::WHOLE),
            ring: Some((before, next)),
            stop: stop.clone(),
            stops: false,
            late: Late::default(),
        }
    }

    /// One that nobody joined.
    pub(super) fn alone(stop: &Stop) -> Self {
        Group {
            worker: 0,
            place: 0,
            workers: 1,
            share: Share::WHOLE,
            ring: None,
            stop: stop.clone(),
            stops: false,
            late: Late::default(),
        }
    }

    /// Its number.
    pub fn worker(&self) -> u32 {
        self.worker
    }

    /// Its part of each step.
    pub fn share(&self) -> Share {
        self.share
    }

    /// How many take part.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Whether it is the first worker.
    pub fn leads(&self) -> bool {
        self.worker == 0
    }

    /// Whether one of them was told to stop before the last step: all know it after the same step.
    pub fn stops(&self) -> bool {
        self.stops
    }

    /// Whether a worker waits that the group lacks; known to the first one only.
    pub fn is_joined_late(&self) -> bool {
        self.late.has_come()
    }

    /// The first worker says something to all.
    pub fn tell(&mut self, word: Word) -> Result<(), GroupError> {
        let words = serde_json::to_vec(&word).unwrap_or_default();
        match &self.ring {
            Some((_, next)) => next.send(frame::frame(Kind::Words, &words)),
            None => Ok(()),
        }
    }

    /// Each other worker hears it, and passes it on.
    pub fn hear(&mut self) -> Result<Word, GroupError> {
        let (passes, worker) = (self.passes_on(), self.worker);
        let Some((before, next)) = &mut self.ring else {
            return Ok(Word::Done);
        };
        let content = match before.take(Kind::Words, Some(&self.stop)) {
            Err(_) if self.stop.asked() => return Err(GroupError::Stopped { worker }),
            content => content?,
        };
        let word = serde_json::from_slice(content).map_err(|error| GroupError::OutOfStep {
            worker: 0,
            found: error.to_string(),
            expected: "a word".to_owned(),
        })?;
        if passes {
            next.send(frame::frame(Kind::Words, content))?;
        }
        Ok(word)
    }

    /// Gives all workers the numbers that the first one has.
    pub fn broadcast(&mut self, numbers: &mut [f32]) -> Result<(), GroupError> {
        let (leads, passes) = (self.leads(), self.passes_on());
        let Some((before, next)) = &mut self.ring else {
            return Ok(());
        };
        for piece in numbers.chunks_mut(MOST_NUMBERS) {
            if !leads {
                take(before, piece, &mut [], false)?;
            }
            if leads || passes {
                next.send(packed(piece, &[]))?;
            }
        }
        Ok(())
    }

    /// Leaves, and says why. All others leave then, for that reason.
    pub fn leave(self, why: &str) {
        if let Some((_, next)) = &self.ring {
            // Whoever is gone needs no reason.
            let _ = next.send(frame::bye(why));
        }
    }

    /// Whether what comes from the first worker goes on to the next.
    fn passes_on(&self) -> bool {
        self.place > 0 && self.place + 1 < self.workers
    }

    /// What the others say of an error, where it is that the next worker takes nothing any more: whoever left has said
    /// why to the one behind it, and that comes round.
    fn explained(&mut self, error: GroupError) -> GroupError {
        let Some((before, _)) = self.ring.as_mut().filter(|_| error.is_loss()) else {
            return error;
        };
        before.ends_at(Instant::now() + REASON);
        loop {
            match before.take(Kind::Numbers, None) {
                Ok(_) => {}
                Err(left @ GroupError::Left { .. }) => return left,
                Err(_) => return error,
            }
        }
    }

    fn add_up(&mut self, numbers: &mut [f32], exact: &mut [f64]) -> Result<(), GroupError> {
        let Some((before, next)) = &mut self.ring else {
            return Ok(());
        };
        let count = numbers.len();
        let pieces = |index: usize| {
            let range = schedule::chunk(index, self.workers, count);
            let pieces = range.len().div_ceil(MOST_NUMBERS).max(1);
            (0..pieces).map(move |piece| {
                let from = range.start + piece * MOST_NUMBERS;
                // The exact numbers go with the first chunk.
                let is_last = index == 0 && piece + 1 == pieces;
                (from..range.end.min(from + MOST_NUMBERS), is_last)
            })
        };
        for Round {
            send,
            take: from,
            adds,
        } in schedule::rounds(self.place, self.workers)
        {
            let (mut sent, mut taken) = (pieces(send), pieces(from));
            // One of each in turn, so that all are never at sending at once.
            loop {
                let (out, back) = (sent.next(), taken.next());
                if out.is_none() && back.is_none() {
                    break;
                }
                if let Some((range, with_exact)) = out {
                    next.send(packed(&numbers[range], if with_exact { exact } else { &[] }))?;
                }
                if let Some((range, with_exact)) = back {
                    let exact = if with_exact { &mut *exact } else { &mut [] };
                    take(before, &mut numbers[range], exact, adds)?;
                }
            }
        }
        Ok(())
    }
}

impl AllReduce for Group {
    fn all_reduce(&mut self, gradient: &mut [f32], loss: &mut f64) -> Result<(), String> {
        let mut exact = [*loss, f64::from(u8::from(self.stop.asked()))];
        let added = self.add_up(gradient, &mut exact);
        added.map_err(|error| self.explained(error).to_string())?;
        *loss = exact[0];
        self.stops = exact[1] > 0.0;
        Ok(())
    }
}

/// A frame of numbers, and exact ones behind them.
fn packed(numbers: &[f32], exact: &[f64]) -> Vec<u8> {
    let mut bytes = vec![0; numbers.len() * 4 + exact.len() * 8];
    let (singles, doubles) = bytes.split_at_mut(numbers.len() * 4);
    for (place, number) in singles.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    for (place, number) in doubles.chunks_exact_mut(8).zip(exact) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    frame::frame(Kind::Numbers, &bytes)
}

/// Takes such a frame, which must hold as many.
fn take(before: &mut Inbox, numbers: &mut [f32], exact: &mut [f64], adds: bool) -> Result<(), GroupError> {
    let worker = before.worker();
    let bytes = before.take(Kind::Numbers, None)?;
    let expected = numbers.len() * 4 + exact.len() * 8;
    if bytes.len() != expected {
        return Err(GroupError::OutOfStep {
            worker,
            found: format!("{} bytes", bytes.len()),
            expected: format!("{expected} bytes"),
        });
    }
    let (singles, doubles) = bytes.split_at(numbers.len() * 4);
    for (number, &bytes) in numbers.iter_mut().zip(singles.as_chunks().0) {
        let taken = f32::from_le_bytes(bytes);
        *number = if adds { *number + taken } else { taken };
    }
    for (number, &bytes) in exact.iter_mut().zip(doubles.as_chunks().0) {
        let taken = f64::from_le_bytes(bytes);
        *number = if adds { *number + taken } else { taken };
    }
    Ok(())
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
