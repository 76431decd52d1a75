//! Helpers to write CEL rules into a JSON schema.

use serde_json::{Value, json};

/// The value of `x-kubernetes-validations`: each pair is a rule and the message shown when it does not hold.
pub fn rules(rules: &[(&str, &str)]) -> Value {
    rules
        .iter()
        .map(|(rule, message)| json!({"rule": rule, "message": message}))
        .collect()
}
