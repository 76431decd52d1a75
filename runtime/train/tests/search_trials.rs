//! A search: many trials, of which the best is the model; what becomes of those that fail, and of a search that is killed.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rehearsal::{
    Rehearsal,
    searches::{Outcome, RATE, UNITS, manifest, records, search, searching, trained},
    table,
};
use sconce_contract::{FailureClass, Report};
use sconce_model::Model;
use sconce_store::Store;
use serde_json::{Value, json};

const EPOCHS: &str = "hyperparameters.epochs";

fn reported(rehearsal: &Rehearsal) -> Outcome {
    rehearsal::searches::reported(rehearsal, "report")
}

fn run(rehearsal: &Rehearsal) -> Outcome {
    trained(rehearsal.run().unwrap())
}

#[test]
fn search_of_each_algorithm_ends_with_the_best_trials_model() {
    for algorithm in ["Random", "TPE", "ASHA"] {
        let rehearsal = searching(search(algorithm, 10));
        let Outcome {
            metrics,
            artifact,
            search,
            epochs,
            ..
        } = run(&rehearsal);
        assert_eq!((search.trials.len(), epochs), (10, 9), "{algorithm}");
        let best = &search.best;
        assert_eq!((best.trials, best.failed), (10, 0));
        let to_the_end = search.trials.iter().filter(|trial| trial.epochs == 9);
        let lowest = to_the_end
            .clone()
            .map(|trial| trial.value.unwrap())
            .fold(f64::MAX, f64::min);
        assert!(
            (best.value - lowest).abs() < 1e-5,
            "{algorithm}: {best:?} {:?}",
            search.trials
        );
        match algorithm {
            "ASHA" => assert!(to_the_end.count() < 6 && best.stopped > 4, "{:?}", search.trials),
            _ => assert_eq!((to_the_end.count(), best.stopped), (10, 0)),
        }

        let written = manifest(&rehearsal, &artifact);
        let hyperparameters = written.hyperparameters.unwrap();
        let rate = best.parameters[RATE].as_f64().unwrap();
        assert_eq!(hyperparameters.optimizer.learning_rate, rate);
        let record = written.search.unwrap();
        assert_eq!((record.best, record.trials.len()), (best.trial, 10));
        let of_best = &record.trials[best.trial as usize - 1];
        assert_eq!(of_best.parameters, best.parameters);
        assert!((of_best.value.unwrap() - best.value).abs() < 1e-9);

        let mount = serde_json::from_value(rehearsal.plan["mounts"][0].clone()).unwrap();
        let model = Model::load(&Store::new(vec![mount]), &artifact.uri, Some(&artifact.digest)).unwrap();
        assert_eq!(model.predict(&[0.9, 0.9, -0.9, -0.9], 2).unwrap().len(), 2);
        let units = best.parameters[UNITS].as_u64().unwrap();
        let network: Value = serde_json::from_slice(
            &fs::read(
                rehearsal
                    .path("models")
                    .join(artifact.digest.trim_start_matches("sha256:"))
                    .join("network.json"),
            )
            .unwrap(),
        )
        .unwrap();
        assert_eq!(network["layers"][0]["dense"]["units"], units);
        assert!(!metrics.is_empty());
        let kept = fs::read_dir(rehearsal.path("saved/abc/trials")).unwrap();
        let kept = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let states = kept.filter(|name| !name.starts_with("job-")).count();
        assert_eq!(
            states, 1,
            "{algorithm}: the artifact may need the room of all but the best"
        );
    }
}

#[test]
fn search_without_checkpoints_ends_with_the_same_model() {
    let mut kept = searching(search("ASHA", 6));
    let with = run(&kept);
    kept.plan.as_object_mut().unwrap().remove("checkpoint");
    let without = run(&kept);
    assert_eq!(with.search, without.search);
    assert_eq!(
        (with.artifact.digest, with.metrics),
        (without.artifact.digest, without.metrics)
    );
}

#[test]
fn search_of_a_grid_tries_whole_layers() {
    let space = json!([
        {"path": "model.network.layers", "choice": [
            [{"dense": {"units": 1, "activation": "Sigmoid"}}],
            [{"dense": {"units": 6, "activation": "ReLU"}}, {"dense": {"units": 1, "activation": "Sigmoid"}}],
        ]},
        {"path": "hyperparameters.batchSize", "int": {"min": 16, "max": 18}},
    ]);
    let grid = json!({"algorithm": "Grid", "objective": {"metric": "auroc"}, "space": space});
    let outcome = run(&searching(grid));
    let tried: BTreeMap<String, u32> = outcome
        .search
        .trials
        .iter()
        .map(|trial| (format!("{:?}", trial.with), trial.trial))
        .collect();
    assert_eq!((tried.len(), outcome.search.best.trials), (6, 6));
}

#[test]
fn search_over_epochs_lets_each_trial_learn_as_long_as_its_own_value_says() {
    let grid = |path: &str, values: Value| {
        let space = json!([{"path": path, "choice": values}]);
        json!({"algorithm": "Grid", "objective": {"metric": "logLoss"}, "space": space})
    };
    let fixed = [1_u32, 4].map(|epochs| {
        let rehearsal = searching(grid("hyperparameters.batchSize", json!([16])));
        let outcome = run(&rehearsal.with(EPOCHS, json!(epochs)));
        (epochs, outcome.search.trials[0].value)
    });
    assert!(fixed.iter().all(|(_, value)| value.is_some()) && fixed[0].1 != fixed[1].1);
    // Between the two, and, by default, above both.
    for spec in [json!({"epochs": 2, "batchSize": 16}), json!({"batchSize": 16})] {
        let rehearsal = searching(grid(EPOCHS, json!([1, 4]))).with("hyperparameters", spec.clone());
        let Outcome {
            artifact,
            search,
            epochs,
            ..
        } = run(&rehearsal);
        let notes = search.trials.iter().map(|trial| (trial.epochs, trial.value));
        assert_eq!(notes.collect::<Vec<_>>(), fixed, "{spec}");
        let own = search.best.parameters[EPOCHS].as_u64().unwrap();
        assert_eq!(u64::from(epochs), own, "{spec}");

        let written = manifest(&rehearsal, &artifact);
        assert_eq!(u64::from(written.hyperparameters.unwrap().epochs), own);
        let record = written.search.unwrap();
        let learned = record.trials.iter().map(|trial| trial.epochs);
        assert_eq!(learned.collect::<Vec<_>>(), [1, 4]);
    }
}

#[test]
fn search_that_draws_epochs_lets_each_trial_learn_as_many() {
    for algorithm in ["Random", "TPE"] {
        let space = json!([{"path": EPOCHS, "int": {"min": 2, "max": 7}}]);
        let drawn = json!({
            "algorithm": algorithm, "objective": {"metric": "logLoss"}, "maxTrials": 4, "space": space,
        });
        let outcome = run(&searching(drawn));
        for trial in &outcome.search.trials {
            assert_eq!(trial.with, [json!(trial.epochs)], "{algorithm}");
        }
        let own = &outcome.search.best.parameters[EPOCHS];
        assert_eq!(own, &json!(outcome.epochs), "{algorithm}");
    }
}

#[test]
fn search_records_a_trial_that_diverges_and_goes_on() {
    let rates = json!([{"path": RATE, "choice": [1e-3, 1e30, 1e-2]}]);
    let grid = json!({"algorithm": "Grid", "objective": {"metric": "rmse"}, "space": rates});
    let numbers = Rehearsal::of(&table(300, |a, b| format!("{}", 3.0 * a - b)))
        .with(
            "hyperparameters",
            json!({"epochs": 5, "optimizer": {"type": "SGD", "learningRate": 0.01}}),
        )
        .with("checkpoint", json!({"uri": "pvc://data/saved"}))
        .with("search", grid);
    let outcome = run(&numbers);
    assert_eq!((outcome.search.best.trials, outcome.search.best.failed), (3, 1));
    assert_eq!(outcome.search.trials[1].value, None);
    let record = manifest(&numbers, &outcome.artifact).search.unwrap();
    let failure = record.trials[1].failure.clone().unwrap();
    assert!(failure.contains("the loss became"), "{failure}");
    assert_ne!(record.best, 2);
}

#[test]
fn search_tries_no_vocabulary_that_a_row_goes_beyond() {
    // One row alone, which may be among those that only judge the best trial.
    let rows: Vec<String> = (0..200)
        .map(|row| format!("{},{},{}", row % 3, if row == 150 { 9 } else { row % 2 }, row % 2))
        .collect();
    let space = json!([{"path": "model.network.layers[0].embedding.vocabulary", "choice": [9, 10]}]);
    let rehearsal = Rehearsal::of(&format!("a,b,y\n{}\n", rows.join("\n")))
        .with("dataset.standardize", json!(false))
        .with(
            "network.layers",
            json!([
                {"embedding": {"vocabulary": 10, "dimensions": 2}}, {"flatten": {}},
                {"dense": {"units": 1, "activation": "Sigmoid"}},
            ]),
        )
        .with("hyperparameters", json!({"epochs": 2}))
        .with(
            "search",
            json!({"algorithm": "Grid", "objective": {"metric": "logLoss"}, "space": space}),
        );
    let Outcome { search, artifact, .. } = run(&rehearsal);
    assert_eq!((search.best.trial, search.best.failed), (2, 1));
    let failure = format!("{:?}", manifest(&rehearsal, &artifact).search);
    assert!(failure.contains("the table holds 9"), "{failure}");
}

#[test]
fn search_whose_trials_all_fail_says_why_the_first_did() {
    let rates = json!([{"path": RATE, "choice": [1e30, 1e31]}]);
    let grid = json!({"algorithm": "Grid", "objective": {"metric": "rmse"}, "space": rates});
    let numbers = Rehearsal::of(&table(300, |a, b| format!("{}", 3.0 * a - b)))
        .with(
            "hyperparameters",
            json!({"optimizer": {"type": "SGD", "learningRate": 0.01}}),
        )
        .with("search", grid);
    let failure = numbers.refuse();
    assert_eq!(failure.class, FailureClass::Diverged);
    assert!(
        failure
            .message
            .starts_with("all 2 trials of the search failed, the first because: the loss became"),
        "{}",
        failure.message
    );
}

#[test]
fn search_that_cannot_be_carried_out_is_refused_before_anything_is_learned() {
    for (path, value, field, says) in [
        (
            "search.objective",
            json!({"metric": "rmse"}),
            "search.objective.metric",
            "rmse does not fit \"y\", which holds classes: choose from loss, accuracy, auroc",
        ),
        (
            "dataset.split",
            json!({"validation": 0.0, "test": 0.2}),
            "dataset.split.validation",
            "no validation rows to compare the trials of search by: set it above 0",
        ),
        (
            "search.space",
            json!([{"path": "model.network.layers[0].dense.unit", "choice": [1]}]),
            "search.space[0].path",
            "model.network.layers[0].dense has activation, units",
        ),
        (
            "search.space",
            json!([{"path": UNITS, "choice": [4, 1_000_000]}]),
            "search.space[0].choice[1]",
            "1000000 is not between 1 and 65536",
        ),
    ] {
        let failure = searching(search("Random", 4)).with(path, value).refuse();
        assert_eq!(failure.class, FailureClass::BadInput);
        assert_eq!(failure.field.as_deref(), Some(field), "{}", failure.message);
        assert!(failure.message.contains(says), "{}", failure.message);
    }
}

/// Kills the search once so many records are there; whether it was still at work.
fn killed(rehearsal: &Rehearsal, signal: &str, count: usize) -> bool {
    let mut child = rehearsal.start();
    let deadline = Instant::now() + Duration::from_secs(60);
    while records(rehearsal).len() < count {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "never {count} records");
        thread::yield_now();
    }
    let id = child.id().to_string();
    Command::new("kill").args([signal, &id]).status().unwrap();
    child.wait().unwrap().code() != Some(0)
}

#[test]
fn search_of_24_trials_survives_kills_and_ends_as_if_undisturbed() {
    for algorithm in ["TPE", "ASHA"] {
        let undisturbed = searching(search(algorithm, 24));
        assert_eq!(undisturbed.start().wait().unwrap().code(), Some(0));
        let expected = reported(&undisturbed);
        assert_eq!(expected.search.trials.len(), 24);

        let disturbed = searching(search(algorithm, 24));
        let mut kills = 0;
        let mut seen = BTreeMap::new();
        for count in [1, 2, 5, 9, 14, 18, 22] {
            kills += usize::from(killed(&disturbed, "-KILL", count));
            if disturbed.path("report").exists() {
                // It was over, and the records may be on their way out.
                break;
            }
            let now = records(&disturbed);
            for (name, written) in &seen {
                assert_eq!(now.get(name), Some(written), "{name} was made again");
            }
            seen = now;
        }
        assert!(kills >= 5, "{algorithm}: only {kills} kills");
        assert_eq!(disturbed.start().wait().unwrap().code(), Some(0));
        let found = reported(&disturbed);
        assert_eq!(found.search, expected.search, "{algorithm}");
        assert_eq!(
            (found.artifact.digest, found.metrics, found.epochs),
            (expected.artifact.digest, expected.metrics, expected.epochs),
            "{algorithm}"
        );
        assert!(
            !disturbed.path("saved").exists(),
            "a search that is done leaves nothing behind"
        );
    }
}

#[test]
fn search_survives_kills_at_any_moment() {
    let undisturbed = searching(search("ASHA", 12));
    assert_eq!(undisturbed.start().wait().unwrap().code(), Some(0));
    let expected = reported(&undisturbed);
    let disturbed = searching(search("ASHA", 12));
    let mut wait = Duration::from_millis(20);
    let mut kills = 0;
    loop {
        let mut child = disturbed.start();
        thread::sleep(wait);
        // A process that has ended cannot be killed, which is no error here.
        let _ = child.kill();
        if child.wait().unwrap().code() == Some(0) {
            break;
        }
        kills += 1;
        wait += Duration::from_millis(4);
        assert!(kills < 500, "it never ends");
    }
    assert!(kills > 0);
    let found = reported(&disturbed);
    assert_eq!(found.search, expected.search, "after {kills} kills");
    assert_eq!(found.artifact.digest, expected.artifact.digest);
}

#[test]
fn search_that_is_told_to_stop_says_how_far_it_is_and_goes_on() {
    let rehearsal = searching(search("TPE", 24));
    assert!(
        killed(&rehearsal, "-TERM", 3),
        "it was over before it was told to stop"
    );
    let text = fs::read_to_string(rehearsal.path("report")).unwrap();
    let Report::Failed(failure) = serde_json::from_str(&text).unwrap() else {
        panic!("{text}")
    };
    assert_eq!(failure.class, FailureClass::Interrupted);
    assert!(
        failure
            .message
            .contains("of 24 trials: what became of them is kept"),
        "{}",
        failure.message
    );
    let before = records(&rehearsal);
    assert_eq!(rehearsal.start().wait().unwrap().code(), Some(0));
    assert!(before.len() >= 3);
    assert_eq!(reported(&rehearsal).search.trials.len(), 24);
}

#[test]
fn search_makes_a_trial_again_whose_record_is_damaged() {
    let whole = searching(search("Random", 8));
    assert_eq!(whole.start().wait().unwrap().code(), Some(0));
    let expected = reported(&whole);
    let rehearsal = searching(search("Random", 8));
    assert!(killed(&rehearsal, "-KILL", 4));
    let (name, _) = records(&rehearsal).pop_first().unwrap();
    let path = rehearsal.path("saved/abc/trials").join(name).join("job.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"value\": ", "\"value\": 1")).unwrap();
    assert_eq!(rehearsal.start().wait().unwrap().code(), Some(0));
    assert_eq!(reported(&rehearsal).search, expected.search);
}
