//! What a spec may add to the pods that are made for it: bounded, and nothing that the restricted Pod Security
//! Standard forbids.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use schemars::JsonSchema;
use sconce_contract::validation::{OBJECT_NAME, rules};
use serde::{Deserialize, Serialize};

use crate::{Quantity, labels};

/// What Kubernetes lets a variable be called.
pub const VARIABLE_NAME: &str = "^[-._a-zA-Z][-._a-zA-Z0-9]*$";

/// What is added to the pods. Where the AcceleratorProfile or Sconce itself already says something else of the
/// same name, the spec is refused with both: nothing is silently overruled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "!has(self.labels) || self.labels.all(key, !key.startsWith('sconce.dev/') && !key.startsWith('batch.kubernetes.io/') && !(key in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/name', 'app.kubernetes.io/component', 'job-name', 'controller-uid', 'pod-template-hash']))",
        "podOverrides.labels must not hold labels by which the operator and Kubernetes find the pods: sconce.dev/…, batch.kubernetes.io/…, app.kubernetes.io/managed-by, name and component, job-name, controller-uid, pod-template-hash",
    ),
    (
        "!has(self.annotations) || self.annotations.all(key, !key.startsWith('sconce.dev/'))",
        "podOverrides.annotations must not hold annotations of the operator: sconce.dev/…",
    ),
    (
        "!has(self.env) || self.env.all(v, !v.name.startsWith('SCONCE_') && !(v.name in ['RAYON_NUM_THREADS', 'CANDLE_NUM_THREADS']))",
        "podOverrides.env must not hold variables that the operator sets: SCONCE_…, RAYON_NUM_THREADS, CANDLE_NUM_THREADS",
    ),
    (
        "!has(self.volumes) || self.volumes.all(volume, self.volumes.exists_one(other, other.mountPath == volume.mountPath))",
        "podOverrides.volumes must each have a mountPath of their own",
    ),
])))]
pub struct PodOverrides {
    /// Labels of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels::of_pods")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 8192}))]
    pub annotations: BTreeMap<String, String>,
    /// Environment of the container. A value of your own names another one as `$(NAME)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<Variable>,
    /// Secrets and ConfigMaps of the same namespace, each key of which becomes a variable. `env` wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub env_from: Vec<VariableSource>,
    /// ServiceAccount of the pods, for a cloud's workload identity. Its token for the API server is not mounted.
    /// Absent: the namespace's `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub service_account_name: Option<String>,
    /// Secrets of the same namespace by which images are pulled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<ObjectName>,
    /// Taints that the pods put up with, beside those of the AcceleratorProfile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::toleration::list")]
    pub tolerations: Vec<Toleration>,
    /// Labels that a node must carry, beside those of the AcceleratorProfile.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels::of_nodes")]
    pub node_selector: BTreeMap<String, String>,
    /// Volumes of the pods, and where the container finds them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<PodVolume>,
}

impl PodOverrides {
    /// Whether they add nothing: written out or left out, that is the same.
    pub fn is_empty(&self) -> bool {
        *self == PodOverrides::default()
    }
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Its name.
    #[schemars(length(min = 1, max = 256), regex(pattern = VARIABLE_NAME))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// A Secret or a ConfigMap, each key of which becomes a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.secretRef) != has(self.configMapRef)", "envFrom has exactly one of: secretRef, configMapRef"),
])))]
pub struct VariableSource {
    /// What each variable's name begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = VARIABLE_NAME))]
    pub prefix: Option<String>,
    /// A Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ObjectName>,
    /// A ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ObjectName>,
}

/// An object of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// A volume, and where the container finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "[has(self.secret), has(self.configMap), has(self.persistentVolumeClaim), has(self.emptyDir)].filter(x, x).size() == 1",
        "a volume has exactly one of: secret, configMap, persistentVolumeClaim, emptyDir",
    ),
    (
        "!self.mountPath.matches('^/((etc|mnt)$|((etc|mnt)/sconce|dev|proc|sys)($|/))')",
        "mountPath must not hide what the operator and the container's runtime put there: /etc/sconce, /mnt/sconce, /dev, /proc, /sys",
    ),
])))]
pub struct PodVolume {
    /// Its name.
    #[schemars(
        length(min = 1, max = 50),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Folder of the container at which it is mounted.
    #[schemars(
        length(min = 2, max = 256),
        regex(pattern = r"^(/\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*)+$")
    )]
    pub mount_path: String,
    /// Whether the container may only read it. Secrets and ConfigMaps are always read only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// A Secret, each key of which is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
    /// A ConfigMap, each key of which is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ObjectName>,
    /// A PersistentVolumeClaim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimVolume>,
    /// A folder that is empty when the pod starts and is gone when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub secret_name: String,
}

/// A PersistentVolumeClaim of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimVolume {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub claim_name: String,
}

/// A folder that lives as long as the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDir {
    /// Where it is. Absent: on the node's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
    /// Bytes after which the pod is evicted, such as `2Gi`. Absent: the node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

/// Where a folder that lives as long as the pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Medium {
    /// In memory, which counts against the container's limit.
    Memory,
}
