//! The records of CSV as RFC 4180 has them, one after another. Each ends at a line feed, a carriage return, or both.

use std::ops::Range;

use csv_core::ReadRecordResult;

use super::{File, Place, TableError};

/// Most cells of a row: each takes many times the byte that its comma has in the file.
pub(super) const CELLS: usize = 1_000_000;

/// Records of some bytes of a file. Empty lines are none.
pub(super) struct Records<'b> {
    bytes: &'b [u8],
    /// Of the bytes, those that are done with.
    passed: usize,
    /// The line that the rest begins on, from 1.
    line: u64,
    /// What lines are counted by: the line feed, or the carriage return where the header ends in that alone.
    newline: u8,
    file: File,
    /// Where the record's cells are in the bytes, or in `unquoted`.
    cells: Vec<Range<usize>>,
    /// Made for the first record with quotation marks.
    core: Option<Box<csv_core::Reader>>,
    unquoted: Vec<u8>,
    ends: Vec<usize>,
}

/// A record.
pub(super) struct Record<'a> {
    /// The line that it begins on.
    pub(super) line: u64,
    /// Where it is in the bytes.
    pub(super) bytes: Range<usize>,
    text: &'a str,
    cells: &'a [Range<usize>],
}

impl Record<'_> {
    /// Number of cells.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// A cell by its place, empty where there is none.
    pub(super) fn cell(&self, position: usize) -> &str {
        let range = self.cells.get(position).cloned();
        range.and_then(|range| self.text.get(range)).unwrap_or_default()
    }

    /// The cells.
    pub(super) fn cells(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|position| self.cell(position))
    }
}

impl<'b> Records<'b> {
    /// Of bytes that begin on a line of a file.
    pub(super) fn new(bytes: &'b [u8], line: u64, newline: u8, file: File) -> Self {
        Records {
            bytes,
            passed: 0,
            line,
            newline,
            file,
            cells: Vec::new(),
            core: None,
            unquoted: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Bytes that are done with, and the line that the rest begins on.
    pub(super) fn passed(&self) -> (usize, u64) {
        (self.passed, self.line)
    }

    /// The next one; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, TableError> {
        let window = &self.bytes[self.passed..];
        let Some(filled) = window.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else {
            self.pass(window.len());
            return Ok(None);
        };
        self.pass(filled);
        let (window, line, start) = (&window[filled..], self.line, self.passed);
        let end = memchr::memchr2(b'\n', b'\r', window).unwrap_or(window.len());
        // Most have no quotation mark, and are where they are read.
        if memchr::memchr(b'"', &window[..end]).is_none() {
            let text = &window[..end];
            if !self.split(text) {
                return Err(self.too_many(line));
            }
            let text = std::str::from_utf8(text).map_err(|error| self.not_utf8(text, error))?;
            self.pass(end);
            return Ok(Some(Record {
                line,
                bytes: start..start + end,
                text,
                cells: &self.cells,
            }));
        }
        let Some(taken) = self.unquote() else {
            return Err(self.too_many(line));
        };
        let read = &window[..taken];
        std::str::from_utf8(read).map_err(|error| self.not_utf8(read, error))?;
        self.pass(taken);
        let text = std::str::from_utf8(&self.unquoted);
        let text = text.map_err(|_| TableError::NotUtf8 {
            place: place(&self.file, line),
        })?;
        Ok(Some(Record {
            line,
            bytes: start..start + taken,
            text,
            cells: &self.cells,
        }))
    }

    /// Passes records without quotation marks as long as `take`, which is told where one is and on which line, takes them.
    pub(super) fn pass_while(&mut self, mut take: impl FnMut(Range<usize>, u64) -> bool) {
        loop {
            let window = &self.bytes[self.passed..];
            let filled = window.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            self.pass(filled.unwrap_or(window.len()));
            let Some(filled) = filled else { return };
            let window = &window[filled..];
            let end = memchr::memchr2(b'\n', b'\r', window).unwrap_or(window.len());
            let quoted = memchr::memchr(b'"', &window[..end]).is_some();
            if quoted || !take(self.passed..self.passed + end, self.line) {
                return;
            }
            // The line goes on up to its end.
            self.passed += end;
        }
    }

    fn too_many(&self, line: u64) -> TableError {
        TableError::TooManyCells {
            place: place(&self.file, line),
            limit: CELLS,
        }
    }

    fn not_utf8(&self, read: &[u8], invalid: std::str::Utf8Error) -> TableError {
        let lines = memchr::memchr_iter(self.newline, &read[..invalid.valid_up_to()]).count();
        TableError::NotUtf8 {
            place: place(&self.file, self.line + lines as u64),
        }
    }

    /// Passes so many bytes, and counts their lines.
    fn pass(&mut self, count: usize) {
        let passed = &self.bytes[self.passed..self.passed + count];
        self.line += memchr::memchr_iter(self.newline, passed).count() as u64;
        self.passed += count;
    }

    /// Takes a record without quotation marks apart; false where it has too many cells.
    fn split(&mut self, text: &[u8]) -> bool {
        self.cells.clear();
        let mut start = 0;
        for comma in memchr::memchr_iter(b',', text) {
            if self.cells.len() + 1 == CELLS {
                return false;
            }
            self.cells.push(start..comma);
            start = comma + 1;
        }
        self.cells.push(start..text.len());
        true
    }

    /// Takes the record that comes next apart, and says how many bytes it has; nothing where it has too many cells.
    fn unquote(&mut self) -> Option<usize> {
        let core = self.core.get_or_insert_with(|| Box::new(csv_core::Reader::new()));
        core.reset();
        let (mut read, mut written, mut ended) = (0, 0, 0);
        self.unquoted.clear();
        let window = &self.bytes[self.passed..];
        loop {
            self.unquoted.resize(self.unquoted.len().max(1 << 10), 0);
            self.ends.resize(self.ends.len().max(64), 0);
            let (result, bytes, output, ends) = core.read_record(
                &window[read..],
                &mut self.unquoted[written..],
                &mut self.ends[ended..],
            );
            read += bytes;
            written += output;
            ended += ends;
            match result {
                // The core takes no bytes for the end, which only an empty window is.
                ReadRecordResult::InputEmpty => {
                    // The last cell has its end here, and may be the first that has no place for it.
                    if ended == self.ends.len() {
                        self.ends.push(0);
                    }
                    let (_, _, output, ends) =
                        core.read_record(&[], &mut self.unquoted[written..], &mut self.ends[ended..]);
                    written += output;
                    ended += ends;
                    break;
                }
                ReadRecordResult::OutputFull => self.unquoted.resize(2 * self.unquoted.len(), 0),
                ReadRecordResult::OutputEndsFull if ended >= CELLS => return None,
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        self.unquoted.truncate(written);
        self.cells.clear();
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        self.cells
            .extend(starts.zip(&self.ends[..ended]).map(|(start, &end)| start..end));
        (ended <= CELLS).then_some(read)
    }
}

fn place(file: &File, number: u64) -> Place {
    Place {
        file: file.clone(),
        number,
    }
}
