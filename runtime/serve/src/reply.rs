//! Answers as HTTP.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// An answer; every body is small or in memory anyway.
pub type Reply = Response<Full<Bytes>>;

/// JSON that is already written.
pub fn written(body: impl Into<Bytes>) -> Reply {
    typed(StatusCode::OK, "application/json", body)
}

/// A JSON value.
pub fn value(status: StatusCode, value: &Value) -> Reply {
    typed(status, "application/json", value.to_string())
}

/// A body of some type.
pub fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A refusal in the shape that both the Open Inference Protocol and TensorFlow Serving give to errors.
pub fn refused(refusal: &Refusal) -> Reply {
    let mut reply = value(refusal.status, &json!({"error": refusal.sentence}));
    let headers = reply.headers_mut();
    if let Some(allow) = refusal.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if refusal.passes() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    // What is left of a body that was not read would have to be read before the next request.
    if matches!(
        refusal.status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE
    ) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}
