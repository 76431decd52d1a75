//! MLflow's own tracking server as a process of this machine, which asks for a name and a password.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::frameworks::CURVES;
use crate::wait::within;
use crate::{Error, Result, ports, process};

/// Who may do anything there.
const USER: &str = "admin";
const PASSWORD: &str = "correct-horse-battery";
/// It writes the tables of its database first.
const START: Duration = Duration::from_secs(180);

/// A running server; it ends when this is dropped, and when the test's process ends in any other way.
pub struct Mlflow {
    address: String,
    guard: Child,
    log: PathBuf,
    _folder: TempDir,
}

impl Mlflow {
    /// Starts one with a database of its own.
    ///
    /// # Errors
    /// When it cannot be installed or does not start.
    pub async fn start() -> Result<Self> {
        let python = tokio::task::spawn_blocking(|| CURVES.python()).await;
        let python = python.map_err(|error| Error::Unmet(error.to_string()))??;
        let folder = tempfile::tempdir().map_err(Error::file("create", &std::env::temp_dir()))?;
        let port = ports::free()?.to_string();
        let log = folder.path().join("log");
        let file = File::create(&log).map_err(Error::file("create", &log))?;
        let errors = file.try_clone().map_err(Error::file("open", &log))?;
        // With job control, the server and what it starts are one group, which ends together.
        let mut command = Command::new("bash");
        command
            .args(["-c", "set -m; \"$@\" & cat > /dev/null; kill -9 -- -$!", "guard"])
            .arg(python)
            .args([
                "-m",
                "mlflow",
                "server",
                "--app-name",
                "basic-auth",
                "--workers",
                "1",
            ])
            .args(["--host", "127.0.0.1", "--port", &port])
            .args([
                "--backend-store-uri",
                "sqlite:///runs.db",
                "--default-artifact-root",
                "artifacts",
            ])
            .current_dir(folder.path())
            .env("MLFLOW_AUTH_ADMIN_PASSWORD", PASSWORD)
            .env("MLFLOW_FLASK_SERVER_SECRET_KEY", "of a test")
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(errors);
        let guard = command.spawn().map_err(|source| Error::Start {
            command: format!("{command:?}"),
            source,
        })?;
        let server = Self {
            address: format!("127.0.0.1:{port}"),
            guard,
            log,
            _folder: folder,
        };
        let answers = within(START, "MLflow answers", async || server.answers().await);
        match answers.await {
            Ok(()) => Ok(server),
            Err(error) => {
                let tail = process::tail_of_path(&server.log);
                Err(Error::Unmet(format!("{error}; it said last:\n{tail}")))
            }
        }
    }

    async fn answers(&self) -> Option<()> {
        let mut stream = TcpStream::connect(&self.address).await.ok()?;
        let request = "GET /health HTTP/1.1\r\nHost: mlflow\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    }

    /// What a pod's environment says of it.
    #[must_use]
    pub fn variables(&self, experiment: &str) -> Vec<(&'static str, String)> {
        vec![
            ("MLFLOW_TRACKING_URI", format!("http://{}", self.address)),
            ("MLFLOW_TRACKING_USERNAME", USER.to_owned()),
            ("MLFLOW_TRACKING_PASSWORD", PASSWORD.to_owned()),
            ("MLFLOW_EXPERIMENT_NAME", experiment.to_owned()),
        ]
    }

    /// The runs of an experiment, the oldest first, as MLflow's own client tells of them.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn runs(&self, experiment: &str) -> Result<Vec<Value>> {
        let question = json!({
            "url": format!("http://{}", self.address), "user": USER, "password": PASSWORD, "experiment": experiment,
        });
        let answer = tokio::task::spawn_blocking(move || CURVES.ask("runs.py", &question)).await;
        let answer = answer.map_err(|error| Error::Unmet(error.to_string()))??;
        serde_json::from_value(answer).map_err(|error| Error::Unmet(error.to_string()))
    }
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        // The guard reads its standard input to the end, and kills the server then.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
