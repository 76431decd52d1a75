//! One value of a table, as a format gives it.

use std::borrow::Cow;

use super::{NotANumber, shortened};

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// None: an empty cell, null, or a column that the row does not have.
    Missing,
    /// As it stands; a format without types gives numbers so too.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Yes or no: a word.
    Flag(bool),
}

impl<'a> Cell<'a> {
    /// Of a format without types: blanks around a cell do not count, and nothing is no value.
    pub fn of_text(text: &'a str) -> Self {
        match text.trim() {
            "" => Cell::Missing,
            text => Cell::Text(text),
        }
    }

    /// As a number; nothing where it is missing.
    pub fn number(self) -> Result<Option<f32>, NotANumber> {
        match self {
            Cell::Missing => Ok(None),
            Cell::Text(text) => super::number(text).map(Some),
            Cell::Integer(value) => Ok(Some(value as f32)),
            Cell::Float(value) if (value as f32).is_finite() => Ok(Some(value as f32)),
            Cell::Float(value) => Err(NotANumber::NotFinite(value.to_string())),
            Cell::Flag(value) => Err(NotANumber::Text(value.to_string())),
        }
    }

    /// As a word; nothing where it is missing.
    pub fn word(self) -> Option<Cow<'a, str>> {
        match self {
            Cell::Missing => None,
            Cell::Text(text) => Some(text.into()),
            Cell::Integer(value) => Some(value.to_string().into()),
            Cell::Float(value) => Some(value.to_string().into()),
            Cell::Flag(value) => Some(value.to_string().into()),
        }
    }

    /// For a sentence.
    pub fn shown(self) -> String {
        shortened(&self.word().unwrap_or_default())
    }
}
