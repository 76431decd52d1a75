//! Images of the user's own in place of Sconce's.

use schemars::JsonSchema;
use sconce_contract::progress::HTTP_PORT;
use serde::{Deserialize, Serialize};

/// What can be the name of an image, with its registry, its tag and its digest.
pub const IMAGE: &str = "^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$";

/// A trainer of your own: any image that reads `/etc/sconce/plan.json`, leaves the artifact where the plan says
/// and its report in `/dev/termination-log` (docs/custom.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomTrainer {
    /// The image.
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
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

/// A server of your own: any image that answers HTTP, as it is (docs/custom.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomServer {
    /// The image.
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: String,
    /// Its program, with `$(NAME)` for variables. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// The program's arguments, with `$(NAME)` for variables. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Port on which it answers (1 to 65535).
    #[serde(default = "http_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Path on that port that answers with 200 to 399 when the model can be asked, such as `/v2/health/ready`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/[!-~]*$"))]
    pub readiness_path: String,
}

fn http_port() -> u16 {
    HTTP_PORT
}
