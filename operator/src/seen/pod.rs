//! A pod: where it is, what it asks for, and what became of it. Not: how the kubelet is to run it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Condition, Kept, Metadata, Word, list, list_of};

/// Conditions that repeat what others say.
const UNREAD: [&str; 2] = ["Initialized", "ContainersReady"];

/// A pod of ours.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, Resource)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
pub struct Pod {
    /// Who and whose it is.
    #[serde(default)]
    pub metadata: Metadata,
    /// What it asks for, and where it is.
    pub spec: Option<PodSpec>,
    /// What became of it.
    pub status: Option<PodStatus>,
}

impl Pod {
    /// Its labels that are read.
    pub fn labels(&self) -> &Kept {
        &self.metadata.labels
    }

    /// Its annotations that are read.
    pub fn annotations(&self) -> &Kept {
        &self.metadata.annotations
    }
}

/// What a pod asks for, and where it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Its node, once it has one.
    pub node_name: Option<String>,
    /// Its priority, as a number.
    pub priority: Option<i32>,
    /// Its containers.
    #[serde(deserialize_with = "list")]
    pub containers: Option<Vec<Container>>,
    /// Volumes that hold a Secret, a ConfigMap or an image: what is missing of these is told by the field that names
    /// it ([`crate::mounts`], [`crate::image_volume`]).
    #[serde(deserialize_with = "named")]
    pub volumes: Option<Vec<Volume>>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    pub name: Word,
    /// Secrets and ConfigMaps that it waits for.
    #[serde(deserialize_with = "list")]
    pub env_from: Option<Vec<EnvFrom>>,
    /// What it asks for.
    pub resources: Option<Resources>,
    /// Tells whose image it is ([`crate::observed`]).
    pub security_context: Option<SecurityContext>,
    /// Whether the kubelet kills it where it does not answer.
    pub liveness_probe: Option<Probe>,
    /// Whether the kubelet kills it where it does not come up.
    pub startup_probe: Option<Probe>,
}

/// A probe: that there is one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Probe {}

/// Where a container has variables from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EnvFrom {
    /// What their names begin with.
    pub prefix: Option<String>,
    /// A Secret.
    pub secret_ref: Option<Named>,
    /// A ConfigMap.
    pub config_map_ref: Option<Named>,
}

/// Something of the namespace, by its name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Named {
    /// Its name.
    pub name: String,
}

/// What a container asks for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Resources {
    /// What it may use.
    pub limits: Option<Limits>,
}

/// What a container may use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Limits {
    /// A quantity of bytes: `1Gi`.
    pub memory: Option<String>,
}

/// What a container may do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecurityContext {
    /// Whether its root cannot be written.
    pub read_only_root_filesystem: Option<bool>,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Volume {
    /// Its name in the pod.
    pub name: String,
    /// A Secret.
    pub secret: Option<SecretVolume>,
    /// A ConfigMap.
    pub config_map: Option<Named>,
    /// An image.
    pub image: Option<ImageVolume>,
}

/// A Secret as a volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretVolume {
    /// Its name.
    pub secret_name: Option<String>,
}

/// An image as a volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ImageVolume {
    /// Its name in its registry.
    pub reference: Option<String>,
}

/// What became of a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// As one word: `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: Option<Word>,
    /// CamelCase: why it is so, where it was evicted.
    pub reason: Option<Word>,
    /// What holds of it, and since when, but for what repeats others.
    #[serde(deserialize_with = "conditions")]
    pub conditions: Option<Vec<Condition>>,
    /// What became of its containers.
    #[serde(deserialize_with = "list")]
    pub container_statuses: Option<Vec<ContainerStatus>>,
    /// The node that it is promised while others make way.
    pub nominated_node_name: Option<String>,
    /// Its address.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// When its kubelet first saw it.
    pub start_time: Option<Time>,
}

/// What became of a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Its name.
    pub name: Word,
    /// Its image.
    pub image: String,
    /// How often it was started again.
    pub restart_count: i32,
    /// Whether it answers its readiness probe.
    pub ready: bool,
    /// How it is.
    pub state: Option<ContainerState>,
    /// How it was before it was started again.
    pub last_state: Option<ContainerState>,
}

/// How a container is: one of three. Most are running.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ContainerState {
    /// It is not there yet.
    pub waiting: Option<Box<Waiting>>,
    /// It runs.
    pub running: Option<Running>,
    /// It has ended.
    pub terminated: Option<Box<Terminated>>,
}

/// A container that is not there yet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Waiting {
    /// CamelCase.
    pub reason: Option<Word>,
    /// For people.
    pub message: Option<String>,
}

/// A container that runs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Running {
    /// Since when.
    pub started_at: Option<Time>,
}

/// A container that has ended.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Terminated {
    /// Its exit code.
    pub exit_code: i32,
    /// CamelCase.
    pub reason: Option<Word>,
    /// What it left for its report, or the end of its log.
    pub message: Option<String>,
    /// When.
    pub finished_at: Option<Time>,
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Volume>>, D::Error> {
    list_of(deserializer, |volume: &Volume| {
        volume.secret.is_some() || volume.config_map.is_some() || volume.image.is_some()
    })
}

fn conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Condition>>, D::Error> {
    list_of(deserializer, |condition: &Condition| {
        !UNREAD.contains(&&*condition.type_)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Without the fields that are empty.
    fn told(value: &impl Serialize) -> Value {
        fn bare(value: Value) -> Value {
            match value {
                Value::Object(fields) => {
                    let said = fields.into_iter().filter(|(_, value)| !value.is_null());
                    said.map(|(key, value)| (key, bare(value))).collect()
                }
                Value::Array(items) => items.into_iter().map(bare).collect(),
                value => value,
            }
        }
        bare(serde_json::to_value(value).unwrap())
    }

    #[test]
    fn what_a_pod_asks_for_and_became_is_kept() {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:20Z"});
        let container = json!({
            "name": "c", "image": "i", "ready": true, "restartCount": 1,
            "state": {"running": {"startedAt": "2026-01-01T00:00:12Z"}},
            "lastState": {"terminated": {
                "exitCode": 1, "reason": "Error", "message": "m", "finishedAt": "2026-01-01T00:00:10Z",
            }},
        });
        let mut seen = container.clone();
        seen["imageID"] = json!("i@sha256:0");
        seen["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        let pod: Pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {
                "nodeName": "n", "priority": 7, "serviceAccountName": "default", "volumes": [
                    {"name": "v", "emptyDir": {}}, {"name": "user-keys", "secret": {"secretName": "keys"}},
                    {"name": "model-image", "image": {"reference": "i"}},
                ],
                "containers": [{
                    "name": "c", "args": ["x"], "env": [{"name": "A"}],
                    "envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}],
                    "securityContext": {"readOnlyRootFilesystem": false, "runAsNonRoot": true},
                    "livenessProbe": {"httpGet": {"port": 80}}, "startupProbe": {},
                    "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}},
                }],
            },
            "status": {
                "phase": "Running", "reason": "Evicted", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "qosClass": "Burstable",
                "conditions": [ready, {"type": "Initialized", "status": "True"}], "containerStatuses": [seen],
                "nominatedNodeName": "m", "startTime": "2026-01-01T00:00:01Z",
            },
        }))
        .unwrap();
        assert_eq!(
            told(&pod.spec),
            json!({
                "nodeName": "n", "priority": 7, "volumes": [
                    {"name": "user-keys", "secret": {"secretName": "keys"}},
                    {"name": "model-image", "image": {"reference": "i"}},
                ],
                "containers": [{
                    "name": "c", "envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}],
                    "resources": {"limits": {"memory": "1Gi"}}, "securityContext": {"readOnlyRootFilesystem": false},
                    "livenessProbe": {}, "startupProbe": {},
                }],
            })
        );
        assert_eq!(
            told(&pod.status),
            json!({
                "phase": "Running", "reason": "Evicted", "podIP": "10.0.0.1", "conditions": [ready], "containerStatuses": [container],
                "nominatedNodeName": "m", "startTime": "2026-01-01T00:00:01Z",
            })
        );
    }
}
