//! The bytes of a file of a table: a window that moves over them, so that a file may be larger than the memory.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

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

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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

    /// Takes that many bytes out of the beginning of the window: they are done with here.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let end = self.window.len().min(self.start + count);
        // Of a small file, the memory is used again.
        if count < self.window.capacity() / 4 {
            let taken = self.window[self.start..end].to_vec();
            self.pass(count);
            return taken;
        }
        let rest = self.window[end..].to_vec();
        let mut taken = std::mem::replace(&mut self.window, rest);
        taken.truncate(end);
        taken.drain(..self.start);
        self.start = 0;
        self.passed += taken.len() as u64;
        taken
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
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
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

    /// Passes what spreadsheets write before UTF-8.
    pub fn pass_byte_order_mark(&mut self) -> Result<(), TrainError> {
        while self.window().len() < BYTE_ORDER_MARK.len() && self.more()? {}
        if self.window().starts_with(BYTE_ORDER_MARK) {
            self.pass(BYTE_ORDER_MARK.len());
        }
        Ok(())
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

    /// Adds up the digest of a file of this machine while its format reads it by itself.
    pub fn hash_beside<T, E>(&mut self, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let (Ok(Some(file)), stop) = (self.file(), self.stop) else {
            return read();
        };
        let over = AtomicBool::new(false);
        let (result, hash) = thread::scope(|scope| {
            let is_over = || over.load(Ordering::Relaxed) || stop.is_some_and(Stop::asked);
            let hash = thread::Builder::new()
                .name("digest".to_owned())
                .spawn_scoped(scope, move || hashed(&file, is_over));
            let result = read();
            // Nobody asks for the digest of what cannot be read.
            over.store(result.is_err(), Ordering::Relaxed);
            (result, hash.ok().and_then(|thread| thread.join().ok().flatten()))
        });
        // Without it, the rest of the file is read for its digest.
        if let Some(hash) = hash {
            self.hash = hash;
            self.ended = true;
        }
        result
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

/// The hash of a file; nothing where it cannot be read, or where it is over before the file is.
fn hashed(file: &File, is_over: impl Fn() -> bool) -> Option<Hash> {
    let (mut hash, mut piece, mut at) = (Hash::default(), vec![0; PIECE], 0);
    while !is_over() {
        match file.read_at(&mut piece, at) {
            Ok(0) => return Some(hash),
            Ok(count) => {
                hash.add(&piece[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use sconce_contract::Mount;
    use sconce_contract::digest::sha256_hex;
    use sconce_store::Store;

    use super::*;

    #[test]
    fn the_digest_is_that_of_the_file_whoever_adds_it_up() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..3 * PIECE + 17).map(|at| (at % 251) as u8).collect();
        std::fs::write(folder.path().join("table"), &bytes).unwrap();
        let store = Store::new(vec![Mount {
            uri: "pvc://data".to_owned(),
            path: folder.path().to_owned(),
        }]);
        let stop = Stop::default();
        let open = || {
            let refused = |error: std::io::Error| TrainError::setting("dataset.uri", error.to_string());
            let content = store.open("pvc://data/table", u64::MAX).unwrap();
            Input::new(content, Some(&stop), Box::new(refused))
        };
        for (first, result) in [(0, Ok(())), (1000, Ok(())), (1000, Err(()))] {
            let mut input = open();
            input.end(|bytes| bytes.get(first).map(|_| first)).unwrap();
            assert_eq!(input.hash_beside(|| result), result);
            let digest = input.digest().unwrap();
            assert_eq!(
                (digest.size, digest.sha256),
                (bytes.len() as u64, sha256_hex(&bytes))
            );
        }
        let mut input = open();
        stop.ask();
        input.hash_beside(|| Ok::<(), ()>(())).unwrap();
        assert!(
            input
                .digest()
                .unwrap_err()
                .to_string()
                .contains("while reading the table")
        );
    }
}
