//! An object as it is read: a part in hand, and the next one on its way.

use std::io::{self, Read};

use tokio::sync::mpsc;

use super::refusal::Trouble;
use crate::scheme::Target;

/// The parts of an object, one after another.
pub(super) struct Stream<'a> {
    target: Target<'a>,
    place: &'static str,
    parts: mpsc::Receiver<Result<Vec<u8>, Trouble>>,
    part: Vec<u8>,
    taken: usize,
    /// Bytes that are still to come.
    left: u64,
}

impl<'a> Stream<'a> {
    /// Of so many bytes, in parts as they arrive.
    pub(super) fn new(
        size: u64,
        target: Target<'a>,
        place: &'static str,
        parts: mpsc::Receiver<Result<Vec<u8>, Trouble>>,
    ) -> Self {
        Stream {
            target,
            place,
            parts,
            part: Vec::new(),
            taken: 0,
            left: size,
        }
    }
}

impl Stream<'_> {
    fn refused(&self, trouble: Trouble) -> io::Error {
        io::Error::other(trouble.told(&self.target, self.place))
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.part.len() {
            // The one that was read is given back before the next one is taken.
            self.part = Vec::new();
            self.taken = 0;
            match self.parts.blocking_recv() {
                None if self.left == 0 => return Ok(0),
                None => return Err(self.refused(Trouble::Short)),
                Some(Ok(part)) => {
                    self.left = self.left.saturating_sub(part.len() as u64);
                    self.part = part;
                }
                Some(Err(trouble)) => return Err(self.refused(trouble)),
            }
        }
        let count = buffer.len().min(self.part.len() - self.taken);
        buffer[..count].copy_from_slice(&self.part[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
