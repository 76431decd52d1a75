//! A file of lines, cut into blocks of whole rows, so that several threads can read it.

use super::{File, Input, Place, TableError};
use crate::TrainError;

/// Some rows, from the beginning of the first to the end of the last.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// The line that it begins on, from 1.
    pub(super) line: u64,
}

/// Cuts a file.
pub(super) struct Cutter<'i, 'c> {
    input: &'i mut Input<'c>,
    line: u64,
    /// What lines are counted by.
    newline: u8,
    /// The file, where a row may go on behind the end of a line, in quotation marks as RFC 4180 has them.
    quotes: Option<File>,
}

impl<'i, 'c> Cutter<'i, 'c> {
    /// Of CSV, whose lines are counted by that byte.
    pub(super) fn of_csv(input: &'i mut Input<'c>, newline: u8, file: File) -> Self {
        Cutter {
            input,
            line: 1,
            newline,
            quotes: Some(file),
        }
    }

    /// Of a file in which each line is a row.
    pub(super) fn of_lines(input: &'i mut Input<'c>) -> Self {
        Cutter {
            input,
            line: 1,
            newline: b'\n',
            quotes: None,
        }
    }

    /// The next rows, about so many bytes of them, and at least one row; nothing at the end.
    ///
    /// # Errors
    /// [`TableError::OpenEnd`] in the place of a last row that ends within quotation marks: all rows behind the one that
    /// opens there are in it, and nobody would miss them.
    pub(super) fn next(&mut self, size: usize) -> Result<Option<Block>, TrainError> {
        let (mut ends, mut most) = (Ends::default(), size.max(1));
        let end = loop {
            let window = self.input.window();
            let seen = &window[..window.len().min(most)];
            match self.quotes {
                Some(_) => ends.look(seen),
                None => ends.look_at_lines(seen),
            }
            match (seen.len() == most, ends.last) {
                // The row is longer.
                (true, 0) => most *= 2,
                (true, last) => break last,
                (false, _) if self.input.more()? => {}
                (false, last) => match ends.open(self.input.window().len()) {
                    None => break self.input.window().len(),
                    // What is wrong with the rows before is said first, wherever the file is cut.
                    Some(_) if last > 0 => break last,
                    Some(mark) => return Err(self.open_end(mark).into()),
                },
            }
        };
        let bytes = self.input.take(end);
        let line = self.line;
        self.line += memchr::memchr_iter(self.newline, &bytes).count() as u64;
        Ok(Some(Block { bytes, line }).filter(|block| !block.bytes.is_empty()))
    }

    /// The quotation mark at this place of the window is closed nowhere.
    fn open_end(&self, mark: usize) -> TableError {
        let lines = memchr::memchr_iter(self.newline, &self.input.window()[..mark]).count();
        TableError::OpenEnd {
            place: Place {
                file: self.quotes.clone().unwrap_or_default(),
                number: self.line + lines as u64,
            },
        }
    }

    /// Bytes of the file that are still to come.
    pub(super) fn left(&self) -> u64 {
        self.input.size().saturating_sub(self.input.passed())
    }
}

/// Where rows end that begin where the bytes do.
#[derive(Debug, Default)]
struct Ends {
    /// Bytes that were looked at.
    looked: usize,
    /// Where the quotation mark is that opens what comes then; nothing where that stands in none.
    quoted: Option<usize>,
    /// Bytes up to and with the last end that was found.
    last: usize,
}

impl Ends {
    fn look_at_lines(&mut self, bytes: &[u8]) {
        if let Some(end) = memchr::memrchr(b'\n', &bytes[self.looked..]) {
            self.last = self.looked + end + 1;
        }
        self.looked = bytes.len();
    }

    /// Where the quotation mark is that is still open if no more than so many bytes, which were looked at, come.
    fn open(&self, end: usize) -> Option<usize> {
        // One at the very end was not passed: it closes.
        self.quoted.filter(|_| self.looked == end)
    }

    /// Goes from one quotation mark to the next: only within a pair of them does the end of a line not end a row.
    fn look(&mut self, bytes: &[u8]) {
        while self.looked < bytes.len() {
            let rest = &bytes[self.looked..];
            let found = memchr::memchr(b'"', rest);
            let before = found.unwrap_or(rest.len());
            if self.quoted.is_some() {
                let at = self.looked + before;
                match (found, bytes.get(at + 1)) {
                    (None, _) => self.looked = bytes.len(),
                    // Whether another one follows is not known yet.
                    (Some(_), None) => {
                        self.looked = at;
                        return;
                    }
                    // Two of them are one in the text.
                    (Some(_), Some(b'"')) => self.looked = at + 2,
                    (Some(_), Some(_)) => {
                        self.looked = at + 1;
                        self.quoted = None;
                    }
                }
                continue;
            }
            if let Some(end) = memchr::memrchr2(b'\n', b'\r', &rest[..before]) {
                self.last = self.looked + end + 1;
            }
            let at = self.looked + before;
            // In the middle of a cell it is one like any other byte.
            let begins = at == 0 || matches!(bytes[at - 1], b',' | b'\n' | b'\r');
            self.quoted = (found.is_some() && begins).then_some(at);
            self.looked = bytes.len().min(at + 1);
        }
    }
}

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
