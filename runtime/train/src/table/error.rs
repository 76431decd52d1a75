//! What can be wrong with a table.

use thiserror::Error;

use super::{NotANumber, Place};

/// What is wrong with a table, and where.
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
    #[error("{place}: the text is not UTF-8; save the table as UTF-8")]
    NotUtf8 {
        /// Where.
        place: Place,
    },
    /// The reader gave up.
    #[error("the table cannot be read: {0}")]
    Malformed(String),
    /// A file that would have to be in memory as a whole.
    #[error("a file of more than {gibibytes} GiB cannot be read whole: write the table in several files")]
    TooLarge {
        /// Largest file in GiB.
        gibibytes: u64,
    },
    /// A row that does not end.
    #[error("a row is longer than {mebibytes} MiB; is a quotation mark left open?")]
    LongRow {
        /// Longest row in MiB.
        mebibytes: usize,
    },
    /// A file that ends within quotation marks.
    #[error(
        "{place}: nothing up to the end of the file closes the quotation mark that a cell begins with; close it, or delete \
         it where none was meant (one within a text is written twice)"
    )]
    OpenEnd {
        /// Where the quotation mark is.
        place: Place,
    },
    /// More cells than a row may have.
    #[error(
        "{place}: the row has more than {limit} cells, the most of a table as CSV; does each row have a line of its own?"
    )]
    TooManyCells {
        /// Where.
        place: Place,
        /// Most cells.
        limit: usize,
    },
    /// A row with more or fewer cells than the header.
    #[error("{place}: the row has {found} cells, but the header has {expected} columns{hint}")]
    Ragged {
        /// Where.
        place: Place,
        /// Cells.
        found: usize,
        /// Columns.
        expected: usize,
        /// What may be the reason.
        hint: &'static str,
    },
    /// A label that no one means.
    #[error("{place}, column {column:?}: the cell runs over several lines; is a quotation mark left open?")]
    OpenQuote {
        /// Where it begins.
        place: Place,
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
    #[error("{place}, column {column:?}: {problem}; {remedy}")]
    Feature {
        /// Where.
        place: Place,
        /// The column.
        column: String,
        /// What the cell holds.
        problem: NotANumber,
        /// What to do.
        remedy: String,
    },
    /// A cell that is no text.
    #[error("{place}, column {column:?}: {problem}; {remedy}")]
    Text {
        /// Where.
        place: Place,
        /// The column.
        column: String,
        /// What the cell holds.
        problem: NotANumber,
        /// What to do.
        remedy: &'static str,
    },
    /// A line that is no JSON object.
    #[error("{place}: the line is not a JSON object ({problem}); mend it, or delete it")]
    NotJson {
        /// Where.
        place: Place,
        /// What is wrong.
        problem: String,
    },
    /// A file that is not of its format.
    #[error(
        "{place} is not {format} that can be read ({problem}); write it again, or correct dataset.format"
    )]
    NotThatFormat {
        /// Where.
        place: Place,
        /// The format.
        format: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A column of a type that is no number and no text.
    #[error(
        "{place}, column {column:?}: it holds {kind}; write it as numbers or text (in Spark: cast), or leave the column out \
         of dataset.features"
    )]
    NotReadable {
        /// Where.
        place: Place,
        /// The column.
        column: String,
        /// What it holds.
        kind: &'static str,
    },
    /// A text of a typed format that is none.
    #[error(
        "{place}, column {column:?}: the text is not UTF-8; write the column as text in UTF-8, or leave it out of \
         dataset.features"
    )]
    CellNotUtf8 {
        /// Where.
        place: Place,
        /// The column.
        column: String,
    },
    /// Pictures without a size.
    #[error(
        "pictures need a size: set dataset.format to Images and dataset.images to their height, width and channels"
    )]
    NoImages,
    /// Texts of which nothing is said.
    #[error("texts need dataset.text: set it, with how many words of each count (length)")]
    NoText,
    /// Texts without any word.
    #[error(
        "no text of the column {0:?} holds a word (letters or digits): name another one in dataset.text.column"
    )]
    NoWords(String),
    /// More words than can be told apart.
    #[error(
        "the texts of the column {column:?} hold more than {limit} different words: lower dataset.text.length, or bring \
         fewer rows"
    )]
    TooManyTextWords {
        /// The column.
        column: String,
        /// Most words.
        limit: usize,
    },
    /// A picture or text that is in no folder of a class.
    #[error(
        "{place} lies in no folder within dataset.uri: put the files of each class into a folder named after it"
    )]
    NoClass {
        /// Where.
        place: Place,
    },
    /// A list or an object where a value should be.
    #[error(
        "{place}, column {column:?}: the value is a list or an object; write a number or a text, or leave the column out \
         of dataset.features"
    )]
    NotAValue {
        /// Where.
        place: Place,
        /// The column.
        column: String,
    },
    /// A column of texts or keys.
    #[error(
        "the column {column:?} holds more than {limit} different words: leave it out of dataset.features where it is a \
         text or a key, or raise dataset.categorical.maxWords"
    )]
    TooManyWords {
        /// The column.
        column: String,
        /// Most words.
        limit: usize,
    },
    /// A column without any value.
    #[error("the column {0:?} has no value in any row: leave it out of dataset.features")]
    EmptyColumn(String),
    /// More rows that cannot be read than are allowed.
    #[error("more than {allowed} rows cannot be read: {}", first_and_next(.first, .next))]
    TooManyMalformed {
        /// How many are allowed.
        allowed: u64,
        /// What is wrong with the first; nothing where the one too many is it.
        first: String,
        /// What is wrong with the one too many.
        next: String,
    },
    /// Every row was left out.
    #[error("no row is left: {malformed} cannot be read and {missing} lack a value{}", first_of(.first))]
    NothingLeft {
        /// Rows that cannot be read.
        malformed: u64,
        /// Rows that lack a value.
        missing: u64,
        /// What is wrong with the first of the former.
        first: String,
    },
    /// A cell of the target that cannot be used.
    #[error("{place}, column {column:?}: {problem}; {remedy}")]
    Target {
        /// Where.
        place: Place,
        /// The column.
        column: String,
        /// What the cell holds.
        problem: NotANumber,
        /// What to do.
        remedy: &'static str,
    },
}

fn first_and_next(first: &str, next: &str) -> String {
    if first.is_empty() {
        next.to_owned()
    } else {
        format!("first {first}; then {next}")
    }
}

fn first_of(first: &str) -> String {
    if first.is_empty() {
        String::new()
    } else {
        format!("; first {first}")
    }
}

impl TableError {
    /// The field of the spec to change.
    pub fn field(&self) -> &'static str {
        match self {
            TableError::MissingColumn { field, .. } => field,
            TableError::UnnamedColumn { .. }
            | TableError::Feature { .. }
            | TableError::NotAValue { .. }
            | TableError::NotReadable { .. }
            | TableError::TooManyWords { .. }
            | TableError::EmptyColumn(_) => "dataset.features",
            TableError::NoImages => "dataset.images",
            TableError::NoText => "dataset.text",
            TableError::NoWords(_) | TableError::Text { .. } => "dataset.text.column",
            TableError::TooManyTextWords { .. } => "dataset.text.length",
            TableError::TooManyMalformed { .. } => "dataset.malformedRows.skipUpTo",
            TableError::NoFeatures(_) | TableError::Target { .. } => "dataset.target",
            _ => "dataset.uri",
        }
    }
}
