//! However a training is stopped, the one that goes on ends with the same bits.
#![allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::{fs, process::Command, thread, time::Duration};

use rehearsal::{Rehearsal, separable};
use sconce_contract::digest::sha256_hex;
use sconce_contract::{Failure, FailureClass, Report, Work};
use serde_json::{Value, json};

/// Steps of [`network`]'s run: 4 epochs of 3.
const STEPS: u64 = 12;

/// All that a step depends on: dropout, a shuffle, momentum or moments, a schedule, batches that add up, a short last
/// step, the best weights so far.
fn network(optimizer: Value) -> Rehearsal {
    Rehearsal::of(&separable(400))
        .with(
            "network.layers",
            json!([
                {"dense": {"units": 96, "activation": "Tanh"}},
                {"dropout": {"rate": 0.3}},
                {"dense": {"units": 96, "activation": "ReLU"}},
                {"dropout": {"rate": 0.1}},
                {"dense": {"units": 1, "activation": "Sigmoid"}},
            ]),
        )
        .with(
            "hyperparameters",
            json!({
                "epochs": 4, "batchSize": 40, "accumulateBatches": 3, "optimizer": optimizer,
                "schedule": {"type": "Cosine", "warmupEpochs": 1}, "clipNorm": 1.0,
                "regularization": {"l2": 0.001}, "earlyStopping": {"patience": 1000},
            }),
        )
}

fn adam() -> Value {
    json!({"type": "AdamW", "learningRate": 0.01, "weightDecay": 0.01})
}

fn momentum() -> Value {
    json!({"type": "SGD", "learningRate": 0.05, "momentum": 0.9})
}

fn every(rehearsal: Rehearsal, every: Value) -> Rehearsal {
    rehearsal.with(
        "checkpoint",
        json!({"uri": "pvc://data/checkpoints", "every": every, "keep": 2}),
    )
}

/// What must be the same to the bit: digest, steps, loss and metrics.
fn outcome(rehearsal: &Rehearsal) -> (String, u64, String, Work) {
    let text = fs::read_to_string(rehearsal.path("report")).unwrap();
    match serde_json::from_str(&text).unwrap() {
        Report::Trained {
            artifact,
            steps,
            loss,
            metrics,
            work,
            ..
        } => (artifact.digest, steps, format!("{loss:?} {metrics:?}"), work),
        other => panic!("{other:?}"),
    }
}

fn finish(rehearsal: &Rehearsal) -> (String, u64, String, Work) {
    assert_eq!(rehearsal.start().wait().unwrap().code(), Some(0));
    outcome(rehearsal)
}

fn failure(rehearsal: &Rehearsal) -> Failure {
    let text = fs::read_to_string(rehearsal.path("report")).unwrap();
    match serde_json::from_str(&text).unwrap() {
        Report::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn resume_bit_identical_after_sigkill_at_every_step() {
    let (digest, steps, reached, _) = finish(&network(adam()));
    assert_eq!(steps, STEPS);
    for step in 1..=STEPS {
        // The last steps may be over before the signal arrives; then it was no kill at that step.
        let killed = (0..20).find_map(|_| {
            let rehearsal = every(network(adam()), json!({"steps": 1}));
            let status = rehearsal.signalled("-KILL", step);
            status.code().is_none().then_some(rehearsal)
        });
        let rehearsal = killed.unwrap_or_else(|| panic!("never killed at step {step}"));
        let left = rehearsal.newest_checkpoint();
        assert!(left >= Some(step), "{left:?} at {step}");
        let (again, steps, reached_again, work) = finish(&rehearsal);
        assert_eq!(
            work.resumed_from, left,
            "only what is after the last checkpoint is lost"
        );
        assert_eq!(
            (&again, steps, &reached_again),
            (&digest, STEPS, &reached),
            "killed at step {step}"
        );
        assert!(
            !rehearsal.path("checkpoints").exists(),
            "a run that is done needs no checkpoints"
        );
    }
}

#[test]
fn resume_bit_identical_after_sigterm_at_every_step() {
    let (digest, _, reached, _) = finish(&network(momentum()));
    for step in 1..STEPS {
        let stopped = (0..20).find_map(|_| {
            let rehearsal = every(network(momentum()), json!({"steps": 1}));
            let status = rehearsal.signalled("-TERM", step);
            (status.code() == Some(75)).then_some(rehearsal)
        });
        let rehearsal = stopped.unwrap_or_else(|| panic!("never stopped at step {step}"));
        let failure = failure(&rehearsal);
        assert_eq!(failure.class, FailureClass::Interrupted);
        let says = "the state is saved, and the next attempt goes on from there";
        assert!(failure.message.contains(says), "{}", failure.message);
        let mark = failure.work.and_then(|work| work.last_checkpoint).unwrap();
        assert_eq!(Some(mark.step), rehearsal.newest_checkpoint());
        let (again, _, reached_again, work) = finish(&rehearsal);
        assert_eq!(work.resumed_from, Some(mark.step));
        assert_eq!(
            (&again, &reached_again),
            (&digest, &reached),
            "stopped at step {step}"
        );
    }
}

#[test]
fn resume_bit_identical_without_a_checkpoint_on_the_way() {
    // Nothing is saved every five minutes of a run of milliseconds; SIGTERM saves all the same.
    let long = |epochs: u32| {
        network(adam())
            .with("hyperparameters.epochs", json!(epochs))
            .with("checkpoint", json!({"uri": "pvc://data/checkpoints"}))
    };
    let (digest, ..) = finish(&long(400));
    let rehearsal = long(400);
    let mut times = 0;
    for round in 1..200 {
        let mut child = rehearsal.start();
        thread::sleep(Duration::from_millis(40 + 10 * round));
        let id = child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().unwrap();
        match child.wait().unwrap().code() {
            Some(75) => times += 1,
            Some(0) => break,
            // On a busy machine it does not listen for signals yet.
            None => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(times > 0, "the run was never stopped");
    assert_eq!(outcome(&rehearsal).0, digest, "stopped {times} times");
}

#[test]
fn resume_bit_identical_after_kills_at_any_moment() {
    let (digest, ..) = finish(&network(adam()));
    // Most of such a run is spent writing: the kills hit temporary folders, renames and removals.
    for seed in 0..2u64 {
        let rehearsal = every(network(adam()), json!({"steps": 1}));
        let mut kills = 0;
        let mut wait = Duration::from_millis(20 + 3 * seed);
        loop {
            let mut child = rehearsal.start();
            thread::sleep(wait);
            // A process that has ended cannot be killed, which is no error here.
            let _ = child.kill();
            if child.wait().unwrap().code() == Some(0) {
                break;
            }
            kills += 1;
            wait += Duration::from_millis(1);
            assert!(kills < 500, "it never ends");
        }
        assert_eq!(outcome(&rehearsal).0, digest, "after {kills} kills");
        assert!(kills > 0);
        assert!(
            !rehearsal.path("checkpoints").exists(),
            "something was left behind"
        );
    }
}

#[test]
fn resume_bit_identical_when_it_stops_early() {
    // No epoch is better by so much than the first, so the third is the last, and the first's weights are the model.
    let early = || {
        network(adam()).with(
            "hyperparameters.earlyStopping",
            json!({"patience": 2, "minDelta": 10.0}),
        )
    };
    let (digest, steps, reached, _) = finish(&early());
    assert_eq!(steps, STEPS * 3 / 4);
    for step in [2, 5, 8] {
        let rehearsal = every(early(), json!({"steps": 1}));
        rehearsal.signalled("-KILL", step);
        let (again, steps_again, reached_again, _) = finish(&rehearsal);
        assert_eq!(
            (&again, steps_again, &reached_again),
            (&digest, steps, &reached),
            "killed at {step}"
        );
    }
}

#[test]
fn resume_bit_identical_of_what_stopped_early_measures_nothing_again() {
    let early = || {
        network(adam()).with(
            "hyperparameters.earlyStopping",
            json!({"patience": 1, "minDelta": 10.0}),
        )
    };
    let (digest, steps, reached, _) = finish(&early());
    assert_eq!(steps, STEPS / 2);
    // Nobody can write a folder where a file is. What is saved then are the best weights.
    let rehearsal = early().with("checkpoint", json!({"uri": "pvc://data/checkpoints"}));
    fs::remove_dir(rehearsal.path("models")).unwrap();
    fs::write(rehearsal.path("models"), "").unwrap();
    assert_ne!(rehearsal.start().wait().unwrap().code(), Some(0));
    assert_eq!(failure(&rehearsal).field.as_deref(), Some("output.uri"));
    fs::remove_file(rehearsal.path("models")).unwrap();
    fs::create_dir(rehearsal.path("models")).unwrap();

    // On another number of threads their loss may be better than the best one by its last bit; here it is by far.
    let folder = rehearsal.path("checkpoints/abc");
    let saved = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let path = saved.join("checkpoint.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let best = &mut record["position"]["best"]["loss"];
    assert!(best.is_string(), "{best}");
    *best = json!(format!("{:016x}", 100f64.to_bits()));
    let record = serde_json::to_vec(&record).unwrap();
    fs::write(&path, &record).unwrap();
    let name = format!("step-{steps:012}-{}", &sha256_hex(&record)[..16]);
    fs::rename(saved, folder.join(name)).unwrap();

    let (again, steps_again, reached_again, work) = finish(&rehearsal);
    assert_eq!(work.resumed_from, Some(steps));
    assert_eq!(
        (&again, steps_again, &reached_again),
        (&digest, steps, &reached),
        "it learned on past its end"
    );
}

#[test]
fn resume_bit_identical_of_texts() {
    let words = ["fine", "dull", "film", "book", "what", "a"];
    let rows = (0..400).map(|row: usize| {
        let text: Vec<&str> = (0..row % 7)
            .map(|word| words[(row * 5 + word * word) % 6])
            .collect();
        format!("?! {},{}\n", text.join(" "), ["yes", "no"][row * 5 / 3 % 2])
    });
    let table = format!("text,y\n{}", rows.collect::<String>());
    let texts = || {
        network(adam())
            .write("table.csv", &table)
            .with("dataset.text", json!({"length": 5, "vocabulary": 7}))
            .with(
                "network.layers",
                json!([
                    {"embedding": {"vocabulary": 7, "dimensions": 32}},
                    {"globalAveragePool": {}},
                    {"dropout": {"rate": 0.3}},
                    {"dense": {"units": 1, "activation": "Sigmoid"}},
                ]),
            )
    };
    let (digest, steps, reached, _) = finish(&texts());
    assert_eq!(steps, STEPS);
    for step in [1, 7] {
        let killed = (0..20).find_map(|_| {
            let rehearsal = every(texts(), json!({"steps": 1}));
            let status = rehearsal.signalled("-KILL", step);
            status.code().is_none().then_some(rehearsal)
        });
        let rehearsal = killed.unwrap_or_else(|| panic!("never killed at step {step}"));
        let left = rehearsal.newest_checkpoint();
        let (again, _, reached_again, work) = finish(&rehearsal);
        assert_eq!(work.resumed_from, left);
        assert_eq!((&again, &reached_again), (&digest, &reached), "killed at {step}");
    }
}

#[test]
fn resume_goes_on_with_the_progress_that_was_saved() {
    let rehearsal = every(network(adam()), json!({"steps": 5}));
    let status = rehearsal.signalled("-KILL", 5);
    assert_eq!(status.code(), None);
    let left = rehearsal.newest_checkpoint().unwrap();
    assert_eq!(left % 5, 0, "every fifth step is saved");
    let (_, steps, _, work) = finish(&rehearsal);
    assert_eq!(
        (steps, work.resumed_from),
        (STEPS, Some(left)),
        "steps count over all attempts"
    );
}
