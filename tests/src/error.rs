//! What can go wrong while a cluster is made, as sentences that name the remedy.

use std::path::{Path, PathBuf};

/// The result of anything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong while a cluster is made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not on the PATH.
    #[error("`{program}` is needed {purpose} and is not on the PATH: {remedy}")]
    Missing {
        /// The program's name.
        program: String,
        /// "to build kind", "to start a Docker daemon".
        purpose: String,
        /// What to install, and how.
        remedy: String,
    },
    /// A program could not be started at all.
    #[error("cannot start `{command}`: {source}")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}); it said last:\n{tail}")]
    Failed {
        /// The command line.
        command: String,
        /// The exit status.
        status: std::process::ExitStatus,
        /// The last lines of its output.
        tail: String,
    },
    /// A component of a control plane stopped or did not become ready.
    #[error("{component} {problem}; it said last:\n{tail}")]
    Component {
        /// The component's name, as in `kube-apiserver`.
        component: String,
        /// "stopped (exit status: 1)", "was not ready after 60 s".
        problem: String,
        /// The last lines of its log.
        tail: String,
    },
    /// A file or folder could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// "read", "create", "lock".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The machine lacks something, in one sentence that says how to get it.
    #[error("{0}")]
    Unmet(String),
    /// The variable CLUSTER has a value that nobody knows.
    #[error(
        "CLUSTER={0} is not a cluster: use `kind` (a cluster of our own, the default) or `current` (the kubeconfig in force)"
    )]
    Choice(String),
    /// The API server answered with an error, or not at all.
    #[error("the Kubernetes API refused to {action}: {source}")]
    Api {
        /// "create node gpu-0".
        action: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// A kubeconfig of the harness's own was refused.
    #[error("the kubeconfig at {} cannot be used: {source}; remove it and bring the cluster up again", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
}

impl Error {
    /// Wraps an I/O error with what was done to which path.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// Wraps an answer of the API server with what was asked.
    pub(crate) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api {
            action,
            source: Box::new(source),
        }
    }
}
