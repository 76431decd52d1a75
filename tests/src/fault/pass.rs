//! A request on its way to the API server, and the answer on its way back.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Fault, Shared, Write, events, lock};

/// Why an answer ended early.
pub(super) type Lost = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer to the operator.
pub(super) type Answer = UnsyncBoxBody<Bytes, Lost>;

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(pass(&shared, request).await) }
            });
            // An operator that was killed closes its connections in the middle of anything.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn pass(shared: &Shared, request: Request<Incoming>) -> Response<Answer> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return answer(400);
    };
    let body = body.to_bytes();
    let path = head.uri.path().to_owned();
    let stopped = *shared.frozen.borrow();
    let fault = note(shared, &head.method, &path, &body, stopped);
    if stopped {
        return std::future::pending().await;
    }
    match fault {
        Fault::Answer(code) => return answer(code),
        Fault::Silence => return std::future::pending().await,
        Fault::FreezeBefore => {
            shared.frozen.send_replace(true);
            return std::future::pending().await;
        }
        Fault::None | Fault::AnswerAfter(_) | Fault::FreezeAfter => {}
    }
    let query = head.uri.query().unwrap_or_default().to_owned();
    let is_read = head.method == Method::GET;
    if is_read && let Some(older) = shared.view.answer(&path, &query).await {
        return older;
    }
    let mut forwarded = Request::from_parts(head, Body::from(body.to_vec()));
    // Of the proxy's own connection.
    forwarded.headers_mut().remove(http::header::HOST);
    let answered = shared.upstream.send(forwarded).await;
    match fault {
        Fault::AnswerAfter(code) => return answer(code),
        Fault::FreezeAfter => {
            shared.frozen.send_replace(true);
        }
        _ => {}
    }
    if *shared.frozen.borrow() {
        return std::future::pending().await;
    }
    match answered {
        Ok(response) if is_read => events::pass(shared, &query, response),
        Ok(response) => response.map(whole),
        Err(_) => answer(502),
    }
}

/// Writes down what comes by, and says what becomes of it.
fn note(shared: &Shared, method: &Method, path: &str, body: &[u8], stopped: bool) -> Fault {
    let kind = |name: &str| path.split('/').any(|part| part == name);
    let (lease, event) = (kind("leases"), kind("events"));
    if !lease && !event {
        shared.requests.fetch_add(1, Ordering::SeqCst);
    }
    if event || ![Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method) {
        return Fault::None;
    }
    let mut write = Write {
        number: 0,
        name: name(method, path, body),
        method: method.clone(),
        path: path.to_owned(),
        at: Instant::now(),
    };
    if lease {
        return (*lock(&shared.renewals))(&write);
    }
    if stopped {
        lock(&shared.stopped).push(write);
        return Fault::None;
    }
    {
        let mut writes = lock(&shared.writes);
        write.number = writes.len();
        writes.push(write.clone());
    }
    (*lock(&shared.rule))(&write)
}

fn name(method: &Method, path: &str, body: &[u8]) -> String {
    if method == Method::POST {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        return body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    }
    let path = path.strip_suffix("/status").unwrap_or(path);
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// As the API server puts it.
fn answer(code: u16) -> Response<Answer> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": "a test had this request fail",
    });
    response(code, status.to_string())
}

pub(super) fn whole(body: Body) -> Answer {
    body.map_err(Into::into).boxed_unsync()
}

pub(super) fn response(code: u16, text: String) -> Response<Answer> {
    let mut response = Response::new(whole(Body::from(text.into_bytes())));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_named_by_the_body_or_by_the_path() {
        let body = br#"{"metadata": {"name": "made"}}"#;
        assert_eq!(
            name(&Method::POST, "/api/v1/namespaces/a/configmaps", body),
            "made"
        );
        let path = "/apis/sconce.dev/v1alpha1/namespaces/a/modeltrainings/iris/status";
        assert_eq!(name(&Method::PATCH, path, b""), "iris");
    }
}
