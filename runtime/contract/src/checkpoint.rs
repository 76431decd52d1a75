//! Saving the state of a training, so that a pod that ends early loses little.
//!
//! ```text
//! FOLDER/<run>/step-<step>-<digest>/     FOLDER: checkpoint.uri (or OUTPUT/checkpoints) / name of the training
//!   checkpoint.json     position, provenance, every other file with its SHA-256; the folder's name has its own
//!   state.safetensors   weights, and what the optimiser remembers
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::credentials::CredentialsRef;
use crate::validation::rules;

/// When and where the state of a training is saved. A pod that is told to stop saves besides, and the next one
/// goes on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.credentialsRef) || (has(self.uri) && self.uri.matches('^(s3|gs|az|hdfs)://'))", "checkpoint.credentialsRef goes with a checkpoint.uri of s3, gs, az or hdfs: beside the artifacts, those of output count"),
])))]
pub struct Checkpoint {
    /// How often: after so many steps, or so long, whichever comes first. Default: 5 minutes.
    pub every: Every,
    /// Checkpoints that are kept (1 to 100) until the run ends with an artifact.
    #[schemars(range(min = 1, max = 100))]
    pub keep: u32,
    /// Folder of the checkpoints, as output.uri. Absent: `checkpoints` in the folder of the artifacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 2048),
        regex(
            pattern = r"^(pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?(/.*)?|(s3|gs|az)://[a-z0-9][-._a-z0-9]*(/.*)?|hdfs://[^/@\s]*/.*)$"
        )
    )]
    pub uri: Option<String>,
    /// What the service is shown. Absent: the pod's own environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Checkpoint {
            every: Every::default(),
            keep: 2,
            uri: None,
            credentials_ref: None,
        }
    }
}

/// How often the state is saved: `steps`, `interval` or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.steps) || has(self.interval)", "checkpoint.every needs steps, interval or both"),
    ("!has(self.interval) || duration(self.interval) >= duration('1s')", "checkpoint.every.interval must be at least 1s"),
])))]
pub struct Every {
    /// Steps from one checkpoint to the next, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64))]
    pub steps: Option<u64>,
    /// Time from one checkpoint to the next, such as `5m`, at least `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

impl Default for Every {
    fn default() -> Self {
        Every {
            steps: None,
            interval: Some(Duration::from_mins(5)),
        }
    }
}

/// What the trainer is told about checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckpointPlan {
    /// URI of the training's own folder; each run has a folder in it.
    pub uri: String,
    /// How often.
    #[serde(default)]
    pub every: Every,
    /// How many are kept, at least 1.
    #[serde(default = "keep")]
    pub keep: u32,
    /// What the service that holds them is shown; the pod finds it in its environment. Absent, within the folder of the
    /// artifacts: what is shown for those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,
}

fn keep() -> u32 {
    Checkpoint::default().keep
}

/// A checkpoint that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointMark {
    /// Steps that it holds.
    pub step: u64,
    /// Finished epochs that it holds.
    pub epoch: u32,
    /// When it was written, in seconds since 1970 (Unix time).
    pub time: i64,
    /// URI of its folder.
    pub uri: String,
}
