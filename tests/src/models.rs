//! A real model that a real trainer made, and real servers of it as processes of this machine: what a pod would run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sconce_contract::progress::{HTTP_PORT, OBSERVABILITY_PORT};
use sconce_contract::{Artifact, Mount, Report, ServingPlan};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::objects::with;
use crate::wait::until;
use crate::{Error, Result, binaries};

/// A model on a web server of its own, which counts what is asked for.
pub struct WebModel {
    /// URI of the artifact's folder.
    pub uri: String,
    /// What the trainer said of it.
    pub artifact: Artifact,
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl WebModel {
    /// Trains it on a small table.
    ///
    /// # Errors
    /// When the trainer cannot be built or fails, or no port is free.
    pub async fn train() -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::file("create", &std::env::temp_dir()))?;
        let artifact = train(folder.path())?;
        let files = files(&folder.path().join(artifact.uri.trim_start_matches("pvc://data/")))?;
        let unmet = |error: std::io::Error| Error::Unmet(format!("no web server: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(unmet)?;
        let uri = format!("http://{}/model", listener.local_addr().map_err(unmet)?);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = tokio::spawn(serve(listener, files, Arc::clone(&asked)));
        Ok(Self {
            uri,
            artifact,
            asked,
            server,
            _folder: folder,
        })
    }

    /// How often a file was asked for.
    #[must_use]
    pub fn times(&self, file: &str) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|name| *name == file).count()
    }
}

impl Drop for WebModel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn train(folder: &Path) -> Result<Artifact> {
    let rows: String = (0..60)
        .map(|row| format!("{}.5,{},{}\n", row % 17, row % 5, row % 3))
        .collect();
    let network = json!({"layers": [{"dense": {"units": 1, "activation": "Linear"}}]});
    trained(folder, &format!("a,b,y\n{rows}"), &network, &json!({"epochs": 1}))
}

/// Has the real trainer learn the column `y` of a table. The artifact's URI begins with `pvc://data`, which is the folder.
///
/// # Errors
/// When the trainer cannot be built or fails.
pub fn trained(folder: &Path, table: &str, network: &Value, hyperparameters: &Value) -> Result<Artifact> {
    trained_with(folder, table, network, hyperparameters, &json!({}))
}

/// The same by a plan that is changed so.
///
/// # Errors
/// When the trainer cannot be built or fails.
pub fn trained_with(
    folder: &Path,
    table: &str,
    network: &Value,
    hyperparameters: &Value,
    change: &Value,
) -> Result<Artifact> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(Error::file("write", &path))?;
        Ok::<_, Error>(path)
    };
    write("table.csv", table)?;
    let plan = json!({
        "name": "model", "run": "r", "output": "pvc://data/models",
        "mounts": [{"uri": "pvc://data", "path": folder}],
        "network": network,
        "dataset": {"uri": "pvc://data/table.csv", "target": "y"},
        "hyperparameters": hyperparameters,
    });
    let plan = with(plan, change);
    let plan = write("plan.json", &plan.to_string())?;
    let report = write("report.json", "")?;
    let mut command = Command::new(binaries::path("sconce-trainer")?);
    command.arg("--plan").arg(plan).arg("--report").arg(&report);
    crate::process::output(command.args(["--listen", "127.0.0.1:0"]))?;
    let text = std::fs::read(&report).map_err(Error::file("read", &report))?;
    match serde_json::from_slice(&text) {
        Ok(Report::Trained { artifact, .. }) => Ok(artifact),
        other => Err(Error::Unmet(format!("the trainer left no artifact: {other:?}"))),
    }
}

fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let failed = || Error::file("read", folder);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, std::fs::read(entry.path()).map_err(failed())?);
    }
    Ok(files)
}

async fn serve(listener: TcpListener, files: BTreeMap<String, Vec<u8>>, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut stream = BufReader::new(stream);
        let mut request = String::new();
        if stream.read_line(&mut request).await.is_err() {
            continue;
        }
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
            line.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let name = path.trim_start_matches("/model/").to_owned();
        asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name.clone());
        let found = files.get(&name);
        let status = if found.is_some() {
            "200 OK"
        } else {
            "404 Not Found"
        };
        let body = found.map(Vec::as_slice).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // A client that goes away is no concern of ours.
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
        let _ = stream.shutdown().await;
    }
}

/// A server as a pod would run it: by that plan, with its volumes as folders here, on an address of its own.
pub struct RunningServer {
    /// Its address in 127.0.0.0/8.
    pub address: String,
    child: Child,
    _folder: TempDir,
}

impl RunningServer {
    /// Starts it. `volumes` says which folder stands for which path of the pod.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn start(plan: &ServingPlan, volumes: &[(&Path, &Path)]) -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let here = |path: &Path| {
            let found = volumes
                .iter()
                .find_map(|(of_pod, folder)| Some(folder.join(path.strip_prefix(of_pod).ok()?)));
            found.unwrap_or_else(|| path.to_owned())
        };
        let mut plan = plan.clone();
        plan.mounts = plan
            .mounts
            .into_iter()
            .map(|mount| Mount {
                path: here(&mount.path),
                ..mount
            })
            .collect();
        plan.cache = plan.cache.map(|mut cache| {
            cache.path = here(&cache.path);
            cache
        });
        let folder = tempfile::tempdir().map_err(Error::file("create", &std::env::temp_dir()))?;
        let file = folder.path().join("plan.json");
        let text = serde_json::to_vec(&plan).unwrap_or_default();
        std::fs::write(&file, text).map_err(Error::file("write", &file))?;
        // The stand-ins of trainers and servers have 1 to 250 as their second part.
        let process = std::process::id();
        let own = NEXT.fetch_add(1, Ordering::Relaxed) % 250 + 1;
        let address = format!("127.{}.{}.{own}", 251 + process % 4, process / 4 % 250 + 1);
        let mut command = Command::new(binaries::path("sconce-server")?);
        command
            .arg("--plan")
            .arg(file)
            .arg("--report")
            .arg(folder.path().join("report.json"))
            .args(["--listen", &format!("{address}:{HTTP_PORT}")])
            .args(["--observe", &format!("{address}:{OBSERVABILITY_PORT}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|source| Error::Start {
            command: format!("{command:?}"),
            source,
        })?;
        Ok(Self {
            address,
            child,
            _folder: folder,
        })
    }
}

impl RunningServer {
    /// Host and port where it predicts.
    #[must_use]
    pub fn http(&self) -> String {
        format!("{}:{HTTP_PORT}", self.address)
    }

    /// Waits until it answers predictions.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ready(&self) -> Result<()> {
        until(&format!("the server at {} is ready", self.address), async || {
            let answer = self.get("/readyz").await.ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        })
        .await
    }

    async fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect((self.address.as_str(), OBSERVABILITY_PORT)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // It fails only when the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
