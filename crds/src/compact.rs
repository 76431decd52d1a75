//! YAML as people write a schema by hand: what fits on a line stands on one, `{type: integer, minimum: 1}`, and so does
//! what has nothing but scalars. Of a definition in block style, near half is the indentation of its leaves.

use std::fmt::Write as _;

use serde_json::Value;

/// Columns within which a collection of collections stands on a line.
const COLUMNS: usize = 120;

/// A document whose root is a mapping or a sequence, with a newline at its end.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

/// The entries of a collection, each on lines of its own that begin at column `indent`.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let _ = write!(out, "{:indent$}{}:", "", text(key));
                entry(value, indent, indent + text(key).len() + 2, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                item_of(item, indent, out);
            }
        }
        scalar => {
            let _ = writeln!(out, "{:indent$}{}", "", flow(scalar));
        }
    }
}

/// What follows the colon of a key.
fn entry(value: &Value, indent: usize, column: usize, out: &mut String) {
    if stays_on_the_line(value, column) {
        let _ = writeln!(out, " {}", flow(value));
        return;
    }
    out.push('\n');
    // A sequence may stand at the column of its key.
    block(value, if value.is_array() { indent } else { indent + 2 }, out);
}

/// What follows the dash of an item: the first key of a mapping stands beside it.
fn item_of(value: &Value, indent: usize, out: &mut String) {
    if stays_on_the_line(value, indent + 2) {
        let _ = writeln!(out, " {}", flow(value));
        return;
    }
    let mut inner = String::new();
    block(value, indent + 2, &mut inner);
    out.push(' ');
    out.push_str(&inner[indent + 2..]);
}

fn stays_on_the_line(value: &Value, column: usize) -> bool {
    let scalar = |value: &Value| !value.is_object() && !value.is_array();
    let leaf = match value {
        Value::Object(fields) => fields.values().all(scalar),
        Value::Array(items) => items.iter().all(scalar),
        _ => true,
    };
    leaf || column + flow(value).len() <= COLUMNS
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", text(key), flow(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// Plain where YAML reads these very characters as this string in every place, otherwise as JSON, which YAML includes.
fn text(string: &str) -> String {
    let letters = |character: char| character.is_ascii_alphanumeric() || "_-./$ ".contains(character);
    let word = |character: char| character.is_ascii_alphabetic() || character == '$';
    let plain = string.starts_with(word)
        && string.chars().all(letters)
        && !string.ends_with(' ')
        && !MEANS_SOMETHING_ELSE.contains(&string.to_ascii_lowercase().as_str());
    if plain {
        string.to_owned()
    } else {
        Value::from(string).to_string()
    }
}

/// What YAML 1.1, which Helm and kubectl read, takes for a boolean or for nothing.
const MEANS_SOMETHING_ELSE: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_on_a_line_stands_on_one() {
        let long = "a".repeat(100);
        let value = json!({
            "leaf": {"type": "integer", "minimum": 1},
            "list": [{"a": &long, "b": {"c": "yes"}}, []],
            "nothing": {},
        });
        let written = format!(
            "leaf: {{type: integer, minimum: 1}}\nlist:\n- a: {long}\n  b: {{c: \"yes\"}}\n- []\nnothing: {{}}\n"
        );
        assert_eq!(sorted(&document(&value)), sorted(&written));
        assert_eq!(serde_norway::from_str::<Value>(&document(&value)).unwrap(), value);
    }

    /// The order of a mapping's keys is that of serde_json's map, which a feature decides.
    fn sorted(text: &str) -> Vec<char> {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\n\té]{0,60}".prop_map(Value::from),
            "(?i)yes|no|on|off|null|~|1e3|0x1f|1_000|-|\\.inf|2001-01-01|<<".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("[ -~]{0,12}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_what_it_was(fields in prop::collection::vec(values(), 1..6)) {
            let value = Value::from(fields);
            prop_assert_eq!(serde_norway::from_str::<Value>(&document(&value)).unwrap(), value);
        }
    }
}
