//! Kubernetes' own types in ours.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

/// Schema of such a type, with the first sentence of each description: Kubernetes' own reference has the rest, and a
/// definition has little room.
pub(crate) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut schema = Value::from(generator.subschema_for::<T>());
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|reference| reference.rsplit('/').next())
    {
        schema = generator.definitions().get(name).cloned().unwrap_or_default();
    }
    shorten(&mut schema);
    schema
}

fn shorten(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description")
                && let Some(end) = text.find(". ")
            {
                text.truncate(end + 1);
            }
            fields.values_mut().for_each(shorten);
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        _ => {}
    }
}
