//! The line to a server: what goes over it passes, or is cut where the test says so.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::{Error, Result};

/// Some bytes, about to go on.
#[derive(Clone, Copy, Debug)]
pub struct Passing {
    /// The connection, from 0.
    pub connection: usize,
    /// Requests on all connections so far, with the one that these bytes may be of.
    pub requests: usize,
    /// Bytes of answers on this connection, with these.
    pub answered: u64,
}

/// What becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They go on.
    Pass,
    /// The connection ends before them.
    Cut,
}

/// Takes connections until it is dropped.
pub struct Line {
    /// Where.
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Line {
    /// A line to a server at `to`, such as `127.0.0.1:9000`. `judge` is asked before any bytes go on, in either direction.
    ///
    /// # Errors
    /// When no port is free.
    pub fn to(to: &str, judge: impl Fn(Passing) -> Verdict + Send + Sync + 'static) -> Result<Self> {
        let unmet = |error: std::io::Error| Error::Unmet(format!("no line to {to}: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(unmet)?;
        let address = listener.local_addr().map_err(unmet)?;
        let (requests, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ended) = (Arc::clone(&requests), Arc::clone(&over));
        let (judge, to) = (Arc::new(judge), to.to_owned());
        thread::spawn(move || {
            for (connection, client) in listener.incoming().enumerate() {
                let (Ok(client), Ok(server), false) =
                    (client, TcpStream::connect(&to), ended.load(Ordering::Relaxed))
                else {
                    break;
                };
                let (requests, judge) = (Arc::clone(&counted), Arc::clone(&judge));
                let answered = Arc::new(AtomicU64::new(0));
                for (from, into, asks) in [(&client, &server, true), (&server, &client, false)] {
                    let (Ok(from), Ok(into)) = (from.try_clone(), into.try_clone()) else {
                        break;
                    };
                    let (requests, judge, answered) =
                        (Arc::clone(&requests), Arc::clone(&judge), Arc::clone(&answered));
                    let look = move |bytes: &[u8]| {
                        if asks {
                            requests.fetch_add(heads(bytes), Ordering::SeqCst);
                        } else {
                            answered.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                        }
                        judge(Passing {
                            connection,
                            requests: requests.load(Ordering::SeqCst),
                            answered: answered.load(Ordering::SeqCst),
                        })
                    };
                    thread::spawn(move || carry(from, into, look));
                }
            }
        });
        Ok(Self {
            address,
            requests,
            over,
        })
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It is waiting for a connection.
        drop(TcpStream::connect(self.address));
    }
}

/// Heads of requests that begin in these bytes: clients write each in one piece.
fn heads(bytes: &[u8]) -> usize {
    let mark = b" HTTP/1.1\r\n";
    bytes.windows(mark.len()).filter(|window| window == mark).count()
}

fn carry(mut from: TcpStream, mut into: TcpStream, look: impl Fn(&[u8]) -> Verdict) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if look(&bytes[..length]) == Verdict::Cut || into.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // Either may be gone already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = into.shutdown(Shutdown::Both);
}
