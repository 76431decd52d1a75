//! The way of a request: find, check, admit, read, compute, answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use crate::admission::Slot;
use crate::body::Body;
use crate::protocols::{self, Endpoint, PROTOCOLS};
use crate::refusal::Refusal;
use crate::reply::{self, Reply};
use crate::served::{Question, internal};
use crate::server::{Phase, Server};

/// A client's own mark of a request, which the answer repeats.
const REQUEST_ID: &str = "x-request-id";

type Parse = fn(&crate::served::Served, &HeaderMap, &[u8]) -> Result<Question, Refusal>;

/// Answers one request.
pub async fn handle(server: Arc<Server>, request: Request<Incoming>) -> Reply {
    let start = Instant::now();
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let (protocol, answer) = respond(&server, &parts, &mut body).await;
    if let Some(unread) = body {
        crate::body::discard(unread);
    }
    let mut reply = answer.unwrap_or_else(|refusal| {
        if refusal.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::info!(
                path = parts.uri.path(),
                error = refusal.sentence,
                "a request failed"
            );
        }
        reply::refused(&refusal)
    });
    if server.phase() == Phase::Draining {
        // The client's next request must find another server.
        reply
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let id = parts.headers.get(REQUEST_ID);
    if let Some(id) = id {
        reply.headers_mut().insert(REQUEST_ID, id.clone());
    }
    let (code, took) = (reply.status().as_u16(), start.elapsed());
    server.admission.completed();
    server.metrics.answered(protocol, code, took);
    tracing::debug!(
        protocol,
        method = parts.method.as_str(),
        path = parts.uri.path(),
        code,
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        id = id.and_then(|id| id.to_str().ok()),
        "answered"
    );
    reply
}

/// The protocol's label, and the answer. The body is taken where it is read.
async fn respond(
    server: &Arc<Server>,
    parts: &Parts,
    body: &mut Option<Incoming>,
) -> (&'static str, Result<Reply, Refusal>) {
    let path = parts.uri.path();
    let readable = matches!(parts.method, Method::GET | Method::HEAD);
    if path == "/" {
        let index = reply::value(StatusCode::OK, &protocols::index(server));
        return (
            "none",
            if readable {
                Ok(index)
            } else {
                Err(Refusal::method("GET, HEAD"))
            },
        );
    }
    for protocol in PROTOCOLS {
        let answer = match protocol.find(path, &server.names) {
            Ok(None) => continue,
            Err(refusal) => Err(refusal),
            Ok(Some(Endpoint::Describe(describe))) if readable => describe(server),
            Ok(Some(Endpoint::Predict(parse))) if parts.method == Method::POST => {
                predict(server, parts, body, parse).await
            }
            Ok(Some(endpoint)) => Err(Refusal::method(endpoint.allow())),
        };
        return (protocol.name(), answer);
    }
    (
        "none",
        Err(Refusal::not_found(
            "there is nothing at this path: GET / lists what there is",
        )),
    )
}

async fn predict(
    server: &Arc<Server>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    parse: Parse,
) -> Result<Reply, Refusal> {
    check_type(&parts.headers)?;
    server.served()?;
    if server.admission.is_full() {
        return Err(Refusal::full());
    }
    let Some(body) = body.take() else {
        return Err(internal("the body was read twice"));
    };
    let body = server.bodies.read(body).await?;
    let slot = server.admission.enter().await.map_err(|_| Refusal::full())?;
    let written = if server.served()?.is_small(&body.bytes) {
        compute(server, &parts.headers, body, parse, || false)?
    } else {
        elsewhere(server, parts.headers.clone(), body, parse, slot).await?
    };
    // Nothing only where the client is gone, and then nobody reads this.
    written
        .map(reply::written)
        .ok_or_else(|| internal("the request was abandoned"))
}

fn compute(
    server: &Server,
    headers: &HeaderMap,
    body: Body,
    parse: Parse,
    gone: impl Fn() -> bool,
) -> Result<Option<Bytes>, Refusal> {
    let served = server.served()?;
    // The table takes the place of the bytes.
    let Body { bytes, budget: _held } = body;
    let question = parse(served, headers, &bytes)?;
    drop(bytes);
    served.check(&question)?;
    let room = server.answers.reserve(&question)?;
    let written = served.answer(question, gone)?;
    Ok(written.map(|bytes| room.hold(bytes)))
}

/// Computes on a thread that may block. The slot goes along: where the client leaves, this future is dropped,
/// the computation notices at its next step, and only then is the slot free.
async fn elsewhere(
    server: &Arc<Server>,
    headers: HeaderMap,
    body: Body,
    parse: Parse,
    slot: Slot,
) -> Result<Option<Bytes>, Refusal> {
    let server = Arc::clone(server);
    let (answer, answered) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let written = compute(&server, &headers, body, parse, || answer.is_closed());
        drop(slot);
        // The client may be gone.
        let _ = answer.send(written);
    });
    answered
        .await
        .map_err(|_| internal("the computation broke off"))?
}

/// A refusal unless the body is JSON as it stands.
///
/// curl's `-d` claims a form; the examples in TensorFlow Serving's and KServe's documents rely on servers that
/// do not mind, so this one does not either.
fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let unsupported = |sentence| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return unsupported("compressed bodies are not supported: send the JSON as it is");
    }
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = content_type.to_str().unwrap_or_default().to_ascii_lowercase();
    let kind = text.split(';').next().unwrap_or_default().trim();
    if matches!(kind, "application/json" | "application/x-www-form-urlencoded") || kind.ends_with("+json") {
        return Ok(());
    }
    unsupported("the body must be JSON: send Content-Type: application/json")
}
