//! Parameters of an inference request: none is supported, so none is silently ignored.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::quoted;

/// Nothing but an empty object, or parameters that ask for what is the case anyway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameters;

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Check)
    }
}

struct Check;

impl<'de> Visitor<'de> for Check {
    type Value = Parameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters as an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Parameters, A::Error> {
        while let Some(name) = object.next_key::<String>()? {
            let binary = match name.as_str() {
                "binary_data" | "binary_data_output" => object.next_value::<bool>()?,
                "binary_data_size" => true,
                _ => {
                    return Err(A::Error::custom(format_args!(
                        "the parameter {} is not supported: leave it out",
                        quoted(&name)
                    )));
                }
            };
            if binary {
                return Err(A::Error::custom(format_args!(
                    "the parameter {name:?} asks for binary tensors, which are not supported yet: send and \
                     receive JSON"
                )));
            }
        }
        Ok(Parameters)
    }
}
