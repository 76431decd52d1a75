//! What the API server would say of a manifest, without an API server.
//!
//! Defaults, unknown fields, bounds and the CEL rules come from the same schema that the API server is given. Types
//! and fields that must be there are serde's to check, when what is admitted is read; formats, and lists that name an
//! entry twice, are left to the API server.

use kube_cel::cel::{self, Context, Program};
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
    let mut object = object.clone();
    drop_nulls(schema, &mut object);
    let object = apply_defaults(schema, &object);
    // Not the status: nobody writes one but the operator, and the API server drops it from what people create.
    bounds(
        &schema["properties"]["spec"],
        &object["spec"],
        "spec",
        &mut complaints,
    );
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

/// The schema of a field, or of a map's values; null where there is none.
fn schema_of<'a>(schema: &'a Value, field: &str) -> &'a Value {
    let known = schema["properties"].get(field);
    known.unwrap_or(&schema["additionalProperties"])
}

/// Drops the nulls that the API server drops, such as that of `features:` with nothing behind it. Those that a schema
/// allows stay, and so do those below a place of any shape, such as a row.
fn drop_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                let field = schema_of(schema, name);
                !value.is_null() || !field.is_object() || field["nullable"] == true
            });
            for (name, value) in fields {
                drop_nulls(schema_of(schema, name), value);
            }
        }
        Value::Array(items) => {
            for item in items {
                drop_nulls(&schema["items"], item);
            }
        }
        _ => {}
    }
}

/// What is out of bounds, in the API server's words. A value of a wrong type has none.
fn bounds(schema: &Value, value: &Value, path: &str, into: &mut Vec<String>) {
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        into.push(format!(
            "{path}: Unsupported value: {value}: supported values: {}",
            known.join(", ")
        ));
    }
    match value {
        Value::Object(fields) => {
            into.extend(counted(schema, "Properties", fields.len(), path));
            for (name, value) in fields {
                bounds(schema_of(schema, name), value, &format!("{path}.{name}"), into);
            }
        }
        Value::Array(items) => {
            into.extend(counted(schema, "Items", items.len(), path));
            for (index, item) in items.iter().enumerate() {
                bounds(&schema["items"], item, &format!("{path}[{index}]"), into);
            }
        }
        Value::Number(number) => into.extend(measured(schema, number, path)),
        Value::String(text) => into.extend(spelt(schema, text, path)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// A bound that counts something.
fn bound(schema: &Value, name: &str) -> Option<usize> {
    usize::try_from(schema[name].as_u64()?).ok()
}

/// The complaint about how many entries a list (`Items`) or a map (`Properties`) has.
fn counted(schema: &Value, what: &str, count: usize, path: &str) -> Option<String> {
    if let Some(most) = bound(schema, &format!("max{what}")).filter(|most| count > *most) {
        return Some(format!(
            "{path}: Too many: {count}: must have at most {most} items"
        ));
    }
    let least = bound(schema, &format!("min{what}")).filter(|least| count < *least)?;
    let what = what.to_ascii_lowercase();
    Some(invalid(
        path,
        &count.to_string(),
        &format!("have at least {least} {what}"),
    ))
}

/// The complaint about how large a number is.
fn measured(schema: &Value, number: &Number, path: &str) -> Option<String> {
    let found = number.as_f64()?;
    let text = number.to_string();
    if let Some(least) = schema["minimum"].as_f64().filter(|least| found < *least) {
        return Some(invalid(
            path,
            &text,
            &format!("be greater than or equal to {least}"),
        ));
    }
    let most = schema["maximum"].as_f64().filter(|most| found > *most)?;
    Some(invalid(path, &text, &format!("be less than or equal to {most}")))
}

/// The complaints about how long a text is, and of what it is made.
fn spelt(schema: &Value, text: &str, path: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let quoted = Value::from(text).to_string();
    let length = text.chars().count();
    if let Some(most) = bound(schema, "maxLength").filter(|most| length > *most) {
        complaints.push(format!("{path}: Too long: may not be more than {most} bytes"));
    }
    if let Some(least) = bound(schema, "minLength").filter(|least| length < *least) {
        complaints.push(invalid(path, &quoted, &format!("be at least {least} chars long")));
    }
    if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !fits(text, pattern)) {
        complaints.push(invalid(path, &quoted, &format!("match '{pattern}'")));
    }
    complaints
}

fn invalid(path: &str, value: &str, rule: &str) -> String {
    format!("{path}: Invalid value: {value}: {path} in body should {rule}")
}

/// Whether a text fits a pattern, by the `matches` of the rules. A pattern that only the API server can read, such as
/// one with a bare `[` in brackets, is left to it.
fn fits(text: &str, pattern: &str) -> bool {
    let Ok(program) = Program::compile("text.matches(pattern)") else {
        return true;
    };
    let mut context = Context::default();
    context.add_variable_from_value("text", text);
    context.add_variable_from_value("pattern", pattern);
    !matches!(program.execute(&context), Ok(cel::Value::Bool(false)))
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
                fractions(schema_of(schema, name), value);
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
