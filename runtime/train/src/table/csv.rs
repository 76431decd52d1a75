//! Comma-separated values with a header row (RFC 4180).

use super::crew::{self, Rows};
use super::cut::{Block, Cutter};
use super::lanes::Lanes;
use super::records::{Record, Records};
use super::stretch::Stretch;
use super::{Builder, Cell, Input, TableError, Unit};
use crate::TrainError;

/// Bytes of rows by which it is known how long one is, and what the columns hold.
const MEASURED: usize = 64 << 10;

/// Reads a file. Blanks around a cell and empty lines do not count.
pub(super) fn read(input: &mut Input<'_>, builder: &mut Builder<'_>) -> Result<(), TrainError> {
    let newline = newline(input)?;
    let mut cutter = Cutter::of_csv(input, newline, builder.file().clone());
    let begin = loop {
        // Many empty lines may come before the header.
        let Some(block) = cutter.next(MEASURED.min(builder.crew().block))? else {
            return Err(TableError::Empty.into());
        };
        if block.bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            break block;
        }
    };
    let mut records = Records::new(&begin.bytes, begin.line, newline, builder.file().clone());
    let Some(record) = records.next()? else {
        return Err(TableError::Empty.into());
    };
    let header: Vec<String> = record.cells().map(|name| name.trim().to_owned()).collect();
    builder.header(&header, Unit::Line)?;
    let csv = Csv {
        columns: header.len(),
        newline,
    };
    let (passed, line) = records.passed();
    let (rest, before) = (&begin.bytes[passed..], builder.rows());
    csv.give(rest, line, builder)?;
    let rows = (builder.rows() - before) as u64;
    builder.expect((cutter.left() * rows).div_ceil((rest.len() as u64).max(1)));
    crew::read(cutter, &csv, builder)
}

/// What lines are counted by: the line feed, or the carriage return where the header ends in that alone.
fn newline(input: &mut Input<'_>) -> Result<u8, TrainError> {
    input.pass_byte_order_mark()?;
    let end = input.end(|bytes| memchr::memchr3(b'\n', b'\r', b'"', bytes))?;
    while input.window().len() < end + 2 && input.more()? {}
    Ok(match &input.window()[end..] {
        [b'\r', next, ..] if !matches!(next, b'\r' | b'\n') => b'\r',
        _ => b'\n',
    })
}

/// What the header says of a file.
struct Csv {
    columns: usize,
    newline: u8,
}

impl Rows for Csv {
    fn read(&self, block: &Block, stretch: &mut Stretch<'_>) {
        let mut lanes = Lanes::of(stretch, &block.bytes, self.columns);
        let mut records = Records::new(&block.bytes, block.line, self.newline, stretch.rules.file.clone());
        loop {
            if let Some(lanes) = &mut lanes {
                records.pass_while(|bytes, line| lanes.row(stretch, bytes, line));
            }
            let (passed, line) = records.passed();
            match records.next() {
                Ok(None) => return,
                // It says the same once more where the table looks at it.
                Err(_) => return stretch.leave(passed..block.bytes.len(), line),
                Ok(Some(record)) => {
                    let taken = record.len() == self.columns
                        && stretch.row(record.line, |position| Cell::of_text(record.cell(position)));
                    if !taken {
                        stretch.leave(record.bytes.clone(), record.line);
                    }
                }
            }
        }
    }

    fn give(&self, bytes: &[u8], line: u64, builder: &mut Builder<'_>) -> Result<(), TrainError> {
        let mut records = Records::new(bytes, line, self.newline, builder.file().clone());
        while let Some(record) = records.next()? {
            // In quotation marks it has the end of its last line with it.
            let text = bytes[record.bytes.clone()].trim_ascii_end();
            let lines = 1 + memchr::memchr_iter(self.newline, text).count() as u64;
            if record.len() == self.columns {
                builder.row_over(record.line, lines, |position| {
                    Cell::of_text(record.cell(position))
                })?;
            } else {
                let ragged = TableError::Ragged {
                    place: builder.place(record.line),
                    found: record.len(),
                    expected: self.columns,
                    hint: hint(&record, self.columns),
                };
                builder.malformed_over(ragged, lines)?;
            }
        }
        Ok(())
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
