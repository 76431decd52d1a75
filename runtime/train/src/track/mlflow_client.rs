//! MLflow's REST API, version 2.0: what `MlflowException` says comes back as a refusal.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;

use super::mlflow::Authorization;

/// Together less than a training waits at its end.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest answer that is read.
const LIMIT: u64 = 4 << 20;

/// A tracking server.
pub(super) struct Client {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    /// MLflow's name of it.
    code: Option<String>,
    sentence: String,
}

impl Refusal {
    /// An answer that cannot be understood.
    pub(super) fn answer(sentence: String) -> Self {
        Refusal { code: None, sentence }
    }

    /// Whether MLflow calls it so.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl Client {
    pub(super) fn new(url: String, authorization: Option<&Authorization>) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("sconce/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let authorization = authorization.map(|shown| match shown {
            Authorization::Basic(user, password) => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            Authorization::Bearer(token) => format!("Bearer {token}"),
        });
        Client {
            agent,
            url,
            authorization,
        }
    }

    pub(super) fn get(&self, method: &str, query: &[(&str, &str)]) -> Result<Value, Refusal> {
        let mut request = self.agent.get(self.place(method));
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        if let Some(shown) = &self.authorization {
            request = request.header("Authorization", shown);
        }
        self.answer(request.call())
    }

    pub(super) fn post(&self, method: &str, body: &Value) -> Result<Value, Refusal> {
        let mut request = self
            .agent
            .post(self.place(method))
            .content_type("application/json");
        if let Some(shown) = &self.authorization {
            request = request.header("Authorization", shown);
        }
        self.answer(request.send(body.to_string()))
    }

    fn place(&self, method: &str) -> String {
        format!("{}/api/2.0/mlflow/{method}", self.url)
    }

    fn answer(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<Value, Refusal> {
        let server = sconce_store::shown(&self.url);
        let mut answer =
            answer.map_err(|error| Refusal::answer(format!("{server} cannot be asked: {error}")))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(LIMIT).read_to_string();
        let text = text.map_err(|error| Refusal::answer(format!("{server} broke off: {error}")))?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let code = body["error_code"].as_str().map(str::to_owned);
        let said = body["message"].as_str().unwrap_or_default();
        let said: String = said.chars().take(300).collect();
        let colon = if said.is_empty() { "" } else { ": " };
        Err(Refusal {
            code,
            sentence: format!("{server} answers {status}{colon}{said}"),
        })
    }
}
