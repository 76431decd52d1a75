//! Whether a stored object already says what it should.
//!
//! The API server adds defaults, so the stored object is larger than the desired one: what counts is that every
//! desired field is there with its value. Amounts are compared as amounts, because the API server writes
//! `1000m` back as `1`. What selects is compared whole: a label more or less selects others, and who may reach a pod is
//! never merely a part of what is stored.

use std::cmp::Ordering;

use sconce_crds::Quantity;
use serde_json::Value;

/// Path of the first desired value that the stored object does not hold, or nothing.
pub fn first(desired: &Value, stored: &Value) -> Option<String> {
    walk(desired, stored, String::new())
}

/// Fields whose value is compared whole. Nothing in them has a default that is not written here.
const WHOLE: [&str; 4] = ["ingress", "podSelector", "matchLabels", "selector"];

fn walk(desired: &Value, stored: &Value, path: String) -> Option<String> {
    let field = path.rsplit('.').next().unwrap_or_default();
    if WHOLE.contains(&field) {
        let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        let same = bare(desired) == bare(stored) || empty(desired) && empty(stored);
        return (!same).then_some(path);
    }
    match (desired, stored) {
        (Value::Object(desired), Value::Object(stored)) => desired.iter().find_map(|(key, value)| {
            let found = stored.get(key).unwrap_or(&Value::Null);
            walk(value, found, format!("{path}.{key}"))
        }),
        (Value::Array(desired), Value::Array(stored)) if desired.len() == stored.len() => desired
            .iter()
            .zip(stored)
            .enumerate()
            .find_map(|(index, (desired, stored))| walk(desired, stored, format!("{path}[{index}]"))),
        // An empty list or map that is left out when stored.
        (Value::Array(desired), Value::Null) if desired.is_empty() => None,
        (Value::Object(desired), Value::Null) if desired.is_empty() => None,
        (Value::String(desired), Value::String(stored))
            if is_amount(&path) && same_amount(desired, stored) =>
        {
            None
        }
        _ => (desired != stored).then_some(path),
    }
}

/// Without the empty lists and maps that the API server leaves out of a selector. A selector that is itself empty
/// stays: it selects everything, and one that is absent nothing.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let is_left_out = |key: &str, value: &Value| {
                value.is_null()
                    || key == "matchLabels" && value.as_object().is_some_and(serde_json::Map::is_empty)
                    || key == "matchExpressions" && value.as_array().is_some_and(Vec::is_empty)
            };
            let kept = map.iter().filter(|(key, value)| !is_left_out(key, value));
            kept.map(|(key, value)| (key.clone(), bare(value))).collect()
        }
        Value::Array(list) => list.iter().map(bare).collect(),
        other => other.clone(),
    }
}

fn is_amount(path: &str) -> bool {
    [".limits.", ".requests."]
        .iter()
        .any(|parent| path.contains(parent))
        || path.ends_with(".sizeLimit")
}

fn same_amount(one: &str, other: &str) -> bool {
    one == other || Quantity::new(one).compare(&Quantity::new(other)) == Some(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_that_the_server_adds_are_no_difference() {
        let desired = json!({"spec": {"replicas": 2, "list": [{"a": 1}], "none": []}});
        let stored = json!({"spec": {"replicas": 2, "list": [{"a": 1, "b": 2}], "more": true}, "status": {}});
        assert_eq!(first(&desired, &stored), None);
    }

    #[test]
    fn who_may_reach_a_pod_is_compared_whole() {
        let policy = |peer: Value| json!({"spec": {"ingress": [{"from": [peer]}]}});
        let app = json!({"matchLabels": {"app": "shop"}});
        let narrow = policy(json!({"podSelector": app}));
        let wide = policy(json!({"podSelector": app, "namespaceSelector": {}}));
        assert!(first(&narrow, &wide).is_some());
        assert!(first(&wide, &narrow).is_some());
        let written = policy(json!({"podSelector": app, "namespaceSelector": {"matchLabels": {}}}));
        assert_eq!(first(&written, &wide), None, "as the API server leaves it out");
        let labelled = |version: &str| json!({"podSelector": {"matchLabels": {"version": version}}});
        assert!(first(&labelled("1"), &labelled("1.0")).is_some());
        assert_eq!(
            first(&json!({"spec": {"ingress": []}}), &json!({"spec": {}})),
            None
        );
    }

    #[test]
    fn the_path_of_a_difference_is_told() {
        let desired = json!({"spec": {"list": [{"a": 1}]}});
        assert_eq!(
            first(&desired, &json!({"spec": {"list": [{"a": 2}]}})).as_deref(),
            Some(".spec.list[0].a")
        );
        assert_eq!(
            first(&desired, &json!({"spec": {"list": []}})).as_deref(),
            Some(".spec.list")
        );
        assert_eq!(first(&desired, &json!({})).as_deref(), Some(".spec"));
    }

    #[test]
    fn amounts_are_compared_as_amounts() {
        let cpu = |amount: &str| json!({"spec": {"resources": {"requests": {"cpu": amount}}}});
        for (one, other) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("2", "2"),
        ] {
            assert_eq!(first(&cpu(one), &cpu(other)), None, "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("1G", "1Gi"), ("100m", "100Mi"), ("a", "b")] {
            assert!(first(&cpu(one), &cpu(other)).is_some(), "{one} {other}");
        }
    }
}
