//! The thread beside the loop: it hears signals and answers `/v1/progress`, `/v1/history`, `/metrics` and `/livez`.

mod metrics;

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use sconce_contract::history::HISTORY_PATH;
use sconce_contract::progress::PROGRESS_PATH;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::AbortHandle,
};

use crate::watch::{Stop, Watch};

/// Connections at a time; the operator, a kubelet and a scraper need three. Where there are more the oldest gives way:
/// idle ones must not keep a probe waiting.
const CONNECTIONS: usize = 32;
/// How long a client may take to say what it wants, and then to take the answer: a request of ours is one line.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the thread and returns once signals are heard, with the address that is listened on. Where the address
/// cannot be had the error says so, and signals are heard all the same.
pub fn start(listen: SocketAddr, watch: &Watch, stop: &Stop) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok((listener.local_addr()?, listener))
    });
    let (address, listener) = match listener {
        Ok((address, listener)) => (Ok(address), Some(listener)),
        Err(error) => (Err(error), None),
    };
    let (ready, heard) = mpsc::channel();
    let (watch, stop) = (watch.clone(), stop.clone());
    thread::Builder::new().name("observe".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(observe(listener, watch, stop, ready)),
            Err(error) => drop(ready.send(Err(error))),
        }
    })?;
    heard.recv().map_err(io::Error::other)??;
    address
}

async fn observe(
    listener: Option<TcpListener>,
    watch: Watch,
    stop: Stop,
    ready: mpsc::Sender<io::Result<()>>,
) {
    let signals =
        signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(error) => return drop(ready.send(Err(error))),
    };
    // The receiver waits for exactly this; it is gone only where the process is ending.
    let _ = ready.send(Ok(()));
    if let Some(listener) = listener {
        tokio::spawn(async move {
            if let Err(error) = accept(listener, watch).await {
                tracing::warn!(%error, "progress can no longer be asked for");
            }
        });
    }
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping at the next step");
        stop.ask();
    }
}

async fn accept(listener: TcpListener, watch: Watch) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    // Oldest first, and some that have ended.
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or a client that left at once: both pass.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let watch = watch.clone();
        let connection = tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &watch);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // How a client leaves does not concern the training.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
        });
        open.push_back(connection.abort_handle());
    }
}

fn answer(request: &Request<Incoming>, watch: &Watch) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, PROGRESS_PATH) => {
            // Plain numbers and strings always serialise.
            let json = serde_json::to_string(&watch.snapshot().progress).unwrap_or_default();
            (StatusCode::OK, "application/json", json)
        }
        (&Method::GET | &Method::HEAD, HISTORY_PATH) => {
            let json = serde_json::to_string(&watch.snapshot().history()).unwrap_or_default();
            (StatusCode::OK, "application/json", json)
        }
        (&Method::GET | &Method::HEAD, "/metrics") => (
            StatusCode::OK,
            metrics::CONTENT_TYPE,
            metrics::encode(&watch.snapshot()),
        ),
        (_, "/livez" | PROGRESS_PATH | HISTORY_PATH | "/metrics") => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "this can only be read\n".to_owned(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /v1/progress, /v1/history, /metrics and /livez\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
