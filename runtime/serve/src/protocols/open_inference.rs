//! The Open Inference Protocol, version 2, over REST: what KServe, Triton and MLServer speak.
//!
//! Specification: <https://github.com/kserve/open-inference-protocol>, `specification/protocol/inference_rest.md`.
//! The model has one input `input` `[-1, features]` and one output `output` `[-1, outputs]`; a classifier has
//! `label` `[-1]` too. A client that has a table rather than a matrix may send one input per column instead, and must
//! where columns hold words or texts (`BYTES`).

use http::{HeaderMap, StatusCode};
use sconce_contract::Feature;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

mod request;

use request::{Input, Output, RequestSeed};

use super::{Endpoint, Protocol, check_model, check_version};
use crate::parse::room::Room;
use crate::parse::table::{INPUT, Named};
use crate::parse::{listed, quoted};
use crate::refusal::Refusal;
use crate::reply::{self, Reply};
use crate::served::{NUMBER_BYTES, Question, Served};
use crate::server::Server;

const OUTPUT: &str = "output";
const LABEL: &str = "label";
/// More bytes than an answer has beside its rows, names and id.
const ENVELOPE: usize = 512;
/// Most bytes that a byte of text takes in JSON.
const ESCAPED: usize = 6;
/// Types of the numbers that an input may have; the model computes in FP32 whatever they are.
const FLOATS: [&str; 2] = ["FP32", "FP64"];
const INTEGERS: [&str; 2] = ["INT32", "INT64"];
/// Type of words.
const BYTES: &str = "BYTES";

pub(super) struct OpenInference;

impl Protocol for OpenInference {
    fn name(&self) -> &'static str {
        "OpenInference"
    }

    fn paths(&self, model: &str) -> Vec<String> {
        vec![
            "GET /v2".into(),
            "GET /v2/health/live".into(),
            "GET /v2/health/ready".into(),
            format!("GET /v2/models/{model}"),
            format!("GET /v2/models/{model}/ready"),
            format!("POST /v2/models/{model}/infer"),
        ]
    }

    fn find(&self, path: &str, names: &crate::served::Names) -> Result<Option<Endpoint>, Refusal> {
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let rest = match parts[..] {
            ["", "v2"] => return Ok(Some(Endpoint::Describe(server))),
            ["", "v2", "health", "live"] => return Ok(Some(Endpoint::Describe(live))),
            ["", "v2", "health", "ready"] => return Ok(Some(Endpoint::Describe(ready))),
            ["", "v2", "models", model, ref rest @ ..] => {
                check_model(model, names)?;
                rest
            }
            _ => return Ok(None),
        };
        let verb = match *rest {
            ["versions", version, ref verb @ ..] => {
                check_version(version, names)?;
                verb
            }
            _ => rest,
        };
        Ok(match *verb {
            [] => Some(Endpoint::Describe(metadata)),
            ["ready"] => Some(Endpoint::Describe(model_ready)),
            ["infer"] => Some(Endpoint::Predict(infer)),
            _ => None,
        })
    }
}

fn server(_: &Server) -> Result<Reply, Refusal> {
    let about = json!({"name": "sconce", "version": env!("CARGO_PKG_VERSION"), "extensions": []});
    Ok(reply::value(StatusCode::OK, &about))
}

fn live(_: &Server) -> Result<Reply, Refusal> {
    Ok(reply::value(StatusCode::OK, &json!({"live": true})))
}

fn readiness(server: &Server) -> StatusCode {
    server
        .unready()
        .map_or(StatusCode::OK, |_| StatusCode::SERVICE_UNAVAILABLE)
}

fn ready(server: &Server) -> Result<Reply, Refusal> {
    Ok(reply::value(
        readiness(server),
        &json!({"ready": server.unready().is_none()}),
    ))
}

fn model_ready(server: &Server) -> Result<Reply, Refusal> {
    let about = json!({"name": server.names.name, "ready": server.unready().is_none()});
    Ok(reply::value(readiness(server), &about))
}

fn metadata(server: &Server) -> Result<Reply, Refusal> {
    let served = server.served()?;
    let mut outputs =
        vec![json!({"name": OUTPUT, "datatype": "FP32", "shape": [-1, served.model.outputs()]})];
    if served.model.classes().is_some() {
        outputs.push(json!({"name": LABEL, "datatype": BYTES, "shape": [-1]}));
    }
    let columns = &served.columns;
    let inputs: Vec<Value> = if columns.have_words() {
        // A tensor has one type, so that numbers and words do not go into one.
        let of = |feature: &Feature| match feature.is_told_in_text() {
            true => json!({"name": feature.name, "datatype": BYTES, "shape": [-1]}),
            false => json!({"name": feature.name, "datatype": "FP32", "shape": [-1]}),
        };
        served.model.features().iter().map(of).collect()
    } else {
        vec![json!({"name": INPUT, "datatype": "FP32", "shape": [-1, columns.len()]})]
    };
    let about = json!({
        "name": served.names.name,
        "versions": [served.names.revision],
        "platform": "sconce",
        "inputs": inputs,
        "outputs": outputs,
    });
    Ok(reply::value(StatusCode::OK, &about))
}

#[derive(Serialize)]
struct InferResponse<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<OutputTensor<'a>>,
}

#[derive(Serialize)]
struct OutputTensor<'a> {
    name: &'static str,
    shape: Vec<usize>,
    datatype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Numbers(&'a [f32]),
    Labels(Labels<'a>),
}

/// The label of each row, without a list of them in between.
struct Labels<'a> {
    served: &'a Served,
    outputs: &'a [f32],
}

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let model = &self.served.model;
        let rows = self.outputs.chunks(model.outputs());
        serializer.collect_seq(rows.map(|row| model.label(row).unwrap_or_default()))
    }
}

fn infer(served: &Served, headers: &HeaderMap, body: &[u8]) -> Result<Question, Refusal> {
    if headers.contains_key("inference-header-content-length") {
        return Err(refuse(
            "binary tensors are not supported yet: send and receive JSON".into(),
        ));
    }
    let room = Room::default();
    let seed = RequestSeed {
        columns: &served.columns,
        room: &room,
    };
    let request = crate::parse::parse(body, &room, seed)?;
    for (field, asked, served) in [
        ("model_name", &request.model_name, &served.names.name),
        ("model_version", &request.model_version, &served.names.revision),
    ] {
        if let Some(asked) = asked.as_ref().filter(|asked| *asked != served) {
            let asked = quoted(asked);
            return Err(refuse(format!(
                "{field} is {asked}, and this server has {served:?}: correct it, or leave it out"
            )));
        }
    }
    let wanted = wanted(served, &request.outputs)?;
    let tensors = request.inputs.into_iter().map(tensor).collect::<Result<_, _>>()?;
    let table = served.columns.assemble(tensors)?;
    let id = request.id;
    let fixed_bytes = ENVELOPE
        + [
            Some(&served.names.name),
            Some(&served.names.revision),
            id.as_ref(),
        ]
        .into_iter()
        .flatten()
        .map(|text| ESCAPED * text.len())
        .sum::<usize>();
    let row_bytes = wanted.iter().map(|name| row_bytes(served, name)).sum();
    let answer = move |served: &Served, outputs: &[f32], written: &mut Vec<u8>| {
        let tensors = wanted
            .into_iter()
            .map(|name| output(served, name, outputs))
            .collect();
        let (model_name, model_version) = (&served.names.name, &served.names.revision);
        let response = InferResponse {
            model_name,
            model_version,
            id,
            outputs: tensors,
        };
        serde_json::to_writer(written, &response)
    };
    Ok(Question {
        table,
        fixed_bytes,
        row_bytes,
        answer: Box::new(answer),
    })
}

/// Most bytes that an output takes for a row.
fn row_bytes(served: &Served, output: &str) -> usize {
    match output {
        LABEL => {
            let classes = served.model.classes().unwrap_or_default();
            let longest = classes.iter().map(String::len).max().unwrap_or_default();
            ESCAPED * longest + "\"\",".len()
        }
        _ => served.model.outputs() * NUMBER_BYTES,
    }
}

/// The outputs to answer with, in the order in which they were asked for.
fn wanted(served: &Served, asked: &[Output]) -> Result<Vec<&'static str>, Refusal> {
    let known = if served.model.classes().is_some() {
        &[OUTPUT, LABEL][..]
    } else {
        &[OUTPUT]
    };
    let mut wanted = Vec::new();
    for output in asked {
        let Some(name) = known.iter().find(|name| **name == output.name) else {
            return Err(refuse(format!(
                "there is no output {}: the model has {}",
                quoted(&output.name),
                listed(known.iter().copied())
            )));
        };
        if wanted.contains(name) {
            return Err(refuse(format!("the output {name:?} is asked for twice")));
        }
        wanted.push(*name);
    }
    Ok(if asked.is_empty() { known.to_vec() } else { wanted })
}

/// An input with its shape checked against its data, which may be flat or nested.
fn tensor(input: Input) -> Result<Named, Refusal> {
    let Input {
        name,
        shape,
        datatype,
        data,
    } = input;
    let shown = quoted(&name);
    let integers = INTEGERS.contains(&datatype.as_str());
    if !integers && datatype != BYTES && !FLOATS.contains(&datatype.as_str()) {
        let known: Vec<&str> = FLOATS.into_iter().chain(INTEGERS).chain([BYTES]).collect();
        let (found, known) = (quoted(&datatype), listed(known.into_iter()));
        return Err(refuse(format!(
            "the input {shown} has datatype {found}: send one of {known}"
        )));
    }
    if (datatype == BYTES) != data.words.is_some() && !data.values.is_empty() {
        return Err(refuse(format!(
            "the input {shown} has datatype {datatype}, but its data are {}",
            if data.words.is_some() { "text" } else { "numbers" }
        )));
    }
    if integers && !data.whole {
        return Err(refuse(format!(
            "the input {shown} has datatype {datatype}, but not all its data are integers"
        )));
    }
    let claimed: Option<Vec<usize>> = shape
        .iter()
        .map(|length| usize::try_from(length.0).ok())
        .collect();
    let count = shape
        .iter()
        .try_fold(1_u64, |count, length| count.checked_mul(length.0));
    let flat = data.shape.len() == 1 && count == Some(data.values.len() as u64);
    match claimed {
        Some(claimed) if flat || claimed == data.shape => Ok(Named {
            name,
            shape: claimed,
            values: data.values,
            words: data.words,
        }),
        _ => {
            let shape: Vec<Value> = shape.iter().take(8).map(|length| json!(length.0)).collect();
            Err(refuse(format!(
                "the input {shown} has shape {}, but its data have shape {:?}",
                Value::Array(shape),
                data.shape
            )))
        }
    }
}

fn output<'a>(served: &'a Served, name: &'static str, outputs: &'a [f32]) -> OutputTensor<'a> {
    let width = served.model.outputs();
    let rows = outputs.len() / width;
    match name {
        LABEL => OutputTensor {
            name,
            shape: vec![rows],
            datatype: BYTES,
            data: Data::Labels(Labels { served, outputs }),
        },
        _ => OutputTensor {
            name,
            shape: vec![rows, width],
            datatype: "FP32",
            data: Data::Numbers(outputs),
        },
    }
}

fn refuse(sentence: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, sentence)
}
