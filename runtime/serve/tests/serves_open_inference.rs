//! The Open Inference Protocol, as its specification and its clients write it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Fixture, draft};
use serde_json::{Value, json};

fn near(found: &Value, expected: &[f64]) {
    let found: Vec<f64> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn describes_itself() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let metadata = json!({
        "name": "tumour", "versions": ["r1"], "platform": "sconce",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [
            {"name": "output", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
    });
    let server_metadata = json!({"name": "sconce", "version": env!("CARGO_PKG_VERSION"), "extensions": []});
    for (path, expected) in [
        ("/v2", server_metadata),
        ("/v2/health/live", json!({"live": true})),
        ("/v2/health/ready", json!({"ready": true})),
        ("/v2/models/tumour", metadata.clone()),
        ("/v2/models/tumour/", metadata.clone()),
        ("/v2/models/tumour/versions/r1", metadata),
        (
            "/v2/models/tumour/ready",
            json!({"name": "tumour", "ready": true}),
        ),
        (
            "/v2/models/tumour/versions/r1/ready",
            json!({"name": "tumour", "ready": true}),
        ),
    ] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.json()), (200, expected), "{path}");
        assert_eq!(
            server.connect().send("HEAD", path, &[], b"").status,
            200,
            "{path}"
        );
    }
    let index = server.get("/").json();
    assert_eq!(
        (index["model"].as_str(), index["ready"].as_bool()),
        (Some("tumour"), Some(true))
    );
    assert!(
        index.to_string().contains("POST /v2/models/tumour/infer"),
        "{index}"
    );
}

#[test]
fn answers_rows_flat_nested_and_by_column() {
    let server = Fixture::new(draft(true)).serve(&[]);
    // (14 − 10) / 2 − (6 − 5) / 1 = 1, and (10 − 10) / 2 − (7 − 5) / 1 = −2.
    let expected = [sigmoid(1.0), sigmoid(-2.0)];
    let tensor = |name: &str, datatype: &str, shape: Value, data: Value| json!({"name": name, "shape": shape, "datatype": datatype, "data": data});
    let mut client = server.connect();
    for inputs in [
        json!([tensor("input", "FP32", json!([2, 2]), json!([14, 6, 10, 7]))]),
        json!([tensor(
            "input",
            "FP64",
            json!([2, 2]),
            json!([[14.0, 6.0], [10.0, 7.0]])
        )]),
        json!([tensor("input", "INT32", json!([2, 2]), json!([[14, 6], [10, 7]]))]),
        json!([
            tensor("texture", "INT64", json!([2, 1]), json!([[6], [7]])),
            tensor("radius", "FP32", json!([2]), json!([14.0, 10.0])),
        ]),
    ] {
        let reply = client.post(
            "/v2/models/tumour/versions/r1/infer",
            json!({"id": "42", "parameters": {}, "inputs": inputs})
                .to_string()
                .as_bytes(),
        );
        let answer = reply.json();
        assert_eq!(reply.status, 200, "{answer}");
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(answer["model_name"], "tumour");
        assert_eq!(answer["model_version"], "r1");
        assert_eq!(answer["id"], "42");
        let [output, label] = &answer["outputs"].as_array().unwrap()[..] else {
            panic!("{answer}")
        };
        assert_eq!(
            (&output["name"], &output["datatype"]),
            (&json!("output"), &json!("FP32"))
        );
        assert_eq!(output["shape"], json!([2, 1]));
        near(&output["data"], &expected);
        let labels = json!({
            "name": "label", "shape": [2], "datatype": "BYTES", "data": ["malignant", "benign"],
        });
        assert_eq!(label, &labels);
    }
}

#[test]
fn answers_only_the_outputs_asked_for() {
    let server = Fixture::new(draft(false)).serve(&[]);
    let inputs = json!([{"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [14, 5]}]);
    let ask = |outputs: Value| {
        server.post(
            "/v2/models/tumour/infer",
            &json!({"inputs": inputs, "outputs": outputs}),
        )
    };
    let answer = ask(json!([{"name": "label", "parameters": {"binary_data": false}}])).json();
    assert_eq!(
        answer["outputs"],
        json!([{"name": "label", "shape": [1], "datatype": "BYTES", "data": ["a"]}])
    );
    assert!(answer.get("id").is_none());
    let answer = ask(json!([{"name": "label"}, {"name": "output"}])).json();
    assert_eq!(answer["outputs"][1]["shape"], json!([1, 3]));
    let sum: f64 = answer["outputs"][1]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-6);
}

#[test]
fn takes_what_clients_of_kserve_mlserver_and_triton_send_by_themselves() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let input = json!({
        "name": "input", "shape": [1, 2], "datatype": "FP32", "data": [1, 2], "parameters": {"content_type": "np"},
    });
    let plain = json!({"inputs": [input]});
    let expected = server.post("/v2/models/tumour/infer", &plain).json();
    for (field, value) in [
        ("model_name", json!("tumour")),
        (
            "parameters",
            json!({"binary_data_output": true, "content_type": "np"}),
        ),
        (
            "outputs",
            json!([
                {"name": "output", "parameters": {"binary_data": true}},
                {"name": "label", "parameters": {"binary_data": true}},
            ]),
        ),
    ] {
        let mut asked = plain.clone();
        asked[field] = value;
        let reply = server.post("/v2/models/tumour/infer", &asked);
        assert_eq!(reply.status, 200, "{asked}: {}", reply.text());
        assert_eq!(reply.json()["outputs"], expected["outputs"], "{asked}");
    }
}

#[test]
fn refuses_what_it_cannot_answer_and_says_why() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let good = json!({"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]});
    let with = |field: &str, value: Value| {
        let mut input = good.clone();
        input[field] = value;
        json!({"inputs": [input]})
    };
    let mut client = server.connect();
    for (body, says) in [
        (
            with("name", json!("x")),
            "there is no input \"x\": send either \"input\" with whole rows, or each of",
        ),
        (
            with("datatype", json!("FP16")),
            "datatype \"FP16\": send one of \"FP32\", \"FP64\", \"INT32\", \"INT64\", \"BYTES\"",
        ),
        (
            with("datatype", json!("BYTES")),
            "has datatype BYTES, but its data are numbers",
        ),
        (
            with("shape", json!([1, 3])),
            "has shape [1,3], but its data have shape [2]",
        ),
        (
            with("shape", json!([2])),
            "has shape [2], but the model takes [-1, 2]",
        ),
        (with("shape", json!([-1, 2])), "invalid value"),
        (
            with("shape", json!([u64::MAX, u64::MAX])),
            "but its data have shape",
        ),
        (
            with("shape", json!([2, 1])),
            "has shape [2, 1], but the model takes [-1, 2]",
        ),
        (with("data", json!([1, null])), "value 1 of the data is null"),
        (with("data", json!([[1, 2], [3]])), "lists of different lengths"),
        (with("data", json!(7)), "it must be a list"),
        (
            with("parameters", json!({"binary_data_size": 8})),
            "binary tensors, which are not supported yet",
        ),
        (
            json!({"inputs": [good], "parameters": {"binary_data_output": "yes"}}),
            "a text, expected true or false",
        ),
        (
            with("parameters", json!({"content_type": "base64"})),
            "content_type \"base64\" is not supported: send one of np, str, pd",
        ),
        (
            json!({"inputs": [good], "model_name": "other"}),
            "model_name is \"other\", and this server has \"tumour\"",
        ),
        (
            json!({"inputs": [good], "parameters": {"priority": 1}}),
            "\"priority\" is not supported",
        ),
        (
            json!({"inputs": [good], "outputs": [{"name": "probability"}]}),
            "the model has \"output\", \"label\"",
        ),
        (
            json!({"inputs": [good], "outputs": [{"name": "label"}, {"name": "label"}]}),
            "asked for twice",
        ),
        (
            json!({"inputs": [good], "output": []}),
            "the field \"output\" is not known: a request has id, model_name,",
        ),
        (json!({"inputs": [good, good]}), "there is no input \"input\""),
        (json!({"inputs": []}), "the column \"radius\" is missing"),
        (json!({}), "missing field `inputs`"),
        (json!([]), ""),
    ] {
        let reply = client.post("/v2/models/tumour/infer", body.to_string().as_bytes());
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        assert!(reply.error().contains(says), "{body}: {}", reply.error());
    }
    let fraction =
        json!({"inputs": [{"name": "input", "shape": [1, 2], "datatype": "INT32", "data": [1, 2.5]}]});
    assert!(
        server
            .post("/v2/models/tumour/infer", &fraction)
            .error()
            .contains("not all its data are integers")
    );
    let binary = [("Inference-Header-Content-Length", "10")];
    let reply = client.send("POST", "/v2/models/tumour/infer", &binary, b"{}");
    assert!(
        reply.status == 400 && reply.error().contains("binary"),
        "{}",
        reply.text()
    );
    for (path, says) in [
        (
            "/v2/models/other",
            "there is no model \"other\" here: this server has \"tumour\"",
        ),
        (
            "/v2/models/tumour/versions/r2",
            "no version \"r2\" of \"tumour\" here: this server has \"r1\"",
        ),
        ("/v2/models/tumour/explain", "GET / lists"),
        ("/v2/models", "GET / lists"),
        ("/v3", "GET / lists"),
    ] {
        let reply = server.get(path);
        assert!(
            reply.status == 404 && reply.error().contains(says),
            "{path}: {}",
            reply.text()
        );
    }
    let wrong = server.get("/v2/models/tumour/infer");
    assert_eq!((wrong.status, wrong.headers["allow"].as_str()), (405, "POST"));
    let wrong = server.post("/v2/health/live", &json!({}));
    assert_eq!(
        (wrong.status, wrong.headers["allow"].as_str()),
        (405, "GET, HEAD")
    );
}
