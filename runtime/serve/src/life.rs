//! The life of the server, from its plan to its last answer.
//!
//! Signal handlers come first, so that a SIGTERM while the model is being loaded ends the server at once. Both
//! ports are open from the start: the probes say why the server is not ready, and so does the other port.
//! After SIGTERM the server says that it is not ready and serves on for the drain delay, because endpoints
//! take a while to reach every proxy; then it stops accepting, answers what it has accepted, and ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sconce_contract::{CacheOutcome, Failure, FailureClass};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admission::Admission;
use crate::body::Bodies;
use crate::listen::{Limits, Listener};
use crate::load;
use crate::options::Options;
use crate::served::Names;
use crate::server::Server;

/// Connections of probes and scrapers at a time.
const OBSERVERS: usize = 256;
/// How long they may take to say what they want: a line.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves until told to stop. An error where there is nothing to serve.
pub async fn run(options: Options) -> Result<(), Failure> {
    let start = Instant::now();
    let mut signals = Signals::install()?;
    let plan = load::plan(&options.plan)?;
    let processors = u32::try_from(sconce_engine::threads::available()).unwrap_or(u32::MAX);
    let slots = options.max_in_flight.unwrap_or(processors);
    let names = Names {
        name: plan.name.clone(),
        revision: plan.revision.clone(),
    };
    let admission = Admission::new(slots as usize, options.max_queue as usize);
    let bodies = Bodies::new(options.max_body as usize, options.body_timeout);
    let server = Arc::new(Server::new(names, admission, bodies));
    let (http, observe) = listen(&options, &server).await?;
    tracing::info!(http = %http.address, observe = %observe.address, slots, "listening");

    let model = sconce_store::shown(&plan.model);
    let loading = tokio::task::spawn_blocking(move || load::load(&plan));
    let (served, cached) = tokio::select! {
        loaded = loading => loaded.map_err(|error| {
            Failure::new(FailureClass::Internal, format!("loading the model failed: {error}"))
        })??,
        () = signals.next() => {
            tracing::info!("told to stop before the model was loaded");
            return Ok(());
        }
    };
    server.metrics.loaded(&served, start.elapsed());
    if let Some(report) = cached {
        server.metrics.cached(&report);
        match (&report.outcome, &report.reason) {
            (CacheOutcome::NotCached, reason) => {
                tracing::warn!(reason, "the model is served without a cache");
            }
            (outcome, reason) => tracing::info!(?outcome, reason, "cache"),
        }
        // It is set once.
        let _ = server.cache.set(report);
    }
    tracing::info!(
        name = served.names.name,
        revision = served.names.revision,
        model,
        digest = served.model.manifest().digest(),
        parameters = served.model.parameters(),
        seconds = start.elapsed().as_secs_f64(),
        "ready"
    );
    server.ready(served);

    signals.next().await;
    server.drain();
    tracing::info!(delay = options.drain_delay.as_secs_f64(), "draining");
    tokio::select! {
        () = tokio::time::sleep(options.drain_delay) => {}
        () = signals.next() => tracing::info!("told to stop again: the delay is cut short"),
    }
    let all = http.stop(options.drain_timeout).await;
    let load = server.admission.snapshot();
    if all {
        tracing::info!(completed = load.completed, "every request is answered");
    } else {
        tracing::warn!(
            in_flight = load.in_flight,
            queued = load.queued,
            "the drain timeout is over"
        );
    }
    Ok(())
}

/// Opens both ports.
async fn listen(options: &Options, server: &Arc<Server>) -> Result<(Listener, Listener), Failure> {
    let limits = Limits {
        connections: options.max_connections as usize,
        header_timeout: options.header_timeout,
        brief: false,
    };
    let state = Arc::clone(server);
    let http = Listener::start(bind(options.listen).await?, limits, move |request| {
        crate::http::handle(Arc::clone(&state), request)
    });
    let limits = Limits {
        connections: OBSERVERS,
        header_timeout: PROBE_TIMEOUT,
        brief: true,
    };
    let state = Arc::clone(server);
    let observe = Listener::start(bind(options.observe).await?, limits, move |request| {
        let reply = crate::observe::handle(&state, &request);
        async move { reply }
    });
    let failed = |error: std::io::Error| Failure::new(FailureClass::Internal, error.to_string());
    Ok((http.map_err(failed)?, observe.map_err(failed)?))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let sentence = format!("cannot listen on {address} ({error}): choose another address");
        Failure::new(FailureClass::Internal, sentence)
    })
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(
                    FailureClass::Internal,
                    format!("signals cannot be handled: {error}"),
                )
            })
        };
        Ok(Signals {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
