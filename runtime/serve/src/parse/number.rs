//! One number.

use std::fmt::{self, Display};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

/// A JSON number as F32, with whether it was written as an integer; `0` says where it stands, for messages.
pub struct Number<P>(pub P);

impl<'de, P: Display> DeserializeSeed<'de> for Number<P> {
    type Value = (f32, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<P: Display> Number<P> {
    fn refuse<E: Error>(&self, kind: &str) -> E {
        E::custom(format_args!("{} is {kind}, not a number", self.0))
    }
}

impl<'de, P: Display> Visitor<'de> for Number<P> {
    type Value = (f32, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number as {}", self.0)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        let number = value as f32;
        if number.is_finite() {
            return Ok((number, false));
        }
        Err(E::custom(format_args!(
            "{} is {value:e}, which is beyond the range of FP32 (±3.4e38)",
            self.0
        )))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok((value as f32, true))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok((value as f32, true))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Err(self.refuse("null"))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Err(self.refuse(if value { "true" } else { "false" }))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Err(self.refuse(&format!("the text {}", super::quoted(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(self.refuse("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(self.refuse("an object"))
    }
}

/// What a value is where something else is wanted.
pub fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "text",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}
