//! A training in a folder of its own.

#![allow(dead_code)] // Each test file uses a part.

pub mod searches;

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use sconce_contract::{Artifact, Failure, Metric, MetricName, Report, TrainingPlan};
use sconce_train::{
    TrainError, run,
    watch::{Stop, Watch},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a table, a plan and room for models.
pub struct Rehearsal {
    folder: TempDir,
    pub plan: Value,
}

impl Rehearsal {
    /// Of a table; what is learned is `y`.
    pub fn of(table: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("table.csv"), table).unwrap();
        fs::create_dir(folder.path().join("models")).unwrap();
        let plan = json!({
            "name": "rehearsal",
            "run": "abc",
            "network": {"layers": [{"dense": {"units": 1, "activation": "Linear"}}]},
            "dataset": {"uri": "pvc://data/table.csv", "target": "y", "split": {"validation": 0.1, "test": 0.2}},
            "output": "pvc://data/models",
            "mounts": [{"uri": "pvc://data", "path": folder.path()}],
        });
        Rehearsal { folder, plan }
    }

    /// Sets a part of the plan, named as in JavaScript: `dataset.target`.
    pub fn with(mut self, path: &str, value: Value) -> Self {
        let place = path.split('.').fold(&mut self.plan, |place, key| &mut place[key]);
        *place = value;
        self
    }

    /// Writes a file beside the table.
    pub fn write(self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    /// Dense layers: units and activation.
    pub fn layers(self, layers: &[(u32, &str)]) -> Self {
        let layers = layers
            .iter()
            .map(|(units, activation)| json!({"dense": {"units": units, "activation": activation}}));
        self.with("network.layers", layers.collect())
    }

    /// The trainer as a process, on one thread; its report is `report`.
    pub fn command(&self) -> Command {
        self.trainer("report")
    }

    /// The same, at work.
    pub fn start(&self) -> Child {
        self.command().spawn().unwrap()
    }

    /// One of a group, whose first worker listens at `leader`; its report is `report-N`, and its log `worker-N.log`.
    pub fn start_worker(&self, worker: u32, leader: &str) -> Child {
        let listen = if worker == 0 { leader } else { "127.0.0.1:0" };
        let log = fs::File::create(self.path(&format!("worker-{worker}.log"))).unwrap();
        self.trainer(&format!("report-{worker}"))
            .args(["--group-worker", &worker.to_string()])
            .args(["--group-leader", leader, "--group-listen", listen])
            .args(["--group-token", "secret", "--group-settle", "1"])
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// The same with a report of that name.
    pub fn trainer(&self, report: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sconce-trainer"));
        command
            .arg("--plan")
            .arg(self.write_plan())
            .arg("--report")
            .arg(self.path(report))
            .args(["--listen", "127.0.0.1:0"])
            .env("RAYON_NUM_THREADS", "1")
            .env("CANDLE_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// The same, sent the signal once there is a checkpoint of the step; how it ended.
    pub fn signalled(&self, signal: &str, step: u64) -> ExitStatus {
        let mut child = self.start();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.newest_checkpoint().is_none_or(|newest| newest < step) {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "no checkpoint of step {step}");
        }
        let id = child.id().to_string();
        Command::new("kill").args([signal, &id]).status().unwrap();
        child.wait().unwrap()
    }

    /// The step of the newest checkpoint that stands in its folder.
    pub fn newest_checkpoint(&self) -> Option<u64> {
        let entries = fs::read_dir(self.path("checkpoints/abc")).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter_map(|name| name.strip_prefix("step-")?.split_once('-')?.0.parse().ok())
            .max()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whoever reads the plan meanwhile reads a whole one.
    pub fn write_plan(&self) -> PathBuf {
        let path = self.path("plan.json");
        let text = self.plan.to_string();
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return path;
        }
        fs::write(&path, text).unwrap();
        path
    }

    pub fn run(&self) -> Result<Report, TrainError> {
        self.run_watched(&Watch::default(), &Stop::default())
    }

    pub fn run_watched(&self, watch: &Watch, stop: &Stop) -> Result<Report, TrainError> {
        let plan: TrainingPlan = serde_json::from_value(self.plan.clone()).unwrap();
        run::run(&plan, Instant::now(), watch, stop)
    }

    pub fn train(&self) -> (Vec<Metric>, Artifact) {
        match self.run().unwrap() {
            Report::Trained {
                metrics, artifact, ..
            } => (metrics, artifact),
            other => panic!("{other:?}"),
        }
    }

    pub fn refuse(&self) -> Failure {
        let failure = self.run().unwrap_err().failure();
        assert!(self.models().is_empty(), "a refused training left a model");
        failure
    }

    /// What is under the output folder but the curves, unfinished things too.
    pub fn models(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("models")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "tensorboard")
            .collect()
    }
}

/// An address that nothing listens on.
pub fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

pub fn codes(workers: Vec<Child>) -> Vec<Option<i32>> {
    let wait = |mut worker: Child| worker.wait().unwrap().code();
    workers.into_iter().map(wait).collect()
}

pub fn report(rehearsal: &Rehearsal, name: &str) -> Report {
    serde_json::from_str(&fs::read_to_string(rehearsal.path(name)).unwrap()).unwrap()
}

pub fn failure(rehearsal: &Rehearsal, name: &str) -> Failure {
    match report(rehearsal, name) {
        Report::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

pub fn signal(worker: &Child, signal: &str) {
    Command::new("kill")
        .args([signal, &worker.id().to_string()])
        .status()
        .unwrap();
}

pub fn metric(metrics: &[Metric], name: MetricName) -> f64 {
    metrics
        .iter()
        .find(|metric| metric.name == name)
        .unwrap_or_else(|| panic!("no {name} in {metrics:?}"))
        .value
}

/// A table by a formula over two features in −1 to 1, the same on every machine.
pub fn table(rows: u32, y: impl Fn(f64, f64) -> String) -> String {
    let mut text = "a,b,y\n".to_owned();
    for row in 0..rows {
        let a = f64::from(row * 37 % 101) / 50.0 - 1.0;
        let b = f64::from(row * 53 % 97) / 48.0 - 1.0;
        text.push_str(&format!("{a},{b},{}\n", y(a, b)));
    }
    text
}

/// Two classes that a line tells apart.
pub fn separable(rows: u32) -> String {
    table(rows, |a, b| {
        if a + 2.0 * b > 0.1 { "yes" } else { "no" }.to_owned()
    })
}

/// Workers of a training, as a Job has them: one that did not end well is started again, and all is done when the first is.
/// Until then one after another is killed; how often.
pub fn kill_at_any_moment(rehearsal: &Rehearsal, count: usize) -> u32 {
    let leader = free();
    let start = |worker: usize| Some(rehearsal.start_worker(worker as u32, &leader));
    let mut workers: Vec<Option<Child>> = (0..count).map(start).collect();
    let (mut kills, mut last) = (0u32, Instant::now());
    while workers[0].is_some() {
        for (worker, process) in workers.iter_mut().enumerate() {
            if let Some(ended) = process.as_mut().and_then(|process| process.try_wait().unwrap()) {
                *process = if ended.success() { None } else { start(worker) };
            }
        }
        if kills < 13 && last.elapsed() >= Duration::from_millis(40 + u64::from(kills) * 26) {
            if let Some(process) = &mut workers[kills as usize * 2 % count] {
                process.kill().unwrap();
            }
            (kills, last) = (kills + 1, Instant::now());
        }
        thread::sleep(Duration::from_millis(5));
    }
    for mut process in workers.into_iter().flatten() {
        // It may have ended by now.
        let _ = process.kill();
        process.wait().unwrap();
    }
    kills
}
