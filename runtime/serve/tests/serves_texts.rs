//! A model of texts answers to texts over both protocols, and says what is no text.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use common::{Fixture, Server, draft};
use sconce_contract::{Feature, TextWords};
use sconce_model::Draft;
use serde_json::{Value, json};

/// The sigmoid of the mean over four integers: 0 for no word, 8 for an unknown one, 4 for fine, −4 for dull.
fn reviews(missing: Option<f64>) -> Draft {
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    let mut draft = draft(true);
    let layers = json!([
        {"embedding": {"vocabulary": 5, "dimensions": 1}}, {"globalAveragePool": {}},
        {"dense": {"units": 1, "activation": "Sigmoid"}},
    ]);
    draft.network = serde_json::from_value(json!({"layers": layers})).unwrap();
    draft.weights = BTreeMap::from([
        (
            "layers.0.weight".into(),
            tensor(&[0.0, 8.0, 4.0, -4.0, 99.0], &[5, 1]),
        ),
        ("layers.2.weight".into(), tensor(&[1.0], &[1, 1])),
        ("layers.2.bias".into(), tensor(&[0.0], &[1])),
    ]);
    draft.preprocess.features = vec![Feature {
        missing,
        text: Some(TextWords {
            length: 4,
            words: vec!["fine".into(), "dull".into()],
        }),
        ..Feature::number("review", 0.0, 1.0)
    }];
    draft
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
        let expected = 1.0 / (1.0 + (-expected).exp());
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

fn predict(server: &Server, body: &Value) -> Value {
    server.post("/v1/models/tumour:predict", body).json()
}

#[test]
fn texts_are_taken_in_rows_and_in_tensors_and_cut_at_their_length() {
    let server = Fixture::new(reviews(None)).serve(&[]);
    let rows = json!({"instances": [
        {"review": "A FINE one"}, ["dull, dull"], "fine", {"input": ["\"Fine\" fine… fine fine dull dull"]}, {"review": " ?! "},
        "", {"input": "dull"},
    ]});
    let expected = [5.0, -2.0, 1.0, 4.0, 0.0, 0.0, -1.0];
    close(&predict(&server, &rows)["predictions"], &expected);
    let columns = json!({"inputs": {"review": ["a fine one", "dull dull", "fine"]}});
    close(&predict(&server, &columns)["outputs"], &expected[..3]);
    let whole = json!({"inputs": [["a fine one"], ["dull dull"], ["fine"]]});
    close(&predict(&server, &whole)["outputs"], &expected[..3]);
    let infer = |name: &str, shape: Value| {
        let data = json!(["a fine one", "dull dull", "fine"]);
        let body = json!({"inputs": [{"name": name, "datatype": "BYTES", "shape": shape, "data": data}]});
        server.post("/v2/models/tumour/infer", &body).json()
    };
    for (name, shape) in [
        ("review", json!([3])),
        ("review", json!([3, 1])),
        ("input", json!([3, 1])),
    ] {
        let reply = infer(name, shape);
        close(&reply["outputs"][0]["data"], &expected[..3]);
        assert_eq!(
            reply["outputs"][1]["data"],
            json!(["malignant", "benign", "malignant"])
        );
    }
    let about = server.get("/v2/models/tumour").json();
    assert_eq!(
        about["inputs"],
        json!([{"name": "review", "datatype": "BYTES", "shape": [-1]}])
    );
    let about = server.get("/v1/models/tumour/metadata").json();
    let input = &about["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["review"];
    assert_eq!(input["dtype"], "DT_STRING");
}

#[test]
fn what_is_no_text_is_refused_with_its_row_and_column() {
    let server = Fixture::new(reviews(None)).serve(&[]);
    let tensor = |datatype: &str, data: Value| json!({"inputs": [{"name": "review", "datatype": datatype, "shape": [1], "data": data}]});
    for (path, body, says) in [
        (
            "/v1/models/tumour:predict",
            json!({"instances": [{"review": "fine"}, {"review": 5}]}),
            r#"instances[1], column "review", is a number, not a text"#,
        ),
        (
            "/v1/models/tumour:predict",
            json!({"instances": [[null]]}),
            r#"instances[0], column "review", is null, not a text"#,
        ),
        (
            "/v1/models/tumour:predict",
            json!({"instances": [{"review": ["fine"]}]}),
            r#"instances[0], column "review", is a list, not a text"#,
        ),
        (
            "/v1/models/tumour:predict",
            json!({"instances": [{}]}),
            r#"instances[0] lacks the column "review""#,
        ),
        (
            "/v1/models/tumour:predict",
            json!({"instances": [5]}),
            "instances[0] is a number; a row is a text, a list of 1 value(s) or an object",
        ),
        (
            "/v1/models/tumour:predict",
            json!({"instances": [["fine", "dull"]]}),
            "instances[0] has 2 values, but the model takes 1",
        ),
        (
            "/v1/models/tumour:predict",
            json!({"inputs": {"review": [5]}}),
            r#"value 0 of the column "review" is a number, not a text"#,
        ),
        (
            "/v2/models/tumour/infer",
            tensor("FP32", json!([5])),
            r#"value 0 of the column "review" is a number, not a text"#,
        ),
        (
            "/v2/models/tumour/infer",
            tensor("BYTES", json!([5])),
            "has datatype BYTES, but its data are numbers",
        ),
    ] {
        let reply = server.post(path, &body);
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.error().contains(says), "{says}\n{}", reply.error());
    }
    let filled = Fixture::new(reviews(Some(0.0))).serve(&[]);
    let rows = json!({"instances": [{"review": null}, {}, ["fine"]]});
    close(&predict(&filled, &rows)["predictions"], &[0.0, 0.0, 1.0]);
}

#[test]
fn texts_count_by_their_length_towards_what_a_request_may_hold() {
    let mut long = reviews(None);
    long.preprocess.features[0].text.as_mut().unwrap().length = 4096;
    let server = Fixture::new(long).serve(&[]);
    let row = json!({"review": ""});
    let reply = server.post(
        "/v1/models/tumour:predict",
        &json!({"instances": vec![row; 4097]}),
    );
    assert_eq!(reply.status, 413);
    assert!(reply.error().contains("send fewer rows"), "{}", reply.error());
    let tensor = json!({"name": "review", "datatype": "BYTES", "shape": [4097], "data": vec![""; 4097]});
    let reply = server.post("/v2/models/tumour/infer", &json!({"inputs": [tensor]}));
    assert_eq!(reply.status, 413);
}
