//! When pods get their place, and to whom they give way.

use schemars::JsonSchema;
use sconce_contract::validation::{OBJECT_NAME, rules};
use serde::{Deserialize, Serialize};

/// When a training's pod gets its place, and to whom it gives way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.yieldTo) || !has(self.queueName)",
    "scheduling has at most one of: queueName, yieldTo (a queue takes a training's place back by its own rules)",
)])))]
pub struct TrainingScheduling {
    /// PriorityClass of the pod: one of a higher class takes its place where there is no other. Absent: the
    /// cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub priority_class_name: Option<String>,
    /// LocalQueue of Kueue, of the namespace, that says when the training may start. Absent: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub queue_name: Option<String>,
    /// Whose need comes first. Absent: nobody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yield_to: Option<YieldTo>,
}

/// Whose need for units of the same profile comes first: while pods of a ModelDeployment of this namespace find none, the
/// pod stops; it starts again after half a minute without such a need. Absent: nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum YieldTo {
    /// ModelDeployments of the same namespace.
    Serving,
}

/// When a server's pods get their place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServingScheduling {
    /// PriorityClass of the pods: where there is no other place, they take that of pods of a lower class. Absent: the
    /// cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub priority_class_name: Option<String>,
}
