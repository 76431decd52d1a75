//! What arithmetic runs on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a runtime image must support.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Device {
    /// The processor.
    #[default]
    #[serde(rename = "CPU")]
    Cpu,
    /// NVIDIA.
    #[serde(rename = "CUDA")]
    Cuda,
    /// AMD.
    ROCm,
    /// Apple.
    Metal,
    /// Google.
    #[serde(rename = "TPU")]
    Tpu,
    /// AWS Inferentia and Trainium.
    Neuron,
    /// Intel.
    Gaudi,
    /// Anything else.
    Other,
}
