//! What a user can cause and mend: a reason, the field, and a sentence that says what to do.

use std::time::Duration;

use jiff::Timestamp;
use sconce_crds::condition::{Condition, READY, find};

use crate::reason::Reason;

/// How soon something is looked for that no watch covers, such as a missing claim or class …
pub const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// … and how soon at the latest, when nobody has mended it for long: many such objects must not cost many requests.
const LOOK_LATER: Duration = Duration::from_secs(120);

/// When to look again whether a problem has been mended: after a quarter of the time for which the object has not been
/// ready.
pub fn look_again(conditions: &[Condition], now: Timestamp) -> Duration {
    let since = find(conditions, READY).map_or(now, |ready| ready.last_transition_time.0);
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (passed / 4).clamp(LOOK_AGAIN, LOOK_LATER)
}

/// Why a spec cannot be carried out as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// CamelCase, stable: the condition's reason.
    pub reason: Reason,
    /// The field of the object to look at, such as `spec.accelerator.profile`.
    pub field: String,
    /// One sentence: what is wrong and what to do.
    pub message: String,
}

impl Problem {
    /// A problem with a field.
    pub fn new(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> Self {
        Problem {
            reason,
            field: field.into(),
            message: message.into(),
        }
    }

    /// As a condition's message: the field first, so that it is found at a glance.
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }
}
