//! AcceleratorProfile: what one unit of an accelerator is, said once per cluster by its administrator.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, Toleration};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use sconce_contract::Device;
use sconce_contract::validation::OBJECT_NAME;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::custom::IMAGE;
use crate::labels;
use crate::overrides::VARIABLE_NAME;
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
#[x_kube(
    validation = ("!(self.device in ['CUDA', 'ROCm', 'TPU', 'Neuron', 'Gaudi']) || has(self.deviceClassName) || (has(self.resources) && self.resources.size() > 0)",
    "a profile of this device needs one of: resources (the name under which its device plugin offers it, such as nvidia.com/gpu: 1), deviceClassName"),
    validation = ("!has(self.deviceClassName) || !has(self.resources) || self.resources.size() == 0",
    "a profile has at most one of: resources, deviceClassName"),
    validation = ("!has(self.resources) || self.resources.all(name, name.contains('/') && !name.contains('kubernetes.io/'))",
    "resources are a device plugin's, with a domain, such as nvidia.com/gpu; cpu and memory are asked for by a workload's spec.resources")
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
    /// Instead of `resources`: a DeviceClass of dynamic resource allocation (`resource.k8s.io/v1`, served by Kubernetes
    /// 1.34 and newer). One unit is one device of it; each pod gets a ResourceClaim of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub device_class_name: Option<String>,
    /// Memory of one unit in bytes, such as `24Gi`: a workload that needs more is refused before it holds a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Labels that a node must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels::of_nodes")]
    pub node_selector: BTreeMap<String, String>,
    /// Alternatives: a node must carry all labels of at least one of these, beside those of `nodeSelector`. Clouds
    /// and vendors name the same device by different labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "labels::alternatives")]
    pub node_selectors: Vec<BTreeMap<String, String>>,
    /// Names of labels that a node must not carry, whatever their value: such as the one by which a cloud marks
    /// nodes whose devices are shared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 317), regex(pattern = labels::NAME)))]
    pub without_node_labels: Vec<String>,
    /// Taints that a pod puts up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::toleration::list")]
    pub tolerations: Vec<Toleration>,
    /// RuntimeClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
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
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub trainer: Option<String>,
    /// Image of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
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
    /// without a taint that it does not tolerate. Absent where they are not counted: NodesFound says why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i64>,
    /// Units on these nodes; with `deviceClassName`, devices. Absent where they are not counted.
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
fn env_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 32,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object", "required": ["name", "value"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": VARIABLE_NAME, "description": "Name of the variable."},
                "value": {"type": "string", "maxLength": 4096, "description": "Its value."}
            }
        }
    })
}
