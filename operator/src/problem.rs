//! What a user can cause and mend: a reason, the field, and a sentence that says what to do.

use crate::reason::Reason;

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
