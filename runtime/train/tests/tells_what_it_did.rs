//! What a person finds of a run: the card beside the model, the curve in TensorBoard's files, and MLflow if it is there.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use rehearsal::{Rehearsal, separable, table};
use sconce_contract::Report;
use sconce_train::track::events;
use serde_json::json;

/// 40 epochs of 3 steps, with dropout and the best weights put back.
fn network() -> Rehearsal {
    Rehearsal::of(&separable(400))
        .with(
            "network.layers",
            json!([
                {"dense": {"units": 64, "activation": "Tanh"}},
                {"dropout": {"rate": 0.3}},
                {"dense": {"units": 1, "activation": "Sigmoid"}},
            ]),
        )
        .with(
            "hyperparameters",
            json!({"epochs": 40, "batchSize": 100, "earlyStopping": {"patience": 1000}}),
        )
        .with("evaluation.gates", json!([{"metric": "accuracy", "min": 0.1}]))
}

fn finish(rehearsal: &Rehearsal) -> PathBuf {
    assert_eq!(rehearsal.start().wait().unwrap().code(), Some(0));
    let text = fs::read_to_string(rehearsal.path("report")).unwrap();
    match serde_json::from_str(&text).unwrap() {
        Report::Trained { artifact, .. } => rehearsal.path(artifact.uri.strip_prefix("pvc://data/").unwrap()),
        other => panic!("{other:?}"),
    }
}

const PACE: &str = "rows_per_second";

/// Tag and step of every scalar in the event files of the run, one file after another.
fn scalars(rehearsal: &Rehearsal) -> Vec<Vec<(String, u64)>> {
    let folder = rehearsal.path("models/tensorboard/rehearsal/abc");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| events::scalars(&fs::read(file).unwrap()))
        .collect()
}

fn steps(scalars: &[Vec<(String, u64)>], tag: &str) -> Vec<u64> {
    let of_tag = scalars.iter().flatten().filter(|(found, _)| found == tag);
    of_tag.map(|(_, step)| *step).collect()
}

#[test]
fn a_run_that_was_stopped_and_killed_has_the_same_card_and_each_step_of_its_curve_once() {
    let undisturbed = network();
    let folder = finish(&undisturbed);
    let disturbed = (0..20).find_map(|_| {
        let rehearsal = network().with(
            "checkpoint",
            json!({"uri": "pvc://data/checkpoints", "every": {"steps": 1}, "keep": 2}),
        );
        let stopped = rehearsal.signalled("-TERM", 30).code() == Some(75);
        (stopped && rehearsal.signalled("-KILL", 70).code().is_none()).then_some(rehearsal)
    });
    let disturbed = disturbed.unwrap();
    let again = finish(&disturbed);
    assert_eq!(again.file_name(), folder.file_name(), "the digest");
    for file in ["README.md", "curves.png", "manifest.json"] {
        let [one, other] = [&folder, &again].map(|folder| fs::read(folder.join(file)).unwrap());
        assert!(one == other, "{file} is another");
    }

    let of_one = scalars(&undisturbed);
    let of_three = scalars(&disturbed);
    assert_eq!((of_one.len(), of_three.len()), (1, 3), "a file for each pod");
    let expected: Vec<u64> = (1..=40).map(|epoch| 3 * epoch).collect();
    for scalars in [&of_one, &of_three] {
        for tag in [
            "loss/train",
            "loss/validation",
            "accuracy/validation",
            "learning_rate",
        ] {
            assert_eq!(steps(scalars, tag), expected, "{tag}");
        }
        assert_eq!(steps(scalars, "accuracy/test"), [120]);
    }
    // The last step of an epoch may be stopped before what it reached is measured.
    assert!(of_three[0].iter().any(|(_, step)| *step >= 27), "{of_three:?}");
    assert_eq!(steps(&of_one, PACE), expected);
    // A pod that goes on right after the last step of an epoch learns no row of it, and has no pace to tell.
    let paced = steps(&of_three, PACE);
    assert!(
        expected.iter().filter(|step| paced.contains(step)).eq(&paced),
        "{paced:?}"
    );
    assert!(paced.len() + 2 >= expected.len(), "{paced:?}");
    let tags = |scalars: &[Vec<(String, u64)>]| -> BTreeSet<_> {
        let all = scalars.iter().flatten().filter(|(tag, _)| tag != PACE);
        all.cloned().collect()
    };
    assert_eq!(tags(&of_one), tags(&of_three));
}

#[test]
fn a_run_whose_table_was_replaced_begins_a_curve_of_its_own() {
    let rehearsal = network();
    finish(&rehearsal);
    // As many steps, of other rows.
    let rehearsal = rehearsal.write("table.csv", &separable(396));
    finish(&rehearsal);
    let both = scalars(&rehearsal);
    assert_eq!(both.len(), 2);
    let expected: Vec<u64> = (1..=40).map(|epoch| 3 * epoch).collect();
    for one in &both {
        assert_eq!(steps(std::slice::from_ref(one), "loss/train"), expected);
    }
}

#[test]
fn the_card_tells_of_table_network_results_and_limits() {
    let words = "colour,size,y\n".to_owned()
        + &(0..120)
            .map(|row| {
                let colour = ["red", "green", "a|b"][row % 3];
                let size = if row % 10 == 0 {
                    String::new()
                } else {
                    (row % 7).to_string()
                };
                format!("{colour},{size},{}\n", ["no", "<yes>"][row % 2])
            })
            .collect::<String>();
    let rehearsal = Rehearsal::of(&words)
        .layers(&[(8, "ReLU"), (1, "Sigmoid")])
        .with("dataset.missing", json!("Mean"))
        .with("hyperparameters", json!({"epochs": 3}))
        .with(
            "evaluation.gates",
            json!([{"metric": "accuracy", "min": 0}, {"metric": "auroc", "min": 1, "max": 1}]),
        );
    let (_, artifact) = rehearsal.train();
    let folder = rehearsal.path(artifact.uri.strip_prefix("pvc://data/").unwrap());
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    for line in [
        "pipeline_tag: tabular-classification",
        "- name: \"rehearsal\"",
        "# rehearsal",
        "Predicts `y` (&lt;yes>, no) from 2 column(s) of a table. Learned from 84 rows by sconce-trainer 0.1.0.",
        &format!("- digest `{}`", artifact.digest),
        "| accuracy | at least 0 |",
        "| auroc | at least 1, at most 1 |",
        "![How loss and metrics went over the steps](curves.png)",
        "120 rows, of which 84 to learn from, 12 watched while learning and 24 held out.",
        "| `colour` | 3 words |  |  |  |  | 0 |",
        "| `size` | numbers | 0 |",
        "| 0 | `dense` activation ReLU, units 8 | 8 | 40 |",
        "4 input(s), 49 parameters.",
        "| `epochs` | `3` |",
        "metadata: {name: rehearsal}",
        &format!("`model: {{uri: {}}}`", artifact.uri),
        "- A value that is missing (null) is filled by what the training rows say",
        "- A word that was not in the table is refused, in `colour`.",
    ] {
        assert!(card.contains(line), "no {line:?} in\n{card}");
    }
    // Of each table, every line has as many cells.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    for block in card.split("\n\n").filter(|block| block.starts_with('|')) {
        let counts: BTreeSet<usize> = block.trim().lines().map(cells).collect();
        assert_eq!(counts.len(), 1, "{block}");
    }
    assert!(
        fs::read(folder.join("curves.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    assert!(!manifest.contains("README"), "the digest is of the model");
}

#[test]
fn a_number_and_no_held_out_rows_make_a_card_too() {
    let rehearsal = Rehearsal::of(&table(50, |a, b| format!("{}", a - b)))
        .with("dataset.split", json!({"validation": 0.0, "test": 0.0}))
        .with("hyperparameters", json!({"epochs": 2}));
    let (_, artifact) = rehearsal.train();
    let folder = rehearsal.path(artifact.uri.strip_prefix("pvc://data/").unwrap());
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    for line in [
        "pipeline_tag: tabular-regression",
        "Nothing was held out to measure it on.",
        "- No row was held out: how good it is on rows that it has not seen is not known.",
        "- No value may be missing: a request with null is refused.",
    ] {
        assert!(card.contains(line), "no {line:?} in\n{card}");
    }
    assert!(!card.contains("model-index"), "{card}");
}

#[test]
fn curves_that_cannot_be_written_cost_a_warning() {
    let rehearsal = network();
    fs::write(rehearsal.path("models/tensorboard"), "a file").unwrap();
    let (log, code) = with_mlflow(&rehearsal, None);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(
        log.matches("the run is not told to TensorBoard").count(),
        1,
        "{log}"
    );
}

/// The log and exit code of a trainer with that address of MLflow.
fn with_mlflow(rehearsal: &Rehearsal, address: Option<&str>) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sconce-trainer"));
    command
        .arg("--plan")
        .arg(rehearsal.write_plan())
        .args(["--report", "none", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(address) = address {
        command.env("MLFLOW_TRACKING_URI", address);
    }
    let mut child: Child = command.spawn().unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    (log, child.wait().unwrap().code())
}

#[test]
fn an_mlflow_that_is_not_there_or_never_answers_costs_a_warning() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = taken.local_addr().unwrap();
    drop(taken);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in silent.incoming() {
            open.push(stream);
        }
    });
    for (address, says) in [
        (format!("http://{free}"), "cannot be asked"),
        (format!("http://{address}"), "MLflow"),
        (
            "databricks".to_owned(),
            "MLFLOW_TRACKING_URI is no http:// or https:// address",
        ),
    ] {
        let rehearsal = network();
        let (log, code) = with_mlflow(&rehearsal, Some(&address));
        assert_eq!(code, Some(0), "{address}: {log}");
        let warnings = log
            .lines()
            .filter(|line| line.contains("MLflow") && line.contains("WARN"));
        assert!(warnings.count() >= 1 && log.contains(says), "{address}: {log}");
        assert_eq!(rehearsal.models().len(), 1);
    }
}
