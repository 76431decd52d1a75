//! What can go wrong in a reconcile that is nobody's fault: the API server, or the way to it.
//!
//! What a user can cause is not an error: it is a [`crate::problem::Problem`], and ends as a condition.

use std::time::Duration;

use crate::problem::Problem;
use crate::reason::Reason;

/// A reconcile that could not be finished and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do what was asked.
    #[error("{what}: {source}")]
    Api {
        /// What was being done, such as `create Job ml/tumour-0123456789`.
        what: String,
        /// What came back.
        #[source]
        source: Box<kube::Error>,
    },
    /// It took too long as a whole.
    #[error("the reconcile did not end within {} s", .0.as_secs())]
    Timeout(Duration),
    /// A mistake of ours, which ends one object's reconcile and not the operator.
    #[error("the reconcile panicked: {0}; please report it")]
    Panic(String),
    /// The watch has not shown yet what people ask for now.
    #[error(
        "{0} has changed and the watch has not shown it yet; until it does, nothing is taken away or begun"
    )]
    Behind(String),
    /// A child lacks what every stored object has.
    #[error("{0} has no {1}: it did not come from an API server")]
    Incomplete(String, &'static str),
}

impl Error {
    /// Short and stable, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Error::Api { source, .. } => match **source {
                kube::Error::Api(ref status) if status.code == 403 => "forbidden",
                kube::Error::Api(ref status) if status.code == 409 => "conflict",
                kube::Error::Api(ref status) if status.code == 404 => "not_found",
                kube::Error::Api(_) => "refused",
                _ => "unreachable",
            },
            Error::Timeout(_) => "timeout",
            Error::Panic(_) => "panic",
            Error::Behind(_) => "behind",
            Error::Incomplete(..) => "incomplete",
        }
    }

    /// What to tell people where it happens again and again; nothing where it passes by itself, or where there is no API
    /// server to tell them by.
    pub fn problem(&self) -> Option<Problem> {
        let (reason, message) = match self {
            Error::Api { what, source } => match &**source {
                kube::Error::Api(status) if status.code >= 500 || status.code == 403 => (
                    Reason::ChildRefused,
                    format!(
                        "the API server failed to {what}, again and again: {}; it is tried again by itself",
                        status.message
                    ),
                ),
                _ => return None,
            },
            Error::Timeout(limit) => (
                Reason::ReconcileFails,
                format!(
                    "what it takes did not end within {} s, again and again: the API server, or a webhook that it asks, does \
                     not answer in time; it is tried again by itself",
                    limit.as_secs()
                ),
            ),
            Error::Panic(words) => (
                Reason::ReconcileFails,
                format!("the operator has a mistake that this object meets: {words}; please report it"),
            ),
            Error::Behind(_) | Error::Incomplete(..) => return None,
        };
        Some(Problem::new(reason, "spec", message))
    }

    /// Whether the API server says that the object of that name is not the one that was meant, but has another UID.
    pub fn is_of_another(error: &kube::Error) -> bool {
        matches!(error, kube::Error::Api(status) if status.code == 409 && status.message.contains("UID in precondition"))
    }

    /// Whether the API server says that there is no such object.
    pub fn is_not_found(error: &kube::Error) -> bool {
        matches!(error, kube::Error::Api(status) if status.code == 404)
    }
}

/// Says what was being done when the API server did not do it.
pub trait Doing<T> {
    /// `what` is a verb and an object: `patch Service ml/tumour`.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, kube::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Api {
            what: what(),
            source: Box::new(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_or_panics_is_told_and_what_passes_by_itself_is_not() {
        let told = |error: Error| error.problem().map(|problem| (problem.reason, problem.message));
        let (reason, message) = told(Error::Timeout(Duration::from_secs(30))).unwrap();
        assert_eq!(reason, "ReconcileFails");
        assert!(
            message.contains("within 30 s") && message.contains("webhook"),
            "{message}"
        );
        let (reason, message) = told(Error::Panic("index out of bounds".to_owned())).unwrap();
        assert_eq!(reason, "ReconcileFails");
        assert!(
            message.contains("index out of bounds") && message.contains("report"),
            "{message}"
        );
        assert_eq!(told(Error::Behind("ModelTraining ml/iris".to_owned())), None);
    }
}
