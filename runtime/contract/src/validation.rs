//! Helpers to write bounds and CEL rules into a JSON schema.

use serde_json::{Value, json};

/// What Kubernetes lets an object be called (a DNS subdomain): a name that it refuses could never be found.
pub const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// The value of `x-kubernetes-validations`: each pair is a rule and the message shown when it does not hold.
pub fn rules(rules: &[(&str, &str)]) -> Value {
    rules
        .iter()
        .map(|(rule, message)| json!({"rule": rule, "message": message}))
        .collect()
}
