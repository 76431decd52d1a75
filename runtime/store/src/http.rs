//! `http(s)://HOST/PATH`: a file on a web server.
//!
//! What may pass is tried again with growing pauses: failed connections, broken bodies, 408, 429 and 5xx.
//! Any other status below 500 means that the URI is wrong, and no retry would mend it.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Method, Response, StatusCode};

use crate::download::Download;
use crate::retry::Retry;
use crate::scheme::{Scheme, Target, has_userinfo};
use crate::{Credentials, StoreError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence within a body; a large file may take as long as it needs while bytes arrive.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS: u32 = 5;

pub(crate) struct Http;

static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(REDIRECTS)
        // The Hub leads on to another path of its own, which wants to see the token as well.
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .timeout_per_read(Some(SILENCE_TIMEOUT))
        .user_agent(concat!("sconce/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
});

/// What one try came to, where it came to no answer.
pub(crate) enum Miss {
    /// Worth another try.
    Passing(String),
    /// Worth another try, after so many more bytes of a body than ever before.
    Broken(String, u64),
    /// Final.
    Final(StoreError),
}

impl Scheme for Http {
    fn read(&self, target: &Target<'_>, limit: u64) -> Result<Vec<u8>, StoreError> {
        let mut download = Download::new(limit);
        retried(target, || download.go_on(target))?;
        Ok(download.bytes())
    }

    fn exists(&self, target: &Target<'_>) -> Result<bool, StoreError> {
        let head = |method: Method| retried(target, || request(target, &method).map(drop));
        // Some servers, and URLs signed for GET, know no HEAD.
        let found = match head(Method::HEAD) {
            Err(StoreError::Refused { .. } | StoreError::Forbidden { .. }) => head(Method::GET),
            found => found,
        };
        match found {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn retried<T>(target: &Target<'_>, mut attempt: impl FnMut() -> Result<T, Miss>) -> Result<T, StoreError> {
    if has_userinfo(target.rest) {
        let reason = "a name or password in a URI is told to everyone who reads it: put them into a Secret, and name it \
                      in credentialsRef"
            .into();
        return Err(StoreError::Malformed {
            uri: target.shown(),
            reason,
        });
    }
    let mut retry = Retry::default();
    loop {
        let start = Instant::now();
        let (reason, pause) = match attempt() {
            Ok(value) => return Ok(value),
            Err(Miss::Final(error)) => return Err(error),
            Err(Miss::Passing(reason)) => (reason, retry.failed(start.elapsed())),
            Err(Miss::Broken(reason, more)) => (reason, retry.broke_off(more)),
        };
        let Some(pause) = pause else {
            return Err(StoreError::Network {
                uri: target.shown(),
                tries: retry.tries(),
                reason,
            });
        };
        tracing::warn!(uri = target.shown(), reason, "reading failed, trying again");
        thread::sleep(pause);
    }
}

fn request(target: &Target<'_>, method: &Method) -> Result<Response<ureq::Body>, Miss> {
    ask(target, method, &[])
}

/// An answer of success to a request with these headers beside our own.
pub(crate) fn ask(
    target: &Target<'_>,
    method: &Method,
    headers: &[(&str, &str)],
) -> Result<Response<ureq::Body>, Miss> {
    let mut request = match *method {
        Method::HEAD => AGENT.head(target.uri),
        _ => AGENT.get(target.uri),
    };
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    // The client takes the header along to another path or port of the same host, and neither to another host nor from
    // https to http.
    let sent = match target.credentials.map(Credentials::header) {
        Some(None) => return Err(Miss::Final(StoreError::NoCredentials { uri: target.shown() })),
        Some(Some(shown)) => request.header("Authorization", shown).call(),
        None => request.call(),
    };
    let response = sent.map_err(|error| failed(target, &error))?;
    let status = response.status();
    let uri = target.shown();
    match status {
        _ if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND => Err(Miss::Final(StoreError::NotFound { uri })),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Miss::Final(StoreError::Forbidden {
            uri,
            reason: match target.credentials {
                Some(_) => format!("the server answers {status} to what the Secret of credentialsRef shows"),
                None => format!("the server answers {status}, and credentialsRef names no Secret to show it"),
            },
        })),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(Miss::Passing(format!("the server answers {status}")))
        }
        _ if status.is_server_error() => Err(Miss::Passing(format!("the server answers {status}"))),
        _ => Err(Miss::Final(StoreError::Refused {
            uri,
            status: status.to_string(),
        })),
    }
}

fn failed(target: &Target<'_>, error: &ureq::Error) -> Miss {
    let uri = target.shown();
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Miss::Final(StoreError::Malformed {
            uri,
            reason: "write http(s)://HOST/PATH".into(),
        }),
        ureq::Error::TooManyRedirects => {
            let reason = format!("it leads on more than {REDIRECTS} times: write the final location");
            Miss::Final(StoreError::Malformed { uri, reason })
        }
        error => Miss::Passing(error.to_string()),
    }
}
