//! Comma-separated values with a header row (RFC 4180). A record ends at a line feed, a carriage return, or both.

use std::ops::Range;

use csv_core::ReadRecordResult;

use super::{Builder, Cell, Input, TableError, Unit};
use crate::TrainError;

/// What spreadsheets write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Most cells of a row: each takes many times the byte that its comma has in the file.
const CELLS: usize = 1_000_000;
/// Rows after which it is known how long one is.
const MEASURED: u64 = 64;

/// Reads a file. Blanks around a cell and empty lines do not count.
pub(super) fn read(input: &mut Input<'_>, builder: &mut Builder<'_>) -> Result<(), TrainError> {
    let mut records = Records::new(input)?;
    let Some(record) = records.next(builder)? else {
        return Err(TableError::Empty.into());
    };
    let header: Vec<String> = record.cells().map(|name| name.trim().to_owned()).collect();
    builder.header(&header, Unit::Line)?;
    let (mut rows, begin) = (0, records.passed());
    while let Some(record) = records.next(builder)? {
        let line = record.line;
        if record.len() == header.len() {
            builder.row(line, |position| Cell::of_text(record.cell(position)))?;
        } else {
            let error = TableError::Ragged {
                place: builder.place(line),
                found: record.len(),
                expected: header.len(),
                hint: hint(&record, header.len()),
            };
            builder.malformed(error)?;
        }
        rows += 1;
        if rows == MEASURED {
            builder.expect(records.left() * MEASURED / (records.passed() - begin).max(1));
        }
    }
    Ok(())
}

/// One after another, the records of a file.
struct Records<'i, 'c> {
    input: &'i mut Input<'c>,
    /// The line that the window begins on, from 1.
    line: u64,
    /// What lines are counted by: the line feed, or the carriage return where the header ends in that alone.
    newline: u8,
    /// Bytes of the window that the last record had.
    taken: usize,
    /// Where its cells are in the window, or in `unquoted`.
    cells: Vec<Range<usize>>,
    core: Box<csv_core::Reader>,
    unquoted: Vec<u8>,
    ends: Vec<usize>,
}

struct Record<'a> {
    line: u64,
    text: &'a str,
    cells: &'a [Range<usize>],
}

impl Record<'_> {
    fn len(&self) -> usize {
        self.cells.len()
    }

    fn cell(&self, position: usize) -> &str {
        let range = self.cells.get(position).cloned();
        range.and_then(|range| self.text.get(range)).unwrap_or_default()
    }

    fn cells(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|position| self.cell(position))
    }
}

impl<'i, 'c> Records<'i, 'c> {
    fn new(input: &'i mut Input<'c>) -> Result<Self, TrainError> {
        while input.window().len() < BYTE_ORDER_MARK.len() && input.more()? {}
        if input.window().starts_with(BYTE_ORDER_MARK) {
            input.pass(BYTE_ORDER_MARK.len());
        }
        let end = input.end(|bytes| memchr::memchr3(b'\n', b'\r', b'"', bytes))?;
        while input.window().len() < end + 2 && input.more()? {}
        let newline = match &input.window()[end..] {
            [b'\r', next, ..] if !matches!(next, b'\r' | b'\n') => b'\r',
            _ => b'\n',
        };
        Ok(Records {
            input,
            line: 1,
            newline,
            taken: 0,
            cells: Vec::new(),
            core: Box::new(csv_core::Reader::new()),
            unquoted: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// Bytes before the record that comes next.
    fn passed(&self) -> u64 {
        self.input.passed() + self.taken as u64
    }

    /// Bytes from there on.
    fn left(&self) -> u64 {
        self.input.size().saturating_sub(self.passed())
    }

    fn next(&mut self, builder: &Builder<'_>) -> Result<Option<Record<'_>>, TrainError> {
        self.go_past(self.taken);
        self.taken = 0;
        if !self.skip_empty()? {
            return Ok(None);
        }
        let line = self.line;
        let end = self.input.end(|bytes| memchr::memchr2(b'\n', b'\r', bytes))?;
        // Most have no quotation mark, and are where they are read.
        let plain = memchr::memchr(b'"', &self.input.window()[..end]).is_none();
        let newline = self.newline;
        let many = || TableError::TooManyCells {
            place: builder.place(line),
            limit: CELLS,
        };
        let not_utf8 = |window: &[u8], invalid: std::str::Utf8Error| {
            let lines = memchr::memchr_iter(newline, &window[..invalid.valid_up_to()]).count();
            TableError::NotUtf8 {
                place: builder.place(line + lines as u64),
            }
        };
        if plain {
            self.taken = end;
            self.cells.clear();
            let text = &self.input.window()[..end];
            let mut start = 0;
            for comma in memchr::memchr_iter(b',', text) {
                if self.cells.len() + 1 == CELLS {
                    return Err(many().into());
                }
                self.cells.push(start..comma);
                start = comma + 1;
            }
            self.cells.push(start..end);
            let text = std::str::from_utf8(text).map_err(|error| not_utf8(text, error))?;
            return Ok(Some(Record {
                line,
                text,
                cells: &self.cells,
            }));
        }
        if !self.unquote()? {
            return Err(many().into());
        }
        let read = &self.input.window()[..self.taken];
        std::str::from_utf8(read).map_err(|error| not_utf8(read, error))?;
        let text = std::str::from_utf8(&self.unquoted).map_err(|error| not_utf8(&self.unquoted, error))?;
        Ok(Some(Record {
            line,
            text,
            cells: &self.cells,
        }))
    }

    /// Passes so many bytes of the window, and counts their lines.
    fn go_past(&mut self, count: usize) {
        self.line += memchr::memchr_iter(self.newline, &self.input.window()[..count]).count() as u64;
        self.input.pass(count);
    }

    /// Passes empty lines; false where nothing is behind them.
    fn skip_empty(&mut self) -> Result<bool, TrainError> {
        loop {
            if self.input.is_empty()? {
                return Ok(false);
            }
            let window = self.input.window();
            let filled = window.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            self.go_past(filled.unwrap_or(window.len()));
            if filled.is_some() {
                return Ok(true);
            }
        }
    }

    /// Takes the record at the beginning of the window apart as RFC 4180 has it; false where it has too many cells.
    fn unquote(&mut self) -> Result<bool, TrainError> {
        self.core.reset();
        let (mut read, mut written, mut ended) = (0, 0, 0);
        self.unquoted.clear();
        loop {
            self.unquoted.resize(self.unquoted.len().max(1 << 10), 0);
            self.ends.resize(self.ends.len().max(64), 0);
            let (result, bytes, output, ends) = self.core.read_record(
                &self.input.window()[read..],
                &mut self.unquoted[written..],
                &mut self.ends[ended..],
            );
            read += bytes;
            written += output;
            ended += ends;
            match result {
                // The core takes no bytes for the end, which only an empty window is.
                ReadRecordResult::InputEmpty if self.input.more()? => {}
                ReadRecordResult::InputEmpty => {
                    // The last cell has its end here, and may be the first that has no place for it.
                    if ended == self.ends.len() {
                        self.ends.push(0);
                    }
                    let (_, _, output, ends) =
                        self.core
                            .read_record(&[], &mut self.unquoted[written..], &mut self.ends[ended..]);
                    written += output;
                    ended += ends;
                    break;
                }
                ReadRecordResult::OutputFull => self.unquoted.resize(2 * self.unquoted.len(), 0),
                ReadRecordResult::OutputEndsFull if ended >= CELLS => return Ok(false),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        self.taken = read;
        self.unquoted.truncate(written);
        self.cells.clear();
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        self.cells
            .extend(starts.zip(&self.ends[..ended]).map(|(start, &end)| start..end));
        Ok(ended <= CELLS)
    }
}

fn hint(record: &Record<'_>, columns: usize) -> &'static str {
    if record.cells().any(|cell| cell.contains('\n')) {
        "; is a quotation mark left open?"
    } else if record.len() == columns + 1 && record.cells().last() == Some("") {
        "; is there a comma at its end?"
    } else {
        ""
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
