//! The bytes of a file of a table: a window that moves over them, so that a file may be larger than the memory.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use sconce_contract::FileDigest;
use sconce_contract::digest::Hash;
use sconce_store::Content;

use super::TableError;
use crate::TrainError;
use crate::watch::Stop;

/// Bytes that are asked for at once.
const PIECE: usize = 256 << 10;
/// Most bytes of a file whose format needs all of it.
const WHOLE: u64 = 4 << 30;
/// Longest row: what is longer is most likely a quotation mark left open.
const LONGEST: usize = 64 << 20;

/// What a store or a disk says of bytes that cannot be read.
pub type Refused<'a> = Box<dyn Fn(std::io::Error) -> TrainError + 'a>;

/// A file while it is read.
pub struct Input<'a> {
    content: Content<'a>,
    refused: Refused<'a>,
    stop: Option<&'a Stop>,
    hash: Hash,
    window: Vec<u8>,
    /// Bytes of the window that are done with.
    start: usize,
    ended: bool,
    /// Bytes that were done with, in all.
    passed: u64,
}

impl<'a> Input<'a> {
    /// Of a place; where reading fails, `refused` says what that means.
    pub fn new(content: Content<'a>, stop: Option<&'a Stop>, refused: Refused<'a>) -> Self {
        Input {
            content,
            refused,
            stop,
            hash: Hash::default(),
            window: Vec::new(),
            start: 0,
            ended: false,
            passed: 0,
        }
    }

    /// Of bytes that are there.
    #[cfg(test)]
    pub fn of(bytes: &[u8]) -> Input<'static> {
        let refused = |error: std::io::Error| TrainError::setting("dataset.uri", error.to_string());
        Input::new(Content::bytes(bytes.to_vec()), None, Box::new(refused))
    }

    /// What was read and is not done with.
    pub fn window(&self) -> &[u8] {
        &self.window[self.start..]
    }

    /// Bytes before the window.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Bytes of the file, as its place says.
    pub fn size(&self) -> u64 {
        self.content.size()
    }

    /// That many bytes at the beginning of the window are done with.
    pub fn pass(&mut self, count: usize) {
        let count = count.min(self.window.len() - self.start);
        self.start += count;
        self.passed += count as u64;
    }

    /// Reads more behind what is in the window; false where there is no more.
    ///
    /// # Errors
    /// [`TableError::LongRow`] where the window is as long as a row may be.
    pub fn more(&mut self) -> Result<bool, TrainError> {
        if self.ended {
            return Ok(false);
        }
        if self.stop.is_some_and(Stop::asked) {
            return Err(TrainError::interrupted("while reading the table"));
        }
        self.window.drain(..self.start);
        self.start = 0;
        let held = self.window.len();
        if held >= LONGEST {
            return Err(TableError::LongRow {
                mebibytes: LONGEST >> 20,
            }
            .into());
        }
        self.window.resize(held + PIECE, 0);
        let read = self.read_into(held);
        self.window.truncate(held + *read.as_ref().unwrap_or(&0));
        let read = read?;
        self.hash.add(&self.window[held..]);
        self.ended = read == 0;
        Ok(!self.ended)
    }

    /// Bytes that were read behind what was held.
    fn read_into(&mut self, held: usize) -> Result<usize, TrainError> {
        loop {
            match self.content.read(&mut self.window[held..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => return read.map_err(|error| (self.refused)(error)),
            }
        }
    }

    /// Whether the window is empty and stays so.
    pub fn is_empty(&mut self) -> Result<bool, TrainError> {
        while self.window().is_empty() {
            if !self.more()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the line that the window begins with ends: its line feed, or the end of the file.
    pub fn end_of_line(&mut self) -> Result<usize, TrainError> {
        self.end(|bytes| memchr::memchr(b'\n', bytes))
    }

    /// Where what the window begins with ends: the first byte that `find` finds, or the end of the file.
    pub fn end(&mut self, find: impl Fn(&[u8]) -> Option<usize>) -> Result<usize, TrainError> {
        let mut looked = 0;
        loop {
            let window = self.window();
            if let Some(found) = find(&window[looked..]) {
                return Ok(looked + found);
            }
            looked = window.len();
            if !self.more()? {
                return Ok(looked);
            }
        }
    }

    /// The file itself, where it is one of this machine.
    pub fn file(&self) -> Result<Option<File>, TrainError> {
        let file = self.content.file().map(File::try_clone).transpose();
        file.map_err(|error| (self.refused)(error))
    }

    /// All that is left, in one piece of memory.
    pub fn whole(&mut self) -> Result<Bytes, TrainError> {
        let mut all = std::mem::take(&mut self.window);
        all.drain(..self.start);
        self.start = 0;
        let left = self.size().saturating_sub(all.len() as u64);
        if left > WHOLE {
            return Err(TableError::TooLarge {
                gibibytes: WHOLE >> 30,
            }
            .into());
        }
        // As many as there are: grown by doubling, a file would take twice its size. One more says that it ended.
        let room = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1);
        let _ = all.try_reserve_exact(room);
        let held = all.len();
        let read = (&mut self.content).take(WHOLE + 1).read_to_end(&mut all);
        read.map_err(|error| (self.refused)(error))?;
        self.hash.add(&all[held..]);
        self.ended = true;
        self.passed += all.len() as u64;
        Ok(all.into())
    }

    /// Of all its bytes; what a format left unread is read for that.
    pub fn digest(mut self) -> Result<FileDigest, TrainError> {
        while !self.ended {
            let count = self.window().len();
            self.pass(count);
            self.more()?;
        }
        Ok(self.hash.digest())
    }
}
