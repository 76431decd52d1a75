//! TensorFlow Serving's REST API, so that its clients can stay as they are.
//!
//! Specification: <https://www.tensorflow.org/tfx/serving/api_rest>. Predict is served, in the row format
//! (`instances` → `predictions`) and in the columnar one (`inputs` → `outputs`); Classify and Regress take
//! serialised examples and are not.

use std::fmt;

use http::{HeaderMap, StatusCode};
use sconce_contract::Feature;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::{Endpoint, Protocol, check_model, check_version};
use crate::parse::field::{Key, Name, no_text};
use crate::parse::nested::NestedSeed;
use crate::parse::quoted;
use crate::parse::room::Room;
use crate::parse::rows::Rows;
use crate::parse::table::{Columns, INPUT, Named, Table, filled};
use crate::refusal::Refusal;
use crate::reply::{self, Reply};
use crate::served::{NUMBER_BYTES, Names, Question, Served};
use crate::server::Server;

const SIGNATURE: &str = "serving_default";
/// More bytes than an answer has beside its rows.
const ENVELOPE: usize = 64;
const FIELDS: Key = Key {
    names: &["signature_name", "instances", "inputs"],
    of: "a request",
};

pub(super) struct TensorFlowServing;

impl Protocol for TensorFlowServing {
    fn name(&self) -> &'static str {
        "TensorFlowServing"
    }

    fn paths(&self, model: &str) -> Vec<String> {
        vec![
            format!("GET /v1/models/{model}"),
            format!("GET /v1/models/{model}/metadata"),
            format!("POST /v1/models/{model}:predict"),
        ]
    }

    fn find(&self, path: &str, names: &Names) -> Result<Option<Endpoint>, Refusal> {
        let Some(rest) = path.strip_prefix("/v1/models/") else {
            return Ok(None);
        };
        let (rest, verb) = match rest.split_once(':') {
            Some((rest, verb)) => (rest, Some(verb)),
            None => (rest.trim_end_matches('/'), None),
        };
        let parts: Vec<&str> = rest.split('/').collect();
        check_model(parts[0], names)?;
        let rest = match parts[1..] {
            ["versions", version, ref rest @ ..] => {
                check_version(version, names)?;
                rest
            }
            ref rest => rest,
        };
        match (rest, verb) {
            ([], None) => Ok(Some(Endpoint::Describe(status))),
            (["metadata"], None) => Ok(Some(Endpoint::Describe(metadata))),
            ([], Some("predict")) => Ok(Some(Endpoint::Predict(predict))),
            ([], Some("classify" | "regress")) => Err(Refusal::not_found(
                "classify and regress take serialised examples and are not served: use :predict",
            )),
            _ => Ok(None),
        }
    }
}

fn status(server: &Server) -> Result<Reply, Refusal> {
    let state = match server.unready() {
        None => "AVAILABLE",
        Some(_) if server.served().is_err() => "LOADING",
        Some(_) => "UNLOADING",
    };
    let version = json!({
        "version": server.names.revision,
        "state": state,
        "status": {"error_code": "OK", "error_message": ""},
    });
    Ok(reply::value(
        StatusCode::OK,
        &json!({"model_version_status": [version]}),
    ))
}

fn metadata(server: &Server) -> Result<Reply, Refusal> {
    let served = server.served()?;
    let tensor = |name: &str, kind: &str, width: usize| {
        json!({
            "dtype": kind,
            "tensor_shape": {
                "dim": [{"size": "-1", "name": ""}, {"size": width.to_string(), "name": ""}],
                "unknown_rank": false,
            },
            "name": name,
        })
    };
    let inputs = if served.columns.have_words() {
        let of = |feature: &Feature| match feature.is_told_in_text() {
            true => tensor(&feature.name, "DT_STRING", 1),
            false => tensor(&feature.name, "DT_FLOAT", 1),
        };
        let columns = served.model.features().iter();
        columns
            .map(|feature| (feature.name.clone(), of(feature)))
            .collect()
    } else {
        json!({INPUT: tensor(INPUT, "DT_FLOAT", served.columns.len())})
    };
    let signature = json!({
        "inputs": inputs,
        "outputs": {"output": tensor("output", "DT_FLOAT", served.model.outputs())},
        "method_name": "tensorflow/serving/predict",
    });
    let about = json!({
        "model_spec": {
            "name": served.names.name,
            "signature_name": "",
            "version": served.names.revision,
        },
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    });
    Ok(reply::value(StatusCode::OK, &about))
}

fn predict(served: &Served, _: &HeaderMap, body: &[u8]) -> Result<Question, Refusal> {
    let room = Room::default();
    let request = Request {
        columns: &served.columns,
        room: &room,
    };
    let request = crate::parse::parse(body, &room, request)?;
    if let Some(name) = request.signature.filter(|name| name != SIGNATURE) {
        let name = quoted(&name);
        return Err(refuse(format!(
            "there is no signature {name}: the model has {SIGNATURE:?}"
        )));
    }
    let (table, key) = match (request.instances, request.inputs) {
        (Some(table), None) => (filled(table)?, "predictions"),
        (None, Some(tensors)) => (served.columns.assemble(tensors)?, "outputs"),
        (None, None) => {
            return Err(refuse(
                "the body has neither \"instances\" (rows) nor \"inputs\" (columns)".into(),
            ));
        }
        (Some(_), Some(_)) => {
            return Err(refuse(
                "the body has both \"instances\" and \"inputs\": send one of them".into(),
            ));
        }
    };
    let answer = move |served: &Served, outputs: &[f32], written: &mut Vec<u8>| {
        let rows = Matrix {
            width: served.model.outputs(),
            values: outputs,
        };
        serde_json::to_writer(written, &std::collections::BTreeMap::from([(key, rows)]))
    };
    Ok(Question {
        table,
        fixed_bytes: ENVELOPE,
        row_bytes: served.model.outputs() * NUMBER_BYTES + "[],".len(),
        answer: Box::new(answer),
    })
}

/// Rows of numbers, without a list of the rows in between.
struct Matrix<'a> {
    width: usize,
    values: &'a [f32],
}

impl Serialize for Matrix<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.values.chunks(self.width))
    }
}

fn refuse(sentence: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, sentence)
}

/// The body of a predict request.
struct Request<'a> {
    columns: &'a Columns,
    room: &'a Room,
}

#[derive(Default)]
struct Parsed {
    signature: Option<String>,
    instances: Option<Table>,
    inputs: Option<Vec<Named>>,
}

impl<'de> DeserializeSeed<'de> for Request<'_> {
    type Value = Parsed;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Parsed, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Request<'_> {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"instances\" or \"inputs\"")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(no_text(&self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Parsed, A::Error> {
        let mut parsed = Parsed::default();
        while let Some(key) = object.next_key_seed(FIELDS)? {
            let Request { columns, room } = self;
            let twice = match key {
                "signature_name" => parsed.signature.replace(object.next_value::<Name>()?.0).is_some(),
                "instances" => {
                    let rows = Rows {
                        name: "instances",
                        columns,
                        room,
                    };
                    parsed.instances.replace(object.next_value_seed(rows)?).is_some()
                }
                _ => parsed
                    .inputs
                    .replace(object.next_value_seed(Inputs { columns, room })?)
                    .is_some(),
            };
            if twice {
                return Err(A::Error::custom(format_args!("the field {key:?} is there twice")));
            }
        }
        Ok(parsed)
    }
}

/// The columnar format: the one input's value, or an object of inputs by name.
struct Inputs<'a> {
    columns: &'a Columns,
    room: &'a Room,
}

impl<'de> DeserializeSeed<'de> for Inputs<'_> {
    type Value = Vec<Named>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inputs<'_> {
    type Value = Vec<Named>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"inputs\" as a list of rows or an object of columns")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(no_text(&self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        let seed = NestedSeed { room: self.room };
        let data = seed.deserialize(SeqAccessDeserializer::new(list))?;
        Ok(vec![Named {
            name: INPUT.into(),
            shape: data.shape,
            values: data.values,
            words: data.words,
        }])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut tensors: Vec<Named> = Vec::new();
        while let Some(Name(name)) = object.next_key()? {
            // One more than there are columns cannot be right, however many follow.
            if tensors.len() > self.columns.len() {
                let known = self.columns.list();
                return Err(A::Error::custom(format_args!(
                    "there are more inputs than the columns {known}"
                )));
            }
            let data = object.next_value_seed(NestedSeed { room: self.room })?;
            tensors.push(Named {
                name,
                shape: data.shape,
                values: data.values,
                words: data.words,
            });
        }
        Ok(tensors)
    }
}
