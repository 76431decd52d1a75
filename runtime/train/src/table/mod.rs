//! A table with a header, from bytes to numbers.
//!
//! ```text
//!   bytes ─► csv ─► header: which column is what      (columns.rs, suggest.rs)
//!                └► rows:   features → f32, row-major  target → its cells as they stand
//! ```

mod columns;
mod csv;
mod decimal;
mod error;
mod suggest;

pub use self::csv::read;
pub use error::TableError;

/// A table as read.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Names of the features, in the order of the network's inputs.
    pub features: Vec<String>,
    /// Their values, row after row: `[rows, features]`. F32, as the server reads what it is asked.
    pub values: Vec<f32>,
    /// The cells of the target.
    pub target: Cells,
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.target.len()
    }
}

/// The cells of one column, in one piece of memory, each with the line that it stands on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells {
    text: String,
    ends: Vec<usize>,
    lines: Vec<u64>,
}

impl Cells {
    /// Adds a cell.
    pub fn push(&mut self, text: &str, line: u64) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
        self.lines.push(line);
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The cells with their lines, counted from 1 as an editor does.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .zip(&self.lines)
            .map(|((start, &end), &line)| (&self.text[start..end], line))
    }
}

/// What a cell holds where a number should be.
pub(crate) fn number(cell: &str) -> Result<f32, NotANumber> {
    if cell.is_empty() {
        return Err(NotANumber::Empty);
    }
    if let Some(number) = decimal::decimal(cell) {
        return Ok(number);
    }
    match cell.parse::<f32>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(NotANumber::NotFinite(shortened(cell))),
        Err(_) => Err(NotANumber::Text(shortened(cell))),
    }
}

/// What a cell holds instead of a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANumber {
    /// Nothing.
    #[error("the cell is empty")]
    Empty,
    /// NaN, infinity or a number beyond F32.
    #[error("{0:?} is not a finite number (the greatest is about 3.4e38)")]
    NotFinite(String),
    /// Something else.
    #[error("{0:?} is not a number")]
    Text(String),
}

/// A cell that fits into a sentence.
pub(crate) fn shortened(cell: &str) -> String {
    match cell.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell.to_owned(),
    }
}
