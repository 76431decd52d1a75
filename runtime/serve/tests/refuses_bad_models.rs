//! A model that cannot be served: the reason and the field in the report, the exit code, never a panic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Fixture, draft};
use serde_json::{Value, json};

fn failed(fixture: &Fixture, code: i32, field: Option<&str>, says: &str) {
    let (exit, report) = fixture.fails(&[]);
    assert_eq!(exit, code, "{report}");
    assert_eq!(report["outcome"], "failed");
    assert_eq!(report["field"].as_str(), field, "{report}");
    assert!(report["message"].as_str().unwrap().contains(says), "{report}");
}

#[test]
fn each_failure_names_what_to_change() {
    let change = |change: &dyn Fn(&mut Value)| {
        let mut fixture = Fixture::new(draft(true));
        change(&mut fixture.plan);
        fixture
    };
    let missing = change(&|plan| plan["model"] = "pvc://models/none".into());
    failed(
        &missing,
        65,
        Some("model.uri"),
        "there is no model at pvc://models/none",
    );
    let unmounted = change(&|plan| plan["mounts"] = json!([]));
    failed(
        &unmounted,
        65,
        Some("model.uri"),
        "pvc://models must be among the plan's mounts",
    );
    let other = change(&|plan| plan["digest"] = format!("sha256:{}", "0".repeat(64)).into());
    failed(&other, 65, Some("model.digest"), "was asked for");
    let device = change(&|plan| plan["device"] = "CUDA".into());
    failed(&device, 65, Some("accelerator.profile"), "computes on the CPU");
    let unknown = change(&|plan| plan["replicas"] = 3.into());
    failed(&unknown, 65, None, "unknown field `replicas`");
    let warmups = [
        (
            json!([[1, 2, 3]]),
            "warmup.rows[0] has 3 values, but the model takes 2",
        ),
        (
            json!([[1, 2], {"radius": 1}]),
            "warmup.rows[1] lacks the column \"texture\"",
        ),
        (
            json!([[1, "2"]]),
            "warmup.rows[0], column \"texture\", is the text \"2\"",
        ),
        (json!([]), "warmup.rows has 0 rows: give 1 to 64"),
        (Value::Array(vec![json!([1, 2]); 65]), "warmup.rows has 65 rows"),
    ];
    for (rows, says) in warmups {
        let fixture = change(&|plan| plan["warmup"] = json!({"rows": rows}));
        failed(&fixture, 65, Some("warmup"), says);
    }
    let good = change(&|plan| plan["warmup"] = json!({"rows": [[1, 2], {"texture": 1, "radius": 2}]}));
    drop(good.serve(&[]));
}

#[test]
fn a_model_that_cannot_be_fetched_may_be_tried_again() {
    let mut fixture = Fixture::new(draft(true));
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    fixture.plan["model"] = format!("http://{closed}/model").into();
    failed(&fixture, 1, Some("model.uri"), "could not be read in 4 tries");
}

#[test]
fn a_damaged_model_is_never_served() {
    let fixture = Fixture::new(draft(true));
    for file in ["model.safetensors", "network.json", "preprocess.json"] {
        let path = fixture.path.join(file);
        let whole = std::fs::read(&path).unwrap();
        for place in [0, 7, 8, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..place]).unwrap();
            failed(&fixture, 65, Some("model.uri"), "is damaged");
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            failed(&fixture, 65, Some("model.uri"), "is damaged");
        }
        std::fs::write(&path, whole).unwrap();
    }
    std::fs::write(fixture.path.join("manifest.json"), "{\"schema\": 1, \"files\"").unwrap();
    failed(
        &fixture,
        65,
        Some("model.uri"),
        "manifest.json cannot be understood",
    );
}

#[test]
fn a_port_in_use_is_said() {
    let fixture = Fixture::new(draft(true));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, report) = fixture.fails(&["--observe", &address]);
    assert_eq!(code, 1);
    assert!(
        report["message"].as_str().unwrap().contains("cannot listen on"),
        "{report}"
    );
}

#[test]
fn metrics_and_load_tell_what_happened() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let body = json!({"instances": [[14, 6]]});
    assert_eq!(server.post("/v1/models/tumour:predict", &body).status, 200);
    assert_eq!(server.post("/v2/models/tumour/infer", &body).status, 400);
    let metrics = server.probe("/metrics");
    assert!(metrics.headers["content-type"].starts_with("application/openmetrics-text"));
    let text = metrics.text();
    for line in [
        "sconce_requests_total{protocol=\"TensorFlowServing\",code=\"200\"} 1",
        "sconce_requests_total{protocol=\"OpenInference\",code=\"400\"} 1",
        "sconce_request_duration_seconds_count{protocol=\"TensorFlowServing\"} 1",
        "sconce_requests_in_flight 0",
        "sconce_requests_queued 0",
        "sconce_model_info{name=\"tumour\",revision=\"r1\",digest=\"sha256:",
        "sconce_model_load_seconds ",
        "# EOF",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    let load = server.load();
    assert_eq!(
        (&load["inFlight"], &load["queued"], &load["completed"]),
        (&json!(0), &json!(0), &json!(2))
    );
    // What has been computed has taken time, and nobody had to wait.
    let micros = |name: &str| load[name].as_u64().unwrap_or_default();
    assert!(
        micros("uptimeMicros") > micros("inFlightMicros") && micros("slots") > 0,
        "{load}"
    );
    assert_eq!(load["queuedMicros"], 0);
    assert_eq!(server.probe("/nothing").status, 404);
}
