//! Protocols: which path is whose, and what is behind it.
//!
//! A protocol is one file with a [`Protocol`] in it and one line in [`PROTOCOLS`]. It says what a path means,
//! turns a body into a [`Question`] and the outputs into an answer; reading, admission, computing and errors
//! are the same for all.

mod open_inference;
mod tensorflow_serving;

use http::HeaderMap;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::served::{Names, Question, Served};
use crate::server::Server;

/// Every protocol.
pub const PROTOCOLS: &[&dyn Protocol] = &[
    &open_inference::OpenInference,
    &tensorflow_serving::TensorFlowServing,
];

/// One way to ask a model.
pub trait Protocol: Sync {
    /// Label in metrics.
    fn name(&self) -> &'static str;

    /// Paths for people who look around.
    fn paths(&self, model: &str) -> Vec<String>;

    /// What is at a path: nothing where it is not this protocol's, a refusal where it is but names another
    /// model or version.
    fn find(&self, path: &str, names: &Names) -> Result<Option<Endpoint>, Refusal>;
}

/// What is at a path.
#[derive(Clone, Copy)]
pub enum Endpoint {
    /// Answered to GET from what is known.
    Describe(fn(&Server) -> Result<Reply, Refusal>),
    /// Answered to POST by the model.
    Predict(fn(&Served, &HeaderMap, &[u8]) -> Result<Question, Refusal>),
}

impl Endpoint {
    /// The methods that it answers.
    pub fn allow(self) -> &'static str {
        match self {
            Endpoint::Describe(_) => "GET, HEAD",
            Endpoint::Predict(_) => "POST",
        }
    }
}

/// What is served here, for people who look around.
pub fn index(server: &Server) -> Value {
    let protocols: Vec<Value> = PROTOCOLS
        .iter()
        .map(|protocol| json!({"protocol": protocol.name(), "paths": protocol.paths(&server.names.name)}))
        .collect();
    json!({
        "server": "sconce",
        "version": env!("CARGO_PKG_VERSION"),
        "model": server.names.name,
        "revision": server.names.revision,
        "ready": server.unready().is_none(),
        "protocols": protocols,
    })
}

/// A refusal unless the model is the one that is served.
fn check_model(asked: &str, names: &Names) -> Result<(), Refusal> {
    if asked == names.name {
        return Ok(());
    }
    let asked = crate::parse::quoted(asked);
    Err(Refusal::not_found(format!(
        "there is no model {asked} here: this server has {:?}",
        names.name
    )))
}

/// A refusal unless the version is the one that is served.
fn check_version(asked: &str, names: &Names) -> Result<(), Refusal> {
    if asked == names.revision {
        return Ok(());
    }
    let asked = crate::parse::quoted(asked);
    Err(Refusal::not_found(format!(
        "there is no version {asked} of {:?} here: this server has {:?}",
        names.name, names.revision
    )))
}
