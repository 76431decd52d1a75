//! Kueue's own controller, built from source, on a control plane on loopback, where it is one more process.
//!
//! Its webhooks are not registered: they fill in defaults and refuse what is wrong, which the objects of a test that
//! names everything do not need. For the same reason only the version is served in which Kueue stores its objects.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};

use crate::room::Room;
use crate::tools::{self, KUEUE};
use crate::wait::until;
use crate::{Error, Result, cache, objects, ports, process, world};

const NAMESPACE: &str = "kueue-system";

/// A running controller; it ends when this is dropped, and when the test's process ends in any other way.
pub struct Kueue {
    guard: Child,
    log: PathBuf,
}

impl Kueue {
    /// Installs Kueue's kinds, and starts its controller with the rights of that kubeconfig and its files in `folder`,
    /// where a certificate is as `certs/apiserver.crt` and `.key`.
    ///
    /// # Errors
    /// When it cannot be built, or does not become ready.
    pub async fn start(client: &Client, kubeconfig: &Path, folder: &Path) -> Result<Self> {
        let (binary, source) = tokio::task::spawn_blocking(|| Ok::<_, Error>((build()?, KUEUE.source()?)))
            .await
            .map_err(|error| Error::Unmet(format!("the build of Kueue was cut off: {error}")))??;
        install(client, &source).await?;
        let (health, config) = configure(folder)?;
        let log = folder.join("kueue.log");
        let file = fs::File::create(&log).map_err(Error::file("create", &log))?;
        let errors = file.try_clone().map_err(Error::file("open", &log))?;
        let guard = Command::new("sh")
            .args(["-c", "\"$@\" & cat > /dev/null; kill -9 $!", "guard"])
            .arg(binary)
            .arg(format!("--config={}", config.display()))
            .arg("--feature-gates=VisibilityOnDemand=false")
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(|source| Error::Start {
                command: "kueue".to_owned(),
                source,
            })?;
        let kueue = Self { guard, log };
        let ready = until("Kueue is ready", async || answers(health).then_some(())).await;
        ready.map_err(|error| Error::Unmet(format!("{error}; it said last:\n{}", kueue.tail())))?;
        Ok(kueue)
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        process::tail_of_path(&self.log)
    }
}

/// Serves the two kinds of Kueue's that the operator asks for, with nobody who acts on them: no Job is ever let in.
///
/// # Errors
/// When the API server refuses them.
pub async fn without_a_controller(client: &Client) -> Result<()> {
    for (kind, plural) in [("LocalQueue", "localqueues"), ("Workload", "workloads")] {
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = json!({"openAPIV3Schema": anything});
        let version = json!({"name": "v1beta2", "served": true, "storage": true, "schema": schema});
        let names = json!({"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.kueue.x-k8s.io")},
            "spec": {"group": "kueue.x-k8s.io", "scope": "Namespaced", "versions": [version], "names": names},
        });
        world::apply(client, definition).await?;
    }
    Ok(())
}

/// Serves Kueue's kinds without its controller in a room, with a queue of that name.
///
/// # Errors
/// When the API server refuses them.
pub async fn queue_in(room: &Room, name: &str) -> Result<()> {
    without_a_controller(&room.client).await?;
    until("the queue can be made", async || {
        room.apply(local_queue(name)).await.ok()
    })
    .await
    .map(drop)
}

/// A training in that queue.
#[must_use]
pub fn queued(training: &str, queue: &str) -> Value {
    let scheduling = json!({"spec": {"scheduling": {"queueName": queue}}});
    objects::with(objects::training(training), &scheduling)
}

/// A LocalQueue of that name.
#[must_use]
pub fn local_queue(name: &str) -> Value {
    json!({
        "apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "LocalQueue", "metadata": {"name": name},
        "spec": {"clusterQueue": "all"},
    })
}

impl Drop for Kueue {
    fn drop(&mut self) {
        // The guard reads its standard input to the end, and kills the controller then.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The controller, built when it is not in the cache yet.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn build() -> Result<PathBuf> {
    let folder = cache::entry(&KUEUE.key(), |folder| {
        let source = KUEUE.source()?;
        let label = "building Kueue from source (once; about 8 minutes on two cores)";
        let mut go = tools::go()?;
        go.args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
            .arg(folder.join("kueue"))
            .arg("./cmd/kueue")
            .current_dir(source);
        process::run(label, &mut go)
    })?;
    Ok(folder.join("kueue"))
}

async fn install(client: &Client, source: &Path) -> Result<()> {
    let folder = source.join("config/components/crd/bases");
    for entry in fs::read_dir(&folder).map_err(Error::file("list", &folder))? {
        let path = entry.map_err(Error::file("list", &folder))?.path();
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let mut kind: Value = serde_norway::from_str(&text)
            .map_err(|error| Error::Unmet(format!("{} is no YAML: {error}", path.display())))?;
        for version in kind["spec"]["versions"].as_array_mut().into_iter().flatten() {
            version["served"] = version["storage"].clone();
        }
        // Its controller writes its certificate here, and does not start where it cannot. Nobody is asked to convert.
        kind["spec"]["conversion"] = json!({
            "strategy": "Webhook",
            "webhook": {"clientConfig": {"url": "https://127.0.0.1:9/convert"}, "conversionReviewVersions": ["v1"]},
        });
        world::apply(client, kind).await?;
    }
    let metadata = json!({"name": NAMESPACE});
    world::apply(
        client,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
    )
    .await?;
    let metadata = json!({"name": "kueue-webhook-server-cert", "namespace": NAMESPACE});
    world::apply(
        client,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata}),
    )
    .await?;
    Ok(())
}

fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: kueue\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains(" 200 "))
}

fn configure(folder: &Path) -> Result<(u16, PathBuf)> {
    let certificates = folder.join("kueue-certs");
    fs::create_dir_all(&certificates).map_err(Error::file("create", &certificates))?;
    for (from, to) in [("apiserver.crt", "tls.crt"), ("apiserver.key", "tls.key")] {
        let from = folder.join("certs").join(from);
        fs::copy(&from, certificates.join(to)).map_err(Error::file("copy", &from))?;
    }
    let (health, webhook) = (ports::free()?, ports::free()?);
    let config = json!({
        "apiVersion": "config.kueue.x-k8s.io/v1beta2", "kind": "Configuration", "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": format!("127.0.0.1:{health}")},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": certificates},
        "leaderElection": {"leaderElect": false},
        "integrations": {"frameworks": ["batch/job"]},
    });
    let path = folder.join("kueue.json");
    fs::write(&path, config.to_string()).map_err(Error::file("write", &path))?;
    Ok((health, path))
}
