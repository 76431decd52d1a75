//! Accepting connections, within limits, until told to stop.
//!
//! Ending without breaking a request takes four steps. While the server drains, every answer says that the
//! connection closes, so clients move on by themselves. Then [`Listener::stop`] takes what the kernel has
//! accepted already and closes the port; gives new connections a moment to bring their request; and asks
//! every connection to close after the request that it is in.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout, timeout_at};

use crate::reply::Reply;
use crate::stall::Stall;

/// Most bytes of a request's header.
pub const HEADER_LIMIT: usize = 16 << 10;
/// How long a client may not take what is sent to it.
const STALL: Duration = Duration::from_secs(30);
/// How long a client may take for a whole answer: the longest at a megabyte a second.
const ANSWER: Duration = Duration::from_secs(120);
/// How long a connection that was accepted last may take to bring its request.
const LINGER: Duration = Duration::from_millis(250);
/// How long connections are taken that the kernel has accepted when the port closes.
const BACKLOG: Duration = Duration::from_millis(20);
/// Pause after an error that is not the client's, such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue, and each answer closes its connection meanwhile.
    pub connections: usize,
    /// How long a request's header may take to arrive; a connection that is idle for so long is closed.
    pub header_timeout: Duration,
    /// Whether a connection brings one request only, and gives way to a newer one where there are too many: idle
    /// connections must not keep a probe waiting.
    pub brief: bool,
}

/// A port being served.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<GracefulShutdown>,
}

impl Listener {
    /// Serves a port.
    pub fn start<H, F>(listener: TcpListener, limits: Limits, handler: H) -> std::io::Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, limits, handler, stopped));
        Ok(Listener {
            address,
            stop,
            accepting,
        })
    }

    /// Closes the port and waits until every request is answered, or for `patience`. Whether all were.
    pub async fn stop(self, patience: Duration) -> bool {
        let _ = self.stop.send(true);
        let finished = async {
            let Ok(connections) = self.accepting.await else {
                return;
            };
            tokio::time::sleep(LINGER).await;
            connections.shutdown().await;
        };
        timeout(patience, finished).await.is_ok()
    }
}

async fn accept<H, F>(
    listener: TcpListener,
    limits: Limits,
    handler: H,
    mut stopped: watch::Receiver<bool>,
) -> GracefulShutdown
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let mut places = Places::new(limits);
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = next(&listener, &mut places) => accepted,
        };
        if let Some((stream, permit)) = accepted {
            let watcher = connections.watcher();
            let room = Arc::clone(&places.room);
            places.taken(&tokio::spawn(serve(
                stream,
                limits,
                handler.clone(),
                watcher,
                (room, permit),
            )));
        }
    }
    // For their clients these connections are established, so they are served like the others. While clients
    // keep coming there is no last one, hence the deadline.
    let deadline = Instant::now() + BACKLOG;
    while let Ok(Some((stream, permit))) = timeout_at(deadline, next(&listener, &mut places)).await {
        let watcher = connections.watcher();
        let room = Arc::clone(&places.room);
        places.taken(&tokio::spawn(serve(
            stream,
            limits,
            handler.clone(),
            watcher,
            (room, permit),
        )));
    }
    connections
}

/// The connections that there may be.
struct Places {
    limits: Limits,
    room: Arc<Semaphore>,
    /// Those that are open, oldest first, and some that have ended; only where they are brief.
    open: VecDeque<AbortHandle>,
}

impl Places {
    fn new(limits: Limits) -> Self {
        Places {
            limits,
            room: Arc::new(Semaphore::new(limits.connections)),
            open: VecDeque::new(),
        }
    }

    /// A place, once there is one.
    async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// Closes the oldest connection where all places are taken.
    fn make_room(&mut self) {
        while self.room.available_permits() == 0 {
            let Some(oldest) = self.open.pop_front() else {
                return;
            };
            if !oldest.is_finished() {
                return oldest.abort();
            }
        }
    }

    fn taken(&mut self, connection: &JoinHandle<()>) {
        if self.limits.brief {
            if self.open.len() >= 2 * self.limits.connections {
                self.open.retain(|connection| !connection.is_finished());
            }
            self.open.push_back(connection.abort_handle());
        }
    }
}

/// The next connection, once there is room for one.
async fn next(listener: &TcpListener, places: &mut Places) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = match places.limits.brief {
        true => None,
        false => Some(places.free().await?),
    };
    match listener.accept().await {
        Ok((stream, _)) => {
            let permit = match permit {
                Some(permit) => permit,
                None => {
                    places.make_room();
                    places.free().await?
                }
            };
            Some((stream, permit))
        }
        Err(error) => {
            tracing::info!(%error, "a connection could not be accepted");
            tokio::time::sleep(ERROR_PAUSE).await;
            None
        }
    }
}

async fn serve<H, F>(
    stream: TcpStream,
    limits: Limits,
    handler: H,
    watcher: Watcher,
    (room, _permit): (Arc<Semaphore>, OwnedSemaphorePermit),
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    // Answers are written at once, so there is nothing to gather.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (reply, room) = (handler(request), Arc::clone(&room));
        async move {
            let mut reply = reply.await;
            // Others wait for a place, or the next one would: who keeps connections open takes turns with them.
            if room.available_permits() == 0 {
                let headers = reply.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(reply)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .keep_alive(!limits.brief)
        .max_buf_size(HEADER_LIMIT)
        .serve_connection(TokioIo::new(Stall::new(stream, STALL, ANSWER)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
