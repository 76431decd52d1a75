//! AcceleratorProfile: what one unit of an accelerator is, said once per cluster by its administrator.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, Toleration};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use sconce_contract::Device;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::quantity::{Quantity, UnitCount};

/// What one unit of an accelerator is: which resource a pod asks for, on which nodes, with which image.
///
/// Changing a profile restarts nothing: running pods keep what they were given, the next pod gets the new.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "sconce.dev",
    version = "v1alpha1",
    kind = "AcceleratorProfile",
    plural = "acceleratorprofiles",
    singular = "acceleratorprofile",
    shortname = "accel",
    category = "sconce",
    status = "AcceleratorProfileStatus",
    derive = "PartialEq",
    doc = "What one unit of an accelerator is: which resource a pod asks for, on which nodes, with which image.",
    printcolumn(name = "DEVICE", type_ = "string", json_path = ".spec.device"),
    printcolumn(name = "MEMORY", type_ = "string", json_path = ".spec.memory"),
    printcolumn(name = "CAPACITY", type_ = "integer", json_path = ".status.units.capacity"),
    printcolumn(name = "ALLOCATED", type_ = "integer", json_path = ".status.units.allocated"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "NODES", type_ = "integer", json_path = ".status.nodes", priority = 1),
    printcolumn(
        name = "RUNTIMECLASS",
        type_ = "string",
        json_path = ".spec.runtimeClassName",
        priority = 1
    ),
    printcolumn(
        name = "COST/H",
        type_ = "number",
        json_path = ".spec.costPerHour",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorProfileSpec {
    /// What a runtime image must support.
    pub device: Device,
    /// Resources of one unit, requested and limited alike, such as `nvidia.com/gpu: 1`. Multiplied by the
    /// count that a workload asks for. A MIG slice is another profile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub resources: BTreeMap<String, UnitCount>,
    /// Memory of one unit in bytes, such as `24Gi`. Told to people by `kubectl get accel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Labels that a node must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that a pod puts up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// RuntimeClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub runtime_class_name: Option<String>,
    /// Images built for the device. Absent: the operator's own, which compute on the processor.
    #[serde(default)]
    pub images: Images,
    /// Environment of the containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), schema_with = "env_schema")]
    pub env: Vec<EnvVar>,
    /// Price of one unit for one hour, in the currency of your choice. Told to people by `kubectl get accel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub cost_per_hour: Option<f64>,
}

/// Images built for a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Images {
    /// Image of the trainer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub trainer: Option<String>,
    /// Image of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub server: Option<String>,
}

/// What the cluster has of the accelerator now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AcceleratorProfileStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// NodesFound.
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
    /// Nodes that take pods of the profile and offer at least one unit: ready, not cordoned, with its labels and
    /// without a taint that it does not tolerate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i64>,
    /// Units on these nodes. Absent where the profile has no resource that could be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<Units>,
}

/// Units of an accelerator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Units {
    /// Units that the nodes offer, used or not.
    pub capacity: i64,
    /// Units that pods hold, whoever made them. A pod on its way out holds its units until it is gone; one that
    /// has ended holds none.
    pub allocated: i64,
}

/// Names and literal values only: a reference to a Secret has no namespace in a cluster-scoped object.
fn env_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "maxItems": 32,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object", "required": ["name", "value"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 256, "description": "Name of the variable."},
                "value": {"type": "string", "maxLength": 4096, "description": "Its value."}
            }
        }
    })
}
