//! The body of an inference request, each list in it bounded by what the model can have.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use crate::parse::field::{Key, Length, Name, no_text};
use crate::parse::list::AtMost;
use crate::parse::nested::{Nested, NestedSeed};
use crate::parse::parameters::Parameters;
use crate::parse::room::Room;
use crate::parse::table::Columns;

/// Most dimensions of an input; the model takes two.
const DIMENSIONS: usize = 8;
/// Most outputs that can be asked for: each that there is, and one more for a clear message.
const OUTPUTS: usize = 3;

pub(super) struct Request {
    pub(super) id: Option<String>,
    /// As KServe's client repeats what the path says.
    pub(super) model_name: Option<String>,
    pub(super) model_version: Option<String>,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
}

pub(super) struct Input {
    pub(super) name: String,
    pub(super) shape: Vec<Length>,
    pub(super) datatype: String,
    pub(super) data: Nested,
}

#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: String,
}

const REQUEST: Key = Key {
    names: &[
        "id",
        "model_name",
        "model_version",
        "parameters",
        "inputs",
        "outputs",
    ],
    of: "a request",
};
const INPUT: Key = Key {
    names: &["name", "shape", "datatype", "parameters", "data"],
    of: "an input",
};
const OUTPUT: Key = Key {
    names: &["name", "parameters"],
    of: "an output",
};

/// Parses a request.
#[derive(Clone, Copy)]
pub(super) struct RequestSeed<'a> {
    pub(super) columns: &'a Columns,
    pub(super) room: &'a Room,
}

#[derive(Clone, Copy)]
struct InputSeed<'a> {
    room: &'a Room,
}

impl<'de> DeserializeSeed<'de> for RequestSeed<'_> {
    type Value = Request;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Request, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RequestSeed<'_> {
    type Value = Request;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"inputs\"")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(no_text(&self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Request, A::Error> {
        let (mut id, mut name, mut version) = (None, None, None);
        let (mut parameters, mut inputs, mut outputs) = (None, None, None);
        while let Some(field) = object.next_key_seed(REQUEST)? {
            match field {
                "id" => once(&mut id, object.next_value::<Option<Name>>()?, field)?,
                "model_name" => once(&mut name, object.next_value::<Option<Name>>()?, field)?,
                "model_version" => once(&mut version, object.next_value::<Option<Name>>()?, field)?,
                "parameters" => {
                    once(&mut parameters, object.next_value::<Parameters>()?, "parameters")?;
                }
                "inputs" => {
                    let list = AtMost {
                        limit: self.columns.len().max(1),
                        what: "inputs, which is more than the columns",
                        element: InputSeed { room: self.room },
                    };
                    once(&mut inputs, object.next_value_seed(list)?, "inputs")?;
                }
                _ => {
                    let list = AtMost::<PhantomData<Output>>::of(OUTPUTS, "outputs");
                    once(&mut outputs, object.next_value_seed(list)?, "outputs")?;
                }
            }
        }
        Ok(Request {
            id: text(id),
            model_name: text(name),
            model_version: text(version),
            inputs: inputs.ok_or_else(|| A::Error::missing_field("inputs"))?,
            outputs: outputs.unwrap_or_default(),
        })
    }
}

impl<'de> DeserializeSeed<'de> for InputSeed<'_> {
    type Value = Input;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Input, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for InputSeed<'_> {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an input as an object")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(no_text(&self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Input, A::Error> {
        let (mut name, mut shape, mut datatype, mut parameters, mut data) = (None, None, None, None, None);
        while let Some(field) = object.next_key_seed(INPUT)? {
            match field {
                "name" => once(&mut name, object.next_value::<Name>()?.0, field)?,
                "shape" => {
                    let list = AtMost::<PhantomData<Length>>::of(DIMENSIONS, "dimensions in a shape");
                    once(&mut shape, object.next_value_seed(list)?, "shape")?;
                }
                "datatype" => once(&mut datatype, object.next_value::<Name>()?.0, field)?,
                "parameters" => {
                    once(&mut parameters, object.next_value::<Parameters>()?, "parameters")?;
                }
                _ => {
                    let values = object.next_value_seed(NestedSeed { room: self.room })?;
                    once(&mut data, values, "data")?;
                }
            }
        }
        Ok(Input {
            name: name.ok_or_else(|| A::Error::missing_field("name"))?,
            shape: shape.ok_or_else(|| A::Error::missing_field("shape"))?,
            datatype: datatype.ok_or_else(|| A::Error::missing_field("datatype"))?,
            data: data.ok_or_else(|| A::Error::missing_field("data"))?,
        })
    }
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Output;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an output as an object")
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Output, E> {
                Err(no_text(&self))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Output, A::Error> {
                let (mut name, mut parameters) = (None, None);
                while let Some(field) = object.next_key_seed(OUTPUT)? {
                    match field {
                        "name" => once(&mut name, object.next_value::<Name>()?.0, field)?,
                        _ => once(&mut parameters, object.next_value::<Parameters>()?, field)?,
                    }
                }
                Ok(Output {
                    name: name.ok_or_else(|| A::Error::missing_field("name"))?,
                })
            }
        }

        deserializer.deserialize_any(Read)
    }
}

fn text(name: Option<Option<Name>>) -> Option<String> {
    name.flatten().map(|Name(text)| text)
}

fn once<T, E: Error>(slot: &mut Option<T>, value: T, field: &'static str) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn refused(body: &str, values: usize) -> (u16, String) {
        let columns = Columns::of_numbers(vec!["a".into(), "b".into()]);
        let room = Room::of(values);
        let seed = RequestSeed {
            columns: &columns,
            room: &room,
        };
        let Err(refusal) = parse(body.as_bytes(), &room, seed) else {
            panic!("{body} is not refused")
        };
        (refusal.status.as_u16(), refusal.sentence)
    }

    fn input(shape: &str, data: &str) -> String {
        format!(r#"{{"name": "a", "datatype": "FP32", "shape": {shape}, "data": {data}}}"#)
    }

    #[test]
    fn each_list_has_its_bound() {
        let one = input("[2]", "[1, 2]");
        let three = format!(r#"{{"inputs": [{one}, {one}, {one}]}}"#);
        for (body, values, status, says) in [
            (
                format!(r#"{{"inputs": [{}]}}"#, input("[1,1,1,1,1,1,1,1,1]", "[1]")),
                6,
                400,
                "more than 8 dimensions",
            ),
            (
                three.clone(),
                6,
                400,
                "more than 2 inputs, which is more than the columns",
            ),
            // Of all inputs together.
            (three, 3, 413, "send fewer rows"),
            (
                format!(
                    r#"{{"inputs": [], "outputs": [{}]}}"#,
                    [r#"{"name": ""}"#; 4].join(",")
                ),
                6,
                400,
                "more than 3 outputs",
            ),
            (
                r#"{"inputs": [], "inputs": []}"#.to_owned(),
                6,
                400,
                "duplicate field",
            ),
        ] {
            let (found, sentence) = refused(&body, values);
            assert!(
                found == status && sentence.contains(says),
                "{body}: {found} {sentence}"
            );
        }
    }
}
