//! A list of rows, each a list of values or an object keyed by column.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::field::no_text;
use super::number::kind;
use super::quoted;
use super::room::Room;
use super::table::{Columns, INPUT, Table};
use super::text::Text;
use super::value::Value;

/// A value that has not come.
const ABSENT: f32 = f32::INFINITY;

/// Parses rows. An empty list gives an empty table.
pub struct Rows<'a> {
    /// What the list is called in the request.
    pub name: &'static str,
    /// The model's columns.
    pub columns: &'a Columns,
    /// What is left for the values of the request.
    pub room: &'a Room,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = Table;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Table, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = Table;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} as a list of rows", self.name)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(no_text(&self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Table, A::Error> {
        let mut values = Vec::new();
        let mut rows = 0;
        while list
            .next_element_seed(Row {
                name: self.name,
                columns: self.columns,
                room: self.room,
                row: rows,
                values: &mut values,
                named: true,
            })?
            .is_some()
        {
            rows += 1;
        }
        Ok(Table { values, rows })
    }
}

/// One row, appended to the values.
struct Row<'a> {
    name: &'static str,
    columns: &'a Columns,
    room: &'a Room,
    row: usize,
    values: &'a mut Vec<f32>,
    /// Whether the row may be an object.
    named: bool,
}

/// A value of a row, for messages.
struct Cell<'a> {
    name: &'static str,
    row: usize,
    column: &'a str,
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}], column {},", self.name, self.row, quoted(self.column))
    }
}

/// One value, which fills the raw values of its column.
struct Slot<'a> {
    place: Cell<'a>,
    columns: &'a Columns,
    column: usize,
    values: &'a mut [f32],
}

impl<'de> DeserializeSeed<'de> for Slot<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let feature = self.columns.feature(self.column);
        if let Some(lookup) = self.columns.lookup(self.column) {
            let text = Text {
                place: self.place,
                lookup,
                may_be_missing: feature.missing.is_some(),
                values: self.values,
            };
            return text.deserialize(deserializer);
        }
        let value = Value {
            place: self.place,
            feature,
        };
        self.values.fill(value.deserialize(deserializer)?);
        Ok(())
    }
}

impl Row<'_> {
    /// The one text that a row is.
    fn text<E: Error>(self, text: &str) -> Result<(), E> {
        let Some(lookup) = self.columns.only_text() else {
            return Err(self.refuse(&Unexpected::Str(text)));
        };
        self.room.take(self.columns.width())?;
        let start = self.values.len();
        self.values.resize(start + self.columns.width(), ABSENT);
        lookup.encode(text, &mut self.values[start..]);
        Ok(())
    }

    fn refuse<E: Error>(&self, found: &Unexpected<'_>) -> E {
        E::custom(format_args!(
            "{}[{}] is {}; a row is {}a list of {} {} or an object with the columns {}",
            self.name,
            self.row,
            kind(found),
            if self.columns.only_text().is_some() {
                "a text, "
            } else {
                ""
            },
            self.columns.len(),
            if self.columns.have_words() {
                "value(s)"
            } else {
                "numbers"
            },
            self.columns.list()
        ))
    }
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] as a list of numbers or an object", self.name, self.row)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.room.take(self.columns.width())?;
        let expected = self.columns.len();
        let start = self.values.len();
        self.values.resize(start + self.columns.width(), ABSENT);
        for column in 0..expected {
            let place = Cell {
                name: self.name,
                row: self.row,
                column: self.columns.name(column),
            };
            let slot = Slot {
                place,
                columns: self.columns,
                column,
                values: &mut self.values[start..][self.columns.slot(column)],
            };
            let Some(()) = list.next_element_seed(slot)? else {
                return Err(A::Error::custom(format_args!(
                    "{}[{}] has {column} values, but the model takes {expected}: {}",
                    self.name,
                    self.row,
                    self.columns.list()
                )));
            };
        }
        let mut more = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            more += 1;
        }
        if more > 0 {
            return Err(A::Error::custom(format_args!(
                "{}[{}] has {} values, but the model takes {expected}: {}",
                self.name,
                self.row,
                expected + more,
                self.columns.list()
            )));
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        if !self.named {
            return Err(self.refuse(&Unexpected::Map));
        }
        let start = self.values.len();
        self.room.take(self.columns.width())?;
        // No number of a request is infinite, so it marks what has not come.
        self.values.resize(start + self.columns.width(), ABSENT);
        let (name, row, columns) = (self.name, self.row, self.columns);
        while let Some(key) = object.next_key_seed(Key { name, row, columns })? {
            let Some(place) = key else {
                // The whole row under the name that the model's metadata gives.
                self.values.truncate(start);
                self.room.give_back(self.columns.width());
                let list = Row {
                    name,
                    columns,
                    room: self.room,
                    row,
                    values: &mut *self.values,
                    named: false,
                };
                object.next_value_seed(list)?;
                if object.next_key::<IgnoredAny>()?.is_some() {
                    return Err(A::Error::custom(format_args!(
                        "{name}[{row}] has more beside {INPUT:?}"
                    )));
                }
                return Ok(());
            };
            let column = columns.name(place);
            let values = &mut self.values[start..][columns.slot(place)];
            if values[0] != ABSENT {
                let column = quoted(column);
                return Err(A::Error::custom(format_args!(
                    "{name}[{row}] has the column {column} twice"
                )));
            }
            let slot = Slot {
                place: Cell { name, row, column },
                columns,
                column: place,
                values,
            };
            object.next_value_seed(slot)?;
        }
        let mut needed = None;
        for column in 0..columns.len() {
            let values = &mut self.values[start..][columns.slot(column)];
            if values[0] != ABSENT {
                continue;
            }
            match columns.feature(column).missing {
                Some(_) => values.fill(f32::NAN),
                None => needed = needed.or(Some(column)),
            }
        }
        match needed {
            None => Ok(()),
            Some(missing) => Err(A::Error::custom(format_args!(
                "{name}[{row}] lacks the column {}; a row has {}",
                quoted(columns.name(missing)),
                columns.list()
            ))),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        Err(self.refuse(&Unexpected::Float(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        Err(self.refuse(&Unexpected::Signed(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        Err(self.refuse(&Unexpected::Unsigned(value)))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        Err(self.refuse(&Unexpected::Bool(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.text(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(self.refuse(&Unexpected::Unit))
    }
}

/// A key of a row: the place of a column, or nothing for the whole row.
struct Key<'a> {
    name: &'static str,
    row: usize,
    columns: &'a Columns,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        match self.columns.index(key) {
            None if key == INPUT => Ok(None),
            None => Err(E::custom(format_args!(
                "{}[{}] has a column {} that the model does not know; a row has {}",
                self.name,
                self.row,
                quoted(key),
                self.columns.list()
            ))),
            place => Ok(place),
        }
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
