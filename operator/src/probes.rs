//! `/livez`, `/readyz` and `/metrics` of the operator.
//!
//! Live is a process that gets on ([`crate::liveness`]), whether or not the API server answers it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tracing::info;

use crate::liveness::Pulse;
use crate::metrics::Metrics;

/// A client that has not sent its request's head by then is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers until the process ends. A replica that waits for the lease is live and ready: it is what it should be.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(address: SocketAddr, metrics: Metrics, pulse: Pulse) -> io::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
    info!(address = %listener.local_addr()?, "answering probes and metrics");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: give the others time to end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (metrics, pulse) = (metrics.clone(), pulse.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(
                    request.method(),
                    request.uri().path(),
                    &metrics,
                    &pulse,
                    Instant::now(),
                );
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that goes away is no concern of ours.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(
    method: &Method,
    path: &str,
    metrics: &Metrics,
    pulse: &Pulse,
    now: Instant,
) -> Response<Full<Bytes>> {
    if method != Method::GET {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered\n".to_owned(),
        );
    }
    match path {
        "/livez" => match pulse.stuck(now) {
            None => text(StatusCode::OK, "ok\n".to_owned()),
            Some(stuck) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{stuck}\n")),
        },
        "/readyz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/metrics" => {
            let mut response = text(StatusCode::OK, metrics.encode());
            response.headers_mut().insert(
                CONTENT_TYPE,
                hyper::header::HeaderValue::from_static(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                ),
            );
            response
        }
        path => text(
            StatusCode::NOT_FOUND,
            format!("{path} is not here; there are /livez, /readyz and /metrics\n"),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::{LIMIT, Part};

    #[test]
    fn a_process_that_gets_on_is_live_and_one_that_stands_still_is_not() {
        let (metrics, pulse) = (Metrics::default(), Pulse::default());
        let now = Instant::now();
        let status = |path: &str, now| answer(&Method::GET, path, &metrics, &pulse, now).status();
        let later = now + 2 * LIMIT;
        assert_eq!(status("/livez", later), StatusCode::OK, "nothing has begun");
        pulse.beat(Part::Lease);
        assert_eq!(status("/livez", now), StatusCode::OK);
        assert_eq!(status("/livez", later), StatusCode::SERVICE_UNAVAILABLE);
        // No traffic is sent by it.
        assert_eq!(status("/readyz", later), StatusCode::OK);
        assert_eq!(status("/", now), StatusCode::NOT_FOUND);
    }
}
