//! Credentials: named in a spec, mounted by the kubelet, read by the pod from its environment. The operator never sees
//! them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validation::OBJECT_NAME;

/// What the variables of a data set's credentials begin with; the rest of the name is the Secret's key.
pub const DATASET_CREDENTIALS: &str = "SCONCE_DATASET_";
/// What the variables of a model's credentials begin with.
pub const MODEL_CREDENTIALS: &str = "SCONCE_MODEL_";
/// What the variables of the credentials for the artifacts' place begin with.
pub const OUTPUT_CREDENTIALS: &str = "SCONCE_OUTPUT_";
/// What the variables of the credentials for the checkpoints' place begin with.
pub const CHECKPOINT_CREDENTIALS: &str = "SCONCE_CHECKPOINT_";

/// Whether a URI is of a service whose own clients take credentials from their environment: a cloud's store of objects, the
/// Hugging Face Hub, a Hadoop cluster, or what speaks as one.
pub fn is_cloud(uri: &str) -> bool {
    ["s3://", "gs://", "az://", "hf://", "hdfs://"]
        .iter()
        .any(|scheme| uri.starts_with(scheme))
}

/// Whether whoever reads a URI may have to say who they are.
pub fn is_guarded(uri: &str) -> bool {
    is_cloud(uri) || uri.starts_with("http://") || uri.starts_with("https://")
}

/// A Secret of the same namespace. For http(s):// its keys are `token`, which is sent as a bearer token, or `username`
/// and `password`; for others the variables that their own clients read: `AWS_ACCESS_KEY_ID`, `HF_TOKEN`, `HADOOP_USER_NAME`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}
