//! A model with a column of words answers to the words, and says which it knows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use common::{Fixture, draft};
use sconce_contract::{Encoding, Feature, UnknownWords, Vocabulary};
use sconce_model::Draft;
use serde_json::{Value, json};

/// The sigmoid of blue 1, red −1 and of the size, which is 2 where it is missing.
fn coloured(unknown: UnknownWords) -> Draft {
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    let mut draft = draft(true);
    draft.preprocess.features = vec![
        Feature {
            vocabulary: Some(Vocabulary {
                words: vec!["blue".into(), "red".into()],
                encoding: Encoding::OneHot,
                unknown,
            }),
            ..Feature::number("colour", 0.0, 1.0)
        },
        Feature {
            missing: Some(2.0),
            ..Feature::number("size", 0.0, 1.0)
        },
    ];
    draft.weights = BTreeMap::from([
        ("layers.0.weight".into(), tensor(&[1.0, -1.0, 1.0], &[3, 1])),
        ("layers.0.bias".into(), tensor(&[0.0], &[1])),
    ]);
    draft
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn close(found: &Value, expected: &[f64]) {
    let found: Vec<f64> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_f64().or(row[0].as_f64()).unwrap())
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - sigmoid(*expected)).abs() < 1e-6,
            "{found} is not the sigmoid of {expected}"
        );
    }
}

#[test]
fn words_and_what_is_missing_are_taken_in_rows_and_in_columns() {
    let server = Fixture::new(coloured(UnknownWords::Refuse)).serve(&[]);
    let mut client = server.connect();
    let rows =
        json!({"instances": [["blue", 1], {"size": 3, "colour": "red"}, ["red", null], {"colour": "blue"}]});
    let reply = client.post("/v1/models/tumour:predict", rows.to_string().as_bytes());
    close(&reply.json()["predictions"], &[2.0, 2.0, 1.0, 3.0]);
    let columns = json!({"inputs": {"colour": ["blue", "red"], "size": [1, 3]}});
    let reply = client.post("/v1/models/tumour:predict", columns.to_string().as_bytes());
    close(&reply.json()["outputs"], &[2.0, 2.0]);
    let tensors = json!({"inputs": [
        {"name": "colour", "datatype": "BYTES", "shape": [2, 1], "data": ["red", "blue"]},
        {"name": "size", "datatype": "FP32", "shape": [2], "data": [0.5, 4]},
    ], "outputs": [{"name": "output"}]});
    let reply = client.post("/v2/models/tumour/infer", tensors.to_string().as_bytes());
    close(&reply.json()["outputs"][0]["data"], &[-0.5, 5.0]);
    let inputs = server.get("/v2/models/tumour").json()["inputs"].clone();
    assert_eq!(
        inputs,
        json!([
            {"name": "colour", "datatype": "BYTES", "shape": [-1]},
            {"name": "size", "datatype": "FP32", "shape": [-1]},
        ])
    );
}

#[test]
fn unknown_words_are_refused_or_ignored_as_the_training_said() {
    let server = Fixture::new(coloured(UnknownWords::Refuse)).serve(&[]);
    let mut client = server.connect();
    let tensors = |colour: Value| json!({"inputs": [colour, {"name": "size", "datatype": "FP32", "shape": [1], "data": [0.5]}]});
    for (path, body, says) in [
        (
            "/v1/models/tumour:predict",
            json!({"instances": [["pink", 1]]}),
            r#"instances[0], column "colour", is "pink", a word that the model did not learn; it knows "blue", "red""#,
        ),
        (
            "/v1/models/tumour:predict",
            json!({"instances": [["red", "1"]]}),
            r#"column "size", is the text "1", not a number"#,
        ),
        (
            "/v1/models/tumour:predict",
            json!({"instances": [[null, 1]]}),
            r#"column "colour", is null, not a word"#,
        ),
        (
            "/v1/models/tumour:predict",
            json!({"inputs": {"colour": ["red"], "size": ["1"]}}),
            r#"value 0 of the column "size" is the text "1", not a number"#,
        ),
        (
            "/v2/models/tumour/infer",
            tensors(json!({"name": "colour", "datatype": "BYTES", "shape": [1], "data": ["pink"]})),
            r#"value 0 of the column "colour" is "pink", a word that the model did not learn"#,
        ),
        (
            "/v2/models/tumour/infer",
            tensors(json!({"name": "colour", "datatype": "FP32", "shape": [1], "data": ["red"]})),
            "has datatype FP32, but its data are text",
        ),
        (
            "/v2/models/tumour/infer",
            tensors(json!({"name": "colour", "datatype": "BYTES", "shape": [1], "data": [1]})),
            "has datatype BYTES, but its data are numbers",
        ),
        (
            "/v2/models/tumour/infer",
            tensors(json!({"name": "colour", "datatype": "INT64", "shape": [1], "data": [16_777_217]})),
            "is a number too large to be told exactly, and the column holds words: send it as a text",
        ),
    ] {
        let reply = client.post(path, body.to_string().as_bytes());
        let text = reply.json().to_string();
        let quoted = serde_json::to_string(says).unwrap();
        assert!(text.contains(quoted.trim_matches('"')), "{says}\n{text}");
    }
    let server = Fixture::new(coloured(UnknownWords::Ignore)).serve(&[]);
    let body = json!({"instances": [["pink", 1]]});
    let reply = server
        .connect()
        .post("/v1/models/tumour:predict", body.to_string().as_bytes());
    close(&reply.json()["predictions"], &[1.0]);
}
