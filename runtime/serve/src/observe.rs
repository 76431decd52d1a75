//! The port for probes, metrics and load: never behind the queue, never behind the model.

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use sconce_contract::cache::CACHE_PATH;
use sconce_contract::progress::LOAD_PATH;
use serde::Serialize;

use crate::refusal::Refusal;
use crate::reply::{self, Reply};
use crate::server::Server;

/// Answers one request.
pub fn handle(server: &Server, request: &Request<Incoming>) -> Reply {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply::refused(&Refusal::method("GET, HEAD"));
    }
    let load = server.admission.snapshot();
    match request.uri().path() {
        "/livez" => plain(StatusCode::OK, "alive\n".into()),
        "/readyz" => match server.unready() {
            None => plain(StatusCode::OK, "ready\n".into()),
            Some(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        },
        "/metrics" => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            reply::typed(StatusCode::OK, kind, server.metrics.text(load))
        }
        LOAD_PATH => json(&load),
        CACHE_PATH => match server.cache.get() {
            Some(report) => json(report),
            None => {
                let sentence = "no model was loaded by way of a cache";
                reply::refused(&Refusal::not_found(sentence.to_owned()))
            }
        },
        _ => {
            let sentence = format!("there is /livez, /readyz, /metrics, {LOAD_PATH} and {CACHE_PATH} here");
            reply::refused(&Refusal::not_found(sentence))
        }
    }
}

fn json(value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(json) => reply::written(json),
        Err(error) => reply::refused(&crate::served::internal(&error.to_string())),
    }
}

fn plain(status: StatusCode, text: String) -> Reply {
    reply::typed(status, "text/plain; charset=utf-8", text)
}
