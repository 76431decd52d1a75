//! Asks pods how they are doing. No answer is no error: a pod may not listen yet, or no longer.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use sconce_contract::progress::OBSERVABILITY_PORT;
use serde::de::DeserializeOwned;

/// A pod that does not answer by then is asked again later.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Connections that nobody used for so long are closed.
const IDLE: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes; a real one has a few hundred.
const LIMIT: usize = 16 * 1024;

/// Keeps a connection to each pod that is asked often.
#[derive(Clone)]
pub struct PodClient(Client<HttpConnector, Empty<Bytes>>);

impl Default for PodClient {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        PodClient(client)
    }
}

impl PodClient {
    /// What the pod at this address says at the path of its port for observers, if it says something.
    pub async fn ask<T: DeserializeOwned>(&self, pod_ip: &str, path: &str) -> Option<T> {
        // An IPv6 address stands in brackets in a URL (RFC 3986).
        let host = if pod_ip.contains(':') {
            format!("[{pod_ip}]")
        } else {
            pod_ip.to_owned()
        };
        let url = format!("http://{host}:{OBSERVABILITY_PORT}{path}").parse().ok()?;
        let answer = async {
            let response = self.0.get(url).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let body = Limited::new(response.into_body(), LIMIT).collect().await.ok()?;
            serde_json::from_slice(&body.to_bytes()).ok()
        };
        tokio::time::timeout(TIMEOUT, answer).await.ok().flatten()
    }
}
