//! Where a row stands, for sentences.

use std::fmt;
use std::sync::Arc;

/// How rows are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// By lines of text, from 1, as an editor does; the header is usually line 1.
    #[default]
    Line,
    /// By rows, from 1, without a header.
    Row,
    /// Not at all: the file is the row.
    File,
}

/// A file of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its path in the folder; nothing where the table is one file.
    pub path: Option<Arc<str>>,
    /// How its rows are counted.
    pub unit: Unit,
}

/// Where a row stands: `line 3`, or `part-00001.csv, line 3` in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: File,
    /// The line or row.
    pub number: u64,
}

impl Place {
    /// A line of a table of one file.
    #[cfg(test)]
    pub fn line(number: u64) -> Self {
        Place {
            file: File::default(),
            number,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_many = self.file.path.as_deref();
        let separator = if of_many.is_some() { ", " } else { "" };
        let path = of_many.unwrap_or_default();
        match self.file.unit {
            Unit::Line => write!(f, "{path}{separator}line {}", self.number),
            Unit::Row => write!(f, "{path}{separator}row {}", self.number),
            Unit::File => f.write_str(of_many.unwrap_or("the file")),
        }
    }
}
