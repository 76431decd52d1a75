//! A plan and a table become a model that is as good as it says.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use rehearsal::{Rehearsal, metric, separable, table};
use sconce_contract::{MetricName, MetricSplit, TrainingPhase};
use sconce_model::Model;
use sconce_store::Store;
use sconce_train::watch::{Stop, Watch};
use serde_json::json;

fn binary() -> Rehearsal {
    Rehearsal::of(&separable(400))
        .layers(&[(8, "ReLU"), (1, "Sigmoid")])
        .with(
            "hyperparameters",
            json!({"epochs": 30, "optimizer": {"learningRate": 0.02}}),
        )
}

#[test]
fn two_classes() {
    let rehearsal = binary();
    let (metrics, artifact) = rehearsal.train();
    assert!(metric(&metrics, MetricName::Accuracy) > 0.95, "{metrics:?}");
    assert!(metric(&metrics, MetricName::Auroc) > 0.99, "{metrics:?}");
    assert!(metric(&metrics, MetricName::Loss) < 0.2, "{metrics:?}");
    assert!(metrics.iter().all(|metric| metric.split == MetricSplit::Test));

    // The server's own code reads it and says the same.
    let mounts = serde_json::from_value(rehearsal.plan["mounts"].clone()).unwrap();
    let model = Model::load(&Store::new(mounts), &artifact.uri, Some(&artifact.digest)).unwrap();
    let outputs = model.predict(&[0.9, 0.9, -0.9, -0.9], 2).unwrap();
    assert!(outputs[0] > 0.9 && outputs[1] < 0.1, "{outputs:?}");
}

#[test]
fn three_classes_with_dropout() {
    let bands = table(600, |a, b| {
        ["low", "middle", "high"][((a + b + 2.0) / 1.34).min(2.0) as usize].to_owned()
    });
    let rehearsal = Rehearsal::of(&bands)
        .with(
            "network.layers",
            json!([
                {"dense": {"units": 32, "activation": "GELU"}},
                {"dropout": {"rate": 0.1}},
                {"dense": {"units": 3, "activation": "Softmax"}},
            ]),
        )
        .with(
            "hyperparameters",
            json!({"epochs": 40, "optimizer": {"type": "AdamW", "learningRate": 0.02}}),
        );
    let (metrics, _) = rehearsal.train();
    assert!(metric(&metrics, MetricName::Accuracy) > 0.93, "{metrics:?}");
    assert!(metric(&metrics, MetricName::Auroc) > 0.98, "{metrics:?}");
}

#[test]
fn a_linear_function() {
    let line = table(300, |a, b| format!("{}", 3.0 * a - 2.0 * b + 5.0));
    let rehearsal = Rehearsal::of(&line).with(
        "hyperparameters",
        json!({
            "epochs": 60, "batchSize": 16, "optimizer": {"type": "SGD", "learningRate": 0.05, "momentum": 0.5},
            "schedule": {"type": "InverseTime", "decay": 0.05},
        }),
    );
    let (metrics, artifact) = rehearsal.train();
    assert!(metric(&metrics, MetricName::Mae) < 1e-3, "{metrics:?}");
    assert!(metric(&metrics, MetricName::R2) > 0.999_99, "{metrics:?}");
    let mounts = serde_json::from_value(rehearsal.plan["mounts"].clone()).unwrap();
    let model = Model::load(&Store::new(mounts), &artifact.uri, None).unwrap();
    let outputs = model.predict(&[1.0, 1.0], 1).unwrap();
    assert!((outputs[0] - 6.0).abs() < 1e-2, "{outputs:?}");
}

#[test]
fn the_same_seed_gives_the_same_digest() {
    let seeded = |seed: u64| {
        binary()
            .with("hyperparameters.seed", json!(seed))
            .train()
            .1
            .digest
    };
    assert_eq!(seeded(1), seeded(1));
    assert_ne!(seeded(1), seeded(2));
    // Once more in the same place: the model is there already.
    let rehearsal = binary();
    assert_eq!(rehearsal.train().1, rehearsal.train().1);
    assert_eq!(rehearsal.models().len(), 1, "{:?}", rehearsal.models());
}

#[test]
fn progress_says_how_far_it_is() {
    let rehearsal = binary();
    let watch = Watch::default();
    rehearsal.run_watched(&watch, &Stop::default()).unwrap();
    let seen = watch.snapshot();
    assert_eq!(seen.rows, [280, 40, 80]);
    let progress = seen.progress;
    assert_eq!(
        (progress.run.as_str(), progress.phase),
        ("abc", TrainingPhase::Saving)
    );
    assert_eq!((progress.epoch, progress.epochs), (30, 30));
    assert_eq!((progress.step, progress.total_steps), (270, 270));
    assert!(
        progress.loss.unwrap() < 0.3 && progress.validation_loss.unwrap() < 0.3,
        "{progress:?}"
    );
    assert_eq!(progress.eta_seconds, Some(0.0));
}

#[test]
fn without_test_rows_the_validation_rows_are_measured_and_never_those_learned_from() {
    let (metrics, _) = binary().with("dataset.split.test", json!(0.0)).train();
    assert!(
        !metrics.is_empty()
            && metrics
                .iter()
                .all(|metric| metric.split == MetricSplit::Validation)
    );
    let none = binary().with("dataset.split", json!({"validation": 0.0, "test": 0.0}));
    assert_eq!(none.train().0, []);
}

#[test]
fn a_metric_is_measured_once_whoever_asks() {
    let rehearsal = binary().with(
        "evaluation",
        json!({"metrics": ["accuracy"], "gates": [{"metric": "auroc", "min": 0.9}, {"metric": "accuracy", "min": 0.9}]}),
    );
    let names: Vec<MetricName> = rehearsal.train().0.iter().map(|metric| metric.name).collect();
    assert_eq!(names, [MetricName::Accuracy, MetricName::Auroc]);
}
