//! What a field that holds text is tried with: where it has a pattern, where it is free, where it is a duration.

use serde_json::{Value, json};

use super::cases::Cases;
use super::{Parent, Verdict};

/// Text that no name and no pattern allows.
pub const UNICODE: &str = "数据 \u{202e}💥\u{7f}";
/// Where any text is right: people's own words and programs' own arguments.
const FREE_TEXT: &[&str] = &[
    ".target",
    ".text.column",
    ".features[]",
    ".categorical.columns[]",
    ".command[]",
    ".args[]",
    ".env[].value",
    ".annotations.*",
    ".rows[]",
    ".choice[]",
];
/// Where no text is right, too.
const EMPTY_TEXT: &[&str] = &[
    ".command[]",
    ".args[]",
    ".env[].value",
    ".annotations.*",
    ".labels.*",
    ".nodeSelector.*",
    ".nodeSelectors[].*",
    "Labels.*",
    ".tolerations[].key",
    ".tolerations[].value",
    ".tolerations[].effect",
    ".rows[]",
    ".choice[]",
];

impl Cases<'_> {
    pub(super) fn strings(&mut self) {
        let schema = self.place.schema.clone();
        let path = general(&self.place.path, self.place.parent);
        let allowed = |list: &[&str]| list.iter().any(|end| path.ends_with(end));
        if let Some(known) = schema["enum"].as_array() {
            known
                .iter()
                .for_each(|value| self.either("each of the values", value.clone()));
            let other = known
                .first()
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_lowercase();
            if !known.contains(&json!(other)) {
                self.refused("in lower case", json!(other));
            }
            self.refused("none of the values", json!("Unheard"));
        }
        let empty = if allowed(EMPTY_TEXT) {
            Verdict::Either
        } else {
            Verdict::Refused
        };
        self.push("empty", Some(json!("")), empty);
        let free = if allowed(FREE_TEXT) {
            Verdict::Either
        } else {
            Verdict::Refused
        };
        self.push("unicode", Some(json!(UNICODE)), free);
        self.push("blanks", Some(json!("  ")), free);
        self.refused("huge", json!("a".repeat(100_000)));
        if let (Some(most), None) = (schema["maxLength"].as_u64(), schema.get("enum")) {
            let most = most as usize;
            self.either("as long as may be", json!("a".repeat(most)));
            self.refused("longer than may be", json!("a".repeat(most + 1)));
        }
        if schema["pattern"]
            .as_str()
            .is_some_and(|pattern| pattern.contains("(ms|s|m|h)"))
        {
            for (what, value) in [
                ("a number", "90"),
                ("another unit", "5d"),
                ("negative", "-5m"),
                ("more than any clock", "99999999999999999999999h"),
                ("not whole", "1h-3m"),
            ] {
                self.refused(what, json!(value));
            }
            for value in ["0s", "1ms", "1s", "2s", "10m", "24h", "1h30m", "1.5h", "2562047h"] {
                self.either("a duration", json!(value));
            }
            let (low, high) = self.described_durations();
            low.into_iter()
                .for_each(|value| self.refused("below what is described", value));
            high.into_iter()
                .for_each(|value| self.refused("above what is described", value));
        }
    }
}

/// The path without positions: `spec.env[].value`, and `.*` for the values of a map.
fn general(path: &str, parent: Parent) -> String {
    let mut text = String::new();
    for part in path.split_inclusive(']') {
        match part.rsplit_once('[') {
            Some((before, _)) => text.extend([before, "[]"]),
            None => text.push_str(part),
        }
    }
    if parent == Parent::Map {
        // A key has dots of its own: what comes before it is the map, by its own name.
        for map in [
            "annotations",
            "labels",
            "nodeSelector",
            "namespaceLabels",
            "podLabels",
            "resources",
        ] {
            if let Some(at) = text.find(&format!(".{map}.")) {
                return format!("{}.{map}.*", &text[..at]);
            }
        }
        if let Some(at) = text.find(".nodeSelectors[].") {
            return format!("{}.nodeSelectors[].*", &text[..at]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_keys_are_left_out_of_a_general_path() {
        assert_eq!(
            general("spec.podOverrides.env[3].value", Parent::Object),
            "spec.podOverrides.env[].value"
        );
        assert_eq!(
            general("spec.nodeSelectors[1].a.example/b", Parent::Map),
            "spec.nodeSelectors[].*"
        );
        assert_eq!(
            general("spec.podOverrides.labels.a.b/c", Parent::Map),
            "spec.podOverrides.labels.*"
        );
    }
}
