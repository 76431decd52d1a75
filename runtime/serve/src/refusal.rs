//! Why a request is not answered as it asks.

use http::StatusCode;

/// A status and one sentence that says what is wrong and what to do.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The sentence.
    pub sentence: String,
    /// Methods that would be allowed.
    pub allow: Option<&'static str>,
}

impl Refusal {
    /// A refusal with this status and sentence.
    pub fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Refusal {
            status,
            sentence: sentence.into(),
            allow: None,
        }
    }

    /// That there is nothing.
    pub fn not_found(sentence: impl Into<String>) -> Self {
        Refusal::new(StatusCode::NOT_FOUND, sentence)
    }

    /// That the method is wrong.
    pub fn method(allow: &'static str) -> Self {
        let sentence = format!("this path answers {allow} only");
        Refusal {
            allow: Some(allow),
            ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, sentence)
        }
    }

    /// That the server is full.
    pub fn full() -> Self {
        let sentence = "the server is full: try again in a second, or add replicas";
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, sentence)
    }

    /// Whether the same request may succeed in a second.
    pub fn passes(&self) -> bool {
        matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        )
    }
}
