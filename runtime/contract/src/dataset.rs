//! The table that a model learns from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credentials::CredentialsRef;
use crate::validation::rules;

/// A table, the column to predict and how its rows are split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.credentialsRef) || self.uri.matches('^(https?|hf|s3|gs|az)://')", "dataset.credentialsRef goes with a dataset.uri of http(s), hf, s3, gs or az: claims and ConfigMaps of the namespace need none"),
    ("!has(self.features) || !(self.target in self.features)", "dataset.features must not hold dataset.target: the model would be told the answer"),
])))]
pub struct Dataset {
    /// Where the table is: `pvc://CLAIM/PATH`, `configmap://NAME/KEY`, `http(s)://HOST/PATH`, `s3://BUCKET/PATH`,
    /// `gs://BUCKET/PATH`, `az://CONTAINER/PATH`, `hf://datasets/ORG/NAME[@REVISION]/PATH` or `file:///PATH` (a path inside the trainer's container, or on this
    /// machine in a rehearsal). A claim or ConfigMap is one in the namespace of the object.
    #[schemars(
        length(min = 1, max = 2048),
        regex(
            pattern = r"^(file:///.+|pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?/.+|configmap://[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-._a-zA-Z0-9]+|https?://[^/\s]\S*|(s3|gs|az)://[a-z0-9][-._a-z0-9]*/.+|hf://(datasets/)?[-_.A-Za-z0-9]+/[-_.@A-Za-z0-9]+/.+)$"
        )
    )]
    pub uri: String,
    /// With http(s), hf, s3, gs and az: what the server is shown. Absent for a cloud: the pod's own environment, such as
    /// the identity of its ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,
    /// Format of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DatasetFormat>,
    /// Name of the column to predict. Text labels become classes, in alphabetical order.
    #[schemars(length(min = 1, max = 256))]
    pub target: String,
    /// Names of the columns to predict from. Default: every column but the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(min = 1, max = 256)))]
    pub features: Vec<String>,
    /// How the rows are divided between training, validation and test.
    #[serde(default)]
    pub split: Split,
    /// Scale each feature to mean 0 and standard deviation 1, as measured on the training rows. The server
    /// applies the same scale to what it is asked.
    #[serde(default = "enabled")]
    pub standardize: bool,
}

fn enabled() -> bool {
    true
}

/// Format of the table. Inferred from the end of the URI when absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DatasetFormat {
    /// Comma-separated values with a header row (RFC 4180).
    #[serde(rename = "CSV")]
    Csv,
}

/// How rows are divided. What is neither validation nor test is for training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.validation >= 0.0 && self.test >= 0.0 && self.validation + self.test < 1.0",
     "split.validation and split.test must be at least 0, and their sum below 1"),
])))]
pub struct Split {
    /// Share of the rows on which the loss is watched while training, at least 0 and below 1.
    pub validation: f64,
    /// Share of the rows held out for the final evaluation, at least 0 and below 1.
    pub test: f64,
    /// Seed of the shuffle that decides which row goes where.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub seed: u64,
}

impl Default for Split {
    fn default() -> Self {
        Split {
            validation: 0.1,
            test: 0.1,
            seed: 7,
        }
    }
}
