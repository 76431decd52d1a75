//! The body of an inference request, each list in it bounded by what the model can have.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

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
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
}

pub(super) struct Input {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    pub(super) datatype: String,
    pub(super) data: Nested,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output {
    pub(super) name: String,
    #[serde(default, rename = "parameters")]
    _parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum RequestField {
    Id,
    Parameters,
    Inputs,
    Outputs,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum InputField {
    Name,
    Shape,
    Datatype,
    Parameters,
    Data,
}

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
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RequestSeed<'_> {
    type Value = Request;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"inputs\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Request, A::Error> {
        let (mut id, mut parameters, mut inputs, mut outputs) = (None, None, None, None);
        while let Some(field) = object.next_key()? {
            match field {
                RequestField::Id => once(&mut id, object.next_value::<Option<String>>()?, "id")?,
                RequestField::Parameters => {
                    once(&mut parameters, object.next_value::<Parameters>()?, "parameters")?;
                }
                RequestField::Inputs => {
                    let list = AtMost {
                        limit: self.columns.len().max(1),
                        what: "inputs, which is more than the columns",
                        element: InputSeed { room: self.room },
                    };
                    once(&mut inputs, object.next_value_seed(list)?, "inputs")?;
                }
                RequestField::Outputs => {
                    let list = AtMost::<PhantomData<Output>>::of(OUTPUTS, "outputs");
                    once(&mut outputs, object.next_value_seed(list)?, "outputs")?;
                }
            }
        }
        Ok(Request {
            id: id.flatten(),
            inputs: inputs.ok_or_else(|| A::Error::missing_field("inputs"))?,
            outputs: outputs.unwrap_or_default(),
        })
    }
}

impl<'de> DeserializeSeed<'de> for InputSeed<'_> {
    type Value = Input;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Input, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for InputSeed<'_> {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an input as an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Input, A::Error> {
        let (mut name, mut shape, mut datatype, mut parameters, mut data) = (None, None, None, None, None);
        while let Some(field) = object.next_key()? {
            match field {
                InputField::Name => once(&mut name, object.next_value()?, "name")?,
                InputField::Shape => {
                    let list = AtMost::<PhantomData<u64>>::of(DIMENSIONS, "dimensions in a shape");
                    once(&mut shape, object.next_value_seed(list)?, "shape")?;
                }
                InputField::Datatype => once(&mut datatype, object.next_value()?, "datatype")?,
                InputField::Parameters => {
                    once(&mut parameters, object.next_value::<Parameters>()?, "parameters")?;
                }
                InputField::Data => {
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
