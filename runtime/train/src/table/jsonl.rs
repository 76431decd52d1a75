//! One JSON object per line, keyed by column (JSON Lines, <https://jsonlines.org>). Empty lines do not count.
//!
//! The first object names the columns; a column that a later one lacks has no value there, and one that only a later
//! one has is not read.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Builder, Cell, Input, TableError, Unit};
use crate::TrainError;

/// Reads a file.
pub(super) fn read(input: &mut Input<'_>, builder: &mut Builder<'_>) -> Result<(), TrainError> {
    let mut columns: HashMap<String, usize> = HashMap::new();
    let mut names = Vec::new();
    let mut taken = 0;
    for line in 1.. {
        input.pass(taken);
        if input.is_empty()? {
            break;
        }
        if line == MEASURED + 1 {
            let left = input.size().saturating_sub(input.passed());
            builder.expect(left * MEASURED / input.passed().max(1));
        }
        let end = input.end_of_line()?;
        taken = end + 1;
        let text = &input.window()[..end];
        let text = text
            .strip_prefix(BYTE_ORDER_MARK)
            .filter(|_| line == 1)
            .unwrap_or(text);
        if text.trim_ascii().is_empty() {
            continue;
        }
        let object: Map<String, Value> = match serde_json::from_slice(text) {
            Ok(object) => object,
            Err(error) => {
                let place = builder.place(line);
                builder.malformed(TableError::NotJson {
                    place,
                    problem: problem(&error),
                })?;
                continue;
            }
        };
        if columns.is_empty() {
            names = object.keys().cloned().collect::<Vec<_>>();
            columns = names.iter().cloned().zip(0..).collect();
            builder.header(&names, Unit::Line)?;
        }
        let mut cells = vec![Cell::Missing; names.len()];
        let mut fault = None;
        for (name, value) in &object {
            let Some(position) = columns.get(name) else {
                continue;
            };
            match cell(value) {
                Some(cell) => cells[*position] = cell,
                None if builder.uses(*position) => fault = fault.or(Some(name)),
                None => {}
            }
        }
        if let Some(column) = fault {
            let error = TableError::NotAValue {
                place: builder.place(line),
                column: column.clone(),
            };
            builder.malformed(error)?;
            continue;
        }
        builder.row(line, |position| cells[position])?;
    }
    Ok(())
}

/// Lines after which it is known how long one is.
const MEASURED: u64 = 64;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
