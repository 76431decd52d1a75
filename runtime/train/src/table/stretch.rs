//! Rows in the middle of a file, which one thread reads beside others that read what comes before and after.
//!
//! By then the rows before have said what each column holds. What is new to the table as a whole, or at fault, is left
//! for whoever puts the stretches together in the order of the file: what that makes of it does not depend on threads.

use std::ops::Range;
use std::sync::Arc;

use super::column::{Column, Value};
use super::rules::Rules;
use super::{Cell, Cells};

/// What such a thread knows of the table.
#[derive(Clone, Debug)]
pub(super) struct Fork<'a> {
    pub(super) rules: Arc<Rules<'a>>,
    /// The features, without words.
    pub(super) features: Vec<Column>,
}

impl<'a> Fork<'a> {
    /// Whether what a column holds is not known.
    pub(super) fn is_open(&self) -> bool {
        self.features.iter().any(Column::is_open)
    }

    /// No rows yet.
    pub(super) fn stretch(&self) -> Stretch<'a> {
        Stretch {
            width: self.features.iter().map(Column::width).sum(),
            rules: self.rules.clone(),
            features: self.features.clone(),
            row: Vec::new(),
            values: Vec::new(),
            target: Cells::default(),
            dropped: 0,
            left: Vec::new(),
        }
    }
}

/// Some rows.
#[derive(Debug)]
pub(super) struct Stretch<'a> {
    pub(super) rules: Arc<Rules<'a>>,
    /// The features with the words of these rows, by whose places the values go.
    pub(super) features: Vec<Column>,
    /// Values of a row.
    pub(super) width: usize,
    row: Vec<Value>,
    pub(super) values: Vec<f32>,
    pub(super) target: Cells,
    /// Rows that are not among them since they lack a value.
    pub(super) dropped: u64,
    pub(super) left: Vec<Left>,
}

/// A row that the table itself has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Rows of the stretch before it.
    pub(super) before: usize,
    /// Where the bytes are that it was read from.
    pub(super) bytes: Range<usize>,
    /// Its number.
    pub(super) number: u64,
}

impl Stretch<'_> {
    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.target.len()
    }

    /// A row, whose cells are asked for by their place in the header; false where the table itself has to look at it.
    #[must_use]
    pub(super) fn row<'c>(&mut self, number: u64, cell: impl Fn(usize) -> Cell<'c>) -> bool {
        let place = self.rules.place(number);
        let mut row = std::mem::take(&mut self.row);
        let checked = self.rules.check(&self.features, &place, cell, &mut row);
        let news = |(column, value): (&Column, &Value)| column.is_open() && *value != Value::Missing;
        let taken = match checked {
            Err(_) => false,
            Ok(_) if self.features.iter().zip(&row).any(news) => false,
            Ok(None) => {
                self.dropped += 1;
                true
            }
            Ok(Some(target)) => {
                for (column, value) in self.features.iter_mut().zip(row.drain(..)) {
                    column.take(value, &place, &mut self.values);
                }
                self.target.push(&target, &place);
                true
            }
        };
        self.row = row;
        taken
    }

    /// The row of these bytes is left for the table.
    pub(super) fn leave(&mut self, bytes: Range<usize>, number: u64) {
        self.left.push(Left {
            before: self.rows(),
            bytes,
            number,
        });
    }
}
