//! Why a child could not be written, and whether a person or a later try can help.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::Child;
use crate::error::Error;
use crate::problem::Problem;
use crate::reason::Reason;

/// Why a child could not be written.
#[derive(Debug)]
pub enum Refusal {
    /// Something that a user can mend: the name is taken, or the API server refuses the child.
    Problem(Problem),
    /// Something that a later try may get past.
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Error(error)
    }
}

/// Somebody else's object has the name of a child, or one that an owner of the same name left when it was deleted: a
/// claim, for one, stays as long as a pod mounts it.
pub(super) fn taken<K: Child>(desired: &K, live: &impl Resource) -> Problem {
    let (kind, name) = (K::kind(&()), desired.name_any());
    let owners = |meta: &ObjectMeta| -> Vec<(String, String)> {
        let all = meta.owner_references.iter().flatten();
        all.map(|owner| (owner.kind.clone(), owner.name.clone()))
            .collect()
    };
    let left = owners(live.meta())
        .iter()
        .any(|owner| owners(desired.meta()).contains(owner));
    let message = if left {
        format!(
            "a {kind} named {name:?} is left of a deleted object of this name; it goes when nothing uses it any more, \
             and then this goes on by itself"
        )
    } else {
        format!(
            "a {kind} named {name:?} is already there and belongs to somebody else; delete it, or give this object another name"
        )
    };
    Problem::new(Reason::NameTaken, "metadata.name", message)
}

/// A 4xx that the same request would get again is for a person; everything else is for a later try.
pub(super) fn refusal(error: kube::Error, what: String) -> Refusal {
    match &error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => Refusal::Problem(Problem::new(
            Reason::ChildRefused,
            "spec",
            format!("the API server refused to {what}: {}", status.message),
        )),
        _ => Refusal::Error(Error::Api {
            what,
            source: Box::new(error),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::{Value, json};

    use super::*;

    fn service(owner: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "iris", "ownerReferences": [owner]}})).unwrap()
    }

    #[test]
    fn a_name_that_a_deleted_namesake_left_is_told_from_one_that_is_somebody_elses() {
        let owner = |name: &str, uid: &str| json!({"apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "name": name, "uid": uid, "controller": true});
        let ours = service(owner("iris", "2"));
        let left = taken(&ours, &service(owner("iris", "1")));
        assert!(left.message.contains("goes on by itself"), "{}", left.message);
        let foreign = taken(&ours, &service(owner("other", "1")));
        assert!(
            foreign.message.contains("belongs to somebody else"),
            "{}",
            foreign.message
        );
    }
}
