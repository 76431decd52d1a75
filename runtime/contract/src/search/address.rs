//! Where in a spec a value stands: `model.network.layers[0].dense.units`.

use serde_json::{Map, Value};

/// A step from a value to one within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A field of an object.
    Field(String),
    /// An item of a list.
    Item(usize),
}

/// The way from a spec to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(pub Vec<Step>);

impl Address {
    /// Reads a path; nothing where it is none.
    pub fn parse(path: &str) -> Option<Self> {
        let mut steps = Vec::new();
        for part in path.split('.') {
            let (name, items) = part.split_at(part.find('[').unwrap_or(part.len()));
            let named = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric());
            if !named {
                return None;
            }
            steps.push(Step::Field(name.to_owned()));
            if items.is_empty() {
                continue;
            }
            let inside = items.strip_prefix('[')?.strip_suffix(']')?;
            for index in inside.split("][") {
                steps.push(Step::Item(index.parse().ok()?));
            }
        }
        Some(Address(steps))
    }

    /// Whether one holds the other, or is it.
    pub fn overlaps(&self, other: &Address) -> bool {
        let shorter = self.0.len().min(other.0.len());
        self.0[..shorter] == other.0[..shorter]
    }

    /// The path of the first so many steps.
    pub fn path(&self, steps: usize) -> String {
        let mut path = String::new();
        for step in &self.0[..steps] {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.push_str(&format!(".{name}")),
                Step::Item(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }

    /// What stands there.
    pub fn get<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(root, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::Item(index) => value.get(index),
        })
    }

    /// Puts a value there. An object on the way that is absent is made, but in a list: what an item is, its fields say.
    ///
    /// # Errors
    /// The number of steps that could be taken, and what there is in place of the next one.
    pub fn set(&self, root: &mut Value, new: Value) -> Result<(), (usize, String)> {
        let mut place = root;
        let mut in_list = false;
        for (taken, step) in self.0.iter().enumerate() {
            let last = taken + 1 == self.0.len();
            place = match step {
                Step::Field(name) => {
                    let Some(fields) = place.as_object_mut() else {
                        return Err((taken, "it has no fields".to_owned()));
                    };
                    if in_list && !last && !fields.contains_key(name) {
                        return Err((taken, format!("it is {}, not {name}", names(fields))));
                    }
                    fields
                        .entry(name.clone())
                        .or_insert_with(|| Value::Object(Map::new()))
                }
                Step::Item(index) => {
                    in_list = true;
                    let Some(items) = place.as_array_mut() else {
                        return Err((taken, "it is no list".to_owned()));
                    };
                    let count = items.len();
                    items
                        .get_mut(*index)
                        .ok_or_else(|| (taken, format!("it has {count}, counted from 0")))?
                }
            };
        }
        *place = new;
        Ok(())
    }
}

fn names(fields: &Map<String, Value>) -> String {
    fields.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// The fields of a schema at the end of these steps; nothing where the schema knows no such place.
pub(super) fn fields(root: &Value, steps: &[Step]) -> Option<Vec<String>> {
    let mut schema = resolved(root, root)?;
    for step in steps {
        let next = match step {
            Step::Field(name) => schema["properties"].get(name)?,
            Step::Item(_) => schema.get("items")?,
        };
        schema = resolved(root, next)?;
    }
    let fields = schema["properties"].as_object();
    Some(
        fields
            .map(|fields| fields.keys().cloned().collect())
            .unwrap_or_default(),
    )
}

/// The schema that a reference or an optional one stands for.
fn resolved<'v>(root: &'v Value, schema: &'v Value) -> Option<&'v Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolved(root, root.pointer(reference.strip_prefix('#')?)?);
    }
    match schema["anyOf"].as_array() {
        Some(alternatives) => resolved(root, alternatives.iter().find(|one| one["type"] != "null")?),
        None => Some(schema),
    }
}

/// The first field that was given but not understood. Nulls and empty lists count as not given.
pub fn unknown_field(given: &Value, understood: &Value, path: &str) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => given.iter().find_map(|(key, value)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            match understood.get(key) {
                Some(understood) => unknown_field(value, understood, &path),
                None if value.is_null() || value.as_array().is_some_and(Vec::is_empty) => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(understood)) => {
            given
                .iter()
                .zip(understood)
                .enumerate()
                .find_map(|(index, (given, understood))| {
                    unknown_field(given, understood, &format!("{path}[{index}]"))
                })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_read_and_written() {
        let path = "model.network.layers[10].dense.units";
        let address = Address::parse(path).unwrap();
        assert_eq!((address.0.len(), address.path(6)), (6, path.to_owned()));
        for bad in ["", "a..b", "a[x]", "a[1", "a]1[", "a[-1]", "a b", ".a", "a[1]b"] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_value_is_put_where_the_path_says() {
        let mut spec = json!({"a": {"b": [{"c": 1}]}});
        let set = |spec: &mut Value, path: &str| Address::parse(path).unwrap().set(spec, json!(7));
        set(&mut spec, "a.b[0].c").unwrap();
        set(&mut spec, "a.new.d").unwrap();
        assert_eq!(spec, json!({"a": {"b": [{"c": 7}], "new": {"d": 7}}}));
        assert_eq!(
            set(&mut spec, "a.b[1].c"),
            Err((2, "it has 1, counted from 0".to_owned()))
        );
        assert_eq!(
            set(&mut spec, "a.b[0].x.y"),
            Err((3, "it is c, not x".to_owned()))
        );
        assert_eq!(set(&mut spec, "a[0]"), Err((1, "it is no list".to_owned())));
    }

    #[test]
    fn paths_overlap_where_one_holds_the_other() {
        let [layers, units, other] = ["a.b", "a.b[0].c", "a.bc"].map(|path| Address::parse(path).unwrap());
        assert!(layers.overlaps(&units) && units.overlaps(&layers) && units.overlaps(&units));
        assert!(!other.overlaps(&layers));
    }
}
