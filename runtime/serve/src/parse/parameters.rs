//! Parameters of an inference request: what asks for what is the case anyway, and nothing else is silently ignored.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::field::{Flag, Name, no_text};
use super::quoted;

/// What clients of MLServer say of data that are written in JSON as they are: numbers of NumPy's, texts, a table of pandas'.
const PLAIN: [&str; 3] = ["np", "str", "pd"];

/// Nothing but an empty object, or parameters that ask for what is the case anyway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameters;

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Check)
    }
}

struct Check;

impl<'de> Visitor<'de> for Check {
    type Value = Parameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters as an object")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(no_text(&self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Parameters, A::Error> {
        while let Some(Name(name)) = object.next_key()? {
            match name.as_str() {
                // Whoever would take binary tensors takes JSON: clients ask so unless they are told otherwise.
                "binary_data" | "binary_data_output" => {
                    object.next_value::<Flag>()?;
                }
                "content_type" => {
                    let Name(kind) = object.next_value()?;
                    if !PLAIN.contains(&kind.as_str()) {
                        return Err(A::Error::custom(format_args!(
                            "the content_type {} is not supported: send one of {}, or leave it out",
                            quoted(&kind),
                            PLAIN.join(", ")
                        )));
                    }
                }
                "binary_data_size" => {
                    return Err(A::Error::custom(
                        "the parameter \"binary_data_size\" tells of binary tensors, which are not supported yet: send \
                         JSON",
                    ));
                }
                _ => {
                    return Err(A::Error::custom(format_args!(
                        "the parameter {} is not supported: leave it out",
                        quoted(&name)
                    )));
                }
            }
        }
        Ok(Parameters)
    }
}
