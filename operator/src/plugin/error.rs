//! Why a command could not do its work: each a sentence with what to do.

use kube::config::KubeconfigError;
use kube::core::Status;

/// What ends a command with exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No cluster can be told.
    #[error("the kubeconfig cannot be used: {0}; `kubectl config get-contexts` lists what it holds")]
    Kubeconfig(#[from] KubeconfigError),
    /// There is no such object.
    #[error(
        "there is no {kind} named {name:?} in the namespace {namespace:?}; `kubectl get mtrain,mdep -n {namespace}` \
         lists what is there, -n names another namespace"
    )]
    NotFound {
        /// `ModelTraining`, `ModelDeployment` or both.
        kind: &'static str,
        /// As it was asked for.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The kind that was asked for is none of ours.
    #[error("{0:?} is no kind of Sconce's: write mtrain/NAME, mdep/NAME or NAME alone")]
    UnknownKind(String),
    /// The API server refuses it to this person.
    #[error(
        "you may not {what} ({said}); whoever runs the cluster gives the role view or edit of a namespace with \
         `kubectl create rolebinding`"
    )]
    Forbidden {
        /// What was tried, as in "list pods".
        what: String,
        /// The API server's words.
        said: String,
    },
    /// The API server does not know our kinds.
    #[error(
        "this cluster has no Sconce: its kinds are not served; install the chart first, see docs/operate.md"
    )]
    NotInstalled,
    /// Any other answer of the API server, or none.
    #[error("the API server did not {what}: {said}; `kubectl cluster-info` tells whether it answers")]
    Api {
        /// What was tried, as in "list pods".
        what: String,
        /// Its words.
        said: String,
    },
    /// There is nothing to show, and why.
    #[error("{0}")]
    Nothing(String),
    /// It would be done, but should not be.
    #[error("{0}")]
    Refused(String),
    /// A file cannot be written.
    #[error("{path} cannot be written: {said}")]
    File {
        /// Its path.
        path: String,
        /// What the system says.
        said: String,
    },
}

impl PluginError {
    /// What the API server said when it was asked to `what`.
    pub fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |error| match error {
            kube::Error::Api(status) if status.code == 403 => PluginError::Forbidden {
                what,
                said: status.message.clone(),
            },
            kube::Error::Api(status) if status.code == 404 && !is_absent(&status) => {
                PluginError::NotInstalled
            }
            kube::Error::Api(status) => PluginError::Api {
                what,
                said: status.message.clone(),
            },
            other => PluginError::Api {
                what,
                said: chain(&other),
            },
        }
    }

    /// Whether it was refused for lack of a right.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, PluginError::Forbidden { .. })
    }
}

/// Whether it says that an object is not there: it names the object then. Of a path that nobody serves it says less.
pub(super) fn is_absent(status: &Status) -> bool {
    status.code == 404 && status.message.contains(" \"")
}

/// An error with its causes: the outermost alone often says only "connect error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = next.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_is_not_there_is_told_from_a_cluster_without_our_kinds() {
        let said = "modeldeployments.sconce.dev \"iris\" not found";
        let absent = Status::failure(said, "NotFound").with_code(404);
        // What kube makes of the API server's words where the CRDs are missing.
        let unserved = Status::failure("404 page not found", "Failed to parse error data").with_code(404);
        assert!(is_absent(&absent) && !is_absent(&unserved));
        let told = PluginError::api("read modeldeployments iris")(kube::Error::Api(unserved.boxed()));
        assert!(matches!(told, PluginError::NotInstalled), "{told}");
        let told = PluginError::api("set an annotation")(kube::Error::Api(absent.boxed()));
        assert!(
            matches!(&told, PluginError::Api { said: words, .. } if words == said),
            "{told}"
        );
    }
}
