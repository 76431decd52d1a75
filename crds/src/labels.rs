//! Labels, as Kubernetes takes them ("Labels and Selectors").

use schemars::{Schema, SchemaGenerator, json_schema};

/// A label's name, with its domain.
pub const NAME: &str = r"^([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$";
/// A label's value.
pub const VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

fn labels(most: u32) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": most,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": VALUE},
    })
}

pub(crate) fn of_pods(_: &mut SchemaGenerator) -> Schema {
    labels(32)
}

pub(crate) fn of_nodes(_: &mut SchemaGenerator) -> Schema {
    labels(16)
}

pub(crate) fn of_peers(_: &mut SchemaGenerator) -> Schema {
    labels(8)
}

/// A list of labels that go together. One without labels would be every node.
pub(crate) fn alternatives(_: &mut SchemaGenerator) -> Schema {
    let mut alternative = labels(8);
    alternative.insert("minProperties".to_owned(), 1.into());
    alternative.insert(
        "description".to_owned(),
        "Labels that a node carries together.".into(),
    );
    json_schema!({"type": "array", "maxItems": 32, "items": alternative})
}
