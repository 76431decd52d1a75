//! A table, from bytes to numbers.
//!
//! ```text
//!   bytes ─► formats.rs ─► csv, jsonl, … ─► Builder: header: which column is what    (columns.rs, suggest.rs)
//!            (which one)   (rows of Cells)           rows: features → raw values     (column.rs)
//!                                                          target → its cells as they stand
//! ```
//!
//! A format only says what the cells are; what is missing, mixed or malformed is judged in one place, `rules.rs`, for
//! `builder.rs`, which is the file to read first. Of a large file, several threads read a `stretch.rs` of rows each
//! (`crew.rs`), and the builder takes one after the other in the order of the file.

mod builder;
mod cell;
mod column;
mod columns;
mod crew;
mod csv;
mod cut;
mod decimal;
mod decoded;
mod error;
mod formats;
mod images;
mod input;
mod jsonl;
mod lanes;
mod parquet;
mod place;
mod positioned;
mod records;
mod rules;
mod stretch;
mod suggest;
mod texts;

use std::ops::Range;

pub use builder::Builder;
pub use cell::Cell;
pub use error::TableError;
pub use formats::Format;
pub use input::Input;
pub use place::{File, Place, Unit};
use sconce_contract::RowsLeftOut;

use crate::scratch::{ScratchError, Stored};

/// A table as read.
#[derive(Debug)]
pub struct Table {
    /// The features, in the order of the file.
    pub features: Vec<Feature>,
    /// Their raw values, row after row: `[rows, width]`. F32, as the server reads what it is asked; a word is its place
    /// among the words, and what is missing is NaN. A text is as many places of words as count, after [`NOWHERE`] where
    /// it has fewer.
    ///
    /// Empty where the rows are on disk.
    pub values: Vec<f32>,
    /// The rows, where they are more than fits into memory.
    pub stored: Option<OnDisk>,
    /// The cells of the target.
    pub target: Cells,
    /// Rows that are not in the table.
    pub left_out: RowsLeftOut,
}

/// Rows as they were read, on disk.
#[derive(Debug)]
pub struct OnDisk {
    rows: Stored,
    /// Columns of words by their place in a row: the place of each word in alphabetical order, by the one that it had when
    /// it came.
    moved: Vec<(usize, Vec<u32>)>,
}

impl OnDisk {
    /// Puts `count` rows from the one at `first` on in the place of what is in `values`.
    fn read(&self, first: usize, count: usize, values: &mut Vec<f32>) -> Result<(), ScratchError> {
        values.clear();
        self.rows.read(first, count, values)?;
        for (place, moved) in &self.moved {
            let words = values.iter_mut().skip(*place).step_by(self.rows.width());
            for word in words.filter(|word| !word.is_nan()) {
                *word = moved[*word as usize] as f32;
            }
        }
        Ok(())
    }
}

/// A feature as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name in the header.
    pub name: String,
    /// The words of the whole table in alphabetical order; nothing for numbers.
    pub words: Option<Vec<String>>,
    /// The words of texts; nothing for others.
    pub texts: Option<Texts>,
}

/// A column of texts as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// Words of each that count, which are its raw values.
    pub length: usize,
    /// The words of the whole table, in the order in which they came.
    pub words: Vec<String>,
}

/// The place of no word, in front of the words of a text.
pub const NOWHERE: f32 = -1.0;

impl Feature {
    /// Raw values in a row.
    pub fn width(&self) -> usize {
        self.texts.as_ref().map_or(1, |texts| texts.length)
    }
}

impl Table {
    /// Raw values of a row.
    pub fn width(&self) -> usize {
        self.features.iter().map(Feature::width).sum()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.target.len()
    }

    /// Shows each row in order, with its index, until one fails.
    pub fn each<E: From<ScratchError>>(
        &self,
        mut show: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let width = self.width().max(1);
        let Some(stored) = &self.stored else {
            let mut rows = self.values.chunks_exact(width).enumerate();
            return rows.try_for_each(|(row, values)| show(row, values));
        };
        let (at_once, mut block) = (stored.rows.rows_at_once(), Vec::new());
        for first in (0..stored.rows.rows()).step_by(at_once) {
            let count = at_once.min(stored.rows.rows() - first);
            stored.read(first, count, &mut block)?;
            for (row, values) in block.chunks_exact(width).enumerate() {
                show(first + row, values)?;
            }
        }
        Ok(())
    }

    /// Shows these rows one after another. Those on disk are to be in the order of the table: what stands near each other is
    /// read together.
    pub fn some(&self, rows: &[usize], mut show: impl FnMut(&[f32])) -> Result<(), ScratchError> {
        let width = self.width();
        let Some(stored) = &self.stored else {
            let values = |row: &usize| &self.values[row * width..(row + 1) * width];
            rows.iter().map(values).for_each(show);
            return Ok(());
        };
        let (at_once, mut block, mut left) = (stored.rows.rows_at_once(), Vec::new(), rows);
        while let Some(&first) = left.first() {
            let near = left.partition_point(|row| *row < first + at_once);
            let (now, later) = left.split_at(near);
            stored.read(first, now[near - 1] + 1 - first, &mut block)?;
            let values = |row: &usize| &block[(row - first) * width..][..width];
            now.iter().map(values).for_each(&mut show);
            left = later;
        }
        Ok(())
    }
}

/// Reads a table of one file.
#[cfg(test)]
pub fn read(bytes: &[u8], dataset: &sconce_contract::Dataset) -> Result<Table, TableError> {
    read_by(crew::Crew::found(), bytes, dataset)
}

/// The same, by so many threads.
#[cfg(test)]
fn read_by(crew: crew::Crew, bytes: &[u8], dataset: &sconce_contract::Dataset) -> Result<Table, TableError> {
    let format = dataset.format.unwrap_or(sconce_contract::DatasetFormat::Csv);
    let mut builder = Builder::new(dataset, None).by(crew);
    builder.begin(None, Vec::new());
    let read = (Format::named(format).read)(&mut Input::of(bytes), &mut builder);
    read.and_then(|()| builder.finish()).map_err(|error| match error {
        crate::TrainError::Table(error) => error,
        error => TableError::Malformed(error.to_string()),
    })
}

/// The cells of one column, in one piece of memory, each with the place where it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells {
    text: String,
    ends: Vec<usize>,
    /// Where lines or rows do not follow each other: the index of a cell, and the number of its row.
    jumps: Vec<(usize, u64)>,
    /// The files in order, each with the index of its first cell.
    files: Vec<(usize, File)>,
}

impl Cells {
    /// Adds a cell.
    pub fn push(&mut self, text: &str, place: &Place) {
        if self.files.last().is_none_or(|(_, file)| *file != place.file) {
            self.files.push((self.ends.len(), place.file.clone()));
        }
        let index = self.ends.len();
        if self.number(index) != Some(place.number) {
            self.jumps.push((index, place.number));
        }
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// Adds some of other cells, which are of one file.
    fn extend(&mut self, others: &Cells, some: Range<usize>) {
        if some.is_empty() {
            return;
        }
        let start = match some.start {
            0 => 0,
            first => others.ends[first - 1],
        };
        let (first, text) = (some.start, self.text.len());
        // The first one says what jumps; those behind it follow as they did.
        let end = others.ends[first];
        self.push(&others.text[start..end], &others.place(first));
        let index = self.ends.len();
        let behind = first + 1..some.end;
        let jumps = others.jumps.iter().filter(|(at, _)| behind.contains(at));
        self.jumps
            .extend(jumps.map(|(at, number)| (index + at - behind.start, *number)));
        self.text.push_str(&others.text[end..others.ends[some.end - 1]]);
        let ends = others.ends[behind].iter();
        self.ends.extend(ends.map(|end| end - start + text));
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of their text.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The cells.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end])
    }

    /// Where a cell stands.
    pub fn place(&self, index: usize) -> Place {
        let after = self.files.partition_point(|(first, _)| *first <= index);
        let file = after.checked_sub(1).map(|before| self.files[before].1.clone());
        Place {
            file: file.unwrap_or_default(),
            number: self.number(index).unwrap_or_default(),
        }
    }

    /// The number of a cell's row, as far as those before it tell.
    fn number(&self, index: usize) -> Option<u64> {
        let after = self.jumps.partition_point(|(first, _)| *first <= index);
        let (first, number) = *self.jumps.get(after.checked_sub(1)?)?;
        Some(number + (index - first) as u64)
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
    /// A number among words, and since where the column holds words.
    #[error("{0}")]
    Number(String),
    /// A number or a flag where a text should be.
    #[error("{0} is not a text")]
    NotAText(String),
}

/// A cell that fits into a sentence.
pub(crate) fn shortened(cell: &str) -> String {
    match cell.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell.to_owned(),
    }
}
