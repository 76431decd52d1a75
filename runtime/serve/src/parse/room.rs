//! How many values a request may hold, over all its lists together.

use std::cell::Cell;

use serde::de::Error;

use super::table::{MAX_VALUES, too_many};

/// What is left for the values of one request.
#[derive(Debug)]
pub struct Room {
    left: Cell<usize>,
    exceeded: Cell<bool>,
}

impl Default for Room {
    fn default() -> Self {
        Room::of(MAX_VALUES)
    }
}

impl Room {
    /// Room for so many values.
    pub fn of(values: usize) -> Self {
        Room {
            left: Cell::new(values),
            exceeded: Cell::new(false),
        }
    }

    /// Takes room for so many values; an error where there is none, which is remembered because a parser's error is
    /// but text.
    pub fn take<E: Error>(&self, values: usize) -> Result<(), E> {
        match self.left.get().checked_sub(values) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.exceeded.set(true);
                Err(E::custom(too_many().sentence))
            }
        }
    }

    /// Gives back what was taken for values that did not come.
    pub fn give_back(&self, values: usize) {
        self.left.set(self.left.get().saturating_add(values));
    }

    /// Whether more was asked for than there was.
    pub fn exceeded(&self) -> bool {
        self.exceeded.get()
    }
}
