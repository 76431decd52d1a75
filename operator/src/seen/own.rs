//! Objects of our own kinds: spec and status whole, metadata as [`Metadata`] reads it, without kubectl's copy of the manifest.

use std::borrow::Cow;
use std::fmt::{self, Debug};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::watcher::Event;
use sconce_crds::{
    AcceleratorProfile, AcceleratorProfileSpec, AcceleratorProfileStatus, ModelDeployment,
    ModelDeploymentSpec, ModelDeploymentStatus, ModelTraining, ModelTrainingSpec, ModelTrainingStatus,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::Metadata;
use super::metadata::Tree;
use crate::labels::LAST_APPLIED;

/// A kind of our own.
pub trait OwnKind: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static {
    /// What people ask for.
    type Spec: DeserializeOwned;
    /// What became of it.
    type Status: DeserializeOwned;

    /// The object that these are the parts of.
    fn of(metadata: ObjectMeta, spec: Self::Spec, status: Option<Self::Status>) -> Self;
}

macro_rules! own_kind {
    ($kind:ident, $spec:ident, $status:ident) => {
        impl OwnKind for $kind {
            type Spec = $spec;
            type Status = $status;

            fn of(metadata: ObjectMeta, spec: $spec, status: Option<$status>) -> Self {
                $kind {
                    metadata,
                    spec,
                    status,
                }
            }
        }
    };
}

own_kind!(ModelTraining, ModelTrainingSpec, ModelTrainingStatus);
own_kind!(ModelDeployment, ModelDeploymentSpec, ModelDeploymentStatus);
own_kind!(
    AcceleratorProfile,
    AcceleratorProfileSpec,
    AcceleratorProfileStatus
);

/// Reads an object of our own without the record of managed fields: that has an entry for each field of spec and status,
/// which would each be a node of a tree, and nothing here asks for them.
#[derive(Clone)]
pub struct Own<K>(pub K);

impl<K> Own<K> {
    /// The same event, of what was read.
    pub fn event(event: Event<Self>) -> Event<K> {
        match event {
            Event::Apply(Own(object)) => Event::Apply(object),
            Event::Delete(Own(object)) => Event::Delete(object),
            Event::Init => Event::Init,
            Event::InitApply(Own(object)) => Event::InitApply(object),
            Event::InitDone => Event::InitDone,
        }
    }
}

impl<K: Debug> Debug for Own<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Own<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

impl<'de, K: OwnKind> Deserialize<'de> for Own<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts {
            metadata,
            spec,
            status,
        } = Parts::<K::Spec, K::Status>::deserialize(deserializer)?;
        let mut metadata = ObjectMeta::from(metadata);
        if let Some(annotations) = &mut metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
        Ok(Own(K::of(metadata, spec, status)))
    }
}

#[derive(Deserialize)]
struct Parts<Spec, Status> {
    metadata: Metadata<Tree>,
    spec: Spec,
    status: Option<Status>,
}

#[cfg(test)]
mod tests {
    use sconce_crds::training::Phase;
    use serde_json::{Value, json};

    use super::*;

    fn as_read<K: OwnKind + DeserializeOwned + serde::Serialize>(object: &Value) -> Value {
        let Own(read) = serde_json::from_value::<Own<K>>(object.clone()).unwrap();
        serde_json::to_value(read).unwrap()
    }

    #[test]
    fn an_object_of_ours_is_read_whole_but_for_who_set_which_field() {
        let status = ModelTrainingStatus {
            phase: Some(Phase::Queued),
            ..ModelTrainingStatus::default()
        };
        let kept = json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining",
            "metadata": {
                "name": "iris", "namespace": "ml", "uid": "1", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:40Z",
                "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "2", "controller": true}],
                "labels": {"team": "a"}, "annotations": {"sconce.dev/rerun": "2"},
            },
            "spec": {
                "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
                "dataset": {"uri": "configmap://a/b.csv", "target": "y"},
            },
            "status": status,
        });
        let plain: ModelTraining = serde_json::from_value(kept.clone()).unwrap();
        let plain = serde_json::to_value(plain).unwrap();
        let mut whole = kept;
        whole["metadata"]["managedFields"] = json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]);
        whole["metadata"]["annotations"][LAST_APPLIED] = json!("{}");
        assert_eq!(as_read::<ModelTraining>(&whole), plain);
    }

    #[test]
    fn an_object_of_ours_without_a_status_is_read() {
        let profile = json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "l4"},
            "spec": {"device": "CUDA", "resourceName": "nvidia.com/gpu"},
        });
        let plain: AcceleratorProfile = serde_json::from_value(profile.clone()).unwrap();
        assert_eq!(
            as_read::<AcceleratorProfile>(&profile),
            serde_json::to_value(plain).unwrap()
        );
    }
}
