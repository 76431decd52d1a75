//! Several trainers learn what one would have learned, and a lost one costs no more than the steps since the last state.
#![allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use rehearsal::{Rehearsal, codes, failure, free, kill_at_any_moment, report, separable, signal, table};
use sconce_contract::{Artifact, Failure, FailureClass, Metric, Report, Work};
use serde_json::{Value, json};

/// All that a step depends on: dropout, batches that add up, a last step with fewer rows than workers, weights of
/// classes, a penalty, a gradient that is clipped, and early stopping that gives the best weights back.
fn network(optimizer: Value) -> Rehearsal {
    Rehearsal::of(&separable(401))
        .with(
            "network.layers",
            json!([
                {"dense": {"units": 24, "activation": "Tanh"}},
                {"dropout": {"rate": 0.2}},
                {"dense": {"units": 16, "activation": "ReLU"}},
                {"dense": {"units": 1, "activation": "Sigmoid"}},
            ]),
        )
        .with(
            "hyperparameters",
            json!({
                "epochs": 4, "batchSize": 31, "accumulateBatches": 3, "optimizer": optimizer,
                "schedule": {"type": "Cosine", "warmupEpochs": 1}, "clipNorm": 0.5, "classWeights": "Balanced",
                "regularization": {"l2": 0.001}, "earlyStopping": {"patience": 1, "minDelta": 0.0},
            }),
        )
}

fn momentum() -> Value {
    json!({"type": "SGD", "learningRate": 0.1, "momentum": 0.9})
}

fn adam() -> Value {
    json!({"type": "Adam", "learningRate": 0.01})
}

fn saved(rehearsal: Rehearsal, every: u64) -> Rehearsal {
    rehearsal.with(
        "checkpoint",
        json!({"uri": "pvc://data/checkpoints", "every": {"steps": every}, "keep": 2}),
    )
}

/// A long run, of which each step is saved.
fn long() -> Rehearsal {
    saved(network(momentum()), 1)
        .with("hyperparameters.epochs", json!(60))
        .with("hyperparameters.earlyStopping.patience", json!(1000))
}

fn group(rehearsal: &mut Rehearsal, count: u32) -> Vec<Child> {
    rehearsal.plan["nodes"]["count"] = json!(count);
    let leader = free();
    (0..count)
        .map(|worker| rehearsal.start_worker(worker, &leader))
        .collect()
}

#[derive(Debug)]
struct Outcome {
    artifact: Artifact,
    metrics: Vec<Metric>,
    steps: u64,
    loss: f64,
    weights: Vec<f32>,
    work: Work,
}

fn outcome(rehearsal: &Rehearsal, name: &str) -> Outcome {
    let Report::Trained {
        artifact,
        metrics,
        steps,
        loss,
        work,
        ..
    } = report(rehearsal, name)
    else {
        panic!("{:?}", report(rehearsal, name));
    };
    let folder = artifact.uri.strip_prefix("pvc://data/").unwrap();
    let file = rehearsal.path(folder).join("model.safetensors");
    let tensors = candle_core::safetensors::load(file, &candle_core::Device::Cpu).unwrap();
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let values = |tensor: candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    Outcome {
        weights: tensors
            .into_iter()
            .flat_map(|(_, tensor)| values(tensor))
            .collect(),
        loss: loss.unwrap(),
        artifact,
        metrics,
        steps,
        work,
    }
}

fn alone(rehearsal: &Rehearsal) -> Outcome {
    assert_eq!(rehearsal.start().wait().unwrap().code(), Some(0));
    outcome(rehearsal, "report")
}

fn together(mut rehearsal: Rehearsal, count: u32) -> (Rehearsal, Outcome) {
    let workers = group(&mut rehearsal, count);
    let found = codes(workers);
    if let Some(worker) = found.iter().position(|code| *code != Some(0)) {
        panic!("{found:?}: {:?}", report(&rehearsal, &format!("report-{worker}")));
    }
    let outcome = outcome(&rehearsal, "report-0");
    (rehearsal, outcome)
}

fn close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= 1e-5,
        "{what}: {found} is not {expected}"
    );
}

fn same(found: &Outcome, expected: &Outcome) {
    assert_eq!(found.steps, expected.steps);
    close(found.loss, expected.loss, "loss");
    assert_eq!(found.metrics.len(), expected.metrics.len());
    for (found, expected) in found.metrics.iter().zip(&expected.metrics) {
        close(found.value, expected.value, &format!("{:?}", found.name));
    }
    assert_eq!(found.weights.len(), expected.weights.len());
    for (found, expected) in found.weights.iter().zip(&expected.weights) {
        close(f64::from(*found), f64::from(*expected), "a weight");
    }
}

/// The step of the newest checkpoint that stands in its folder.
fn newest(rehearsal: &Rehearsal) -> Option<u64> {
    let entries = fs::read_dir(rehearsal.path("checkpoints/abc")).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| name.strip_prefix("step-")?.split_once('-')?.0.parse().ok())
        .max()
}

/// Waits until a state of so many steps is saved.
fn until_saved(rehearsal: &Rehearsal, step: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while newest(rehearsal).is_none_or(|newest| newest < step) {
        assert!(Instant::now() < deadline, "no state of step {step}");
    }
}

/// The numbers of the state of a step.
fn numbers(rehearsal: &Rehearsal, step: u64) -> PathBuf {
    let folder = rehearsal.path("checkpoints/abc");
    let entries = fs::read_dir(&folder).unwrap();
    let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let begins = format!("step-{step:012}-");
    let name = names.find(|name| name.starts_with(&begins)).unwrap();
    folder.join(name).join("state.safetensors")
}

/// Two learn all steps, and then the model cannot be written: the second has ended well, and the first has not.
fn left_alone(mut rehearsal: Rehearsal) -> Rehearsal {
    // Nobody can write a folder where a file is.
    fs::remove_dir(rehearsal.path("models")).unwrap();
    fs::write(rehearsal.path("models"), "").unwrap();
    let found = codes(group(&mut rehearsal, 2));
    assert_eq!(found[1], Some(0), "{found:?}");
    let first = failure_of(&rehearsal, 0);
    assert_eq!(first.field.as_deref(), Some("output.uri"), "{}", first.message);
    fs::remove_file(rehearsal.path("models")).unwrap();
    fs::create_dir(rehearsal.path("models")).unwrap();
    rehearsal
}

/// The first of two is started again and nobody else: a Job starts no pod again that has ended well.
fn first_again(rehearsal: &Rehearsal) -> Outcome {
    let leader = free();
    let mut first = rehearsal.trainer("report-0");
    first
        .args(["--group-worker", "0", "--group-leader", &leader])
        .args(["--group-listen", &leader, "--group-token", "secret"])
        .args(["--group-wait", "10", "--group-settle", "1"]);
    let code = first.status().unwrap().code();
    assert_eq!(code, Some(0), "{:?}", report(rehearsal, "report-0"));
    assert!(
        !rehearsal.path("checkpoints").exists(),
        "a run that is done needs no checkpoints"
    );
    outcome(rehearsal, "report-0")
}

#[test]
fn parallel_workers_learn_what_one_learns_alone() {
    for optimizer in [momentum(), adam()] {
        let expected = alone(&network(optimizer.clone()));
        for count in [2, 3] {
            let (rehearsal, found) = together(network(optimizer.clone()), count);
            same(&found, &expected);
            for worker in 1..count {
                match report(&rehearsal, &format!("report-{worker}")) {
                    Report::Helped {
                        worker: said, steps, ..
                    } => assert_eq!((said, steps), (worker, expected.steps)),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(rehearsal.models().len(), 1, "the first worker alone writes");
        }
    }
}

#[test]
fn parallel_workers_learn_by_the_graph_what_one_learns_alone() {
    // An embedding and attention have no plan; attention drops weights by row too.
    let texts = || {
        let rows = (0..200).map(|row: usize| {
            let words = ["fine", "dull", "film", "book", "what"];
            let text: Vec<&str> = (0..1 + row % 4).map(|word| words[(row * 3 + word) % 5]).collect();
            format!("{},{}\n", text.join(" "), ["yes", "no"][row * 5 / 3 % 2])
        });
        network(momentum())
            .write("table.csv", &format!("text,y\n{}", rows.collect::<String>()))
            .with("dataset.text", json!({"length": 5, "vocabulary": 7}))
            .with("hyperparameters.batchSize", json!(16))
            .with(
                "network.layers",
                json!([
                    {"embedding": {"vocabulary": 7, "dimensions": 8}},
                    {"transformerBlock": {"heads": 2, "feedForward": 8, "dropout": 0.1}},
                    {"globalAveragePool": {}},
                    {"dense": {"units": 1, "activation": "Sigmoid"}},
                ]),
            )
    };
    let expected = alone(&texts());
    let (_, found) = together(texts(), 3);
    same(&found, &expected);
}

#[test]
fn parallel_workers_that_are_more_than_the_rows_of_a_batch_learn_the_same() {
    let small = || {
        network(momentum())
            .with("hyperparameters.batchSize", json!(2))
            .with("hyperparameters.epochs", json!(1))
    };
    let expected = alone(&small());
    let (_, found) = together(small(), 3);
    same(&found, &expected);
}

#[test]
fn parallel_workers_give_the_same_bits_for_the_same_count() {
    let (_, first) = together(network(adam()), 3);
    let (_, second) = together(network(adam()), 3);
    assert_eq!(first.artifact.digest, second.artifact.digest);
}

#[test]
fn parallel_workers_go_on_to_the_bit_after_one_was_killed() {
    let (_, expected) = together(long(), 3);
    for killed in [1, 0] {
        let mut rehearsal = long();
        let mut workers = group(&mut rehearsal, 3);
        until_saved(&rehearsal, 20);
        workers[killed].kill().unwrap();
        let found = codes(workers);
        for (worker, code) in found.iter().enumerate() {
            let expected = if worker == killed { None } else { Some(75) };
            assert_eq!(*code, expected, "worker {worker} of {found:?}");
        }
        for worker in (0..3).filter(|worker| *worker != killed) {
            let failure = failure(&rehearsal, &format!("report-{worker}"));
            assert_eq!(failure.class, FailureClass::Interrupted);
            let says = format!("worker {killed} was lost");
            assert!(failure.message.contains(&says), "{}", failure.message);
        }
        let left = newest(&rehearsal).unwrap();
        let (rehearsal, found) = together(rehearsal, 3);
        assert_eq!(found.work.resumed_from, Some(left));
        assert_eq!(found.artifact.digest, expected.artifact.digest, "killed {killed}");
        assert!(
            !rehearsal.path("checkpoints").exists(),
            "a run that is done needs no checkpoints"
        );
    }
}

#[test]
fn parallel_workers_end_with_the_same_bits_after_kills_at_any_moment() {
    let (_, expected) = together(long(), 3);
    let rehearsal = long().with("nodes", json!({"count": 3}));
    let kills = kill_at_any_moment(&rehearsal, 3);
    assert!(kills > 0);
    let found = outcome(&rehearsal, "report-0");
    assert_eq!(
        found.artifact.digest, expected.artifact.digest,
        "after {kills} kills"
    );
}

#[test]
fn parallel_workers_all_stop_with_their_state_saved_when_one_is_told_to() {
    let (_, expected) = together(long(), 2);
    for told in [1, 0] {
        // Seldom saved on the way: what is there was saved because of the signal.
        let mut rehearsal = saved(long(), 15);
        let workers = group(&mut rehearsal, 2);
        until_saved(&rehearsal, 15);
        signal(&workers[told], "-TERM");
        assert_eq!(codes(workers), [Some(75), Some(75)]);
        let first = failure(&rehearsal, "report-0");
        assert!(first.message.contains("the state is saved"), "{}", first.message);
        let mark = first.work.unwrap().last_checkpoint.unwrap();
        assert_eq!(Some(mark.step), newest(&rehearsal));
        let (_, found) = together(rehearsal, 2);
        assert_eq!(found.work.resumed_from, Some(mark.step));
        assert_eq!(found.artifact.digest, expected.artifact.digest, "told {told}");
    }
}

#[test]
fn parallel_workers_go_on_with_fewer_and_take_in_who_comes_late() {
    let expected = alone(&long());
    let rehearsal = long().with("nodes", json!({"count": 3, "minCount": 2}));
    let leader = free();
    let workers = vec![
        rehearsal.start_worker(0, &leader),
        rehearsal.start_worker(2, &leader),
    ];
    until_saved(&rehearsal, 5);
    let mut late = rehearsal.start_worker(1, &leader);
    assert_eq!(codes(workers), [Some(75), Some(75)]);
    let first = failure(&rehearsal, "report-0");
    assert!(
        first.message.starts_with("a worker came late at step "),
        "{}",
        first.message
    );
    // It still looks for the group, which the others make again.
    let others = [
        rehearsal.start_worker(0, &leader),
        rehearsal.start_worker(2, &leader),
    ];
    assert_eq!(codes(others.into()), [Some(0), Some(0)]);
    assert_eq!(late.wait().unwrap().code(), Some(0));
    same(&outcome(&rehearsal, "report-0"), &expected);
}

#[test]
fn parallel_workers_that_were_let_go_are_not_waited_for_where_the_last_state_is_damaged() {
    let run = || saved(network(momentum()), 1).with("hyperparameters.earlyStopping.patience", json!(1000));
    let expected = alone(&run());
    let rehearsal = left_alone(run());
    assert_eq!(newest(&rehearsal), Some(expected.steps));
    fs::write(numbers(&rehearsal, expected.steps), "").unwrap();
    let found = first_again(&rehearsal);
    assert_eq!(found.work.resumed_from, Some(expected.steps - 1));
    same(&found, &expected);
}

#[test]
fn parallel_workers_that_were_let_go_are_not_waited_for_where_it_is_not_measured_that_they_were_done() {
    // The state of the last step was saved before it was known that it is the last.
    let run = || {
        saved(network(momentum()), 1)
            .with("hyperparameters.epochs", json!(60))
            .with(
                "hyperparameters.earlyStopping",
                json!({"patience": 1, "minDelta": 10.0}),
            )
    };
    let expected = alone(&run());
    let rehearsal = left_alone(run());
    assert_eq!(newest(&rehearsal), Some(expected.steps));
    let found = first_again(&rehearsal);
    assert_eq!(found.work.resumed_from, Some(expected.steps));
    same(&found, &expected);
}

#[test]
fn parallel_workers_have_nobody_but_the_first_look_at_the_storage() {
    let mut rehearsal = saved(network(momentum()), 1);
    rehearsal.plan["nodes"]["count"] = json!(2);
    let leader = free();
    let first = rehearsal.start_worker(0, &leader);
    // The other one is given a plan whose folders are not there.
    let text = rehearsal
        .plan
        .to_string()
        .replace("\"pvc://data/models\"", "\"pvc://elsewhere/models\"");
    fs::write(rehearsal.path("other.json"), text).unwrap();
    let other = Command::new(env!("CARGO_BIN_EXE_sconce-trainer"))
        .arg("--plan")
        .arg(rehearsal.path("other.json"))
        .arg("--report")
        .arg(rehearsal.path("report-1"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--group-worker",
            "1",
            "--group-leader",
            &leader,
        ])
        .args(["--group-listen", "127.0.0.1:0", "--group-token", "secret"])
        .spawn()
        .unwrap();
    assert_eq!(codes(vec![first, other]), [Some(0), Some(0)]);
}

#[test]
fn parallel_workers_that_would_take_the_rows_in_another_order_do_not_meet() {
    let rehearsal = network(momentum()).with("nodes", json!({"count": 2}));
    let leader = free();
    let start = |worker: u32, memory: &str| {
        let listen = if worker == 0 { &leader } else { "127.0.0.1:0" };
        rehearsal
            .trainer(&format!("report-{worker}"))
            .args(["--group-worker", &worker.to_string(), "--group-leader", &leader])
            .args(["--group-listen", listen, "--group-token", "secret"])
            .args(["--group-wait", "10", "--memory", memory])
            .spawn()
            .unwrap()
    };
    let workers = vec![start(0, "1000000000"), start(1, "2000")];
    // Nothing that the second does alone would have it taken in, so it counts; the first may yet meet another one.
    assert_eq!(codes(workers), [Some(75), Some(1)]);
    let told = failure_of(&rehearsal, 1);
    assert_eq!(told.class, FailureClass::Internal);
    for says in [
        "worker 1 was told to learn something else",
        "the same plan, memory and version",
    ] {
        assert!(told.message.contains(says), "{}", told.message);
    }
}

#[test]
fn parallel_workers_refuse_what_cannot_be_divided() {
    let normed = json!([{"batchNorm": {}}, {"dense": {"units": 1, "activation": "Sigmoid"}}]);
    let rehearsal = network(momentum())
        .with("network.layers", normed)
        .with("nodes", json!({"count": 2}));
    let failure = rehearsal.refuse();
    assert_eq!(failure.class, FailureClass::BadInput);
    // Without a seat nobody waits for ever.
    assert_eq!(
        failure.field.as_deref(),
        Some("nodes.count"),
        "{}",
        failure.message
    );
    let workers = {
        let leader = free();
        vec![
            rehearsal.start_worker(0, &leader),
            rehearsal.start_worker(1, &leader),
        ]
    };
    assert_eq!(codes(workers), [Some(65), Some(65)]);
    let says = "model.network.layers[0].batchNorm measures whole batches";
    let told = failure_of(&rehearsal, 1);
    assert!(told.message.contains(says), "{}", told.message);
}

fn failure_of(rehearsal: &Rehearsal, worker: u32) -> Failure {
    failure(rehearsal, &format!("report-{worker}"))
}

#[test]
fn parallel_workers_end_together_when_the_loss_is_no_longer_finite() {
    let far = table(100, |a, b| format!("{}", a * 1e20 + b * 1e20));
    let mut rehearsal = Rehearsal::of(&far)
        .with(
            "hyperparameters",
            json!({"optimizer": {"type": "SGD", "learningRate": 10.0}}),
        )
        .with("nodes", json!({"count": 2}));
    let workers = group(&mut rehearsal, 2);
    assert_eq!(codes(workers), [Some(65), Some(75)]);
    assert_eq!(failure_of(&rehearsal, 0).class, FailureClass::Diverged);
    let told = failure_of(&rehearsal, 1).message;
    assert!(told.contains("the loss"), "{told}");
}
