//! Real trainers as processes of this machine, which are stopped and go on.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sconce_contract::Report;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wait::until;
use crate::{Error, Result, binaries};

/// A table of two classes, a plan for it with a checkpoint every ten steps, and what comes of them.
pub struct Workshop {
    folder: TempDir,
    /// The plan.
    pub plan: Value,
}

impl Workshop {
    /// Of a training of that name, of so many epochs of 4 steps.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn open(name: &str, epochs: u32) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::file("create", &std::env::temp_dir()))?;
        let row = |row: u32| {
            let (a, b) = (row * 37 % 101, row * 53 % 97);
            format!("{a},{b},{}\n", if a > b { "yes" } else { "no" })
        };
        let table: String = (0..500).map(row).collect();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, format!("a,b,y\n{table}")).map_err(Error::file("write", &path))?;
        let dense = |units, activation| json!({"dense": {"units": units, "activation": activation}});
        let plan = json!({
            "name": name, "run": "5ca1ab1e00", "output": "pvc://data/models",
            "mounts": [{"uri": "pvc://data", "path": folder.path()}],
            "network": {"layers": [dense(32, "ReLU"), dense(1, "Sigmoid")]},
            "dataset": {"uri": "pvc://data/table.csv", "target": "y"},
            "hyperparameters": {"epochs": epochs, "batchSize": 100},
            "checkpoint": {"uri": "pvc://data/checkpoints", "every": {"steps": 10}},
        });
        Ok(Self { folder, plan })
    }

    /// A path below the folder that the plan calls `pvc://data`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name.trim_start_matches("pvc://data/"))
    }

    /// Starts a trainer with these variables.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn start(&self, variables: &[(&str, String)]) -> Result<Learner> {
        let write = |name: &str, text: &str| {
            let path = self.path(name);
            std::fs::write(&path, text).map_err(Error::file("write", &path))?;
            Ok::<_, Error>(path)
        };
        let plan = write("plan.json", &self.plan.to_string())?;
        let report = write("report.json", "")?;
        let mut command = Command::new(binaries::path("sconce-trainer")?);
        command
            .arg("--plan")
            .arg(plan)
            .arg("--report")
            .arg(&report)
            .args(["--listen", "127.0.0.1:0"])
            .env("RAYON_NUM_THREADS", "1")
            .env("CANDLE_NUM_THREADS", "1")
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|source| Error::Start {
            command: format!("{command:?}"),
            source,
        })?;
        Ok(Learner { child, report })
    }

    /// Waits for a checkpoint of that step or a later one.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn saved(&self, step: u64) -> Result<()> {
        let folder = self.path(&format!(
            "checkpoints/{}",
            self.plan["run"].as_str().unwrap_or_default()
        ));
        until(&format!("step {step} is saved"), async || {
            newest(&folder).filter(|newest| *newest >= step).map(drop)
        })
        .await
    }
}

fn newest(folder: &Path) -> Option<u64> {
    let names = std::fs::read_dir(folder).ok()?;
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| name.strip_prefix("step-")?.split_once('-')?.0.parse().ok())
        .max()
}

/// A trainer at work.
pub struct Learner {
    child: Child,
    report: PathBuf,
}

impl Learner {
    /// Sends a signal, such as `-TERM`.
    ///
    /// # Errors
    /// When there is nobody to send it to.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let id = self.child.id().to_string();
        crate::process::output(Command::new("kill").args([signal, &id])).map(drop)
    }

    /// Waits for its end: the exit code, where it was not killed, and the report, where there is one.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn end(mut self) -> Result<(Option<i32>, Option<Report>)> {
        let ended = tokio::task::spawn_blocking(move || {
            let status = self.child.wait();
            (status, std::fs::read_to_string(&self.report).unwrap_or_default())
        });
        let (status, report) = ended.await.map_err(|error| Error::Unmet(error.to_string()))?;
        let status = status.map_err(|error| Error::Unmet(error.to_string()))?;
        Ok((status.code(), serde_json::from_str(&report).ok()))
    }
}
