//! How a new revision of a deployment replaces an earlier one.

use schemars::JsonSchema;
use sconce_contract::duration::Duration;
use sconce_contract::validation::rules;
use serde::{Deserialize, Serialize};

/// Annotation by which a person has a revision that was rolled back, or does not come up, tried again: any new value.
pub const RETRY_ANNOTATION: &str = "sconce.dev/retry";

/// How a new revision replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.progressDeadline) || duration(self.progressDeadline) >= duration('1s')",
    "rollout.progressDeadline must be at least 1s, such as 10m",
)])))]
pub struct Rollout {
    /// What comes first.
    pub strategy: Strategy,
    /// How long a new revision may take until one more of its pods answers, such as `10m`. After that the last revision
    /// whose rollout was complete is served again, unless this one answers wherever there is room.
    pub progress_deadline: Duration,
    /// Earlier revisions that are kept without pods, so that going back to one needs nothing but its pods (0 to 10).
    #[schemars(range(min = 0, max = 10))]
    pub revision_history_limit: i32,
}

impl Default for Rollout {
    fn default() -> Self {
        Rollout {
            strategy: Strategy::default(),
            progress_deadline: Duration::from_mins(10),
            revision_history_limit: 2,
        }
    }
}

/// What comes first in a rollout: the new pod, or the end of an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// Surge where a unit of the accelerator is spare, or none is asked for; otherwise DrainFirst. It also drains where
    /// the new pod finds no room and would fit in the place of an earlier one.
    #[default]
    Auto,
    /// One new pod at a time, and only when it answers an earlier one goes: never fewer than wanted answer. Needs room
    /// for one more pod.
    Surge,
    /// One pod of an earlier revision goes, and then a new one comes: one fewer than wanted answers meanwhile, with one
    /// replica none.
    DrainFirst,
}
