//! The work order of a pod: mounted as `plan.json`, or given by hand to the same binary.
//!
//! A plan is complete: a pod asks the API server nothing. URIs stay as the user wrote them; [`Mount`] says
//! which of them are folders on this machine, so the same plan runs in a pod and in a rehearsal.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::ModelFormat;
use crate::credentials::CredentialsRef;
use crate::{
    CachePlan, CheckpointPlan, Dataset, Device, Evaluation, Hyperparameters, Network, Nodes, Search,
};

/// Where a pod finds its plan.
pub const PLAN_PATH: &str = "/etc/sconce/plan.json";

/// Where a training's pod may make temporary files.
pub const SCRATCH_PATH: &str = "/mnt/sconce/scratch";

/// What the trainer is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrainingPlan {
    /// Name of the training, for logs and the manifest.
    pub name: String,
    /// Identity of the run: a hash over everything that what is learned depends on.
    pub run: String,
    /// The network to train. Absent where the trainer is not ours and knows for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The table to learn from.
    pub dataset: Dataset,
    /// How to learn.
    #[serde(default)]
    pub hyperparameters: Hyperparameters,
    /// What to vary of both, and how. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// How many trainers learn together, or try trials. Absent: one. Each is told its number and where the others are by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Nodes>,
    /// What to measure.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// What is served already, which gates with `beats` hold the new model against. Absent: nothing, or no gate asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incumbent: Option<Served>,
    /// URI of the folder under which the artifact's own folder, named by its digest, is written.
    pub output: String,
    /// In which formats the model is written there beside our own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<ModelFormat>,
    /// What the service that holds that folder is shown; the pod finds it in its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_credentials_ref: Option<CredentialsRef>,
    /// Where and when the state is saved. Absent: never, and a pod that is stopped loses its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointPlan>,
    /// What to compute on.
    #[serde(default)]
    pub device: Device,
    /// URIs that are folders on this machine.
    #[serde(default)]
    pub mounts: Vec<Mount>,
}

/// A model that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Served {
    /// URI of the artifact's folder.
    pub uri: String,
    /// Its digest.
    pub digest: String,
}

/// What the server is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServingPlan {
    /// Name under which the model is served.
    pub name: String,
    /// Identity of what is served: answered as the model's version.
    pub revision: String,
    /// URI of the artifact's folder.
    pub model: String,
    /// Digest that the artifact must have, `sha256:HEX`. Absent: whatever is there, if it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What the server that holds the artifact is shown; the pod finds it in its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,
    /// The inference that must succeed before the pod is ready. Absent: one row of the features' means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// Where the model is kept and looked for first. Only with a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachePlan>,
    /// What to compute on.
    #[serde(default)]
    pub device: Device,
    /// URIs that are folders on this machine.
    #[serde(default)]
    pub mounts: Vec<Mount>,
}

/// A URI that is a folder on this machine: everything below the one is found below the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// `pvc://CLAIM`, `configmap://NAME` or `oci://IMAGE`, without a slash at the end.
    pub uri: String,
    /// The folder.
    pub path: PathBuf,
}

/// A sample request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Warmup {
    /// Rows to predict (1 to 64): each a list of numbers in the order of the features, or an object keyed by
    /// column name.
    #[schemars(length(min = 1, max = 64), schema_with = "any_rows")]
    pub rows: Vec<Value>,
}

fn any_rows(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": 64,
        "items": {"x-kubernetes-preserve-unknown-fields": true}
    })
}
