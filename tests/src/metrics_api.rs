//! A stand-in for an adapter that serves `external.metrics.k8s.io`, as prometheus-adapter and KEDA do: the metric has the
//! value that the test says. The API server's aggregator asks it for the horizontal pod autoscaler.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::kubelet_logs::acceptor;
use crate::room::Room;
use crate::{Error, Result};

const GROUP: &str = "external.metrics.k8s.io";
const VERSION: &str = "v1beta1";

#[derive(Default)]
struct State {
    value: AtomicU64,
    asked: Mutex<Vec<String>>,
}

/// Answers until it is dropped. Take it away with [`MetricsApi::remove`] first: an API that does not answer keeps the
/// garbage collector of the whole control plane waiting.
pub struct MetricsApi {
    metric: &'static str,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl MetricsApi {
    /// Serves one metric in all namespaces, with the value 0.
    ///
    /// # Errors
    /// When no port is free, or the API cannot be registered.
    pub async fn start(room: &Room, metric: &'static str) -> Result<Self> {
        let acceptor = acceptor(&room.world.kubeconfig().with_file_name("certs"))?;
        let failed = |error: std::io::Error| Error::Unmet(format!("no port for a metrics API: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let state = Arc::new(State::default());
        let server = tokio::spawn(serve(listener, acceptor, metric, Arc::clone(&state)));
        // Nothing here routes to the addresses of Services; a name is resolved by the API server itself.
        room.apply(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics-adapter"},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }))
        .await?;
        room.apply_cluster(json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("{VERSION}.{GROUP}")},
            "spec": {
                "group": GROUP, "version": VERSION, "groupPriorityMinimum": 100, "versionPriority": 100,
                "insecureSkipTLSVerify": true,
                "service": {"name": "metrics-adapter", "namespace": room.namespace, "port": port},
            },
        }))
        .await?;
        Ok(Self {
            metric,
            state,
            server,
        })
    }

    /// The metric has this value from now on.
    pub fn says(&self, value: u64) {
        self.state.value.store(value, Ordering::SeqCst);
    }

    /// Whether somebody has asked for the metric in that namespace.
    #[must_use]
    pub fn was_asked(&self, namespace: &str) -> bool {
        let asked = self.state.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.contains(&format!("namespaces/{namespace}/{}", self.metric))
    }

    /// Takes the API away.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn remove(self, room: &Room) -> Result<()> {
        let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
        let api: Api<DynamicObject> = Api::all_with(room.client.clone(), &ApiResource::from_gvk(&kind));
        let name = format!("{VERSION}.{GROUP}");
        let gone = api.delete(&name, &DeleteParams::default()).await;
        gone.map(drop)
            .map_err(Error::api(format!("delete APIService {name}")))
    }
}

impl Drop for MetricsApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, metric: &'static str, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        // A client that goes away is no concern of ours.
        tokio::spawn(async move { answer(stream, &acceptor, metric, &state).await.ok() });
    }
}

async fn answer(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    metric: &str,
    state: &State,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let (status, body) = told(path, metric, state);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}

/// As k8s.io/metrics/pkg/apis/external_metrics/v1beta1.
fn told(path: &str, metric: &str, state: &State) -> (&'static str, Value) {
    let root = format!("/apis/{GROUP}/{VERSION}");
    let api_version = format!("{GROUP}/{VERSION}");
    if path == root {
        let resource = json!({
            "name": metric, "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList", "verbs": ["get"],
        });
        let list = json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": [resource],
        });
        return ("200 OK", list);
    }
    match path.strip_prefix(&format!("{root}/")) {
        Some(asked) if asked.ends_with(&format!("/{metric}")) => {
            let mut all = state.asked.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(asked.to_owned());
            let value = json!({
                "metricName": metric, "metricLabels": {}, "timestamp": "2030-01-01T00:00:00Z",
                "value": state.value.load(Ordering::SeqCst).to_string(),
            });
            let list = json!({
                "kind": "ExternalMetricValueList", "apiVersion": api_version, "metadata": {}, "items": [value],
            });
            ("200 OK", list)
        }
        _ => {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                "message": format!("{path} is not served"),
            });
            ("404 Not Found", status)
        }
    }
}
