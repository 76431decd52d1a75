//! What the API server would say of a manifest, without an API server.
//!
//! Defaults, unknown fields and the CEL rules come from the same schema that the API server is given. Types,
//! enums and bounds that serde does not check are left to the API server.

use kube_cel::{Validator, apply_defaults};
use serde_json::{Number, Value};

use crate::manifest;

/// The schema of one of our kinds; nothing where the kind is not ours.
pub fn schema(kind: &str) -> Option<Value> {
    let definitions = manifest::definitions().ok()?;
    let definition = definitions
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind)?;
    let schema = definition
        .spec
        .versions
        .into_iter()
        .next()?
        .schema?
        .open_api_v3_schema?;
    serde_json::to_value(schema).ok()
}

/// The object with the defaults that the API server would store.
///
/// # Errors
/// Each sentence is one thing that the API server would refuse.
pub fn admit(schema: &Value, object: &Value) -> Result<Value, Vec<String>> {
    let mut complaints = Vec::new();
    for part in ["spec", "status"] {
        if let (Some(schema), Some(value)) = (schema["properties"].get(part), object.get(part)) {
            unknown_fields(schema, value, part, &mut complaints);
        }
    }
    let object = apply_defaults(schema, object);
    let mut read = object.clone();
    fractions(schema, &mut read);
    if let Err(errors) = Validator::new().validate(schema, &read, None) {
        complaints.extend(errors.as_slice().iter().map(|error| error.message.clone()));
    }
    if complaints.is_empty() {
        Ok(object)
    } else {
        Err(complaints)
    }
}

/// Makes `1` of a field of type `number` what a rule reads there: `1.0`. CEL compares no whole number with a fraction.
fn fractions(schema: &Value, value: &mut Value) {
    match value {
        Value::Number(number) if schema["type"] == "number" => {
            if let Some(fraction) = number.as_f64().and_then(Number::from_f64) {
                *number = fraction;
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let known = schema["properties"].get(name);
                fractions(known.unwrap_or(&schema["additionalProperties"]), value);
            }
        }
        Value::Array(items) => {
            for item in items {
                fractions(&schema["items"], item);
            }
        }
        _ => {}
    }
}

fn unknown_fields(schema: &Value, value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object() else {
                return;
            };
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                match known.get(name) {
                    Some(schema) => unknown_fields(schema, value, &path, into),
                    None => into.push(format!(
                        "{path}: there is no such field; there are {}",
                        known.keys().cloned().collect::<Vec<_>>().join(", ")
                    )),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                unknown_fields(&schema["items"], item, &format!("{path}[{index}]"), into);
            }
        }
        _ => {}
    }
}
