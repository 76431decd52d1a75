//! The binary from end to end: exit code, report, endpoints and signals.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rehearsal::{Rehearsal, separable};
use sconce_contract::{FailureClass, Progress, Report, TrainingPhase};
use serde_json::{Value, json};

fn rehearsal(epochs: u32) -> Rehearsal {
    Rehearsal::of(&separable(400))
        .layers(&[(32, "ReLU"), (1, "Sigmoid")])
        .with("hyperparameters", json!({"epochs": epochs}))
}

fn trainer(rehearsal: &Rehearsal) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sconce-trainer"));
    command
        .arg("--plan")
        .arg(rehearsal.write_plan())
        .arg("--report")
        .arg(rehearsal.path("report"))
        .args(["--listen", "127.0.0.1:0"])
        .env_remove("RAYON_NUM_THREADS")
        .env_remove("CANDLE_NUM_THREADS")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn report(rehearsal: &Rehearsal) -> Report {
    serde_json::from_str(&fs::read_to_string(rehearsal.path("report")).unwrap()).unwrap()
}

fn failure(rehearsal: &Rehearsal) -> sconce_contract::Failure {
    match report(rehearsal) {
        Report::Failed(failure) => failure,
        trained => panic!("{trained:?}"),
    }
}

#[test]
fn a_training_that_is_done_exits_with_0() {
    let rehearsal = rehearsal(5);
    let output = trainer(&rehearsal).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    let Report::Trained {
        run,
        artifact,
        epochs,
        steps,
        seconds,
        metrics,
        work,
        ..
    } = report(&rehearsal)
    else {
        panic!("not trained")
    };
    // Steps alone: not the table, the validation or the artifact, which take the rest.
    let busy = work.busy_milliseconds as f64 / 1000.0;
    assert!(busy > 0.0 && busy < seconds, "{busy} of {seconds}");
    assert_eq!((run.as_str(), epochs, steps), ("abc", 5, 45));
    assert!(seconds > 0.0);
    let names: Vec<_> = metrics.iter().map(|metric| metric.name.to_string()).collect();
    assert_eq!(
        names,
        ["loss", "accuracy", "auroc", "precision", "recall", "f1", "auprc"]
    );
    let hex = artifact.digest.strip_prefix("sha256:").unwrap();
    assert_eq!(rehearsal.models(), [hex]);
    assert_eq!(artifact.uri, format!("pvc://data/models/{hex}"));
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line} is not JSON: {error}"));
    }
    assert!(log.contains("accuracy="), "{log}");
    assert!(output.stdout.is_empty());
}

#[test]
fn bad_input_exits_with_65() {
    let rehearsal = rehearsal(5).with("dataset.target", json!("z"));
    assert_eq!(trainer(&rehearsal).status().unwrap().code(), Some(65));
    assert_eq!(failure(&rehearsal).field.as_deref(), Some("dataset.target"));

    let malformed = rehearsal.with("hyperparameters.epocs", json!(3));
    assert_eq!(trainer(&malformed).status().unwrap().code(), Some(65));
    assert!(
        failure(&malformed)
            .message
            .contains("no field hyperparameters.epocs")
    );
}

#[test]
fn what_a_retry_may_mend_exits_with_1() {
    let rehearsal = rehearsal(5);
    let mut command = trainer(&rehearsal);
    fs::remove_file(rehearsal.path("plan.json")).unwrap();
    assert_eq!(command.status().unwrap().code(), Some(1));
    assert_eq!(failure(&rehearsal).class, FailureClass::Storage);
}

#[test]
fn a_report_that_cannot_be_written_keeps_the_checkpoints_for_the_next_attempt() {
    let rehearsal = rehearsal(5).with(
        "checkpoint",
        json!({"uri": "pvc://data/saved", "every": {"steps": 10}, "keep": 2}),
    );
    // Nobody can write a file where a folder is.
    fs::create_dir(rehearsal.path("report")).unwrap();
    let output = trainer(&rehearsal).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("the report could not be written"), "{log}");
    assert_eq!(fs::read_dir(rehearsal.path("saved/abc")).unwrap().count(), 2);

    fs::remove_dir(rehearsal.path("report")).unwrap();
    assert_eq!(trainer(&rehearsal).status().unwrap().code(), Some(0));
    let Report::Trained { work, .. } = report(&rehearsal) else {
        panic!("not trained")
    };
    assert_eq!(work.resumed_from, Some(40));
    assert!(!rehearsal.path("saved").exists(), "nobody needs them any more");
}

#[test]
fn a_signal_stops_it_with_75_and_leaves_no_half_model() {
    let rehearsal = rehearsal(100_000);
    let (mut child, address) = start(&rehearsal);
    let progress = wait_for(&address, |progress| progress.step > 10);
    assert_eq!((progress.run.as_str(), progress.epochs), ("abc", 100_000));
    assert!(progress.eta_seconds.unwrap() > 0.0 && progress.loss.is_some());

    assert_eq!(get(&address, "/livez").0, 200);
    let (status, metrics) = get(&address, "/metrics");
    assert!(
        status == 200 && metrics.contains("sconce_training_rows{split=\"training\"} 280"),
        "{metrics}"
    );
    assert_eq!(get(&address, "/other").0, 404);

    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let failure = failure(&rehearsal);
    assert_eq!(failure.class, FailureClass::Interrupted);
    assert!(failure.message.contains("of 900000"), "{}", failure.message);
    // This plan has no place for checkpoints.
    assert!(
        failure
            .message
            .ends_with("the next attempt starts from the beginning"),
        "{}",
        failure.message
    );
    let work = failure.work.unwrap();
    assert!(
        work.busy_milliseconds >= progress.work.busy_milliseconds
            && work.busy_milliseconds > 0
            && work.last_checkpoint.is_none(),
        "{work:?}"
    );
    assert_eq!(rehearsal.models(), [""; 0]);
}

#[test]
fn idle_connections_keep_no_probe_waiting() {
    let rehearsal = rehearsal(100_000);
    let (mut child, address) = start(&rehearsal);
    // So many more than have a place that the last would wait for minutes.
    let mut idle: Vec<TcpStream> = (0..900).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(get(&address, "/livez").0, 200);
    // The oldest has given way.
    let closed = idle[0].read(&mut [0]);
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_port_that_is_taken_is_no_reason_to_fail() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let rehearsal = rehearsal(1);
    // Said by the variable, as a pod would.
    let mut command = Command::new(env!("CARGO_BIN_EXE_sconce-trainer"));
    command
        .arg("--plan")
        .arg(rehearsal.write_plan())
        .args(["--report", "none"]);
    command.env("SCONCE_LISTEN", taken.local_addr().unwrap().to_string());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("without a progress endpoint")
    );
}

/// Starts the trainer and learns its address from its log.
fn start(rehearsal: &Rehearsal) -> (Child, String) {
    let mut child = trainer(rehearsal).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines
        .find_map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            line["address"].as_str().map(str::to_owned)
        })
        .unwrap();
    // The rest of the log must be read, or the trainer would wait for room in the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

fn wait_for(address: &str, is_there: impl Fn(&Progress) -> bool) -> Progress {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let progress: Progress = serde_json::from_str(&get(address, "/v1/progress").1).unwrap();
        if progress.phase == TrainingPhase::Training && is_there(&progress) {
            return progress;
        }
        assert!(Instant::now() < deadline, "{progress:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: trainer\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
