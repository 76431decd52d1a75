//! The same YAML without a cluster: train, judge the gates and serve, as processes on this machine.
//!
//! ```text
//!   manifests ──► admit (the CRDs' rules) ──► plan ──► sconce-trainer ──► gates ──► plan ──► sconce-server
//! ```
//!
//! Plans are made by the code that the controllers use; only the mounts differ: a claim or a ConfigMap is a
//! folder here. Accelerators are left out: a rehearsal computes on this machine's processor.

pub mod booleans;
pub mod config_map;
pub mod folders;
pub mod group;
pub mod kustomization;
pub mod manifests;
pub mod process;
pub mod sample;
pub mod serve;
pub mod train;

use std::path::PathBuf;

/// What can go wrong in a rehearsal, as sentences for the person who runs it.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// A file or folder.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A manifest or kustomization that is no YAML, or is read otherwise by kubectl.
    #[error("{path}: {message}", path = path.display())]
    Yaml {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A manifest that the API server would refuse.
    #[error("{object} would be refused:\n  {}", .complaints.join("\n  "))]
    Refused {
        /// File, kind and name.
        object: String,
        /// Each thing to mend.
        complaints: Vec<String>,
    },
    /// Nothing to do.
    #[error("there is no ModelTraining in {0}; give files or folders with -f")]
    Nothing(String),
    /// A program that is not there.
    #[error(
        "{0} is neither beside this program nor in PATH; `cargo build --release` makes it, or name it with --{0}"
    )]
    NoProgram(&'static str),
    /// A port that is taken, or after which there are too few.
    #[error("port {port} of this machine {problem}: give another with --port")]
    Port {
        /// Which.
        port: u16,
        /// What is wrong with it.
        problem: String,
    },
    /// A training that ended without an artifact.
    #[error("{name}: {message}")]
    Training {
        /// Name of the training.
        name: String,
        /// Why.
        message: String,
    },
    /// A gate was missed.
    #[error("{name} was rejected: {message}")]
    Rejected {
        /// Name of the training.
        name: String,
        /// Which gate, by how much.
        message: String,
    },
    /// A server that did not become ready, or did not answer.
    #[error("{name}: {message}")]
    Serving {
        /// Name of the deployment.
        name: String,
        /// Why.
        message: String,
    },
}

/// Names the file in an error of the system.
pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> RehearsalError {
    let path = path.into();
    move |source| RehearsalError::File { path, source }
}
