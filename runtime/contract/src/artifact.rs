//! What a training leaves behind and a server reads.
//!
//! ```text
//! output.uri/<hex of the digest>/
//!   manifest.json       Manifest: every other file with its SHA-256, metrics, provenance
//!   network.json        Network
//!   preprocess.json     Preprocess: columns in order, their scale, the classes
//!   model.safetensors   weights, `layers.<index>.<name>`, F32: names and shapes are those of the layer's Outline
//! ```

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Metric, digest::sha256_hex};

/// Name of the manifest in an artifact's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the network in an artifact's folder.
pub const NETWORK_FILE: &str = "network.json";
/// Name of the preprocessing in an artifact's folder.
pub const PREPROCESS_FILE: &str = "preprocess.json";
/// Name of the weights in an artifact's folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// Where an artifact is, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// URI of the artifact's folder.
    pub uri: String,
    /// `sha256:HEX` over the names and digests of its files.
    pub digest: String,
    /// Bytes of all its files.
    pub size_bytes: u64,
}

/// What is in an artifact and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Version of this layout: 1.
    pub schema: u32,
    /// Name of the training.
    pub name: String,
    /// The run, see [`crate::TrainingPlan::run`].
    pub run: String,
    /// Every file but this one.
    pub files: BTreeMap<String, FileDigest>,
    /// What the model reached on the held-out rows.
    pub metrics: Vec<Metric>,
    /// The bytes that it learned from.
    pub data: FileDigest,
    /// Rows of the table.
    pub rows: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Version of the trainer.
    pub trainer: String,
}

/// Version of the layout that this code writes.
pub const MANIFEST_SCHEMA: u32 = 1;

impl Manifest {
    /// `sha256:HEX` over the files: two runs that learned the same bits have the same digest.
    pub fn digest(&self) -> String {
        let mut lines = String::new();
        for (name, file) in &self.files {
            lines.push_str(&format!("{}  {name}\n", file.sha256));
        }
        format!("sha256:{}", sha256_hex(lines.as_bytes()))
    }

    /// Bytes of all files.
    pub fn size_bytes(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }
}

/// Digest and size of some bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileDigest {
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl FileDigest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        FileDigest {
            sha256: sha256_hex(bytes),
            size: bytes.len() as u64,
        }
    }
}

/// How a row of the table becomes the input of the network, and its output an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preprocess {
    /// The columns, in the order of the network's inputs.
    pub features: Vec<Feature>,
    /// What is predicted.
    pub target: Target,
}

/// A column: the network sees `(x − mean) / scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Feature {
    /// Name in the table's header.
    pub name: String,
    /// Subtracted first; 0 where the features are not standardised.
    pub mean: f64,
    /// Divided by next; 1 where the features are not standardised or the column is constant.
    pub scale: f64,
}

/// What is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Name in the table's header.
    pub name: String,
    /// The classes in the order of their indices; absent for a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
}
