//! A proxy before the API server that sees every write of the operator, and has some of them fail as a test says.
//!
//! The operator under test is the unmodified program; its kubeconfig merely names the proxy, which speaks TLS to the
//! API server and plain HTTP, on loopback, to the operator. What has no fault passes as it is, watches included.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Error, Result};

/// A write that came by.
#[derive(Clone, Debug)]
pub struct Write {
    /// How many came before it, of those that are counted.
    pub number: usize,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Method,
    /// Path of the URL, which names the object; a `POST` names only the kind.
    pub path: String,
    /// Name of the object.
    pub name: String,
    /// When it came.
    pub at: Instant,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It passes.
    None,
    /// It is answered with this status and never reaches the API server.
    Answer(u16),
    /// It is carried out, and answered with this status all the same.
    AnswerAfter(u16),
    /// It is not carried out, and nothing passes any more until [`FaultProxy::thaw`].
    FreezeBefore,
    /// It is carried out, its answer does not pass, and nothing does any more until [`FaultProxy::thaw`].
    FreezeAfter,
}

type Rule = Box<dyn FnMut(&Write) -> Fault + Send>;

/// A running proxy; it ends when it is dropped.
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: Client,
    rule: Mutex<Rule>,
    writes: Mutex<Vec<Write>>,
    frozen: watch::Sender<bool>,
}

impl FaultProxy {
    /// Before the API server that the kubeconfig names, without a fault.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used or no port is free.
    pub async fn start(kubeconfig: &Path) -> Result<Self> {
        let unusable = |source| Error::Kubeconfig {
            path: kubeconfig.to_owned(),
            source: Box::new(source),
        };
        let mut parsed = Kubeconfig::read_from(kubeconfig).map_err(unusable)?;
        // Requests bring the operator's own token along.
        for user in &mut parsed.auth_infos {
            user.auth_info = Some(kube::config::AuthInfo::default());
        }
        let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
            .await
            .map_err(unusable)?;
        let upstream = Client::try_from(config).map_err(Error::api("accept a client"))?;
        let started = |source| Error::Start {
            command: "listen on 127.0.0.1".to_owned(),
            source,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(started)?;
        let port = listener.local_addr().map_err(started)?.port();
        let shared = Arc::new(Shared {
            upstream,
            rule: Mutex::new(Box::new(|_| Fault::None)),
            writes: Mutex::default(),
            frozen: watch::Sender::new(false),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { port, shared, server })
    }

    /// A kubeconfig beside `original`, with its rights, that leads through the proxy.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn kubeconfig(&self, original: &Path) -> Result<PathBuf> {
        let text = std::fs::read_to_string(original).map_err(Error::file("read", original))?;
        let mut config: Value = serde_json::from_str(&text)
            .map_err(|error| Error::Unmet(format!("{} is no JSON: {error}", original.display())))?;
        config["clusters"][0]["cluster"] = json!({"server": format!("http://127.0.0.1:{}", self.port)});
        let file = original.with_extension(format!("{}.kubeconfig", self.port));
        std::fs::write(&file, config.to_string()).map_err(Error::file("write", &file))?;
        Ok(file)
    }

    /// From now on, this says what becomes of each write. Leases and events are no writes.
    pub fn rule(&self, rule: impl FnMut(&Write) -> Fault + Send + 'static) {
        *lock(&self.shared.rule) = Box::new(rule);
    }

    /// Every write so far, whatever became of it.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        lock(&self.shared.writes).clone()
    }

    /// Whether a fault has stopped everything.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        *self.shared.frozen.borrow()
    }

    /// Lets requests pass again. Those that were stopped stay so: whoever sent them is gone.
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(false);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
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

async fn pass(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    if *shared.frozen.borrow() {
        return std::future::pending().await;
    }
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return answer(400);
    };
    let body = body.to_bytes();
    let fault = if is_write(&head.method, head.uri.path()) {
        let write = {
            let mut writes = lock(&shared.writes);
            let write = Write {
                number: writes.len(),
                name: name(&head.method, head.uri.path(), &body),
                method: head.method.clone(),
                path: head.uri.path().to_owned(),
                at: Instant::now(),
            };
            writes.push(write.clone());
            write
        };
        (*lock(&shared.rule))(&write)
    } else {
        Fault::None
    };
    match fault {
        Fault::Answer(code) => return answer(code),
        Fault::FreezeBefore => {
            shared.frozen.send_replace(true);
            return std::future::pending().await;
        }
        Fault::None | Fault::AnswerAfter(_) | Fault::FreezeAfter => {}
    }
    let mut forwarded = Request::from_parts(head, Body::from(body.to_vec()));
    // Of the proxy's own connection.
    forwarded.headers_mut().remove(http::header::HOST);
    let answered = shared.upstream.send(forwarded).await;
    match fault {
        Fault::AnswerAfter(code) => answer(code),
        Fault::FreezeAfter => {
            shared.frozen.send_replace(true);
            std::future::pending().await
        }
        _ => answered.unwrap_or_else(|_| answer(502)),
    }
}

fn is_write(method: &Method, path: &str) -> bool {
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method);
    let kind = |name: &str| path.split('/').any(|part| part == name);
    changes && !kind("leases") && !kind("events")
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
fn answer(code: u16) -> Response<Body> {
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
    let mut response = Response::new(Body::from(status.to_string().into_bytes()));
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
    fn a_write_is_told_from_what_is_only_said_of_it() {
        assert!(is_write(&Method::POST, "/apis/batch/v1/namespaces/a/jobs"));
        assert!(!is_write(&Method::GET, "/apis/batch/v1/namespaces/a/jobs/b"));
        assert!(!is_write(
            &Method::POST,
            "/apis/events.k8s.io/v1/namespaces/a/events"
        ));
        assert!(!is_write(
            &Method::PUT,
            "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"
        ));
    }

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
