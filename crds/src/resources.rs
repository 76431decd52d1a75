//! What a pod is given, shared by both workloads.

use schemars::JsonSchema;
use sconce_contract::validation::OBJECT_NAME;
use serde::{Deserialize, Serialize};

use crate::Quantity;

/// Units of an accelerator. Absent: the processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accelerator {
    /// Name of an AcceleratorProfile.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub profile: String,
    /// Units per pod (1 to 64).
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub count: u32,
}

fn one() -> u32 {
    1
}

/// Processor and memory of a training's pod: requested, and the limit. A trainer starts as many threads as
/// its share of the processor, rounded up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainingResources {
    /// Cores, such as `2` or `500m`.
    pub cpu: Quantity,
    /// Bytes, such as `4Gi`.
    pub memory: Quantity,
}

impl Default for TrainingResources {
    fn default() -> Self {
        TrainingResources {
            cpu: Quantity::new("1"),
            memory: Quantity::new("1Gi"),
        }
    }
}

/// Processor and memory of each server's pod: requested, and the limit. A server starts as many threads as
/// its share of the processor, rounded up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServingResources {
    /// Cores, such as `2` or `500m`.
    pub cpu: Quantity,
    /// Bytes, such as `512Mi`.
    pub memory: Quantity,
}

impl Default for ServingResources {
    fn default() -> Self {
        ServingResources {
            cpu: Quantity::new("500m"),
            memory: Quantity::new("256Mi"),
        }
    }
}
