//! The one thing that the API server asks a kubelet for on a person's behalf: the log of a container.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::room::Room;
use crate::world::NODE;
use crate::{Error, Result};

type Logs = Arc<Mutex<BTreeMap<String, String>>>;

/// Answers for the containers of [`NODE`] until it is dropped.
pub struct KubeletLogs {
    says: Logs,
    server: JoinHandle<()>,
}

impl KubeletLogs {
    /// Starts to answer, and has the node say where.
    ///
    /// # Errors
    /// When no port is free, or the node cannot be written.
    pub async fn start(room: &Room) -> Result<Self> {
        // The API server checks no kubelet's certificate where it is not told by which authority; its own will do.
        let acceptor = acceptor(&room.world.kubeconfig().with_file_name("certs"))?;
        let failed = |error: std::io::Error| Error::Unmet(format!("no port for a kubelet: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let place = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }});
        let nodes: Api<Node> = Api::all(room.client.clone());
        let patched = nodes
            .patch_status(NODE, &PatchParams::default(), &Patch::Merge(place))
            .await;
        patched.map_err(Error::api(format!("write the status of node {NODE}")))?;
        let says = Logs::default();
        let server = tokio::spawn(serve(listener, acceptor, Arc::clone(&says)));
        Ok(Self { says, server })
    }

    /// What the container of that pod has said so far.
    pub fn said(&self, pod: &str, lines: &str) {
        let mut says = self.says.lock().unwrap_or_else(PoisonError::into_inner);
        says.insert(pod.to_owned(), lines.to_owned());
    }
}

impl Drop for KubeletLogs {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) fn acceptor(folder: &Path) -> Result<TlsAcceptor> {
    let failed = |error: String| {
        Error::Unmet(format!(
            "no TLS with the certificate in {}: {error}",
            folder.display()
        ))
    };
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(folder.join("apiserver.crt"))
        .map_err(|error| failed(error.to_string()))?
        .collect();
    let chain = chain.map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("apiserver.key"))
        .map_err(|error| failed(error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| failed(error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, says: Logs) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, says) = (acceptor.clone(), Arc::clone(&says));
        // A client that goes away is no concern of ours.
        tokio::spawn(async move { answer(stream, &acceptor, &says).await.ok() });
    }
}

/// `GET /containerLogs/NAMESPACE/POD/CONTAINER?…` (pkg/kubelet/server).
async fn answer(stream: TcpStream, acceptor: &TlsAcceptor, says: &Logs) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let pod = path.split('/').nth(3).unwrap_or_default();
    let lines = says
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(pod)
        .cloned();
    let (status, body) = match lines {
        Some(lines) => ("200 OK", lines),
        None => ("404 Not Found", format!("pod {pod} has no log")),
    };
    // One more line than asked for would be a lie of this stand-in, so it honours the tail.
    let tail = path
        .split("tailLines=")
        .nth(1)
        .and_then(|rest| rest.split('&').next()?.parse().ok());
    let kept: Vec<&str> = body.lines().collect();
    let kept = &kept[kept.len().saturating_sub(tail.unwrap_or(usize::MAX))..];
    let body: String = kept.iter().map(|line| format!("{line}\n")).collect();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}
