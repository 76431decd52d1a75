//! What a field of a schema may hold and what it may not: one case for each, made from the schema and from what its
//! description says, so that a bound that only the description knows of is found missing. A [`Place`] is a field of an
//! object, a [`Case`] gives it another value, and [`cases`] makes all of them.

mod case;
mod cases;
mod described;
mod texts;

use std::path::Path;

use serde_json::Value;

pub use case::{Case, Verdict};
pub use cases::cases;
pub use texts::UNICODE;

use crate::{Error, Result};

/// A field of an object, with its schema.
#[derive(Clone, Debug)]
pub struct Place {
    /// As the API server writes it: `spec.podOverrides.env[0].name`.
    pub path: String,
    /// As a JSON pointer.
    pub pointer: String,
    schema: Value,
    required: bool,
    parent: Parent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parent {
    Object,
    Map,
    List,
}

/// The schema of a kind, as `crds/yaml` has it.
///
/// # Errors
/// When there is no such file.
pub fn schema(kind: &str) -> Result<Value> {
    let name = format!("../crds/yaml/{}s.yaml", kind.to_lowercase());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let mut definition: Value = serde_norway::from_str(&text)
        .map_err(|error| Error::Unmet(format!("{} is no YAML: {error}", path.display())))?;
    Ok(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take())
}

/// A number below `below`, from a sequence that the first state determines (SplitMix64).
pub fn draw(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) % below.max(1) as u64).unwrap_or(0)
}

/// Every field that the object fills.
#[must_use]
pub fn places(schema: &Value, object: &Value) -> Vec<Place> {
    let mut all = Vec::new();
    let spec = Place {
        path: "spec".to_owned(),
        pointer: "/spec".to_owned(),
        schema: schema["properties"]["spec"].clone(),
        required: true,
        parent: Parent::Object,
    };
    walk(spec, &object["spec"], &mut all);
    all
}

fn walk(place: Place, value: &Value, into: &mut Vec<Place>) {
    let schema = &place.schema;
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return into.push(place);
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name);
        let required = schema["required"].as_array().into_iter().flatten();
        let child = Place {
            path: format!("{}.{name}", place.path),
            pointer: format!("{}/{}", place.pointer, name.replace('~', "~0").replace('/', "~1")),
            schema: known.unwrap_or(&schema["additionalProperties"]).clone(),
            required: required.into_iter().any(|required| required == name),
            parent: if known.is_some() {
                Parent::Object
            } else {
                Parent::Map
            },
        };
        walk(child, value, into);
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        let child = Place {
            path: format!("{}[{index}]", place.path),
            pointer: format!("{}/{index}", place.pointer),
            schema: schema["items"].clone(),
            required: false,
            parent: Parent::List,
        };
        walk(child, value, into);
    }
    into.push(place);
}
