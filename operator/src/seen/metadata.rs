//! Who an object is, whose it is, and what is remembered on it.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::{Deserialize, Serialize};

use super::{Kept, list};

/// What is kept of an object's metadata: all that kube reads, and labels and annotations as `M`.
///
/// It is an `ObjectMeta`, whose own labels and annotations are empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(from = "Read<M>", bound(deserialize = "M: Default + Deserialize<'de>"))]
pub struct Metadata<M = Kept> {
    #[serde(flatten)]
    object: ObjectMeta,
    /// Labels.
    pub labels: M,
    /// Annotations.
    pub annotations: M,
}

impl<M> Deref for Metadata<M> {
    type Target = ObjectMeta;

    fn deref(&self) -> &ObjectMeta {
        &self.object
    }
}

impl<M> DerefMut for Metadata<M> {
    fn deref_mut(&mut self) -> &mut ObjectMeta {
        &mut self.object
    }
}

/// Labels or annotations as an `ObjectMeta` has them.
pub(super) type Tree = Option<BTreeMap<String, String>>;

impl From<Metadata<Tree>> for ObjectMeta {
    fn from(read: Metadata<Tree>) -> Self {
        ObjectMeta {
            labels: read.labels,
            annotations: read.annotations,
            ..read.object
        }
    }
}

/// Metadata as it is read; the record of managed fields, the largest part, is skipped.
#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    bound(deserialize = "M: Default + Deserialize<'de>")
)]
struct Read<M> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    #[serde(default, deserialize_with = "list")]
    owner_references: Option<Vec<OwnerReference>>,
    #[serde(default)]
    labels: M,
    #[serde(default)]
    annotations: M,
}

impl<M> From<Read<M>> for Metadata<M> {
    fn from(read: Read<M>) -> Self {
        Metadata {
            object: ObjectMeta {
                name: read.name,
                namespace: read.namespace,
                uid: read.uid,
                resource_version: read.resource_version,
                generation: read.generation,
                creation_timestamp: read.creation_timestamp,
                deletion_timestamp: read.deletion_timestamp,
                owner_references: read.owner_references,
                ..ObjectMeta::default()
            },
            labels: read.labels,
            annotations: read.annotations,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::labels;

    #[test]
    fn metadata_is_read_and_told_without_what_nobody_reads() {
        let owner =
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": "1", "controller": true});
        let kept = json!({
            "name": "a-1", "namespace": "ml", "uid": "2", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:40Z",
            "ownerReferences": [owner], "labels": {labels::TRAINING: "a"}, "annotations": {},
        });
        let mut whole = kept.clone();
        whole["managedFields"] = json!([{"manager": "sconce"}]);
        whole["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
        let read: Metadata = serde_json::from_value(whole).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), kept);
    }
}
