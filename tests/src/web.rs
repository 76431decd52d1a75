//! Files on the web, served by the test itself to pods of the cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::site::Site;
use crate::{Error, Result};

/// Serves until it is dropped.
pub struct Web {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Web {
    /// Serves these files by their paths, and 404 elsewhere.
    ///
    /// # Errors
    /// When this machine has no address that nodes could reach.
    pub async fn start(site: &Site, files: &[(&str, &str)]) -> Result<Self> {
        let unmet = |error: std::io::Error| Error::Unmet(format!("pods cannot be served from here: {error}"));
        // The address from which this machine speaks to a node is the one by which pods there find it.
        let (_, node) = site.node().await?;
        let probe = UdpSocket::bind("0.0.0.0:0").await.map_err(unmet)?;
        probe.connect((node.as_str(), 9)).await.map_err(unmet)?;
        let own = probe.local_addr().map_err(unmet)?.ip();
        let listener = TcpListener::bind((own, 0)).await.map_err(unmet)?;
        let address = listener.local_addr().map_err(unmet)?;
        let files: BTreeMap<String, String> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = tokio::spawn(serve(listener, files, Arc::clone(&asked)));
        Ok(Self {
            address,
            asked,
            server,
        })
    }

    /// The URI of a path.
    #[must_use]
    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How often a path was asked for by GET.
    #[must_use]
    pub fn times(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked
            .iter()
            .filter(|line| **line == format!("GET {path} HTTP/1.1"))
            .count()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, files: BTreeMap<String, String>, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // A client that goes away is no concern of ours.
        let _ = answer(stream, &files, &asked).await;
    }
}

async fn answer(
    stream: TcpStream,
    files: &BTreeMap<String, String>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request).await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let request = request.trim_end();
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request.to_owned());
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match files.get(path) {
        Some(text) => ("200 OK", text.as_str()),
        None => ("404 Not Found", ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if request.starts_with("HEAD ") { "" } else { body };
    stream.write_all((head + body).as_bytes()).await?;
    stream.shutdown().await
}
