//! A list of rows, each a list of values or an object keyed by column.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::number::kind;
use super::quoted;
use super::room::Room;
use super::table::{Columns, INPUT, Table};
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
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = Table;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} as a list of rows", self.name)
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

impl Row<'_> {
    fn refuse<E: Error>(&self, found: &Unexpected<'_>) -> E {
        E::custom(format_args!(
            "{}[{}] is {}; a row is a list of {} numbers or an object with the columns {}",
            self.name,
            self.row,
            kind(found),
            self.columns.len(),
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
        self.room.take(self.columns.len())?;
        let expected = self.columns.len();
        for column in 0..expected {
            let cell = Cell {
                name: self.name,
                row: self.row,
                column: self.columns.name(column),
            };
            let value = Value {
                place: cell,
                feature: self.columns.feature(column),
            };
            let Some(value) = list.next_element_seed(value)? else {
                return Err(A::Error::custom(format_args!(
                    "{}[{}] has {column} values, but the model takes {expected}: {}",
                    self.name,
                    self.row,
                    self.columns.list()
                )));
            };
            self.values.push(value);
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
        self.room.take(self.columns.len())?;
        // No number of a request is infinite, so it marks what has not come.
        self.values.resize(start + self.columns.len(), ABSENT);
        let (name, row, columns) = (self.name, self.row, self.columns);
        while let Some(key) = object.next_key_seed(Key { name, row, columns })? {
            let Some(place) = key else {
                // The whole row under the name that the model's metadata gives.
                self.values.truncate(start);
                self.room.give_back(self.columns.len());
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
            if self.values[start + place] != ABSENT {
                let column = quoted(column);
                return Err(A::Error::custom(format_args!(
                    "{name}[{row}] has the column {column} twice"
                )));
            }
            let value = Value {
                place: Cell { name, row, column },
                feature: columns.feature(place),
            };
            self.values[start + place] = object.next_value_seed(value)?;
        }
        let mut needed = None;
        for (column, value) in self.values[start..].iter_mut().enumerate() {
            if *value == ABSENT && columns.feature(column).missing.is_some() {
                *value = f32::NAN;
            } else if *value == ABSENT {
                needed = needed.or(Some(column));
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
        Err(self.refuse(&Unexpected::Str(value)))
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
mod tests {
    use super::*;
    use crate::parse::parse;

    fn rows(json: &str) -> Result<Table, String> {
        let columns = Columns::of_numbers(vec!["age".into(), "size".into()]);
        let room = Room::default();
        let seed = Rows {
            name: "instances",
            columns: &columns,
            room: &room,
        };
        parse(json.as_bytes(), &room, seed).map_err(|refusal| refusal.sentence)
    }

    #[test]
    fn one_row_more_than_there_is_room_for_is_too_large_and_no_mistake() {
        let columns = Columns::of_numbers(vec!["age".into(), "size".into()]);
        for (row, status) in [
            ("[1, 2]", 413),
            (r#"{"age": 1, "size": 2}"#, 413),
            (r#"{"input": [1, 2]}"#, 413),
            ("[1]", 400),
        ] {
            let room = Room::of(5);
            let seed = Rows {
                name: "instances",
                columns: &columns,
                room: &room,
            };
            let body = format!("[{row}, {row}, {row}]");
            let refusal = parse(body.as_bytes(), &room, seed).unwrap_err();
            assert_eq!(refusal.status.as_u16(), status, "{row}: {}", refusal.sentence);
        }
        let room = Room::of(4);
        let seed = Rows {
            name: "instances",
            columns: &columns,
            room: &room,
        };
        let body = br#"[{"input": [1, 2]}, [3, 4]]"#;
        assert_eq!(parse(body, &room, seed).unwrap().rows, 2);
    }

    #[test]
    fn lists_and_objects_give_the_same_rows() {
        let table = Table {
            values: vec![1.0, 2.5, -3.0, 4.0],
            rows: 2,
        };
        for json in [
            "[[1, 2.5], [-3, 4e0]]",
            r#"[{"age": 1, "size": 2.5}, {"size": 4, "age": -3}]"#,
            r#"[{"input": [1, 2.5]}, [-3, 4]]"#,
        ] {
            assert_eq!(rows(json).unwrap(), table, "{json}");
        }
        assert_eq!(rows("[]").unwrap().rows, 0);
    }

    #[test]
    fn words_and_missing_values_are_taken_as_their_columns_say() {
        use sconce_contract::{Encoding, Feature, UnknownWords, Vocabulary};

        let words = |name: &str, words: &[&str], unknown| Feature {
            vocabulary: Some(Vocabulary {
                words: words.iter().map(ToString::to_string).collect(),
                encoding: Encoding::OneHot,
                unknown,
            }),
            ..Feature::number(name, 0.0, 1.0)
        };
        let filled = Feature {
            missing: Some(7.0),
            ..Feature::number("size", 0.0, 1.0)
        };
        let columns = Columns::new(vec![
            words("colour", &["blue", "red"], UnknownWords::Refuse),
            words("code", &["007", "12", "true"], UnknownWords::Ignore),
            filled,
        ]);
        let read = |json: &str| {
            let room = Room::default();
            let seed = Rows {
                name: "instances",
                columns: &columns,
                room: &room,
            };
            parse(json.as_bytes(), &room, seed).map_err(|refusal| refusal.sentence)
        };
        let table = read(
            r#"[["red", "007", 1], {"code": 12, "colour": "blue"}, ["red", "13", null], ["red", true, 2]]"#,
        );
        let values = table.unwrap().values;
        assert_eq!(values[..5], [1.0, 0.0, 1.0, 0.0, 1.0]);
        assert!(values[5].is_nan() && values[8].is_nan(), "{values:?}");
        assert_eq!(values[6..8], [1.0, -1.0]);
        assert_eq!(values[9..], [1.0, 2.0, 2.0]);
        for (json, says) in [
            (
                r#"[["pink", "12", 1]]"#,
                r#"instances[0], column "colour", is "pink", a word that the model did not learn; it knows "blue", "red""#,
            ),
            (r#"[[null, "12", 1]]"#, r#"column "colour", is null, not a word"#),
            (r#"[{"code": "12"}]"#, r#"lacks the column "colour""#),
            (
                r#"[["red", "12", "x"]]"#,
                r#"column "size", is the text "x", not a number"#,
            ),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(says), "{json}: {error}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (json, says) in [
            (
                "[[1, 2], [1]]",
                "instances[1] has 1 values, but the model takes 2: \"age\", \"size\"",
            ),
            (
                "[[1, 2, 3, 4]]",
                "instances[0] has 4 values, but the model takes 2",
            ),
            (
                "[[1, null]]",
                "instances[0], column \"size\", is null, not a number",
            ),
            (
                "[[1, \"2\"]]",
                "instances[0], column \"size\", is the text \"2\", not a number",
            ),
            ("[[[1], 2]]", "instances[0], column \"age\", is a list"),
            ("[[true, 2]]", "column \"age\", is true"),
            ("[[1, {}]]", "column \"size\", is an object"),
            (
                "[[1, 1e39]]",
                "column \"size\", is 1e39, which is beyond the range of FP32",
            ),
            ("[[1, 1e999]]", "the body is not valid JSON: number out of range"),
            (
                "[[1, NaN]]",
                "the body is not valid JSON: expected value at line 1 column 6",
            ),
            (
                "[1, 2]",
                "instances[0] is a number; a row is a list of 2 numbers or an object",
            ),
            ("[null]", "instances[0] is null"),
            ("[\"a\"]", "instances[0] is text"),
            ("[true]", "instances[0] is a boolean"),
            ("{}", "\"instances\" as a list of rows"),
            (r#"[{"age": 1}]"#, "instances[0] lacks the column \"size\""),
            (
                r#"[{"age": 1, "size": 2, "more": 3}]"#,
                "a column \"more\" that the model does not know",
            ),
            (r#"[{"age": 1, "age": 2}]"#, "has the column \"age\" twice"),
            (
                r#"[{"age": null, "size": 2}]"#,
                "instances[0], column \"age\", is null",
            ),
            (r#"[{"input": [1]}]"#, "instances[0] has 1 values"),
            (r#"[{"input": {"input": [1, 2]}}]"#, "instances[0] is an object"),
            (r#"[{"input": [1, 2], "age": 1}]"#, "has more beside \"input\""),
            ("[[1, 2]", "EOF"),
            ("[[1, 2]] x", "trailing characters"),
        ] {
            let error = rows(json).unwrap_err();
            assert!(error.contains(says), "{json}: {error}");
        }
        let deep = format!("[[1, {}", "[".repeat(100_000));
        assert!(rows(&deep).is_err());
        let deep = format!("[[1, 2, {}", "[".repeat(100_000));
        assert!(rows(&deep).is_err());
    }

    #[test]
    fn a_long_name_is_cut() {
        let error = rows(&format!(r#"[{{"{}": 1}}]"#, "é".repeat(100_000))).unwrap_err();
        assert!(error.len() < 500, "{}", error.len());
    }
}
