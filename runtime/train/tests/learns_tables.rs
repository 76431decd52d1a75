//! A plan and a table become a model that is as good as it says.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use rehearsal::{Rehearsal, metric, separable, table};
use sconce_contract::{MetricName, MetricSplit, Report, TrainingPhase};
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
fn a_training_that_stops_early_keeps_the_best_weights() {
    // No epoch is better by so much than the first.
    let early = |restore: bool| {
        let stopping = json!({"patience": 2, "minDelta": 10.0, "restoreBest": restore});
        binary().with("hyperparameters.earlyStopping", stopping)
    };
    let epochs = |rehearsal: Rehearsal| match rehearsal.run().unwrap() {
        Report::Trained { epochs, metrics, .. } => (epochs, metrics),
        other => panic!("{other:?}"),
    };
    let after = |count: u32| epochs(binary().with("hyperparameters.epochs", json!(count)));
    assert_eq!(epochs(early(true)), (3, after(1).1));
    assert_eq!(epochs(early(false)), after(3));
    assert_ne!(after(1).1, after(3).1);
}

#[test]
fn rare_classes_count_as_much_as_common_ones_where_that_is_asked_for() {
    // One row in about twenty is "rare", and nothing but chance says which.
    let table = table(400, |a, b| {
        if (a * 7.0 + b * 13.0).sin() > 0.98 {
            "rare"
        } else {
            "usual"
        }
        .to_owned()
    });
    let share = |weights: Option<&str>| {
        let rehearsal = Rehearsal::of(&table).layers(&[(1, "Sigmoid")]).with(
            "hyperparameters",
            json!({"epochs": 60, "optimizer": {"learningRate": 0.02}, "classWeights": weights}),
        );
        let (_, artifact) = rehearsal.train();
        let mounts = serde_json::from_value(rehearsal.plan["mounts"].clone()).unwrap();
        let model = Model::load(&Store::new(mounts), &artifact.uri, None).unwrap();
        model.predict(&[0.0, 0.0], 1).unwrap()[0]
    };
    let (plain, balanced) = (share(None), share(Some("Balanced")));
    // The output is how likely "usual" is, the second class by name.
    assert!(plain > 0.8, "{plain}");
    assert!((0.3..0.7).contains(&balanced), "{balanced}");
}

#[test]
fn each_optimizer_schedule_and_loss_learns() {
    let line = table(300, |a, b| format!("{}", 3.0 * a - 2.0 * b + 5.0));
    for (optimizer, schedule, loss) in [
        (
            json!({"type": "RMSprop", "learningRate": 0.05}),
            json!({"type": "Linear"}),
            "MeanSquaredError",
        ),
        (
            json!({"type": "Adagrad", "learningRate": 1.0}),
            json!({"type": "Constant"}),
            "MeanSquaredError",
        ),
        (
            json!({"type": "Lion", "learningRate": 0.05}),
            json!({"type": "Cosine", "warmupEpochs": 2}),
            "MeanAbsoluteError",
        ),
        (
            json!({"type": "SGD", "learningRate": 0.1, "momentum": 0.9, "nesterov": true}),
            json!({"type": "OneCycle"}),
            "Huber",
        ),
        (
            json!({"type": "Adam", "learningRate": 0.1}),
            json!({"type": "Exponential", "factor": 0.95}),
            "Huber",
        ),
        (
            json!({"type": "AdamW", "learningRate": 0.1}),
            json!({"type": "Step", "factor": 0.5, "everyEpochs": 15}),
            "MeanSquaredError",
        ),
    ] {
        let what = format!("{optimizer} {schedule} {loss}");
        let rehearsal = Rehearsal::of(&line).with(
            "hyperparameters",
            json!({"epochs": 60, "batchSize": 16, "optimizer": optimizer, "schedule": schedule, "loss": loss}),
        );
        let (metrics, _) = rehearsal.train();
        assert!(metric(&metrics, MetricName::R2) > 0.999, "{what}: {metrics:?}");
    }
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
