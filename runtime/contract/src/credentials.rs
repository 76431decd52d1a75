//! Credentials: named in a spec, mounted by the kubelet, read by the pod from its environment. The operator never sees
//! them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validation::OBJECT_NAME;

/// What the variables of a data set's credentials begin with; the rest of the name is the Secret's key.
pub const DATASET_CREDENTIALS: &str = "SCONCE_DATASET_";
/// What the variables of a model's credentials begin with.
pub const MODEL_CREDENTIALS: &str = "SCONCE_MODEL_";

/// A Secret of the same namespace, with the key `token`, which is sent as a bearer token, or with `username` and
/// `password`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}
