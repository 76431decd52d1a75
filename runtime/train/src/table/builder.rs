//! From rows of cells to a table, by the policies of the spec for what is missing and what cannot be read.
//!
//! A row is taken whole or not at all: its cells are checked before the first of them is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use sconce_contract::{Dataset, Images, RowsLeftOut, Text};

use super::column::{Column, Value};
use super::columns::{self, Columns};
use super::crew::Crew;
use super::rules::Rules;
use super::stretch::{Fork, Left, Stretch};
use super::{Cell, Cells, File, OnDisk, Place, Table, TableError, Unit};
use crate::TrainError;
use crate::room::Room;
use crate::scratch::{Stored, Writer};

/// Longest sentence about the first row that could not be read: it goes into a report of 4 KiB.
const FIRST_LIMIT: usize = 256;

/// A table while it is read.
#[derive(Debug)]
pub struct Builder<'a> {
    dataset: &'a Dataset,
    /// Features in the order of the first file.
    features: Vec<Column>,
    values: Vec<f32>,
    room: Option<Room>,
    crew: Crew,
    /// Where the rows before `values` are.
    writer: Option<Writer>,
    target: Cells,
    left_out: RowsLeftOut,
    /// The file that is read.
    file: File,
    /// What its path says of each of its rows.
    partitions: Vec<(String, String)>,
    /// What its header says of them.
    rules: Option<Arc<Rules<'a>>>,
    /// The columns of the file before.
    before: Option<Arc<Columns>>,
    row: Vec<Value>,
}

impl<'a> Builder<'a> {
    /// An empty table, which goes to disk where it is larger than its room.
    pub fn new(dataset: &'a Dataset, room: Option<Room>) -> Self {
        Builder {
            dataset,
            room,
            crew: Crew::found(),
            writer: None,
            features: Vec::new(),
            values: Vec::new(),
            target: Cells::default(),
            left_out: RowsLeftOut::default(),
            file: File::default(),
            partitions: Vec::new(),
            rules: None,
            before: None,
            row: Vec::new(),
        }
    }

    /// The same, whose files that many threads read.
    #[cfg(test)]
    pub fn by(self, crew: Crew) -> Self {
        Builder { crew, ..self }
    }

    /// Who reads a file.
    pub(super) fn crew(&self) -> Crew {
        self.crew
    }

    /// The file that is read.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// A file begins, with the columns that its path gives to each of its rows.
    pub fn begin(&mut self, path: Option<Arc<str>>, partitions: Vec<(String, String)>) {
        self.file = File {
            path,
            unit: Unit::Line,
        };
        self.partitions = partitions;
        let before = self.rules.take().map(|rules| rules.columns.clone());
        self.before = before.or(self.before.take());
    }

    /// The header of the file before, where it holds for this one too; false where there was none.
    pub fn header_again(&mut self, unit: Unit) -> bool {
        self.file.unit = unit;
        self.rules = self.before.take().map(|columns| self.rules_of(columns));
        self.rules.is_some()
    }

    fn rules_of(&self, columns: Arc<Columns>) -> Arc<Rules<'a>> {
        Arc::new(Rules {
            dataset: self.dataset,
            file: self.file.clone(),
            partitions: self.partitions.clone(),
            columns,
        })
    }

    /// The names of the file's columns, how its rows are counted, and whether a row may lack some of the columns.
    pub fn header(&mut self, names: &[String], unit: Unit) -> Result<(), TableError> {
        self.file.unit = unit;
        let partitions = self.partitions.iter().map(|(name, _)| name);
        let names: Vec<String> = names.iter().chain(partitions).cloned().collect();
        // Every file is asked for the features of the first one.
        let (field, wanted) = match &self.dataset.text {
            Some(text) => ("dataset.text.column", vec![text.column.clone()]),
            None if self.features.is_empty() => (columns::FEATURES, self.dataset.features.clone()),
            None => (
                columns::FEATURES,
                self.features.iter().map(|column| column.name.clone()).collect(),
            ),
        };
        let found = columns::find(&names, &self.dataset.target, field, &wanted)
            .map_err(|error| self.of_file(error))?;
        if self.features.is_empty() {
            self.features = self.declared(&found)?;
        }
        self.rules = Some(self.rules_of(Arc::new(found)));
        Ok(())
    }

    fn declared(&self, found: &Columns) -> Result<Vec<Column>, TableError> {
        let categorical = self.dataset.categorical.as_ref();
        let words: BTreeSet<&String> =
            categorical.map_or(BTreeSet::new(), |all| all.columns.iter().collect());
        let names: BTreeSet<&String> = found.features.iter().map(|(name, _)| name).collect();
        if let Some(unknown) = words.iter().find(|name| !names.contains(*name)) {
            let features: Vec<String> = found.features.iter().map(|(name, _)| name.clone()).collect();
            return Err(TableError::MissingColumn {
                field: "dataset.categorical.columns",
                name: (*unknown).clone(),
                suggestion: super::suggest::suggestion(unknown, &features),
            });
        }
        let column = |(name, _): &(String, usize)| match &self.dataset.text {
            Some(text) => Column::of_texts(name.clone(), text.length as usize),
            None => Column::new(name.clone(), words.contains(name)),
        };
        Ok(found.features.iter().map(column).collect())
    }

    /// Whether a feature or the target is read from this place in the header.
    pub fn uses(&self, position: usize) -> bool {
        self.rules
            .as_ref()
            .is_some_and(|rules| rules.columns.uses(position))
    }

    /// What is asked for of pictures.
    pub fn images(&self) -> Option<Images> {
        self.dataset.images
    }

    /// What is asked for of texts.
    pub fn text(&self) -> Option<&'a Text> {
        self.dataset.text.as_ref()
    }

    /// Name of the target.
    pub fn target(&self) -> &str {
        &self.dataset.target
    }

    /// Name of the folder that the file lies in, within the folder of the table.
    pub fn folder(&self) -> Option<String> {
        let (folder, _) = self.file.path.as_deref()?.rsplit_once('/')?;
        folder.rsplit('/').next().map(str::to_owned)
    }

    /// The file as a whole.
    pub fn file_place(&self) -> Place {
        Place {
            file: File {
                path: self.file.path.clone(),
                unit: Unit::File,
            },
            number: 0,
        }
    }

    /// Where a row of the file stands.
    pub fn place(&self, number: u64) -> Place {
        Place {
            file: self.file.clone(),
            number,
        }
    }

    /// A row, whose cells are asked for by their place in the header.
    pub fn row<'c>(&mut self, number: u64, cell: impl Fn(usize) -> Cell<'c>) -> Result<(), TrainError> {
        self.row_over(number, 1, cell)
    }

    /// The same of a row that goes over so many lines.
    pub fn row_over<'c>(
        &mut self,
        number: u64,
        lines: u64,
        cell: impl Fn(usize) -> Cell<'c>,
    ) -> Result<(), TrainError> {
        let Some(rules) = self.rules.clone() else {
            return Err(TableError::Empty.into());
        };
        let place = rules.place(number);
        let mut row = std::mem::take(&mut self.row);
        let checked = rules.check(&self.features, &place, cell, &mut row);
        if let Ok(Some(target)) = &checked {
            for (column, value) in self.features.iter_mut().zip(row.drain(..)) {
                column.take(value, &place, &mut self.values);
            }
            self.target.push(target, &place);
        }
        self.row = row;
        match checked {
            Ok(Some(_)) => self.make_room(),
            Ok(None) => {
                self.left_out.missing += 1;
                Ok(())
            }
            Err(error) => Ok(self.malformed_over(error, lines)?),
        }
    }

    /// What a thread has to know that reads rows of the file beside others; nothing before its header.
    pub(super) fn fork(&self) -> Option<Fork<'a>> {
        Some(Fork {
            rules: self.rules.clone()?,
            features: self.features.iter().map(Column::fork).collect(),
        })
    }

    /// The rows that come next, which a thread has read: `look` shows to the table those that were left for it.
    pub(super) fn append(
        &mut self,
        mut stretch: Stretch<'_>,
        mut look: impl FnMut(&mut Self, &Left) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let mut first = 0;
        let left = std::mem::take(&mut stretch.left);
        let most_words = stretch.rules.most_words();
        let mut places: Vec<Vec<Option<u32>>> = Vec::new();
        places.resize_with(self.features.len(), Vec::new);
        let ends = left.iter().map(|left| (left.before, Some(left)));
        for (end, left) in ends.chain([(stretch.rows(), None)]) {
            let some = &mut stretch.values[first * stretch.width..end * stretch.width];
            if self.features.iter().any(Column::has_words) {
                for row in some.chunks_exact_mut(stretch.width) {
                    let mut row = row;
                    for (index, column) in self.features.iter_mut().enumerate() {
                        let (own, rest) = row.split_at_mut(column.width());
                        column.adopt(&stretch.features[index], own, &mut places[index], most_words)?;
                        row = rest;
                    }
                }
            }
            self.values.extend_from_slice(some);
            self.target.extend(&stretch.target, first..end);
            first = end;
            if let Some(left) = left {
                look(self, left)?;
            }
        }
        self.left_out.missing += stretch.dropped;
        self.make_room()
    }

    /// Puts the rows on disk where they are more than may be held.
    fn make_room(&mut self) -> Result<(), TrainError> {
        let Some(room) = &self.room else { return Ok(()) };
        let values = 4 * self.values.len() as u64;
        let (bytes, limit) = match &self.writer {
            Some(_) => (values, PIECE.min(room.rows())),
            None => (values + self.beside_values(), room.rows()),
        };
        if bytes <= limit {
            return Ok(());
        }
        if self.writer.is_none() {
            tracing::info!(
                rows = self.rows(),
                mebibytes = bytes >> 20,
                memory = room.memory >> 20,
                folder = %room.folder.display(),
                "the table is larger than two fifths of the memory (MiB): its rows are kept on disk, and an epoch reads \
                 them in blocks"
            );
            let width = self.features.iter().map(Column::width).sum();
            self.writer = Some(Writer::new(&room.scratch(), width)?);
        }
        if let Some(writer) = &mut self.writer {
            writer.add(&self.values)?;
        }
        if self.values.capacity() as u64 > 2 * PIECE {
            self.values = Vec::new();
        }
        self.values.clear();
        Ok(())
    }

    /// Bytes of memory that the rows take besides their values, wherever those are.
    fn beside_values(&self) -> u64 {
        BESIDE * self.rows() as u64 + self.target.bytes() as u64
    }

    /// A row that cannot be read: left out as long as the spec allows it.
    pub fn malformed(&mut self, error: TableError) -> Result<(), TableError> {
        self.malformed_over(error, 1)
    }

    /// The same of a row that goes over so many lines. Each of them counts: where a quotation mark too many has made one
    /// row of them, they are rows that are lost.
    pub fn malformed_over(&mut self, error: TableError, lines: u64) -> Result<(), TableError> {
        let allowed = self
            .dataset
            .malformed_rows
            .map_or(0, |rows| u64::from(rows.skip_up_to));
        let of_all = matches!(
            error,
            TableError::TooManyWords { .. } | TableError::TooManyTextWords { .. }
        );
        if of_all || allowed == 0 {
            return Err(error);
        }
        if self.left_out.malformed + lines > allowed {
            return Err(TableError::TooManyMalformed {
                allowed,
                first: std::mem::take(&mut self.left_out.first),
                next: counted(&error, lines),
            });
        }
        if self.left_out.malformed == 0 {
            let first = counted(&error, lines);
            let end = (0..=FIRST_LIMIT).rev().find(|end| first.is_char_boundary(*end));
            self.left_out.first = first[..end.unwrap_or_default()].to_owned();
        }
        self.left_out.malformed += lines;
        Ok(())
    }

    /// About so many rows are still to come: room for them is made at once, since memory that grows by doubling takes
    /// up to three times as much.
    pub fn expect(&mut self, rows: u64) {
        let width: usize = self.features.iter().map(Column::width).sum();
        let values = (rows + rows / 32).saturating_mul(width as u64);
        // What is larger goes to disk before it needs more.
        let most = self.room.as_ref().map_or(MOST_EXPECTED, |room| room.rows() / 4);
        let most = most.min(MOST_EXPECTED).saturating_sub(self.values.len() as u64);
        let values = usize::try_from(values.min(most)).unwrap_or(usize::MAX);
        // What cannot be had at once may still be had bit by bit. Exactly as much would move the whole table for each of
        // many small files.
        if self.writer.is_none() {
            let _ = self.values.try_reserve(values);
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.target.len()
    }

    /// The table.
    pub fn finish(mut self) -> Result<Table, TrainError> {
        let stored = match self.writer.take() {
            None => None,
            Some(mut writer) => {
                writer.add(&self.values)?;
                self.values = Vec::new();
                Some(writer.finish()?)
            }
        };
        Ok(self.table(stored)?)
    }

    fn table(self, stored: Option<Stored>) -> Result<Table, TableError> {
        if self.target.is_empty() {
            return Err(match self.left_out.is_none() {
                true => TableError::HeaderOnly,
                false => TableError::NothingLeft {
                    malformed: self.left_out.malformed,
                    missing: self.left_out.missing,
                    first: self.left_out.first,
                },
            });
        }
        if let Some(empty) = self.features.iter().find(|column| column.is_empty()) {
            return Err(TableError::EmptyColumn(empty.name.clone()));
        }
        let mut values = self.values;
        let width: usize = self.features.iter().map(Column::width).sum();
        let mut features = Vec::with_capacity(self.features.len());
        let (mut place, mut moved) = (0, Vec::new());
        for mut column in self.features {
            let name = column.name.clone();
            let own = column.width();
            let texts = column.texts();
            if texts.as_ref().is_some_and(|texts| texts.words.is_empty()) {
                return Err(TableError::NoWords(name));
            }
            let words = column.words().map(|(words, to)| {
                for value in values
                    .iter_mut()
                    .skip(place)
                    .step_by(width)
                    .filter(|value| !value.is_nan())
                {
                    *value = to[*value as usize] as f32;
                }
                if stored.is_some() {
                    moved.push((place, to));
                }
                words
            });
            features.push(super::Feature { name, words, texts });
            place += own;
        }
        Ok(Table {
            features,
            values,
            stored: stored.map(|rows| OnDisk { rows, moved }),
            target: self.target,
            left_out: self.left_out,
        })
    }

    /// An error about a header, with the file where there are several.
    fn of_file(&self, error: TableError) -> TableError {
        match (&self.file.path, error) {
            (
                Some(path),
                TableError::MissingColumn {
                    field,
                    name,
                    suggestion,
                },
            ) if !self.features.is_empty() => TableError::MissingColumn {
                field,
                name,
                suggestion: format!("; {path} differs from the files before it{suggestion}"),
            },
            (_, error) => error,
        }
    }
}

/// What is wrong with a row, and that it counts as more than one where it does.
fn counted(error: &TableError, lines: u64) -> String {
    match lines {
        1 => error.to_string(),
        lines => format!("{error} (it has {lines} lines, and each counts as a row)"),
    }
}

/// Most values that room is made for before they are there.
const MOST_EXPECTED: u64 = 1 << 30;
/// Bytes of a row besides its values and the text of its target: where that ends, what it stands for, and the row's place
/// in the split and in its part.
const BESIDE: u64 = 32;
/// Bytes of rows that are put on disk at once.
const PIECE: u64 = 1 << 20;

#[cfg(test)]
#[path = "builder_tests.rs"]
mod tests;
