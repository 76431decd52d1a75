//! TensorFlow Serving's REST API, as its documents write it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Fixture, draft, of_integers};
use serde_json::{Value, json};

const PREDICT: &str = "/v1/models/tumour:predict";

fn probability(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

#[test]
fn describes_itself() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let status = json!({"model_version_status": [
        {"version": "r1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
    ]});
    assert_eq!(server.get("/v1/models/tumour").json(), status);
    assert_eq!(server.get("/v1/models/tumour/versions/r1").json(), status);
    let metadata = server.get("/v1/models/tumour/metadata").json();
    assert_eq!(metadata["model_spec"]["version"], "r1");
    let signature = &metadata["metadata"]["signature_def"]["signature_def"]["serving_default"];
    assert_eq!(signature["method_name"], "tensorflow/serving/predict");
    assert_eq!(
        signature["inputs"]["input"]["tensor_shape"]["dim"][1]["size"],
        "2"
    );
    assert_eq!(signature["outputs"]["output"]["dtype"], "DT_FLOAT");
}

#[test]
fn looks_integers_up_and_refuses_those_it_does_not_know() {
    let server = Fixture::new(of_integers()).serve(&[]);
    let mut client = server.connect();
    let reply = client.post(PREDICT, br#"{"instances": [[0, 1], [2, 2]]}"#);
    assert_eq!(reply.json(), json!({"predictions": [[11.0], [200.0]]}));
    for (wrong, told) in [("3", "3"), ("0.5", "0.5"), ("-1", "-1")] {
        let body = format!(r#"{{"instances": [[0, 1], [2, {wrong}]]}}"#);
        let reply = client.post(PREDICT, body.as_bytes());
        let sentence = reply.json()["error"].to_string();
        assert_eq!(reply.status, 422, "{sentence}");
        let says = format!("row 1 holds {told} in the column");
        assert!(
            sentence.contains(&says) && sentence.contains("from 0 to 2"),
            "{sentence}"
        );
    }
}

#[test]
fn answers_rows_and_columns() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let mut client = server.connect();
    for (body, key) in [
        (json!({"instances": [[14, 6], [10.0, 7]]}), "predictions"),
        (
            json!({"signature_name": "serving_default", "instances": [[14, 6], [10, 7]]}),
            "predictions",
        ),
        (
            json!({"instances": [{"radius": 14, "texture": 6}, {"texture": 7, "radius": 10}]}),
            "predictions",
        ),
        (
            json!({"instances": [{"input": [14, 6]}, {"input": [10, 7]}]}),
            "predictions",
        ),
        (json!({"inputs": [[14, 6], [10, 7]]}), "outputs"),
        (json!({"inputs": {"input": [[14, 6], [10, 7]]}}), "outputs"),
        (
            json!({"inputs": {"texture": [6, 7], "radius": [[14], [10]]}}),
            "outputs",
        ),
    ] {
        let reply = client.post(PREDICT, body.to_string().as_bytes());
        let answer = reply.json();
        assert_eq!(reply.status, 200, "{body}: {answer}");
        let [first, second] = &answer[key].as_array().unwrap()[..] else {
            panic!("{answer}")
        };
        assert!((probability(&first[0]) - 0.731_058_6).abs() < 1e-6, "{answer}");
        assert!((probability(&second[0]) - 0.119_202_9).abs() < 1e-6, "{answer}");
        assert_eq!(answer.as_object().unwrap().len(), 1);
    }
    // As the documents write it: curl -d, which claims a form.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply = client.send(
        "POST",
        "/v1/models/tumour/versions/r1:predict",
        &form,
        b"{\"instances\": [[1, 2]]}",
    );
    assert_eq!(reply.status, 200);
    let mut three = Fixture::new(draft(false))
        .serve(&[])
        .post(PREDICT, &json!({"instances": [[14, 6]]}))
        .json();
    assert_eq!(three["predictions"][0].as_array_mut().unwrap().len(), 3);
}

#[test]
fn refuses_what_it_cannot_answer_and_says_why() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let mut client = server.connect();
    let deep = format!(
        "{{\"instances\": {}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for (body, says) in [
        (
            "{\"instances\": [[1, 2, 3]]}",
            "instances[0] has 3 values, but the model takes 2: \"radius\", \"texture\"",
        ),
        (
            "{\"instances\": [[1, 2], [1]]}",
            "instances[1] has 1 values, but the model takes 2",
        ),
        (
            "{\"instances\": [{\"radius\": 1}]}",
            "instances[0] lacks the column \"texture\"",
        ),
        (
            "{\"instances\": [{\"radius\": 1, \"size\": 2}]}",
            "a column \"size\" that the model does not know",
        ),
        (
            "{\"instances\": [{\"radius\": \"1\", \"texture\": 2}]}",
            "column \"radius\", is the text \"1\", not a number",
        ),
        ("{\"instances\": [[1, null]]}", "column \"texture\", is null"),
        (
            "{\"instances\": [[1, NaN]]}",
            "not valid JSON: expected value at line 1 column",
        ),
        ("{\"instances\": [[1, 1e40]]}", "beyond the range of FP32"),
        ("{\"instances\": [[1, 1e400]]}", "number out of range"),
        ("{\"instances\": []}", "there is no row to predict"),
        ("{\"instances\": {}}", "\"instances\" as a list of rows"),
        (
            "{\"instances\": [1]}",
            "instances[0] is a number; a row is a list of 2 numbers",
        ),
        ("{\"instances\": [[1, 2]], \"inputs\": [[1, 2]]}", "has both"),
        (
            "{\"instances\": [[1, 2]], \"instances\": [[1, 2]]}",
            "is there twice",
        ),
        ("{}", "neither \"instances\" (rows) nor \"inputs\" (columns)"),
        (
            "{\"rows\": []}",
            "the field \"rows\" is not known: a request has signature_name, instances, inputs",
        ),
        (
            "{\"signature_name\": \"x\", \"instances\": [[1, 2]]}",
            "no signature \"x\": the model has \"serving_default\"",
        ),
        (
            "{\"inputs\": {\"radius\": [1]}}",
            "the column \"texture\" is missing",
        ),
        (
            "{\"inputs\": {\"radius\": [1], \"texture\": [1, 2]}}",
            "has 2 rows",
        ),
        (
            "{\"inputs\": [1, 2]}",
            "has shape [2], but the model takes [-1, 2]",
        ),
        ("{\"instances\": [[1, 2]]", "not valid JSON: EOF"),
        (
            "{\"instances\": [[1, 2]]}}",
            "trailing characters at line 1 column 24",
        ),
        ("\n\n{\"instances\" [", "at line 3 column"),
        ("", "not valid JSON: EOF while parsing a value at line 1 column 0"),
        (deep.as_str(), ""),
    ] {
        let reply = client.post(PREDICT, body.as_bytes());
        assert_eq!(reply.status, 400, "{body:.200}: {}", reply.text());
        assert!(reply.error().contains(says), "{body:.200}: {}", reply.error());
    }
    for bytes in [
        &b"{\"instances\": [[1, \xff]]}"[..],
        b"\xff\xfe{",
        b"{\"\xc3\x28\": 1}",
        b"\0\0\0",
    ] {
        assert_eq!(client.post(PREDICT, bytes).status, 400);
    }
    let huge = client.post(PREDICT, b"{\"instances\": [[3e38, -3e38]]}");
    // Beyond what a number can be, the logit is infinite and the probability is 1.
    assert_eq!(
        (huge.status, huge.text().as_str()),
        (200, "{\"predictions\":[[1.0]]}")
    );
    for (path, says) in [
        (
            "/v1/models/other:predict",
            "there is no model \"other\" here: this server has \"tumour\"",
        ),
        ("/v1/models/tumour/versions/7:predict", "no version \"7\""),
        ("/v1/models/tumour:classify", "use :predict"),
        ("/v1/models/tumour:explain", "GET / lists"),
    ] {
        let reply = client.post(path, b"{}");
        assert!(
            reply.status == 404 && reply.error().contains(says),
            "{path}: {}",
            reply.text()
        );
    }
    assert_eq!(client.send("GET", PREDICT, &[], b"").headers["allow"], "POST");
    for (header, value) in [
        ("Content-Type", "text/plain"),
        ("Content-Type", "application/octet-stream"),
        ("Content-Encoding", "gzip"),
    ] {
        assert_eq!(
            client.send("POST", PREDICT, &[(header, value)], b"{}").status,
            415,
            "{value}"
        );
    }
    for accepted in [
        "application/json; charset=utf-8",
        "application/vnd.api+json",
        "APPLICATION/JSON",
    ] {
        let reply = client.send(
            "POST",
            PREDICT,
            &[("Content-Type", accepted)],
            b"{\"instances\": [[1, 2]]}",
        );
        assert_eq!(reply.status, 200, "{accepted}");
    }
}
