//! Numbers or words in a flat or nested list, as tensors are written in JSON.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::de::{MapAccess, Unexpected};

use super::number::{Number, kind};
use super::room::Room;
use super::words::Words;

/// Deepest nesting that any of our inputs has, and one more for a clear message.
const DEPTH: usize = 3;

/// Numbers or words, row-major, and the shape in which they were nested.
#[derive(Debug, Default, PartialEq)]
pub struct Nested {
    /// The numbers; of words zeros.
    pub values: Vec<f32>,
    /// The words, where they are no numbers.
    pub words: Option<Words>,
    /// Length of each level, from the outermost.
    pub shape: Vec<usize>,
    /// Whether all were written as integers.
    pub whole: bool,
}

/// Parses numbers, whose place is taken from the room.
#[derive(Clone, Copy, Debug)]
pub struct NestedSeed<'a> {
    /// What is left for the values of the request.
    pub room: &'a Room,
}

impl<'de> DeserializeSeed<'de> for NestedSeed<'_> {
    type Value = Nested;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Nested, D::Error> {
        let mut read = Read {
            room: self.room,
            nested: Nested {
                whole: true,
                ..Nested::default()
            },
            leaves: None,
        };
        deserializer.deserialize_any(Level {
            depth: 0,
            read: &mut read,
        })?;
        Ok(read.nested)
    }
}

struct Read<'a> {
    room: &'a Room,
    nested: Nested,
    /// The depth of the numbers, once one was seen.
    leaves: Option<usize>,
}

struct Level<'a, 'b> {
    depth: usize,
    read: &'a mut Read<'b>,
}

/// Place of a number, for messages.
struct Position(usize);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "value {} of the data", self.0)
    }
}

impl Level<'_, '_> {
    fn leaf<E: Error>(self, (value, whole): (f32, bool)) -> Result<(), E> {
        if self.depth == 0 {
            return Err(E::custom("the data is a number; it must be a list"));
        }
        let read = self.read;
        if *read.leaves.get_or_insert(self.depth) != self.depth {
            return Err(E::custom("the data mixes numbers and lists in one list"));
        }
        if read.nested.words.is_some() {
            return Err(E::custom("the data mixes numbers and text"));
        }
        read.room.take(1)?;
        read.nested.values.push(value);
        read.nested.whole &= whole;
        Ok(())
    }

    fn word<E: Error>(self, word: &str) -> Result<(), E> {
        let nested = &mut self.read.nested;
        let words = match &mut nested.words {
            None if !nested.values.is_empty() => return Err(E::custom("the data mixes numbers and text")),
            words => words.take().unwrap_or_default(),
        };
        self.read.room.take(Words::COST)?;
        let read = &mut *self.read;
        Level {
            depth: self.depth,
            read,
        }
        .leaf((0.0, false))?;
        let mut words = words;
        words.push(word);
        self.read.nested.words = Some(words);
        Ok(())
    }

    fn refuse<T, E: Error>(&self, found: &Unexpected<'_>) -> Result<T, E> {
        let position = self.read.nested.values.len();
        Err(E::custom(format_args!(
            "value {position} of the data is {}, not a number",
            kind(found)
        )))
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data as a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Level { depth, read } = self;
        if depth >= DEPTH || read.leaves.is_some_and(|leaves| leaves <= depth) {
            return Err(A::Error::custom("the data is nested too deeply or unevenly"));
        }
        let mut length = 0;
        while list
            .next_element_seed(Level {
                depth: depth + 1,
                read,
            })?
            .is_some()
        {
            length += 1;
        }
        // Lists end from the innermost outwards, so the shape is filled from its end.
        let shape = &mut read.nested.shape;
        while shape.len() <= depth {
            shape.push(usize::MAX);
        }
        if shape[depth] == usize::MAX {
            shape[depth] = length;
        }
        if shape[depth] != length {
            return Err(A::Error::custom(format_args!(
                "the data has lists of different lengths, {} and {length}",
                shape[depth]
            )));
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let number = Number(Position(self.read.nested.values.len())).visit_f64(value)?;
        self.leaf(number)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.leaf((value as f32, true))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.leaf((value as f32, true))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.refuse(&Unexpected::Unit)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.refuse(&Unexpected::Bool(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.word(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.refuse(&Unexpected::Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(json: &str) -> serde_json::Result<Nested> {
        let seed = NestedSeed {
            room: &Room::default(),
        };
        seed.deserialize(&mut serde_json::Deserializer::from_str(json))
    }

    #[test]
    fn shapes_follow_the_nesting() {
        for (json, values, shape) in [
            ("[1, 2, 3, 4]", &[1.0, 2.0, 3.0, 4.0][..], &[4][..]),
            ("[[1, 2], [3, 4]]", &[1.0, 2.0, 3.0, 4.0], &[2, 2]),
            ("[[1], [2.5]]", &[1.0, 2.5], &[2, 1]),
            ("[[[1, 2]]]", &[1.0, 2.0], &[1, 1, 2]),
            ("[]", &[], &[0]),
            ("[[], []]", &[], &[2, 0]),
        ] {
            let nested = nested(json).unwrap();
            assert_eq!((&nested.values[..], &nested.shape[..]), (values, shape), "{json}");
            assert_eq!(nested.whole, !json.contains('.'), "{json}");
        }
    }

    #[test]
    fn words_keep_their_order() {
        let nested = nested("[[\"red\", \"\"], [\"é\", \"b\"]]").unwrap();
        let words = nested.words.unwrap();
        assert_eq!(nested.shape, [2, 2]);
        let all: Vec<_> = (0..5).map(|place| words.get(place)).collect();
        assert_eq!(all, [Some("red"), Some(""), Some("é"), Some("b"), None]);
    }

    #[test]
    fn uneven_lists_and_other_values_are_refused() {
        for (json, says) in [
            ("[[1, 2], [3]]", "lists of different lengths, 2 and 1"),
            ("[1, [2]]", "too deeply or unevenly"),
            ("[[1], 2]", "mixes numbers and lists"),
            ("[[], 2]", ""),
            ("[[[[1]]]]", "too deeply"),
            ("[1, null]", "value 1 of the data is null"),
            ("[\"a\", 1]", "mixes numbers and text"),
            ("[1, \"a\"]", "mixes numbers and text"),
            ("[[\"a\"], \"b\"]", "mixes numbers and lists"),
            ("[{}]", "is an object"),
            ("[true]", "is a boolean"),
            ("[1e39]", "value 0 of the data is 1e39"),
            ("7", "it must be a list"),
        ] {
            let result = nested(json);
            if says.is_empty() {
                // The shape does not match the values; whoever reads the shape notices.
                assert!(
                    result.is_err()
                        || result.is_ok_and(|n| n.shape.iter().product::<usize>() != n.values.len())
                );
                continue;
            }
            let error = result.unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
