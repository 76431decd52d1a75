//! One JSON object per line, keyed by column (JSON Lines, <https://jsonlines.org>). Empty lines do not count.
//!
//! The first object names the columns; a column that a later one lacks has no value there, and one that only a later
//! one has is not read.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::crew::{self, Rows};
use super::cut::{Block, Cutter};
use super::stretch::Stretch;
use super::{Builder, Cell, Input, TableError, Unit};
use crate::TrainError;

/// Reads a file.
pub(super) fn read(input: &mut Input<'_>, builder: &mut Builder<'_>) -> Result<(), TrainError> {
    input.pass_byte_order_mark()?;
    let mut cutter = Cutter::of_lines(input);
    // Lines before the first object may be anything that is to be skipped.
    while let Some(block) = cutter.next(MEASURED.min(builder.crew().block))? {
        let Some((rows, begin, line)) = header(&block, builder)? else {
            continue;
        };
        let (rest, before) = (&block.bytes[begin..], builder.rows());
        rows.give(rest, line, builder)?;
        let given = (builder.rows() - before) as u64;
        builder.expect((cutter.left() * given).div_ceil((rest.len() as u64).max(1)));
        return crew::read(cutter, &rows, builder);
    }
    Ok(())
}

/// What the first object of a block says of the file, where the object is, and on which line; nothing where there is none.
fn header(block: &Block, builder: &mut Builder<'_>) -> Result<Option<(Jsonl, usize, u64)>, TrainError> {
    for (begin, text, line) in lines(&block.bytes, block.line) {
        match serde_json::from_slice::<Map<String, Value>>(text) {
            Ok(object) => {
                let names: Vec<String> = object.keys().cloned().collect();
                builder.header(&names, Unit::Line)?;
                let columns = names.into_iter().zip(0..).collect();
                return Ok(Some((Jsonl { columns }, begin, line)));
            }
            Err(error) => builder.malformed(not_json(&error, line, builder))?,
        }
    }
    Ok(None)
}

/// The lines of some bytes that hold something: where each begins, its text, and its number.
fn lines(bytes: &[u8], first: u64) -> impl Iterator<Item = (usize, &[u8], u64)> {
    let mut begin = 0;
    let all = bytes.split(|byte| *byte == b'\n').zip(first..);
    let all = all.map(move |(text, line)| {
        let at = begin;
        begin += text.len() + 1;
        (at, text, line)
    });
    all.filter(|(_, text, _)| !text.trim_ascii().is_empty())
}

/// The columns of a file, by their names.
struct Jsonl {
    columns: HashMap<String, usize>,
}

impl Jsonl {
    /// The cells of an object in the order of the columns; where a value is no cell, the name of its column.
    fn cells<'v>(
        &self,
        object: &'v Map<String, Value>,
        used: impl Fn(usize) -> bool,
    ) -> Result<Vec<Cell<'v>>, String> {
        let mut cells = vec![Cell::Missing; self.columns.len()];
        for (name, value) in object {
            let Some(position) = self.columns.get(name) else {
                continue;
            };
            match cell(value) {
                Some(cell) => cells[*position] = cell,
                None if used(*position) => return Err(name.clone()),
                None => {}
            }
        }
        Ok(cells)
    }
}

impl Rows for Jsonl {
    fn read(&self, block: &Block, stretch: &mut Stretch<'_>) {
        for (begin, text, line) in lines(&block.bytes, block.line) {
            let object = serde_json::from_slice::<Map<String, Value>>(text);
            let columns = stretch.rules.columns.clone();
            let cells = object
                .as_ref()
                .ok()
                .and_then(|object| self.cells(object, |position| columns.uses(position)).ok());
            let taken = cells.is_some_and(|cells| stretch.row(line, |position| cells[position]));
            if !taken {
                stretch.leave(begin..begin + text.len(), line);
            }
        }
    }

    fn give(&self, bytes: &[u8], line: u64, builder: &mut Builder<'_>) -> Result<(), TrainError> {
        for (_, text, line) in lines(bytes, line) {
            let object: Map<String, Value> = match serde_json::from_slice(text) {
                Ok(object) => object,
                Err(error) => {
                    builder.malformed(not_json(&error, line, builder))?;
                    continue;
                }
            };
            match self.cells(&object, |position| builder.uses(position)) {
                Ok(cells) => builder.row(line, |position| cells[position])?,
                Err(column) => {
                    let place = builder.place(line);
                    builder.malformed(TableError::NotAValue { place, column })?;
                }
            }
        }
        Ok(())
    }
}

fn not_json(error: &serde_json::Error, line: u64, builder: &Builder<'_>) -> TableError {
    TableError::NotJson {
        place: builder.place(line),
        problem: problem(error),
    }
}

/// Bytes of rows by which it is known how long one is, and what the columns hold.
const MEASURED: usize = 64 << 10;

/// Nothing for a list or an object.
fn cell(value: &Value) -> Option<Cell<'_>> {
    Some(match value {
        Value::Null => Cell::Missing,
        Value::Bool(flag) => Cell::Flag(*flag),
        Value::String(text) => Cell::of_text(text),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Cell::Integer(whole),
            None => Cell::Float(number.as_f64()?),
        },
        Value::Array(_) | Value::Object(_) => return None,
    })
}

/// What is wrong, without the line within the line.
fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((problem, _)) => format!("{problem} at column {}", error.column()),
        None => text,
    }
}
