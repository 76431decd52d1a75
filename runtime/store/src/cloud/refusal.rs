//! What a service says, to a sentence with its remedy.

use object_store::Error;
use object_store::client::HttpError;

use super::transport::NoIdentity;
use crate::StoreError;
use crate::scheme::Target;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The service, or the way to it.
    Service(Error),
    /// The bucket is not there.
    NoPlace,
    /// The object is another one than before.
    Changed,
    /// An answer ended before it was whole.
    Short,
    /// It has more bytes.
    TooLarge(u64),
    /// Another folder has the name.
    Conflict(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Service(error)
    }
}

/// Whether the service says that there is no such object, or bucket.
pub(super) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

/// Whether the service says that whoever asks may not.
pub(super) fn is_denied(error: &Error) -> bool {
    matches!(
        error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    )
}

/// Whether the service says that there is no such upload: it was completed, or withdrawn.
pub(super) fn is_over(error: &Error) -> bool {
    matches!(Said::of(error), Said::Answer(answer) if answer.is_over())
}

/// Whether there was no answer.
pub(super) fn is_silent(error: &Error) -> bool {
    matches!(Said::of(error), Said::Silence(_))
}

/// What went wrong, in the words of who says so: the service's own code and message, or the system's.
pub(super) fn told(error: &Error) -> String {
    match Said::of(error) {
        Said::Answer(answer) => answer.to_string(),
        Said::NoIdentity => NoIdentity.to_string(),
        Said::Region => "the region is another one".to_owned(),
        Said::Silence(reason) | Said::Other(reason) => reason,
    }
}

impl Trouble {
    pub(super) fn told(self, target: &Target<'_>, place: &'static str) -> StoreError {
        let uri = target.shown();
        match self {
            Trouble::NoPlace => StoreError::NoPlace { uri, place },
            Trouble::Changed => StoreError::Changed { uri },
            Trouble::Short => StoreError::Unreachable {
                uri,
                reason: "an answer ended before it was whole".to_owned(),
            },
            Trouble::TooLarge(limit) => StoreError::TooLarge { uri, limit },
            Trouble::Conflict(name) => StoreError::Conflict {
                uri: format!("{}/{name}", uri.trim_end_matches('/')),
            },
            Trouble::Service(error) => service(target, place, &error),
        }
    }
}

fn service(target: &Target<'_>, place: &'static str, error: &Error) -> StoreError {
    let uri = target.shown();
    let shows = match target.credentials {
        Some(_) => "to what the Secret of credentialsRef shows",
        None => "to what the pod's own environment shows, and credentialsRef names no Secret",
    };
    let region = |reason: String| StoreError::Malformed {
        uri: uri.clone(),
        reason,
    };
    match Said::of(error) {
        Said::Answer(answer) => match answer.status {
            // Answers to requests for credentials come by other errors than those for objects.
            404 if answer.code.contains("Bucket") || answer.code.contains("Container") => {
                StoreError::NoPlace { uri, place }
            }
            // The object may well be there, and another attempt begins another upload.
            404 if answer.is_over() => StoreError::Unreachable {
                uri,
                reason: format!("the service answers {answer}"),
            },
            404 => StoreError::NotFound { uri },
            412 => StoreError::Changed { uri },
            400 if answer.code == "AuthorizationHeaderMalformed" || answer.text.contains("region") => {
                region(format!("{answer}; correct AWS_REGION"))
            }
            // A connection that was too slow, which Amazon does not call 408.
            400 if answer.code == "RequestTimeout" => StoreError::Unreachable {
                uri,
                reason: format!("the service answers {answer}"),
            },
            401 | 403 => StoreError::Forbidden {
                uri,
                reason: format!("the service answers {answer} {shows}"),
            },
            400 if answer.is_about_credentials() => StoreError::Forbidden {
                uri,
                reason: format!("the service answers {answer} {shows}"),
            },
            // What may pass has been tried several times.
            408 | 429 | 500.. => StoreError::Unreachable {
                uri,
                reason: format!("the service answers {answer}"),
            },
            _ => StoreError::Refused {
                uri,
                status: answer.to_string(),
            },
        },
        Said::Region => region(format!(
            "the {place} is in another region than AWS_REGION says, or not at AWS_ENDPOINT_URL; correct them"
        )),
        Said::NoIdentity => StoreError::Forbidden {
            uri,
            reason: NoIdentity.to_string(),
        },
        Said::Silence(reason) => StoreError::Unreachable { uri, reason },
        Said::Other(reason) => match error {
            Error::NotFound { .. } => StoreError::NotFound { uri },
            Error::Precondition { .. } => StoreError::Changed { uri },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                StoreError::Forbidden { uri, reason }
            }
            Error::InvalidPath { .. } => StoreError::Malformed { uri, reason },
            _ => StoreError::Unreachable { uri, reason },
        },
    }
}

enum Said {
    Answer(Answer),
    /// It leads to another region without a word.
    Region,
    /// Nobody says who we are.
    NoIdentity,
    /// No answer, or half of one.
    Silence(String),
    Other(String),
}

/// An answer that is no success.
struct Answer {
    status: u16,
    code: String,
    text: String,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status)?;
        for part in [&self.code, &self.text] {
            if !part.is_empty() {
                write!(f, " {part}")?;
            }
        }
        Ok(())
    }
}

impl Answer {
    /// From how the client words it. It keeps the type to itself.
    fn parse(text: &str) -> Option<Answer> {
        let (_, rest) = text.split_once("Server returned ")?;
        let rest = rest
            .strip_prefix("non-2xx status code: ")
            .or_else(|| rest.strip_prefix("error response: "))?;
        let status = rest
            .get(..3)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(400);
        let told = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| between(rest, name))
                .unwrap_or_default()
        };
        Some(Answer {
            status,
            code: told(&["Code", "code", "error"]),
            text: told(&["Message", "message", "error_description"]),
        })
    }

    /// Of one of several deletions (Azure), which the client words in another way:
    /// `Bulk delete request failed for key KEY: REASON (code: STATUS)`.
    fn of_deletion(text: &str) -> Option<Answer> {
        let rest = text.strip_prefix("Bulk delete request failed for key ")?;
        let (rest, status) = rest.strip_suffix(')')?.rsplit_once(" (code: ")?;
        Some(Answer {
            status: status.parse().ok()?,
            code: String::new(),
            text: rest
                .rsplit_once(": ")
                .map_or(rest, |(_, reason)| reason)
                .to_owned(),
        })
    }

    fn is_over(&self) -> bool {
        self.status == 404 && self.code == "NoSuchUpload"
    }

    fn is_about_credentials(&self) -> bool {
        [
            "Token",
            "AccessKey",
            "Signature",
            "Credential",
            "Authentication",
            "unauthorized",
            "invalid_client",
        ]
        .iter()
        .any(|word| self.code.contains(word))
    }
}

/// What an element of XML or a member of JSON says, in one line of bounded length.
fn between(text: &str, name: &str) -> Option<String> {
    let xml = || Some(text.split_once(&format!("<{name}>"))?.1.split_once("</")?.0);
    let json = || {
        let after = text
            .split_once(&format!("\"{name}\""))?
            .1
            .trim_start()
            .strip_prefix(':')?;
        Some(after.trim_start().strip_prefix('"')?.split_once('"')?.0)
    };
    let found = xml().or_else(json)?;
    let mut line = found.lines().next().unwrap_or_default().trim().to_owned();
    for (entity, sign) in [
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ] {
        line = line.replace(entity, sign);
    }
    Some(line.chars().take(200).collect())
}

impl Said {
    fn of(error: &Error) -> Said {
        let mut deepest = None;
        let mut current: Option<&(dyn std::error::Error + 'static)> = Some(error);
        let mut silent = false;
        while let Some(error) = current {
            if error.is::<NoIdentity>() {
                return Said::NoIdentity;
            }
            silent |= error.is::<HttpError>();
            let text = error.to_string();
            if text.starts_with("Received redirect without LOCATION") {
                return Said::Region;
            }
            if text.starts_with("Server returned ")
                && let Some(answer) = Answer::parse(&text)
            {
                return Said::Answer(answer);
            }
            if let Some(answer) = Answer::of_deletion(&text) {
                return Said::Answer(answer);
            }
            deepest = Some(text);
            current = error.source();
        }
        let reason = deepest.unwrap_or_default();
        match silent {
            true => Said::Silence(reason),
            false => Said::Other(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::Connections;

    #[test]
    fn an_upload_that_is_over_is_no_object_that_is_absent() {
        let connections = Connections::default();
        let target = Target {
            uri: "s3://tables/new",
            rest: "tables/new",
            mounts: &[],
            credentials: None,
            connections: &connections,
        };
        for (code, over) in [("NoSuchUpload", true), ("NoSuchKey", false)] {
            let source = format!(
                "Server returned non-2xx status code: 404 Not Found: <Error><Code>{code}</Code></Error>"
            );
            let error = Error::NotFound {
                path: "new".to_owned(),
                source: source.into(),
            };
            assert_eq!(is_over(&error), over, "{code}");
            let told = service(&target, "bucket", &error);
            assert_eq!(matches!(told, StoreError::Unreachable { .. }), over, "{told}");
            assert_eq!(matches!(told, StoreError::NotFound { .. }), !over, "{told}");
        }
    }

    #[test]
    fn a_deletion_that_is_denied_and_a_slow_connection_are_told_apart_from_each_other() {
        let connections = Connections::default();
        let target = Target {
            uri: "az://tables/new",
            rest: "tables/new",
            mounts: &[],
            credentials: None,
            connections: &connections,
        };
        let error = |said: &str| Error::Generic {
            store: "cloud",
            source: said.to_owned().into(),
        };
        let denied = error("Bulk delete request failed for key a: b: Not permitted (code: 403)");
        let told = service(&target, "container", &denied);
        assert!(matches!(told, StoreError::Forbidden { .. }), "{told}");
        assert!(told.to_string().contains("403 Not permitted"), "{told}");
        let busy = error("Bulk delete request failed for key new: Server Busy (code: 503)");
        let told = service(&target, "container", &busy);
        assert!(matches!(told, StoreError::Unreachable { .. }), "{told}");
        let slow = error(
            "Server returned non-2xx status code: 400 Bad Request: <Error><Code>RequestTimeout</Code></Error>",
        );
        let told = service(&target, "bucket", &slow);
        assert!(matches!(told, StoreError::Unreachable { .. }), "{told}");
    }

    #[test]
    fn an_answer_is_read_in_each_services_words() {
        for (text, shown) in [
            (
                "Server returned non-2xx status code: 403 Forbidden: <?xml?><Error><Code>SignatureDoesNotMatch</Code>\
                 <Message>The signature differs.</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>",
                "403 SignatureDoesNotMatch The signature differs.",
            ),
            (
                "Server returned non-2xx status code: 403 Forbidden: <Error><Code>AuthorizationFailure</Code>\
                 <Message>Not so.\nRequestId:1\nTime:2</Message></Error>",
                "403 AuthorizationFailure Not so.",
            ),
            (
                "Server returned non-2xx status code: 400 Bad Request: <Error><Code>AuthorizationHeaderMalformed</Code>\
                 <Message>expecting &#34;eu-central-1&#34;</Message></Error>",
                "400 AuthorizationHeaderMalformed expecting \"eu-central-1\"",
            ),
            (
                "Server returned non-2xx status code: 400 Bad Request: {\"error\": \"invalid_client\", \
                 \"error_description\": \"AADSTS: no\"}",
                "400 invalid_client AADSTS: no",
            ),
            (
                "Server returned non-2xx status code: 503 Service Unavailable: ",
                "503",
            ),
        ] {
            assert_eq!(Answer::parse(text).unwrap().to_string(), shown);
        }
        assert!(Answer::parse("error sending request").is_none());
    }
}
