//! A stand-in for a running trainer's progress endpoint: it answers what the test says.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sconce_contract::history::HISTORY_PATH;
use sconce_contract::progress::{OBSERVABILITY_PORT, PROGRESS_PATH};
use sconce_contract::{History, Progress};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::wait::until;
use crate::{Error, Result};

/// Answers on an address of its own in 127.0.0.0/8 until it is dropped.
pub struct FakeTrainer {
    address: String,
    says: Says,
    server: JoinHandle<()>,
}

type Says = Arc<Mutex<(Progress, History)>>;

impl FakeTrainer {
    /// Starts to answer with `progress`.
    ///
    /// # Errors
    /// When no address is free.
    pub async fn start(progress: Progress) -> Result<Self> {
        let (address, listener) = listen().await?;
        Ok(Self::on(listener, address, progress))
    }

    /// Starts to answer where the API server's proxy goes too: it forwards to no address of the loopback. One at a
    /// time on a machine; others wait for their turn.
    ///
    /// # Errors
    /// When the machine has no other address, or the port stays taken.
    pub async fn start_beyond_loopback(progress: Progress) -> Result<Self> {
        // Nothing is sent: the kernel only chooses the address from which it would be.
        let found = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        let address = match found {
            Ok(found) if !found.ip().is_loopback() => found.ip().to_string(),
            _ => {
                return Err(Error::Unmet(
                    "this machine has no address but loopback's".to_owned(),
                ));
            }
        };
        let listener = until(
            &format!("port {OBSERVABILITY_PORT} of {address} is free"),
            async || {
                TcpListener::bind((address.as_str(), OBSERVABILITY_PORT))
                    .await
                    .ok()
            },
        )
        .await?;
        Ok(Self::on(listener, address, progress))
    }

    fn on(listener: TcpListener, address: String, progress: Progress) -> Self {
        let says = Arc::new(Mutex::new((progress, History::default())));
        let server = tokio::spawn(serve(listener, Arc::clone(&says)));
        Self {
            address,
            says,
            server,
        }
    }

    /// What stands in the pod's status as its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it answers from now on.
    pub fn says(&self, progress: Progress) {
        self.says.lock().unwrap_or_else(PoisonError::into_inner).0 = progress;
    }

    /// How its losses went, from now on.
    pub fn gathered(&self, history: History) {
        self.says.lock().unwrap_or_else(PoisonError::into_inner).1 = history;
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

async fn serve(listener: TcpListener, says: Says) {
    while let Ok((stream, _)) = listener.accept().await {
        let (progress, history) = says.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let progress = serde_json::to_string(&progress).unwrap_or_default();
        let history = serde_json::to_string(&history).unwrap_or_default();
        // A client that goes away is no concern of ours.
        let _ = answer(stream, &[(PROGRESS_PATH, &progress), (HISTORY_PATH, &history)]).await;
    }
}

/// Answers one request by the body for its path.
pub(crate) async fn answer(stream: TcpStream, pages: &[(&str, &str)]) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request).await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let asked = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match pages.iter().find(|(path, _)| *path == asked) {
        Some((_, body)) => ("200 OK", *body),
        None => ("404 Not Found", ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await?;
    stream.shutdown().await
}
