//! One deployment: plan, process, readiness, and requests to it.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kube::ResourceExt;
use sconce_contract::{Artifact, Device, Report, ServingPlan};
use sconce_crds::ModelDeployment;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::folders::Folders;
use super::{RehearsalError, at, process};
use crate::observed;

/// A model of this machine's size loads in seconds.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A server at work; it ends with this value.
pub struct Server {
    child: Child,
    name: String,
    /// Where it answers.
    pub url: String,
}

/// Starts a server and waits until it answers.
///
/// # Errors
/// A port that is taken, what the server reports, or that it does not answer in time.
pub async fn serve(
    program: &Path,
    folder: &Path,
    folders: &Folders,
    deployment: &ModelDeployment,
    artifact: &Artifact,
    port: u16,
) -> Result<Server, RehearsalError> {
    let name = deployment.name_any();
    if deployment.spec.custom().is_some() {
        let message = "spec.server.custom: a rehearsal starts no container; run the image's program by hand (docs/custom.md)";
        return Err(failed(&name, message.to_owned()));
    }
    let plan = ServingPlan {
        name: name.clone(),
        revision: artifact
            .digest
            .trim_start_matches("sha256:")
            .chars()
            .take(10)
            .collect(),
        model: artifact.uri.clone(),
        digest: Some(artifact.digest.clone()),
        credentials_ref: deployment.spec.model.credentials_ref.clone(),
        warmup: deployment.spec.warmup.clone(),
        cache: None,
        device: Device::Cpu,
        mounts: folders.mounts(&[&artifact.uri])?,
    };
    let plan_file = folder.join(format!("{name}.server.json"));
    let report_file = folder.join(format!("{name}.server.report.json"));
    let json = serde_json::to_vec_pretty(&plan).map_err(|error| failed(&name, error.to_string()))?;
    std::fs::write(&plan_file, json).map_err(at(&plan_file))?;
    process::remove_earlier(&report_file)?;
    is_free(port)?;
    let child = Command::new(program)
        .arg("--plan")
        .arg(&plan_file)
        .arg("--report")
        .arg(&report_file)
        .args([
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--observe",
            "127.0.0.1:0",
        ])
        // A person who ends a rehearsal waits for no endpoints to spread.
        .args(["--drain-delay", "0s", "--log", "warn"])
        .kill_on_drop(true)
        .spawn()
        .map_err(at(program))?;
    let mut server = Server {
        child,
        url: format!("http://127.0.0.1:{port}"),
        name,
    };
    server.wait_until_ready(&report_file).await?;
    Ok(server)
}

impl Server {
    async fn wait_until_ready(&mut self, report: &Path) -> Result<(), RehearsalError> {
        let start = Instant::now();
        let path = format!("/v2/models/{}/ready", self.name);
        while start.elapsed() < READY_WITHIN {
            if let Ok(Some(status)) = self.child.try_wait() {
                let text = std::fs::read_to_string(report).unwrap_or_default();
                return Err(failed(
                    &self.name,
                    match serde_json::from_str(&text) {
                        Ok(Report::Failed(failure)) => observed::sentence(&failure),
                        _ => format!("the server ended with {status}"),
                    },
                ));
            }
            if self.request(Method::GET, &path, None).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(failed(
            &self.name,
            format!("the server was not ready within {} s", READY_WITHIN.as_secs()),
        ))
    }

    /// Predictions for rows keyed by column name, in TensorFlow Serving's form.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn predict(&self, rows: &[Value]) -> Result<Vec<Value>, RehearsalError> {
        let path = format!("/v1/models/{}:predict", self.name);
        let body = serde_json::json!({"instances": rows});
        let answer = self
            .request(Method::POST, &path, Some(&body))
            .await
            .map_err(|message| failed(&self.name, message))?;
        Ok(answer["predictions"].as_array().cloned().unwrap_or_default())
    }

    /// Ends the server as Kubernetes would, and waits for it.
    pub async fn stop(mut self) {
        if let Some(id) = self.child.id() {
            // Asking by signal lets the server answer what it has accepted; killing is the fallback.
            let asked = Command::new("kill")
                .args(["-TERM", &id.to_string()])
                .status()
                .await;
            if asked.is_ok_and(|status| status.success()) {
                let _ = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
            }
        }
    }

    /// Waits until the server ends by itself.
    pub async fn wait(&mut self) {
        let _ = self.child.wait().await;
    }

    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let content = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(content)))
            .map_err(|error| error.to_string())?;
        let response = client.request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&bytes)));
        }
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

/// Refuses a port that is taken: whoever has it would answer in the place of our server.
///
/// # Errors
/// The port cannot be listened on.
pub fn is_free(port: u16) -> Result<(), RehearsalError> {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(RehearsalError::Port {
            port,
            problem: format!("cannot be served on ({error})"),
        }),
    }
}

fn failed(name: &str, message: String) -> RehearsalError {
    RehearsalError::Serving {
        name: name.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sconce_contract::{Failure, FailureClass};
    use serde_json::json;

    use super::*;
    use crate::rehearsal::manifests::Manifests;

    /// Serves on a port by a program that ends at once, and reports nothing.
    async fn said(folder: &Path, port: u16) -> String {
        let deployment: ModelDeployment = serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "iris"},
            "spec": {"model": {"trainingRef": {"name": "iris"}}},
        }))
        .unwrap();
        let artifact = Artifact {
            uri: "pvc://iris-artifacts/r".to_owned(),
            digest: "sha256:0".to_owned(),
            size_bytes: 1,
            weights_bytes: None,
        };
        let folders = Folders::prepare(folder, BTreeMap::new(), &Manifests::default()).unwrap();
        let served = serve(Path::new("false"), folder, &folders, &deployment, &artifact, port).await;
        served.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn a_port_that_another_process_has_is_refused_before_a_server_starts() {
        let folder = tempfile::tempdir().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let said = said(folder.path(), port).await;
        assert!(
            said.starts_with(&format!("port {port} of this machine cannot be served on")),
            "{said}"
        );
        assert!(said.ends_with("give another with --port"), "{said}");
        drop(other);
        is_free(port).unwrap();
    }

    #[tokio::test]
    async fn the_report_of_an_earlier_rehearsal_is_not_taken_for_this_ones() {
        let folder = tempfile::tempdir().unwrap();
        let earlier = Report::Failed(Failure::new(FailureClass::BadInput, "of an earlier one"));
        std::fs::write(
            folder.path().join("iris.server.report.json"),
            serde_json::to_vec(&earlier).unwrap(),
        )
        .unwrap();
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let said = said(folder.path(), free).await;
        assert!(said.contains("the server ended with"), "{said}");
    }
}
