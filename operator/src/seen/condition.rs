//! Something that holds of an object, or does not.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::Word;

/// A condition of a Pod, a Job or a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// What, such as `Ready`.
    #[serde(rename = "type")]
    pub type_: Word,
    /// Whether: `True`, `False`, `Unknown`.
    pub status: Word,
    /// CamelCase.
    pub reason: Option<Word>,
    /// For people.
    pub message: Option<String>,
    /// Since when.
    pub last_transition_time: Option<Time>,
}
