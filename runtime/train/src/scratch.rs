//! Rows of numbers in a temporary file: a table that is larger than the memory.
//!
//! The file has no name: it is gone when the process is, however it ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Bytes that are written or read at once.
const PIECE: usize = 1 << 20;
/// Bytes of a number.
const NUMBER: usize = size_of::<f32>();

/// What a temporary file could not do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the table is larger than the memory that it may take ({allowed} MiB), and its rows cannot be kept in {folder}: \
     {problem}; raise resources.memory, or make room there"
)]
pub struct ScratchError {
    /// Where.
    pub folder: String,
    /// Memory for rows, in MiB.
    pub allowed: u64,
    /// What the system says.
    pub problem: String,
}

/// Where files are made, and what is said where they cannot be.
#[derive(Clone, Debug)]
pub struct Scratch {
    folder: PathBuf,
    allowed: u64,
}

impl Scratch {
    /// In a folder; in memory, rows may take so many bytes.
    pub fn new(folder: &Path, allowed: u64) -> Self {
        Scratch {
            folder: folder.to_owned(),
            allowed,
        }
    }

    fn failed(&self, error: &io::Error) -> ScratchError {
        ScratchError {
            folder: self.folder.display().to_string(),
            allowed: self.allowed >> 20,
            problem: error.to_string(),
        }
    }
}

/// Rows that are being written.
#[derive(Debug)]
pub struct Writer {
    scratch: Scratch,
    file: File,
    width: usize,
    rows: usize,
    bytes: Vec<u8>,
}

impl Writer {
    /// A file for rows of so many numbers.
    pub fn new(scratch: &Scratch, width: usize) -> Result<Self, ScratchError> {
        let file = tempfile::tempfile_in(&scratch.folder).map_err(|error| scratch.failed(&error))?;
        Ok(Writer {
            scratch: scratch.clone(),
            file,
            width,
            rows: 0,
            bytes: Vec::with_capacity(PIECE + NUMBER),
        })
    }

    /// Adds whole rows.
    pub fn add(&mut self, rows: &[f32]) -> Result<(), ScratchError> {
        self.rows += rows.len() / self.width.max(1);
        for some in rows.chunks(PIECE / NUMBER) {
            self.bytes
                .extend(some.iter().flat_map(|number| number.to_le_bytes()));
            if self.bytes.len() >= PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ScratchError> {
        let written = self.file.write_all(&self.bytes);
        self.bytes.clear();
        written.map_err(|error| self.scratch.failed(&error))
    }

    /// All rows, to be read.
    pub fn finish(mut self) -> Result<Stored, ScratchError> {
        self.flush()?;
        Ok(Stored {
            scratch: self.scratch,
            file: self.file,
            width: self.width,
            rows: self.rows,
        })
    }
}

/// Rows that were written.
#[derive(Debug)]
pub struct Stored {
    scratch: Scratch,
    file: File,
    width: usize,
    rows: usize,
}

impl Stored {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Appends `count` rows from the one at `first` on.
    pub fn read(&self, first: usize, count: usize, values: &mut Vec<f32>) -> Result<(), ScratchError> {
        let mut offset = (first * self.width * NUMBER) as u64;
        let mut left = count * self.width * NUMBER;
        let mut bytes = [0; 16 << 10];
        while left > 0 {
            let some = &mut bytes[..left.min(16 << 10)];
            let read = self.file.read_exact_at(some, offset);
            read.map_err(|error| self.scratch.failed(&error))?;
            let numbers = some.as_chunks::<NUMBER>().0.iter();
            values.extend(numbers.map(|number| f32::from_le_bytes(*number)));
            offset += some.len() as u64;
            left -= some.len();
        }
        Ok(())
    }

    pub(crate) fn failed(&self, error: &io::Error) -> ScratchError {
        self.scratch.failed(error)
    }

    /// Rows that are read at once by whoever goes through all of them.
    pub fn rows_at_once(&self) -> usize {
        (PIECE / NUMBER / self.width.max(1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written_wherever_they_are() {
        let scratch = Scratch::new(&std::env::temp_dir(), 0);
        let mut writer = Writer::new(&scratch, 700).unwrap();
        let all: Vec<f32> = (0..700 * 1500).map(|number| number as f32 / 8.0).collect();
        for rows in all.chunks(700 * 400) {
            writer.add(rows).unwrap();
        }
        let stored = writer.finish().unwrap();
        assert_eq!(stored.rows(), 1500);
        for (first, count) in [(0, 1500), (1499, 1), (17, 30), (5, 0)] {
            let mut read = Vec::new();
            stored.read(first, count, &mut read).unwrap();
            assert_eq!(read, all[first * 700..(first + count) * 700]);
        }
        assert!(stored.read(1499, 2, &mut Vec::new()).is_err());
    }
}
