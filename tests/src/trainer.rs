//! A stand-in for a running trainer's progress endpoint: it answers what the test says.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sconce_contract::Progress;
use sconce_contract::progress::{OBSERVABILITY_PORT, PROGRESS_PATH};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::{Error, Result};

/// Answers on an address of its own in 127.0.0.0/8 until it is dropped.
pub struct FakeTrainer {
    address: String,
    says: Arc<Mutex<Progress>>,
    server: JoinHandle<()>,
}

impl FakeTrainer {
    /// Starts to answer with `progress`.
    ///
    /// # Errors
    /// When no address is free.
    pub async fn start(progress: Progress) -> Result<Self> {
        let (address, listener) = listen().await?;
        let says = Arc::new(Mutex::new(progress));
        let server = tokio::spawn(serve(listener, Arc::clone(&says)));
        Ok(Self {
            address,
            says,
            server,
        })
    }

    /// What stands in the pod's status as its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it answers from now on.
    pub fn says(&self, progress: Progress) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

impl Drop for FakeTrainer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Port 9090 of an address in 127.0.0.0/8 that no other test has.
///
/// # Errors
/// When no address is free.
pub(crate) async fn listen() -> Result<(String, TcpListener)> {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let process = std::process::id();
    for _ in 0..250 {
        let own = NEXT.fetch_add(1, Ordering::Relaxed) % 250 + 1;
        let address = format!("127.{}.{}.{own}", process / 250 % 250 + 1, process % 250 + 1);
        if let Ok(listener) = TcpListener::bind((address.as_str(), OBSERVABILITY_PORT)).await {
            return Ok((address, listener));
        }
    }
    Err(Error::Unmet(format!(
        "no address in 127.0.0.0/8 lets port {OBSERVABILITY_PORT} be listened on: only Linux has them all at once"
    )))
}

async fn serve(listener: TcpListener, says: Arc<Mutex<Progress>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let progress = says.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A client that goes away is no concern of ours.
        let _ = answer(
            stream,
            PROGRESS_PATH,
            &serde_json::to_string(&progress).unwrap_or_default(),
        )
        .await;
    }
}

/// Answers one request for `path` with `body`.
pub(crate) async fn answer(stream: TcpStream, path: &str, body: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request).await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let known = request.starts_with(&format!("GET {path} "));
    let status = if known { "200 OK" } else { "404 Not Found" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await?;
    stream.shutdown().await
}
