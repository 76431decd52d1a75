//! A table that is larger than the memory: its rows are kept on disk, and everything else is as it is with others.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rehearsal::{Rehearsal, metric, separable};
use sconce_contract::{Failure, FailureClass, Metric, MetricName, Report, RowsLeftOut};
use serde_json::json;

/// Memory in bytes with which the rows of the smallest table here go to disk.
const LITTLE: u64 = 4000;

/// The trainer with so much memory, on one thread; its report is `report`.
fn trainer(rehearsal: &Rehearsal, memory: Option<u64>) -> Command {
    let mut command = rehearsal.command();
    if let Some(memory) = memory {
        command.args(["--memory", &memory.to_string()]);
    }
    command
}

fn report(rehearsal: &Rehearsal) -> Report {
    serde_json::from_slice(&fs::read(rehearsal.path("report")).unwrap()).unwrap()
}

/// Its metrics, and what is in this file of its artifact.
fn trained(rehearsal: &Rehearsal, memory: Option<u64>, file: &str) -> (Vec<Metric>, RowsLeftOut, String) {
    assert_eq!(trainer(rehearsal, memory).status().unwrap().code(), Some(0));
    let Report::Trained {
        metrics,
        artifact,
        left_out,
        ..
    } = report(rehearsal)
    else {
        panic!("{:?}", report(rehearsal));
    };
    let folder = artifact.uri.strip_prefix("pvc://data/").unwrap();
    let text = fs::read_to_string(rehearsal.path(folder).join(file)).unwrap();
    (metrics, left_out, text)
}

fn failed(rehearsal: &Rehearsal) -> Failure {
    match report(rehearsal) {
        Report::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// The most memory of a trainer that runs to its end, in MiB.
fn peak(mut command: Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let now = fs::read_to_string(&status).unwrap_or_default();
        let line = now.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kibibytes.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            return peak >> 10;
        }
        thread::yield_now();
    }
}

/// Rows of 100 digits, and whether the first is greater than the second; sorted by that, the worst that a shuffle can get.
fn wide(rows: usize) -> String {
    let mut text: String = (0..100).map(|column| format!("c{column},")).collect();
    text.push_str("y\n");
    let mut state = 1_u64;
    for answer in ["no", "yes"] {
        for _ in 0..rows / 2 {
            let mut digits: Vec<u64> = (0..100)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) % 10
                })
                .collect();
            if (digits[0] > digits[1]) != (answer == "yes") {
                digits.swap(0, 1);
            }
            text.extend(digits.iter().map(|digit| format!("{digit},")));
            text.push_str(answer);
            text.push('\n');
        }
    }
    text
}

#[test]
fn streams_tables_several_times_larger_than_the_memory_and_learns_as_much() {
    // 46 MiB of numbers; with 24 MiB of memory in all, 10 MiB of rows may be held.
    let rehearsal = Rehearsal::of(&wide(120_000))
        .layers(&[(8, "ReLU"), (1, "Sigmoid")])
        .with(
            "hyperparameters",
            json!({"epochs": 1, "batchSize": 64, "optimizer": {"learningRate": 0.01}}),
        );
    let in_memory = peak(trainer(&rehearsal, None));
    let accuracy = |rehearsal: &Rehearsal| match report(rehearsal) {
        Report::Trained { metrics, .. } => metric(&metrics, MetricName::Accuracy),
        other => panic!("{other:?}"),
    };
    let before = accuracy(&rehearsal);
    let on_disk = peak(trainer(&rehearsal, Some(24 << 20)));
    let after = accuracy(&rehearsal);
    assert!(on_disk < 64, "{on_disk} MiB on disk, {in_memory} in memory");
    assert!(
        on_disk + 16 < in_memory,
        "{on_disk} MiB on disk, {in_memory} in memory"
    );
    assert!(before > 0.9 && (before - after).abs() < 0.03, "{before} {after}");
}

#[test]
fn streams_tables_with_the_scales_words_and_fills_that_they_have_in_memory() {
    let mut text = "number,word,y\n".to_owned();
    for row in 0..600_u32 {
        let number = match row % 7 {
            0 => String::new(),
            _ => format!("{}", f64::from(row * 37 % 101) / 7.0),
        };
        let word = ["red", "", "blue", "green", "amber"][(row * 13 % 5) as usize];
        text.push_str(&format!("{number},{word},{}\n", row * 53 % 97));
    }
    for missing in ["Median", "Mean"] {
        for encoding in ["OneHot", "Index"] {
            let rehearsal = Rehearsal::of(&text)
                .with("dataset.missing", json!(missing))
                .with("dataset.categorical", json!({"encoding": encoding}));
            let (_, _, in_memory) = trained(&rehearsal, None, "preprocess.json");
            let (_, _, on_disk) = trained(&rehearsal, Some(LITTLE), "preprocess.json");
            assert!(on_disk.contains("amber"), "{on_disk}");
            assert_eq!(on_disk, in_memory, "{missing} {encoding}");
        }
    }
}

#[test]
fn streams_tables_and_leaves_out_the_rows_that_it_would_in_memory() {
    let mut text = separable(600);
    text.push_str("0.5,0.5\nx,1,yes\n,1,yes\n1,,no\n");
    let rehearsal = Rehearsal::of(&text)
        .layers(&[(1, "Sigmoid")])
        .with("dataset.missing", json!("Drop"))
        .with("dataset.malformedRows", json!({"skipUpTo": 2}));
    let (_, in_memory, _) = trained(&rehearsal, None, "manifest.json");
    let (_, on_disk, _) = trained(&rehearsal, Some(LITTLE), "manifest.json");
    assert_eq!((on_disk.malformed, on_disk.missing), (2, 2));
    assert_eq!(on_disk, in_memory);
    let strict = rehearsal.with("dataset.malformedRows", json!({"skipUpTo": 1}));
    assert_eq!(trainer(&strict, Some(LITTLE)).status().unwrap().code(), Some(65));
    assert!(
        failed(&strict).message.contains("line 603, column \"a\""),
        "{:?}",
        failed(&strict)
    );
}

#[test]
fn streams_tables_of_each_format_with_the_same_rows_in_the_same_order() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let types = fs::read_to_string(format!("{golden}/types.csv")).unwrap();
    let lines = types.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line
            .split(',')
            .map(|cell| if cell.is_empty() { "null" } else { cell })
            .collect();
        let word = cells[7].replace("null", "");
        format!(
            "{{\"double\": {}, \"int8\": {}, \"word\": {word:?}}}\n",
            cells[0], cells[2]
        )
    });
    let lines: String = lines.collect();
    let mut reached = Vec::new();
    for file in [
        "types.csv",
        "types.jsonl",
        "types-snappy.parquet",
        "types-zstd.parquet",
    ] {
        let rehearsal = Rehearsal::of("")
            .with("dataset.uri", json!(format!("pvc://data/{file}")))
            .with("dataset.target", json!("double"))
            .with("dataset.features", json!(["int8", "word"]))
            .with("dataset.missing", json!("Mean"))
            .write("types.jsonl", &lines);
        if !file.ends_with("jsonl") {
            fs::copy(format!("{golden}/{file}"), rehearsal.path(file)).unwrap();
        }
        reached.push(trained(&rehearsal, Some(8), "preprocess.json"));
    }
    assert!(reached[0].2.contains("green"), "{}", reached[0].2);
    assert!(
        reached.iter().all(|of_file| *of_file == reached[0]),
        "{reached:?}"
    );
}

#[test]
fn streams_tables_and_goes_on_to_the_same_bits_after_a_kill() {
    let rehearsal = || {
        Rehearsal::of(&separable(400))
            .layers(&[(32, "ReLU"), (1, "Sigmoid")])
            .with(
                "hyperparameters",
                json!({"epochs": 3, "batchSize": 28, "optimizer": {"type": "Adam"}}),
            )
            .with(
                "checkpoint",
                json!({"uri": "pvc://data/checkpoints", "every": {"steps": 1}, "keep": 2}),
            )
    };
    let digest = |rehearsal: &Rehearsal| match report(rehearsal) {
        Report::Trained {
            artifact,
            steps,
            work,
            ..
        } => (artifact.digest, steps, work.resumed_from),
        other => panic!("{other:?}"),
    };
    let whole = rehearsal();
    trained(&whole, Some(LITTLE), "manifest.json");
    let (expected, steps, _) = digest(&whole);
    assert_eq!(steps, 30);
    for step in [1, 9, 10, 17, 25] {
        let killed = (0..20).find_map(|_| {
            let rehearsal = rehearsal();
            let mut child = trainer(&rehearsal, Some(LITTLE)).spawn().unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            while rehearsal.newest_checkpoint() < Some(step) && child.try_wait().unwrap().is_none() {
                assert!(Instant::now() < deadline, "no checkpoint of step {step}");
            }
            child.kill().unwrap();
            // It may have been faster; then it was no kill.
            child.wait().unwrap().code().is_none().then_some(rehearsal)
        });
        let killed = killed.unwrap_or_else(|| panic!("never killed at step {step}"));
        trained(&killed, Some(LITTLE), "manifest.json");
        let (again, _, resumed) = digest(&killed);
        assert!(resumed >= Some(step), "{resumed:?}");
        assert_eq!(again, expected, "killed at step {step}");
    }
}

#[test]
fn streams_tables_anew_where_the_rows_of_a_checkpoint_were_in_memory() {
    let rehearsal = Rehearsal::of(&separable(400)).layers(&[(1, "Sigmoid")]).with(
        "checkpoint",
        json!({"uri": "pvc://data/checkpoints", "every": {"steps": 1}, "keep": 2}),
    );
    let mut child = trainer(&rehearsal, None).spawn().unwrap();
    while rehearsal.newest_checkpoint().is_none() && child.try_wait().unwrap().is_none() {}
    child.kill().unwrap();
    child.wait().unwrap();
    trained(&rehearsal, Some(LITTLE), "manifest.json");
    let Report::Trained { work, .. } = report(&rehearsal) else {
        panic!("{:?}", report(&rehearsal));
    };
    assert_eq!(work.resumed_from, None, "the order of the rows is another one");
}

#[test]
fn streams_tables_to_a_disk_that_is_full_and_says_so() {
    let rehearsal = Rehearsal::of(&separable(20_000)).layers(&[(1, "Sigmoid")]);
    // No file of this process may be larger than 64 KiB; the signal that goes with it is not heard.
    let mut command = Command::new("sh");
    let trainer = trainer(&rehearsal, Some(LITTLE));
    command.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""]);
    command.arg(trainer.get_program()).args(trainer.get_args());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(command.status().unwrap().code(), Some(1));
    let failure = failed(&rehearsal);
    assert_eq!(failure.class, FailureClass::Storage);
    assert_eq!(failure.field.as_deref(), Some("resources.memory"));
    let message = failure.message;
    assert!(
        message.contains("larger than the memory") && message.contains("File too large"),
        "{message}"
    );

    let mut nowhere = self::trainer(&rehearsal, Some(LITTLE));
    nowhere.args(["--scratch", "/nowhere"]);
    assert_eq!(nowhere.status().unwrap().code(), Some(1));
    assert!(failed(&rehearsal).message.contains("cannot be kept in /nowhere"));
}
