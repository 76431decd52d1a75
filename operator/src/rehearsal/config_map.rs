//! What a ConfigMap holds, as the API server would take it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::Value;

/// Key → content, or all that is wrong with it.
pub fn data(object: &Value) -> Result<BTreeMap<String, Vec<u8>>, Vec<String>> {
    let mut data = BTreeMap::new();
    let mut complaints = Vec::new();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        match value {
            Value::String(text) => {
                data.insert(key.clone(), text.clone().into_bytes());
            }
            Value::Null => {
                data.insert(key.clone(), Vec::new());
            }
            other => complaints.push(format!("data.{key}: {other} is no text: write it in quotes")),
        }
    }
    for (key, value) in object["binaryData"].as_object().into_iter().flatten() {
        match bytes(value) {
            Ok(content) => {
                data.insert(key.clone(), content);
            }
            Err(error) => complaints.push(format!("binaryData.{key}: {error}: write it as base64")),
        }
    }
    if complaints.is_empty() {
        Ok(data)
    } else {
        Err(complaints)
    }
}

/// What base64 stands for. Line breaks, which a block of YAML has, count for nothing in it.
fn bytes(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    let text = match value {
        Value::String(text) => Value::from(text.replace(['\r', '\n'], "")),
        other => other.clone(),
    };
    serde_json::from_value::<ByteString>(text).map(|content| content.0)
}

/// What is wrong with a key, which becomes the name of a file here.
pub fn misnamed(key: &str) -> Option<String> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let is_key =
        (1..=253).contains(&key.len()) && key.chars().all(is_plain) && key != "." && !key.starts_with("..");
    (!is_key).then(|| {
        format!(
            "data: the key {key:?} must be 1 to 253 letters, digits, `-`, `_` and `.`, be more than `.`, and not begin \
             with `..`"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_and_binary_data_are_read() {
        let object =
            json!({"data": {"a.csv": "1,2", "empty": null}, "binaryData": {"b.png": "iVBO\nRw==\n"}});
        let data = data(&object).unwrap();
        assert_eq!(data["a.csv"], b"1,2");
        assert_eq!(data["empty"], b"");
        assert_eq!(data["b.png"], b"\x89PNG");
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let wrong = data(&json!({"data": {"seed": 1}, "binaryData": {"b.png": "?"}})).unwrap_err();
        assert_eq!(wrong[0], "data.seed: 1 is no text: write it in quotes");
        assert!(wrong[1].starts_with("binaryData.b.png: "), "{wrong:?}");
    }

    #[test]
    fn a_key_that_leaves_its_folder_is_refused() {
        for key in ["../../x", "..", ".", "..x", "a/b", "", "a b"] {
            let told = misnamed(key).unwrap();
            assert!(
                told.starts_with(&format!("data: the key {key:?} must be")),
                "{told}"
            );
        }
        let long = "k".repeat(254);
        for key in ["a-B_1.csv", ".hidden", &long[1..]] {
            assert_eq!(misnamed(key), None);
        }
        assert!(misnamed(&long).is_some());
    }
}
