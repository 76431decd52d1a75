//! Tests of `check`.

use serde_json::{Value, json};

use super::*;

fn network() -> Network {
    serde_json::from_value(json!({"layers": [
        {"dense": {"units": 8, "activation": "ReLU"}}, {"dropout": {"rate": 0.1}}, {"dense": {"units": 1}},
    ]}))
    .unwrap()
}

fn search(change: &Value) -> Search {
    let mut value = json!({
        "objective": {"metric": "accuracy"},
        "space": [{"path": "hyperparameters.optimizer.learningRate", "logUniform": {"min": 0.0001, "max": 0.1}}],
    });
    for (name, new) in change.as_object().unwrap() {
        value[name] = new.clone();
    }
    serde_json::from_value(value).unwrap()
}

fn check(change: &Value) -> Result<(), Misfit> {
    search(change).check(&network(), &Hyperparameters::default(), None)
}

#[test]
fn each_kind_of_parameter_is_taken() {
    check(&json!({"space": [
        {"path": "hyperparameters.optimizer.learningRate", "logUniform": {"min": 0.0001, "max": 0.1}},
        {"path": "hyperparameters.optimizer.type", "choice": ["Adam", "SGD"]},
        {"path": "hyperparameters.batchSize", "int": {"min": 8, "max": 128}},
        {"path": "hyperparameters.regularization.l2", "logUniform": {"min": 1e-6, "max": 0.01}},
        {"path": "hyperparameters.earlyStopping.patience", "int": {"min": 1, "max": 9}},
        {"path": "model.network.layers[0].dense.units", "choice": [8, 64]},
        {"path": "model.network.layers[0].dense.activation", "choice": ["ReLU", "Tanh"]},
        {"path": "model.network.layers[1].dropout.rate", "uniform": {"min": 0, "max": 0.5}},
    ]}))
    .unwrap();
    check(&json!({"space": [{"path": "model.network.layers", "choice": [
        [{"dense": {"units": 1}}], [{"dense": {"units": 4, "activation": "Tanh"}}, {"dense": {"units": 1}}],
    ]}]}))
    .unwrap();
}

#[test]
fn a_value_needs_to_go_with_some_values_of_the_others_only() {
    let momentum = json!({"path": "hyperparameters.optimizer.momentum", "uniform": {"min": 0.1, "max": 0.9}});
    let kind = |kinds: &[&str]| json!({"path": "hyperparameters.optimizer.type", "choice": kinds});
    check(&json!({"space": [momentum, kind(&["SGD", "Adam"])]})).unwrap();
    let misfit = check(&json!({"space": [momentum, kind(&["Lion", "Adam"])]})).unwrap_err();
    assert_eq!(misfit.field, "search.space[0].uniform.min");
    assert!(
        misfit.problem.contains("works with type SGD only"),
        "{}",
        misfit.problem
    );
}

#[test]
fn what_cannot_be_searched_names_field_and_alternatives() {
    let one = |path: &str, domain: &str, values: Value| {
        let mut parameter = json!({"path": path});
        parameter[domain] = values;
        json!({"space": [parameter]})
    };
    let range = |min: f64, max: f64| json!({"min": min, "max": max});
    let rate = "hyperparameters.optimizer.learningRate";
    let units = "model.network.layers[0].dense.units";
    for (change, field, says) in [
        (
            one("hyperparameters.optimizer.rate", "uniform", range(0.1, 0.2)),
            "search.space[0].path",
            "hyperparameters.optimizer has learningRate, momentum, nesterov, type, weightDecay",
        ),
        (
            one("hyperparameters.adam.learningRate", "uniform", range(0.1, 0.2)),
            "search.space[0].path",
            "hyperparameters has accumulateBatches, batchSize",
        ),
        (
            one("model.network.layers[0].dense.width", "choice", json!([1])),
            "search.space[0].path",
            "model.network.layers[0].dense has activation, units",
        ),
        (
            one("model.network.layers[7].dense.units", "choice", json!([1])),
            "search.space[0].path",
            "model.network.layers in the spec: it has 3, counted from 0",
        ),
        (
            one("model.network.layers[1].dense.units", "choice", json!([1])),
            "search.space[0].path",
            "model.network.layers[1] in the spec: it is dropout, not dense",
        ),
        (
            one("hyperparameters.epochs.all", "choice", json!([1])),
            "search.space[0].path",
            "hyperparameters.epochs has no fields or items",
        ),
        (
            one("dataset.standardize", "choice", json!([true])),
            "search.space[0].path",
            "begin with hyperparameters. or model.network.",
        ),
        (
            one("hyperparameters optimizer", "choice", json!([true])),
            "search.space[0].path",
            "is no path: write it as",
        ),
        (
            one(units, "choice", json!([8, 0])),
            "search.space[0].choice[1]",
            "0 is not between 1 and 65536",
        ),
        (
            one(units, "choice", json!(["many"])),
            "search.space[0].choice[0]",
            "expected u32",
        ),
        (
            one(units, "uniform", range(8.0, 64.0)),
            "search.space[0].uniform.min",
            "for whole numbers say int or choice",
        ),
        (
            one(
                "model.network.layers[0]",
                "choice",
                json!([{"dense": {"units": 4, "bias": true}}]),
            ),
            "search.space[0].choice[0]",
            "there is no field model.network.layers[0].dense.bias",
        ),
        (
            one("hyperparameters.optimizer.type", "choice", json!(["Adam", "Sgd"])),
            "search.space[0].choice[1]",
            "expected one of `SGD`",
        ),
        (
            one(rate, "uniform", range(-0.1, 0.1)),
            "search.space[0].uniform.min",
            "hyperparameters.optimizer.learningRate: must be above 0",
        ),
        (
            one(
                "hyperparameters.batchSize",
                "int",
                json!({"min": 8, "max": 2_000_000}),
            ),
            "search.space[0].int.max",
            "must be between 1 and 1048576",
        ),
        (
            one(rate, "uniform", range(0.2, 0.1)),
            "search.space[0].uniform",
            "min must be below max",
        ),
        (
            one(rate, "logUniform", range(0.0, 0.1)),
            "search.space[0].logUniform",
            "min must be above 0",
        ),
        (
            json!({"space": [{"path": rate}]}),
            "search.space[0]",
            "exactly one of choice, int",
        ),
        (
            json!({"space": [{"path": rate, "uniform": range(0.1, 0.2), "choice": [0.1]}]}),
            "search.space[0]",
            "exactly one of choice, int",
        ),
        (
            json!({"space": [{"path": "model.network.layers[0]", "choice": [{"dense": {"units": 4}}]}, {"path": units, "choice": [1]}]}),
            "search.space[1].path",
            "is varied by search.space[0] too",
        ),
        (json!({"space": []}), "search.space", "1 to 16 parameters"),
        (json!({"maxTrials": 0}), "search.maxTrials", "between 1 and 1000"),
        (
            json!({"parallelTrials": 65}),
            "search.parallelTrials",
            "between 1 and 64",
        ),
        (
            json!({"reductionFactor": 3}),
            "search.reductionFactor",
            "works with algorithm ASHA only",
        ),
        (
            json!({"algorithm": "Grid"}),
            "search.space[0]",
            "Grid tries each value: give choice or int",
        ),
        (
            json!({"algorithm": "Grid", "maxTrials": 8, "space": [
                {"path": units, "choice": [1, 2, 3]}, {"path": "hyperparameters.batchSize", "int": {"min": 1, "max": 3}},
            ]}),
            "search.maxTrials",
            "the grid has 9 combinations, but there are 8 trials",
        ),
        (
            json!({"algorithm": "ASHA", "space": [{"path": "hyperparameters.epochs", "choice": [1]}]}),
            "search.space[0].path",
            "ASHA decides how long a trial learns",
        ),
        (
            json!({"algorithm": "ASHA", "minEpochs": 4}),
            "hyperparameters.epochs",
            "10 is too few for ASHA, which first compares trials after 4",
        ),
        (
            json!({"objective": {"metric": "loss"}, "space": [{"path": "hyperparameters.labelSmoothing", "choice": [0.1]}]}),
            "search.objective.metric",
            "cannot be compared: choose another metric",
        ),
    ] {
        let misfit = check(&change).unwrap_err();
        assert_eq!(misfit.field, field, "{}", misfit.problem);
        assert!(misfit.problem.contains(says), "{}", misfit.problem);
    }
}

#[test]
fn rungs_grow_by_the_factor_up_to_all_epochs() {
    let rungs = |change: Value, epochs| search(&change).rungs(epochs);
    assert_eq!(rungs(json!({}), 27), [27]);
    assert_eq!(rungs(json!({"algorithm": "ASHA"}), 27), [1, 3, 9, 27]);
    assert_eq!(
        rungs(
            json!({"algorithm": "ASHA", "minEpochs": 2, "reductionFactor": 4}),
            20
        ),
        [2, 8, 20]
    );
}

#[test]
fn combinations_are_counted() {
    let space = json!({"algorithm": "Grid", "space": [
        {"path": "hyperparameters.epochs", "choice": [1, 2, 3]}, {"path": "hyperparameters.batchSize", "int": {"min": 4, "max": 7}},
    ]});
    assert_eq!(
        (search(&space).combinations(), search(&space).trials()),
        (Some(12), 12)
    );
    assert_eq!(search(&json!({})).combinations(), None);
}
