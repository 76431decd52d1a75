//! Keys, names, flags and lengths of a request's objects.
//!
//! In its messages serde repeats what it finds in the place of something else, and a text may be as long as the request. These
//! say what it is instead, and repeat a name only as far as [`quoted`] does.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, Expected, Unexpected, Visitor};

use super::quoted;

/// Most bytes of a name or an id.
const LONGEST: usize = 1024;

/// That a text stands where something else is expected.
pub fn no_text<E: Error>(expected: &dyn Expected) -> E {
    E::custom(format_args!("invalid type: a text, expected {expected}"))
}

/// A key of an object that has these and no others.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// All there are.
    pub names: &'static [&'static str],
    /// What has them, for messages.
    pub of: &'static str,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a field of {}", self.of)
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let found = self.names.iter().find(|name| **name == key);
        found.copied().ok_or_else(|| {
            E::custom(format_args!(
                "the field {} is not known: {} has {}",
                quoted(key),
                self.of,
                self.names.join(", ")
            ))
        })
    }
}

/// A name or an id.
#[derive(Debug)]
pub struct Name(pub String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
                if text.len() > LONGEST {
                    return Err(E::custom(format_args!(
                        "the name {} has more than {LONGEST} bytes",
                        quoted(text)
                    )));
                }
                Ok(Name(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Read)
    }
}

/// True or false.
#[derive(Debug)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Flag, E> {
                Err(no_text(&self))
            }
        }

        deserializer.deserialize_any(Read)
    }
}

/// A length of a shape.
#[derive(Debug)]
pub struct Length(pub u64);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Length, E> {
                Ok(Length(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Length, E> {
                Err(E::invalid_value(Unexpected::Signed(value), &self))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Length, E> {
                Err(no_text(&self))
            }
        }

        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_not_repeated_whole() {
        let long = format!("\"{}\"", "\u{7f}".repeat(100_000));
        let said = |error: serde_json::Error| {
            let said = error.to_string();
            assert!(said.len() < 1000, "{} bytes", said.len());
            said
        };
        let flag = said(serde_json::from_str::<Flag>(&long).unwrap_err());
        assert!(
            flag.starts_with("invalid type: a text, expected true or false"),
            "{flag}"
        );
        let length = said(serde_json::from_str::<Length>(&long).unwrap_err());
        assert!(
            length.starts_with("invalid type: a text, expected a length"),
            "{length}"
        );
        assert!(said(serde_json::from_str::<Name>(&long).unwrap_err()).contains("more than 1024 bytes"));
        let key = Key {
            names: &["a", "b"],
            of: "a request",
        };
        let key = said(
            key.deserialize(&mut serde_json::Deserializer::from_str(&long))
                .unwrap_err(),
        );
        assert!(key.contains("… is not known: a request has a, b"), "{key}");
        let negative = said(serde_json::from_str::<Length>("-1").unwrap_err());
        assert!(negative.starts_with("invalid value: integer `-1`"), "{negative}");
    }
}
