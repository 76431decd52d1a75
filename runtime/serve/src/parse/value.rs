//! One value of a column: a number, or a word of those that the model knows.

use std::fmt::{self, Display};

use sconce_contract::{Feature, UnknownWords};
use sconce_model::encode;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::number::Number;
use super::{listed, quoted};

/// A JSON value as the raw value of a column, see [`encode`].
pub struct Value<'a, P> {
    /// Where it stands, for messages.
    pub place: P,
    /// The column.
    pub feature: &'a Feature,
}

/// The raw value of a word; a sentence about what stands at `place` where the column has no such word.
pub fn word(feature: &Feature, place: &impl Display, word: &str) -> Result<f32, String> {
    let Some(vocabulary) = &feature.vocabulary else {
        return Err(format!("{place} is the text {}, not a number", quoted(word)));
    };
    match encode::place(&vocabulary.words, word) {
        Some(index) => Ok(index as f32),
        None if vocabulary.unknown == UnknownWords::Ignore => Ok(encode::UNKNOWN),
        None => Err(format!(
            "{place} is {}, a word that the model did not learn; it knows {}",
            quoted(word),
            listed(vocabulary.words.iter().map(String::as_str))
        )),
    }
}

impl<'de, P: Display> DeserializeSeed<'de> for Value<'_, P> {
    type Value = f32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<f32, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<P: Display> Value<'_, P> {
    fn word<E: Error>(&self, text: &str) -> Result<f32, E> {
        word(self.feature, &self.place, text).map_err(E::custom)
    }

    fn holds_words(&self) -> bool {
        self.feature.vocabulary.is_some()
    }
}

impl<'de, P: Display> Visitor<'de> for Value<'_, P> {
    type Value = f32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value as {}", self.place)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f32, E> {
        if self.holds_words() {
            return self.word(&value.to_string());
        }
        Number(self.place).visit_f64(value).map(|(number, _)| number)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f32, E> {
        if self.holds_words() {
            return self.word(&value.to_string());
        }
        Ok(value as f32)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f32, E> {
        if self.holds_words() {
            return self.word(&value.to_string());
        }
        Ok(value as f32)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<f32, E> {
        self.word(value)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<f32, E> {
        if self.holds_words() {
            return self.word(&value.to_string());
        }
        Number(self.place).visit_bool(value).map(|(number, _)| number)
    }

    /// A value that is missing, where the model was told what takes its place.
    fn visit_unit<E: Error>(self) -> Result<f32, E> {
        if self.feature.missing.is_some() {
            return Ok(f32::NAN);
        }
        let what = if self.holds_words() { "word" } else { "number" };
        Err(E::custom(format_args!("{} is null, not a {what}", self.place)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<f32, A::Error> {
        Number(self.place).visit_seq(list).map(|(number, _)| number)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<f32, A::Error> {
        Number(self.place).visit_map(object).map(|(number, _)| number)
    }
}
