//! Images of the user's own in place of Sconce's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A trainer of your own: any image that reads `/etc/sconce/plan.json`, leaves the artifact where the plan says
/// and its report in `/dev/termination-log` (docs/custom.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomTrainer {
    /// The image.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Its program, with `$(NAME)` for variables. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// The program's arguments, with `$(NAME)` for variables. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
}
