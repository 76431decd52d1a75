//! Asks a trainer how far it is. No answer is no error: a pod may not listen yet, or no longer.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sconce_contract::Progress;
use sconce_contract::progress::{OBSERVABILITY_PORT, PROGRESS_PATH};

/// A pod that does not answer by then is asked again later.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Longest answer that is read, in bytes; a real one has a few hundred.
const LIMIT: usize = 16 * 1024;

/// Keeps connections to running trainers.
#[derive(Clone)]
pub struct ProgressClient(Client<HttpConnector, Empty<Bytes>>);

impl Default for ProgressClient {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TIMEOUT));
        ProgressClient(Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl ProgressClient {
    /// What the trainer at this address says, if it says something.
    pub async fn ask(&self, pod_ip: &str) -> Option<Progress> {
        // An IPv6 address stands in brackets in a URL (RFC 3986).
        let host = if pod_ip.contains(':') {
            format!("[{pod_ip}]")
        } else {
            pod_ip.to_owned()
        };
        let url = format!("http://{host}:{OBSERVABILITY_PORT}{PROGRESS_PATH}")
            .parse()
            .ok()?;
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
