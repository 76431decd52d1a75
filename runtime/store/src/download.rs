//! A body that goes on where it broke off.
//!
//! A server that marks its content (RFC 9110: a strong `ETag`) is asked for the rest, on condition that it is still the
//! same, and its answer is looked at, since not every server heeds the condition; from any other the body is read again
//! from its beginning, three times at most.

use std::io::Read;

use ureq::http::header::{CONTENT_RANGE, ETAG};
use ureq::http::{Method, Response, StatusCode};

use crate::StoreError;
use crate::http::{Miss, ask};
use crate::scheme::Target;

/// How often a body is read from its beginning again.
const RESTARTS: u32 = 3;

/// What has arrived so far.
#[derive(Debug)]
pub(crate) struct Download {
    limit: u64,
    bytes: Vec<u8>,
    /// What the server calls the content that the bytes are of.
    tag: Option<String>,
    /// How many bytes that content has, where the server says so.
    length: Option<u64>,
    /// Most bytes that there ever were.
    furthest: u64,
    restarts: u32,
}

impl Download {
    /// Of at most so many bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Download {
            limit,
            bytes: Vec::new(),
            tag: None,
            length: None,
            furthest: 0,
            restarts: 0,
        }
    }

    /// Reads on to the end.
    pub(crate) fn go_on(&mut self, target: &Target<'_>) -> Result<(), Miss> {
        let response = match &self.tag {
            Some(tag) if !self.bytes.is_empty() => {
                let range = format!("bytes={}-", self.bytes.len());
                match ask(target, &Method::GET, &[("Range", &range), ("If-Range", tag)]) {
                    // Such as 416: it takes no ranges, or there is no rest.
                    Err(Miss::Final(error @ StoreError::Refused { .. })) => {
                        self.forget();
                        return Err(Miss::Passing(error.to_string()));
                    }
                    asked => asked?,
                }
            }
            _ => ask(target, &Method::GET, &[])?,
        };
        if !self.continues(&response)? {
            self.bytes.clear();
            self.tag = strong_tag(&response);
            self.length = response.body().content_length();
        }
        self.take(target, response)
    }

    /// What has arrived.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether an answer goes on where the bytes end, rather than being all of them.
    fn continues(&mut self, response: &Response<ureq::Body>) -> Result<bool, Miss> {
        let offset = self.bytes.len();
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(CONTENT_RANGE);
            let range = range.and_then(|range| range.to_str().ok()).unwrap_or_default();
            let goes_on = offset > 0 && range.starts_with(&format!("bytes {offset}-"));
            if goes_on && self.is_of_another(response, range) {
                self.restarts += 1;
                self.forget();
                return Err(Miss::Passing("the file changed while it was read".to_owned()));
            }
            if goes_on {
                self.length = self.length.or(total_of(range));
                return Ok(true);
            }
            self.forget();
            return Err(Miss::Passing(format!(
                "the server answers with another part: {range:?}"
            )));
        }
        if offset > 0 {
            self.restarts += 1;
        }
        Ok(false)
    }

    /// Whether an answer is part of another content than the bytes are of. A part has the tag that the whole would have
    /// (RFC 9110, 15.3.7): one without a tag is of a content that has none.
    fn is_of_another(&self, response: &Response<ureq::Body>, range: &str) -> bool {
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        tag != self.tag.as_deref()
            || total_of(range)
                .zip(self.length)
                .is_some_and(|(total, length)| total != length)
    }

    /// Throws away what has arrived.
    fn forget(&mut self) {
        (self.bytes, self.tag, self.length) = (Vec::new(), None, None);
    }

    fn take(&mut self, target: &Target<'_>, response: Response<ureq::Body>) -> Result<(), Miss> {
        let too_large = || {
            Miss::Final(StoreError::TooLarge {
                uri: target.shown(),
                limit: self.limit,
            })
        };
        let left = self.limit.saturating_sub(self.bytes.len() as u64);
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let body = response.into_body();
        if body.content_length().is_some_and(|length| length > left) {
            return Err(too_large());
        }
        // The length is what the server claims, so memory grows with the bytes that arrive.
        let read = body
            .into_reader()
            .take(left.saturating_add(1))
            .read_to_end(&mut self.bytes);
        let length = self.bytes.len() as u64;
        if length > self.limit {
            return Err(too_large());
        }
        let reason = match read {
            Err(error) => format!("the answer broke off after {length} bytes: {error}"),
            // A server may send less than it was asked for (RFC 9110, 15.3.7).
            Ok(_) if is_part && self.length.is_some_and(|whole| length < whole) => {
                format!("the server sent a part that ends after {length} bytes")
            }
            Ok(_) => return Ok(()),
        };
        if self.restarts >= RESTARTS {
            return Err(Miss::Final(StoreError::Network {
                uri: target.shown(),
                tries: RESTARTS + 1,
                reason,
            }));
        }
        let more = length.saturating_sub(self.furthest);
        self.furthest = self.furthest.max(length);
        Err(Miss::Broken(reason, more))
    }
}

/// How many bytes the whole has that a `Content-Range` is of.
fn total_of(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.parse().ok()
}

/// A weak one may stay the same where bytes do not.
fn strong_tag(response: &Response<ureq::Body>) -> Option<String> {
    let tag = response.headers().get(ETAG)?.to_str().ok()?;
    tag.starts_with('"').then(|| tag.to_owned())
}
