//! Tests of `plan`.

use sconce_contract::Hyperparameters;
use serde_json::json;

use super::*;

fn plan() -> Value {
    json!({
        "name": "t", "run": "r", "output": "file:///tmp/models",
        "network": {"layers": [{"dense": {"units": 1}}]},
        "dataset": {"uri": "file:///tmp/table.csv", "target": "y", "features": []},
    })
}

fn read_changed(pointer: &str, value: Value) -> Result<TrainingPlan, TrainError> {
    let mut changed = plan();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut place = &mut changed;
    for part in parent.split('/').skip(1) {
        place = match part.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[part],
        };
    }
    place[key] = value;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    fs::write(&path, changed.to_string()).unwrap();
    read(&path)
}

#[test]
fn a_plan_with_defaults_is_understood() {
    let plan = read_changed("/device", json!("CPU")).unwrap();
    assert_eq!(plan.hyperparameters, Hyperparameters::default());
    assert!(plan.dataset.standardize);
}

#[test]
fn each_value_that_cannot_be_honoured_names_its_field() {
    for (pointer, value, field) in [
        ("/device", json!("CUDA"), "accelerator"),
        ("/output", json!(""), "output.uri"),
        ("/checkpoint", json!({"uri": ""}), "checkpoint.uri"),
        (
            "/checkpoint",
            json!({"uri": "file:///a", "keep": 0}),
            "checkpoint.keep",
        ),
        (
            "/checkpoint",
            json!({"uri": "file:///a", "every": {}}),
            "checkpoint.every",
        ),
        (
            "/checkpoint",
            json!({"uri": "file:///a", "every": {"steps": 0}}),
            "checkpoint.every.steps",
        ),
        (
            "/checkpoint",
            json!({"uri": "file:///a", "every": {"interval": "10ms"}}),
            "checkpoint.every.interval",
        ),
        ("/dataset/uri", json!("file:///tmp/table.xlsx"), "dataset.format"),
        ("/dataset/target", json!(""), "dataset.target"),
        ("/dataset/features", json!(["a", "y"]), "dataset.features"),
        ("/dataset/features", json!(["a", "b", "a"]), "dataset.features"),
        (
            "/dataset/split",
            json!({"validation": 0.5, "test": 0.5}),
            "dataset.split",
        ),
        ("/dataset/split", json!({"validation": -0.1}), "dataset.split"),
        ("/hyperparameters", json!({"epochs": 0}), "hyperparameters.epochs"),
        (
            "/hyperparameters",
            json!({"batchSize": 0}),
            "hyperparameters.batchSize",
        ),
        (
            "/hyperparameters",
            json!({"optimizer": {"learningRate": 0.0}}),
            "hyperparameters.optimizer.learningRate",
        ),
        (
            "/hyperparameters",
            json!({"optimizer": {"momentum": 0.9}}),
            "hyperparameters.optimizer.momentum",
        ),
        (
            "/hyperparameters",
            json!({"optimizer": {"type": "SGD", "momentum": 1.0}}),
            "hyperparameters.optimizer.momentum",
        ),
        (
            "/hyperparameters",
            json!({"optimizer": {"weightDecay": 0.1}}),
            "hyperparameters.optimizer.weightDecay",
        ),
        (
            "/hyperparameters",
            json!({"schedule": {"type": "InverseTime"}}),
            "hyperparameters.schedule.decay",
        ),
        (
            "/hyperparameters",
            json!({"schedule": {"decay": 0.1}}),
            "hyperparameters.schedule.decay",
        ),
        (
            "/hyperparameters",
            json!({"optimizer": {"nesterov": true}}),
            "hyperparameters.optimizer.nesterov",
        ),
        (
            "/hyperparameters",
            json!({"schedule": {"type": "Step", "factor": 0.5}}),
            "hyperparameters.schedule.everyEpochs",
        ),
        (
            "/hyperparameters",
            json!({"schedule": {"type": "Exponential", "factor": 1.5}}),
            "hyperparameters.schedule.factor",
        ),
        (
            "/hyperparameters",
            json!({"schedule": {"finalLearningRate": 0.1}}),
            "hyperparameters.schedule.finalLearningRate",
        ),
        (
            "/hyperparameters",
            json!({"schedule": {"type": "OneCycle", "warmupEpochs": 1}}),
            "hyperparameters.schedule.warmupEpochs",
        ),
        (
            "/hyperparameters",
            json!({"huberDelta": 1.0}),
            "hyperparameters.huberDelta",
        ),
        (
            "/hyperparameters",
            json!({"loss": "Huber", "huberDelta": 0.0}),
            "hyperparameters.huberDelta",
        ),
        (
            "/hyperparameters",
            json!({"labelSmoothing": 1.0}),
            "hyperparameters.labelSmoothing",
        ),
        (
            "/hyperparameters",
            json!({"loss": "MeanSquaredError", "classWeights": "Balanced"}),
            "hyperparameters.classWeights",
        ),
        (
            "/hyperparameters",
            json!({"regularization": {}}),
            "hyperparameters.regularization",
        ),
        (
            "/hyperparameters",
            json!({"regularization": {"l1": -1.0}}),
            "hyperparameters.regularization.l1",
        ),
        (
            "/hyperparameters",
            json!({"clipNorm": 0.0}),
            "hyperparameters.clipNorm",
        ),
        (
            "/hyperparameters",
            json!({"accumulateBatches": 0}),
            "hyperparameters.accumulateBatches",
        ),
        (
            "/hyperparameters",
            json!({"earlyStopping": {"patience": 0}}),
            "hyperparameters.earlyStopping.patience",
        ),
        (
            "/hyperparameters",
            json!({"earlyStopping": {"minDelta": -0.1}}),
            "hyperparameters.earlyStopping.minDelta",
        ),
        (
            "/evaluation",
            json!({"gates": [{"metric": "loss"}]}),
            "evaluation.gates[0]",
        ),
        (
            "/evaluation",
            json!({"gates": [{"metric": "loss", "min": 2, "max": 1}]}),
            "evaluation.gates[0]",
        ),
    ] {
        let failure = read_changed(pointer, value.clone()).unwrap_err().failure();
        assert_eq!(
            failure.field.as_deref(),
            Some(field),
            "{pointer} {value}: {}",
            failure.message
        );
        assert_eq!(failure.class, sconce_contract::FailureClass::BadInput);
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (pointer, value, says) in [
        (
            "/hyperparameters",
            json!({"epoch": 3}),
            "no field hyperparameters.epoch;",
        ),
        (
            "/network/layers/0/dense",
            json!({"units": 1, "bias": false}),
            "no field network.layers[0].dense.bias;",
        ),
        (
            "/hyperparameters",
            json!({"epochs": "three"}),
            "expected u32 at line 1 column",
        ),
        ("/colour", json!("red"), "unknown field `colour`"),
    ] {
        let error = read_changed(pointer, value).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.class(), sconce_contract::FailureClass::BadInput);
    }
}
