//! What a row of a file has to hold: the columns that the file has, and the policies of the spec.

use std::sync::Arc;

use sconce_contract::{Dataset, Missing};

use super::column::{Column, Value};
use super::columns::Columns;
use super::{Cell, File, NotANumber, Place, TableError, Unit};

/// Of the rows of one file.
#[derive(Clone, Debug)]
pub(super) struct Rules<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) file: File,
    /// What the file's path says of each of its rows.
    pub(super) partitions: Vec<(String, String)>,
    pub(super) columns: Arc<Columns>,
}

impl Rules<'_> {
    /// Where a row of the file stands.
    pub(super) fn place(&self, number: u64) -> Place {
        Place {
            file: self.file.clone(),
            number,
        }
    }

    /// Most different words of a column.
    pub(super) fn most_words(&self) -> usize {
        let categorical = self.dataset.categorical.as_ref();
        categorical.map_or(DEFAULT_WORDS, |categorical| categorical.max_words as usize)
    }

    /// Checks a row and puts its values in the place of those of the row before; nothing where it is to be dropped, else
    /// the cell of its target.
    pub(super) fn check<'c>(
        &self,
        features: &[Column],
        place: &Place,
        cell: impl Fn(usize) -> Cell<'c>,
        row: &mut Vec<Value>,
    ) -> Result<Option<String>, TableError> {
        let own = self.columns.count - self.partitions.len();
        let partitions = &self.partitions;
        let cell = |position: usize| match position.checked_sub(own) {
            None => cell(position),
            Some(partition) => Cell::of_text(&partitions[partition].1),
        };
        let most_words = self.most_words();
        let drop = self.dataset.missing == Missing::Drop;
        row.clear();
        for (column, (_, position)) in features.iter().zip(&self.columns.features) {
            let value = column.check(cell(*position), place, most_words)?;
            match (value, self.dataset.missing) {
                (Value::Missing, Missing::Refuse) => return Err(self.missing(column, place)),
                (Value::Missing, Missing::Drop) => return Ok(None),
                (value, _) => row.push(value),
            }
        }
        match cell(self.columns.target).word() {
            Some(target) if target.contains('\n') && self.file.unit == Unit::Line => {
                Err(TableError::OpenQuote {
                    place: place.clone(),
                    column: self.dataset.target.clone(),
                })
            }
            Some(target) => Ok(Some(target.into_owned())),
            None if drop => Ok(None),
            None => Err(TableError::Target {
                place: place.clone(),
                column: self.dataset.target.clone(),
                problem: NotANumber::Empty,
                remedy: "fill in the cell, delete the row, or set dataset.missing to Drop",
            }),
        }
    }

    fn missing(&self, column: &Column, place: &Place) -> TableError {
        let (place, column, problem) = (place.clone(), column.name.clone(), NotANumber::Empty);
        match self.dataset.text {
            Some(_) => TableError::Text {
                place,
                column,
                problem,
                remedy: EMPTY_TEXT,
            },
            None => TableError::Feature {
                place,
                column,
                problem,
                remedy: EMPTY.into(),
            },
        }
    }
}

const EMPTY_TEXT: &str = "fill it in, or set dataset.missing to Drop to leave the row out, or to Mean to take it as a text \
                          without words";
const EMPTY: &str = "fill it in, set dataset.missing to Mean, Median or Drop, or leave the column out of \
                     dataset.features";
/// Most words of a column where the spec says nothing, see [`sconce_contract::Categorical`].
const DEFAULT_WORDS: usize = 100;
