//! What can be wrong with a table.

use thiserror::Error;

use super::NotANumber;

/// What is wrong with a table. Lines are counted from 1 as an editor does; the header is usually line 1.
#[derive(Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TableError {
    /// No bytes, or blank lines only.
    #[error("the table is empty: it needs a header row and rows below it")]
    Empty,
    /// A header and nothing else.
    #[error("the table has a header but no rows")]
    HeaderOnly,
    /// Bytes that are not text.
    #[error("line {line}: the text is not UTF-8; save the table as UTF-8")]
    NotUtf8 {
        /// The line.
        line: u64,
    },
    /// The reader gave up.
    #[error("the table cannot be read: {0}")]
    Malformed(String),
    /// A row with more or fewer cells than the header.
    #[error("line {line}: the row has {found} cells, but the header has {expected} columns{hint}")]
    Ragged {
        /// The line.
        line: u64,
        /// Cells.
        found: usize,
        /// Columns.
        expected: usize,
        /// What may be the reason.
        hint: &'static str,
    },
    /// A label that no one means.
    #[error(
        "line {line}, column {column:?}: the cell runs over several lines; is a quotation mark left open?"
    )]
    OpenQuote {
        /// The line that it begins on.
        line: u64,
        /// The column.
        column: String,
    },
    /// Two columns of one name.
    #[error("the header has the column {0:?} twice: rename one, so that it is clear which is meant")]
    DuplicateColumn(String),
    /// A column without a name.
    #[error(
        "column {position} has no name in the header: name it, or list the columns to learn from in \
         dataset.features"
    )]
    UnnamedColumn {
        /// Counted from 1.
        position: usize,
    },
    /// A column that is named but not there.
    #[error("the table has no column {name:?}{suggestion}")]
    MissingColumn {
        /// The field that names it.
        field: &'static str,
        /// The name.
        name: String,
        /// Columns that may be meant.
        suggestion: String,
    },
    /// The target is the only column.
    #[error("the table has no column but the target {0:?}: there is nothing to learn from")]
    NoFeatures(String),
    /// A cell of a feature that is not a number.
    #[error(
        "line {line}, column {column:?}: {problem}; mend the cell, or leave the column out of dataset.features"
    )]
    Feature {
        /// The line.
        line: u64,
        /// The column.
        column: String,
        /// What the cell holds.
        problem: NotANumber,
    },
    /// A cell of the target that cannot be used.
    #[error("line {line}, column {column:?}: {problem}; {remedy}")]
    Target {
        /// The line.
        line: u64,
        /// The column.
        column: String,
        /// What the cell holds.
        problem: NotANumber,
        /// What to do.
        remedy: &'static str,
    },
}

impl TableError {
    /// The field of the spec to change.
    pub fn field(&self) -> &'static str {
        match self {
            TableError::MissingColumn { field, .. } => field,
            TableError::UnnamedColumn { .. } | TableError::Feature { .. } => "dataset.features",
            TableError::NoFeatures(_) | TableError::Target { .. } => "dataset.target",
            _ => "dataset.uri",
        }
    }
}
