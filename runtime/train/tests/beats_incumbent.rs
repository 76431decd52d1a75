//! The model that is served is measured on the rows that the new one is, and by its own preprocessing.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use rehearsal::{Rehearsal, metric, separable};
use sconce_contract::{Artifact, FailureClass, Incumbent, MetricName, Report};
use serde_json::{Value, json};

/// Words and numbers, with some of each missing.
fn flowers(rows: u32) -> String {
    let mut text = "size,colour,y\n".to_owned();
    for row in 0..rows {
        let size = row * 37 % 101;
        let colour = ["red", "green", "blue", ""][row as usize % 4];
        let y = if size > 50 || colour == "red" { "yes" } else { "no" };
        text.push_str(&format!("{size},{colour},{y}\n"));
    }
    text
}

fn of(table: &str) -> Rehearsal {
    Rehearsal::of(table)
        .layers(&[(8, "Tanh"), (1, "Sigmoid")])
        .with("hyperparameters", json!({"epochs": 20}))
        .with("dataset.missing", json!("Median"))
        .with(
            "evaluation",
            json!({"gates": [{"metric": "logLoss", "beats": "Incumbent"}, {"metric": "f1", "min": 0.1}]}),
        )
}

fn incumbent(rehearsal: &Rehearsal) -> Option<Incumbent> {
    match rehearsal.run().unwrap() {
        Report::Trained { incumbent, .. } => incumbent,
        other => panic!("{other:?}"),
    }
}

fn against(rehearsal: Rehearsal, artifact: &Artifact) -> Rehearsal {
    rehearsal.with(
        "incumbent",
        json!({"uri": artifact.uri, "digest": artifact.digest}),
    )
}

#[test]
fn the_same_model_as_incumbent_reaches_the_same_on_the_same_rows() {
    let first = of(&flowers(200));
    assert_eq!(incumbent(&first), Some(Incumbent::default()), "there is none yet");
    let (metrics, artifact) = first.train();
    let again = against(first, &artifact);
    let found = incumbent(&again).unwrap();
    assert_eq!(found.digest.as_ref(), Some(&artifact.digest));
    assert_eq!(
        found.metrics.len(),
        1,
        "what no gate compares is not measured: {found:?}"
    );
    let difference = metric(&found.metrics, MetricName::LogLoss) - metric(&metrics, MetricName::LogLoss);
    assert!(difference.abs() < 1e-6, "{found:?} {metrics:?}");
    let unasked = again.with("evaluation.gates", json!([{"metric": "f1", "min": 0.1}]));
    assert_eq!(incumbent(&unasked), None);
}

#[test]
fn an_incumbent_reaches_the_same_on_rows_on_disk() {
    let first = of(&flowers(2000));
    let (_, artifact) = first.train();
    let again = against(first, &artifact);
    let in_memory = incumbent(&again).unwrap();
    let mut command = again.command();
    assert_eq!(
        command.args(["--memory", "4000"]).status().unwrap().code(),
        Some(0)
    );
    let report = std::fs::read(again.path("report")).unwrap();
    let Report::Trained {
        incumbent: Some(on_disk),
        ..
    } = serde_json::from_slice(&report).unwrap()
    else {
        panic!("{}", String::from_utf8_lossy(&report));
    };
    let [expected, found] = [in_memory, on_disk].map(|of| metric(&of.metrics, MetricName::LogLoss));
    assert!((expected - found).abs() < 1e-6, "{expected} {found}");
}

#[test]
fn an_incumbent_with_its_columns_elsewhere_answers_as_before() {
    let first = of(&flowers(200));
    let (metrics, artifact) = first.train();
    // Another order of columns, one more, and a word that the incumbent does not know but no held-out row has.
    let mut text = "colour,more,size,y\n".to_owned();
    for line in flowers(200).lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        text.push_str(&format!("{},0,{},{}\n", cells[1], cells[0], cells[2]));
    }
    let moved = against(first.write("table.csv", &text), &artifact);
    let found = incumbent(&moved).unwrap();
    let difference = metric(&found.metrics, MetricName::LogLoss) - metric(&metrics, MetricName::LogLoss);
    assert!(difference.abs() < 1e-6, "{found:?} {metrics:?}");
}

#[test]
fn an_incumbent_that_cannot_be_compared_is_told_before_anything_is_learned() {
    let first = of(&flowers(200));
    let (_, artifact) = first.train();
    let expect = |rehearsal: &Rehearsal, says: &str, class: FailureClass| {
        let failure = rehearsal.run().unwrap_err().failure();
        assert!(failure.message.contains(says), "{failure:?}");
        assert_eq!(
            (failure.class, failure.field.as_deref()),
            (class, Some("evaluation.gates"))
        );
    };
    let first = against(first, &artifact);
    let narrow = first.with("dataset.features", json!(["size"]));
    expect(
        &narrow,
        "it reads the column \"colour\", which is no feature here",
        FailureClass::BadInput,
    );
    let other = narrow
        .with("dataset.features", Value::Null)
        .with("dataset.features", json!([]));
    let other = other.write("table.csv", &flowers(200).replace("yes", "maybe"));
    expect(&other, "it predicts other classes", FailureClass::BadInput);
    let numbers = other.write("table.csv", &separable(100).replace("a,b,y", "size,colour,y"));
    expect(
        &numbers,
        "holds numbers for one of them and words for the other",
        FailureClass::BadInput,
    );
    let gone = numbers.with("incumbent.digest", json!(format!("sha256:{}", "0".repeat(64))));
    expect(
        &gone,
        "the incumbent, which a gate with `beats` asks for, cannot be measured",
        FailureClass::BadInput,
    );
}
