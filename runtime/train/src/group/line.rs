//! A connection on which whole messages go both ways, of any length.
//!
//! ```text
//!   Words    {"parts": [61, 4096]}    how long the parts of the message are, of which the first is JSON
//!   Piece …  the parts, one after another
//!   Aside    between any two of them: how far the sender is
//!   Bye      why the sender leaves
//! ```
//!
//! One thread writes and one reads, so that whoever computes hears of an end meanwhile.

use std::{
    io,
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    GroupError,
    frame::{self, Kind, MOST_PIECE},
    link::{Inbox, Outbox},
};
use crate::watch::Stop;

/// How often one says how far it is.
const ASIDE: Duration = Duration::from_secs(1);
/// How often one that waits looks whether it was told to stop.
const LOOK: Duration = Duration::from_millis(100);
/// How long the other side may take to close: it may still be writing what came last to a slow place.
const CLOSING: Duration = Duration::from_secs(10);
/// Messages that are heard and not yet taken.
const QUEUE: usize = 2;
/// Most parts of a message.
const MOST_PARTS: usize = 4;

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message, JSON first.
    Message(Vec<Vec<u8>>),
    /// How far the other one is, in JSON.
    Aside(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    parts: Vec<u64>,
}

/// Speaks on a line. One thread at a time may.
#[derive(Clone, Debug)]
pub struct Mouth(Arc<Outbox>);

impl Mouth {
    /// Says something, and bytes that belong to it.
    ///
    /// # Errors
    /// The other one is gone.
    pub fn say(&self, words: &impl Serialize, bytes: &[&[u8]]) -> Result<(), GroupError> {
        let words = serde_json::to_vec(words).unwrap_or_default();
        let parts: Vec<&[u8]> = std::iter::once(words.as_slice())
            .chain(bytes.iter().copied())
            .collect();
        let head = Head {
            parts: parts.iter().map(|part| part.len() as u64).collect(),
        };
        let head = serde_json::to_vec(&head).unwrap_or_default();
        self.0.send(frame::frame(Kind::Words, &head))?;
        for piece in parts.iter().flat_map(|part| part.chunks(MOST_PIECE)) {
            self.0.send(frame::frame(Kind::Piece, piece))?;
        }
        Ok(())
    }
}

/// A connection to another worker.
#[derive(Debug)]
pub struct Line {
    worker: u32,
    stream: TcpStream,
    mouth: Option<Mouth>,
    heard: Option<Receiver<Result<Heard, GroupError>>>,
    reader: Option<JoinHandle<()>>,
}

impl Line {
    /// To this worker, whose messages have at most so many bytes. What `tells` gives is said as an aside every second. The
    /// end of the line, whatever it is, asks `ends` to stop.
    pub(super) fn new(
        stream: TcpStream,
        worker: u32,
        most: u64,
        mut tells: impl FnMut() -> Option<Vec<u8>> + Send + 'static,
        ends: Option<Stop>,
    ) -> io::Result<Self> {
        let often = move || match tells() {
            Some(aside) => frame::frame(Kind::Aside, &aside),
            None => frame::frame(Kind::Beat, &[]),
        };
        let mouth = Mouth(Arc::new(Outbox::telling(
            stream.try_clone()?,
            worker,
            ASIDE,
            often,
        )?));
        let (tell, heard) = mpsc::sync_channel(QUEUE);
        let ear = Ear {
            inbox: Inbox::new(stream.try_clone()?, worker)?,
            most,
            begun: None,
        };
        let shared = stream.try_clone()?;
        let reader = thread::Builder::new()
            .name("line".into())
            .spawn(move || ear.listen(&shared, &tell, ends.as_ref()))?;
        Ok(Line {
            worker,
            stream,
            mouth: Some(mouth),
            heard: Some(heard),
            reader: Some(reader),
        })
    }

    /// Who is at the other end.
    pub fn worker(&self) -> u32 {
        self.worker
    }

    /// What speaks.
    ///
    /// # Errors
    /// The line is closed.
    pub fn mouth(&self) -> Result<&Mouth, GroupError> {
        self.mouth.as_ref().ok_or_else(|| closed(self.worker))
    }

    /// What is heard next; nothing where a stop is asked for before.
    ///
    /// # Errors
    /// The other one is gone, or sent what none of ours does.
    pub fn hear(&self, stop: &Stop) -> Result<Option<Heard>, GroupError> {
        loop {
            let heard = self.heard.as_ref().map(|heard| heard.recv_timeout(LOOK));
            match heard {
                Some(Ok(heard)) => return heard.map(Some),
                Some(Err(RecvTimeoutError::Timeout)) if stop.asked() => return Ok(None),
                Some(Err(RecvTimeoutError::Timeout)) => {}
                Some(Err(RecvTimeoutError::Disconnected)) | None => return Err(closed(self.worker)),
            }
        }
    }

    /// What is heard within that time.
    ///
    /// # Errors
    /// As of [`Self::hear`].
    pub fn hear_within(&self, patience: Duration) -> Result<Option<Heard>, GroupError> {
        match self.heard.as_ref().map(|heard| heard.recv_timeout(patience)) {
            Some(Ok(heard)) => heard.map(Some),
            Some(Err(RecvTimeoutError::Timeout)) => Ok(None),
            Some(Err(RecvTimeoutError::Disconnected)) | None => Err(closed(self.worker)),
        }
    }

    /// Whether the other one is still there, which has nothing to say now.
    ///
    /// # Errors
    /// It is gone, or said something.
    pub fn is_silent(&self) -> Result<(), GroupError> {
        loop {
            match self.heard.as_ref().map(Receiver::try_recv) {
                Some(Err(TryRecvError::Empty)) => return Ok(()),
                // It may be late.
                Some(Ok(Ok(Heard::Aside(_)))) => {}
                Some(Ok(Ok(Heard::Message(_)))) => return Err(self.unexpected("a message", "nothing")),
                Some(Ok(Err(error))) => return Err(error),
                Some(Err(TryRecvError::Disconnected)) | None => return Err(closed(self.worker)),
            }
        }
    }

    /// Says why one leaves.
    pub fn leave(&self, why: &str) {
        if let Some(Mouth(outbox)) = &self.mouth {
            // Whoever is gone needs no reason.
            let _ = outbox.send(frame::bye(why));
        }
    }

    /// What came in JSON.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn parse<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T, GroupError> {
        serde_json::from_slice(json).map_err(|error| self.unexpected(&error.to_string(), "a word of ours"))
    }

    /// What came is not what was to come.
    pub fn unexpected(&self, found: &str, expected: &str) -> GroupError {
        GroupError::OutOfStep {
            worker: self.worker,
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

impl Drop for Line {
    /// Returns when all that was said is taken, or cannot be.
    fn drop(&mut self) {
        // What was said last is written, and the end is told.
        self.mouth = None;
        // To close where something lies unread would take back what is on its way.
        let until = Instant::now() + CLOSING;
        if let Some(heard) = self.heard.take() {
            while let Ok(Ok(_)) = heard.recv_timeout(until.saturating_duration_since(Instant::now())) {}
        }
        // It may be closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn closed(worker: u32) -> GroupError {
    GroupError::Lost {
        worker,
        why: "the connection is closed".to_owned(),
    }
}

/// Puts messages together.
struct Ear {
    inbox: Inbox,
    most: u64,
    begun: Option<Begun>,
}

/// A message of which some has come.
struct Begun {
    lengths: Vec<usize>,
    parts: Vec<Vec<u8>>,
}

impl Begun {
    /// Of parts of these lengths; nothing where no message of ours has such ones.
    fn new(lengths: &[u64], most: u64) -> Option<Self> {
        let all = lengths
            .iter()
            .try_fold(0, |sum: u64, length| sum.checked_add(*length))?;
        if all > most || !(1..=MOST_PARTS).contains(&lengths.len()) {
            return None;
        }
        let lengths: Result<Vec<usize>, _> = lengths.iter().map(|length| usize::try_from(*length)).collect();
        let mut begun = Begun {
            lengths: lengths.ok()?,
            parts: vec![Vec::new()],
        };
        begun.turn();
        Some(begun)
    }

    /// Takes a piece; false where it is more than is missing of a part. Memory is taken for what has come, not for what was
    /// announced.
    fn add(&mut self, piece: &[u8]) -> bool {
        let length = self
            .parts
            .len()
            .checked_sub(1)
            .and_then(|at| self.lengths.get(at));
        let fits = match (self.parts.last_mut(), length) {
            (Some(part), Some(length)) if !piece.is_empty() && part.len() + piece.len() <= *length => {
                part.extend_from_slice(piece);
                true
            }
            _ => false,
        };
        self.turn();
        fits
    }

    /// Goes on with the next part where one is whole.
    fn turn(&mut self) {
        while self.parts.len() < self.lengths.len() && self.is_full() {
            self.parts.push(Vec::new());
        }
    }

    fn is_full(&self) -> bool {
        let at = self.parts.len().saturating_sub(1);
        self.parts.get(at).map(Vec::len) == self.lengths.get(at).copied()
    }

    fn is_whole(&self) -> bool {
        self.parts.len() == self.lengths.len() && self.is_full()
    }
}

impl Ear {
    fn listen(
        mut self,
        stream: &TcpStream,
        tell: &SyncSender<Result<Heard, GroupError>>,
        ends: Option<&Stop>,
    ) {
        loop {
            let heard = self.next();
            let end = heard.as_ref().err().cloned();
            if let (Some(_), Some(ends)) = (&end, ends) {
                ends.ask();
            }
            let is_told = tell.send(heard).is_ok();
            match end {
                None if is_told => {}
                // What it still says is taken, so that nothing is in the way of what it is told.
                Some(GroupError::Left { .. }) => {
                    while self.inbox.next(None).is_ok() {}
                    return;
                }
                // Whoever writes to it gives up too.
                _ => return drop(stream.shutdown(Shutdown::Both)),
            }
        }
    }

    fn next(&mut self) -> Result<Heard, GroupError> {
        loop {
            let kind = self.inbox.next(None)?;
            let content = self.inbox.content();
            let goes_on = match (kind, &mut self.begun) {
                (Kind::Aside, _) => return Ok(Heard::Aside(content.to_vec())),
                (Kind::Words, None) => {
                    let head = serde_json::from_slice::<Head>(content).ok();
                    self.begun = head.and_then(|head| Begun::new(&head.parts, self.most));
                    self.begun.is_some()
                }
                (Kind::Piece, Some(begun)) => begun.add(content),
                _ => false,
            };
            if !goes_on {
                return Err(self.inbox.out_of_step(kind, "a message of ours"));
            }
            if let Some(begun) = self.begun.take_if(|begun| begun.is_whole()) {
                return Ok(Heard::Message(begun.parts));
            }
        }
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
