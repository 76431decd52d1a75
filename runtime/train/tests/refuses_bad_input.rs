//! What cannot be learned is refused with a class, a field and a sentence, and leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use rehearsal::{Rehearsal, separable, table};
use sconce_contract::FailureClass;
use sconce_train::watch::{Stop, Watch};
use serde_json::{Value, json};

fn good() -> Rehearsal {
    Rehearsal::of(&separable(100))
        .layers(&[(4, "ReLU"), (1, "Sigmoid")])
        .with("hyperparameters", json!({}))
}

#[test]
fn a_plan_that_does_not_fit_the_table() {
    let gate = json!([{"metric": "accuracy", "min": 0.9}]);
    for (path, value, field, says) in [
        (
            "device",
            json!("CUDA"),
            "accelerator",
            "this image computes on the CPU",
        ),
        (
            "dataset.target",
            json!("Y"),
            "dataset.target",
            "did you mean \"y\"?",
        ),
        (
            "dataset.features",
            json!(["a", "c"]),
            "dataset.features",
            "no column \"c\"",
        ),
        (
            "dataset.uri",
            json!("pvc://data/other.csv"),
            "dataset.uri",
            "nothing at pvc://data/other.csv",
        ),
        (
            "dataset.uri",
            json!("pvc://other/table.csv"),
            "dataset.uri",
            "pvc://other must be among",
        ),
        (
            "output",
            json!("pvc://other/models"),
            "output.uri",
            "pvc://other must be among",
        ),
        (
            "dataset.split",
            json!({"validation": 0.001, "test": 0.0}),
            "dataset.split.validation",
            "is not a row",
        ),
        (
            "hyperparameters",
            json!({"labelSmoothing": 0.1}),
            "hyperparameters.labelSmoothing",
            "the loss is BinaryCrossEntropy",
        ),
        (
            "hyperparameters",
            json!({"loss": "Huber", "classWeights": "Balanced"}),
            "hyperparameters.classWeights",
            "CrossEntropy or BinaryCrossEntropy only",
        ),
        (
            "network.layers",
            json!([]),
            "model.network.layers",
            "1 to 64 layers",
        ),
        (
            "network.layers",
            json!([{"dense": {"units": 0}}]),
            "model.network.layers[0].dense.units",
            "between 1 and 65536",
        ),
        (
            "network.layers",
            json!([{"conv2d": {"filters": 4, "kernelSize": 3}}, {"flatten": {}}, {"dense": {"units": 1}}]),
            "model.network.layers[0].conv2d",
            "set model.network.input to height, width and channels",
        ),
        (
            "network.layers",
            json!([{"dense": {"units": 3, "activation": "Softmax"}}]),
            "model.network.layers[0].dense.units",
            "\"y\" holds 2 classes (\"no\", \"yes\"): set units to 2",
        ),
        (
            "network.layers",
            json!([{"dense": {"units": 2}}]),
            "model.network.layers[0].dense.activation",
            "set activation to Softmax",
        ),
        (
            "hyperparameters.loss",
            json!("MeanSquaredError"),
            "dataset.target",
            "line 2, column \"y\": \"no\" is not a number",
        ),
        (
            "evaluation.metrics",
            json!(["loss", "r2"]),
            "evaluation.metrics[1]",
            "r2 does not fit \"y\", which holds classes: choose from loss, accuracy, auroc",
        ),
        (
            "evaluation.gates",
            json!([{"metric": "mae", "max": 1.0}]),
            "evaluation.gates[0].metric",
            "mae does not fit",
        ),
    ] {
        let rehearsal = good().with("evaluation", json!({})).with(path, value);
        expect(&rehearsal, field, says);
    }
    let unmeasured = good().with("evaluation", json!({"gates": gate}));
    let unmeasured = unmeasured.with("dataset.split", json!({"validation": 0.0, "test": 0.0}));
    expect(
        &unmeasured,
        "dataset.split.test",
        "neither test nor validation rows",
    );
    let blind = good().with("hyperparameters", json!({"earlyStopping": {}}));
    expect(
        &blind.with("dataset.split.validation", json!(0.0)),
        "hyperparameters.earlyStopping",
        "set dataset.split.validation above 0",
    );
}

#[test]
fn a_table_that_cannot_be_learned_from() {
    for (table, field, says) in [
        (String::new(), "dataset.uri", "the table is empty"),
        ("a,y\n".to_owned(), "dataset.uri", "no rows"),
        (
            "a,y\n1,no\n2,yes,3\n".to_owned(),
            "dataset.uri",
            "line 3: the row has 3 cells",
        ),
        ("a,a,y\n1,2,no\n".to_owned(), "dataset.uri", "\"a\" twice"),
        (
            "a,y\n1,no\nx,yes\n".to_owned(),
            "dataset.features",
            "line 3, column \"a\": \"x\" is not a number",
        ),
        (
            "a,y\n1,no\n,yes\n".to_owned(),
            "dataset.features",
            "line 3, column \"a\": the cell is empty",
        ),
        (
            "a,y\n1,no\n2,\n".to_owned(),
            "dataset.target",
            "line 3, column \"y\": the cell is empty",
        ),
        (
            "a,y\n1,no\n2,no\n".to_owned(),
            "dataset.target",
            "\"no\" in every row",
        ),
        (
            "a,y\n1,no\n2,yes\n".to_owned(),
            "dataset.split.validation",
            "0.1 of 2 rows is not a row",
        ),
    ] {
        let rehearsal = Rehearsal::of(&table).layers(&[(1, "Sigmoid")]);
        expect(&rehearsal, field, says);
    }
}

#[test]
fn a_metric_that_the_held_out_rows_leave_undefined() {
    let mut rows = "a,y\n".to_owned();
    for row in 0..50 {
        rows.push_str(&format!("{row},{}\n", if row == 0 { "rare" } else { "common" }));
    }
    let asked = |metrics: Value| {
        Rehearsal::of(&rows)
            .layers(&[(1, "Sigmoid")])
            .with("dataset.split", json!({"validation": 0.0, "test": 0.1}))
            .with("evaluation", json!({"metrics": metrics}))
    };
    expect(
        &asked(json!(["auroc"])),
        "dataset.split.test",
        "auroc is undefined on the 5 test row(s)",
    );
    // Nobody asked for it: it is left out.
    let names: Vec<&str> = asked(json!([]))
        .train()
        .0
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    assert_eq!(names, ["loss", "accuracy", "precision", "recall", "f1"]);
}

#[test]
fn a_loss_that_explodes() {
    let steep = table(100, |a, b| format!("{}", 1e6 * (a + b)));
    let rehearsal = Rehearsal::of(&steep).with(
        "hyperparameters",
        json!({"epochs": 50, "optimizer": {"type": "SGD", "learningRate": 50.0}}),
    );
    let failure = rehearsal.refuse();
    assert_eq!(failure.class, FailureClass::Diverged);
    assert_eq!(
        failure.field.as_deref(),
        Some("hyperparameters.optimizer.learningRate")
    );
    assert!(
        failure.message.contains("in epoch ") && failure.message.contains("(it is 50)"),
        "{failure:?}"
    );
}

#[test]
fn a_stop_is_heard_at_the_next_step() {
    let stop = Stop::default();
    stop.ask();
    let failure = good()
        .run_watched(&Watch::default(), &stop)
        .unwrap_err()
        .failure();
    assert_eq!(failure.class, FailureClass::Interrupted);
    assert!(
        failure
            .message
            .contains("while reading the table: no step is lost by it"),
        "{failure:?}"
    );
}

fn expect(rehearsal: &Rehearsal, field: &str, says: &str) {
    let failure = rehearsal.refuse();
    assert!(failure.message.contains(says), "{says:?} is not in {failure:?}");
    assert_eq!(
        (failure.class, failure.field.as_deref()),
        (FailureClass::BadInput, Some(field)),
        "{failure:?}"
    );
}
