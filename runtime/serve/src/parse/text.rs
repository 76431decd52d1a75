//! A text of a column of texts, as the integers of its words.

use std::fmt::{self, Display};

use sconce_model::text::Lookup;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::number::kind;

/// A JSON text, which fills the raw values of its column.
pub struct Text<'a, P> {
    /// Where it stands, for messages.
    pub place: P,
    /// The words of the column.
    pub lookup: &'a Lookup,
    /// Whether null is taken.
    pub may_be_missing: bool,
    /// The raw values of the column in the row.
    pub values: &'a mut [f32],
}

impl<P: Display> Text<'_, P> {
    fn refuse<E: Error>(&self, found: &Unexpected<'_>) -> E {
        E::custom(format_args!("{} is {}, not a text", self.place, kind(found)))
    }
}

impl<'de, P: Display> DeserializeSeed<'de> for Text<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, P: Display> Visitor<'de> for Text<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text as {}", self.place)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.lookup.encode(text, self.values);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if !self.may_be_missing {
            return Err(self.refuse(&Unexpected::Unit));
        }
        self.values.fill(f32::NAN);
        Ok(())
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

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.refuse(&Unexpected::Seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.refuse(&Unexpected::Map))
    }
}
