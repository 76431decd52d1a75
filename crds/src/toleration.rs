//! Taints that pods put up with: Kubernetes' type, with the bounds that Kubernetes checks when it is given a pod.

use k8s_openapi::api::core::v1::Toleration;
use schemars::{Schema, SchemaGenerator, json_schema};
use sconce_contract::validation::rules;
use serde_json::{Value, json};

use crate::{labels, upstream};

const RULES: &[(&str, &str)] = &[
    (
        "(!has(self.operator) || self.operator in ['Equal', 'Exists']) && (!has(self.effect) || self.effect in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute'])",
        "a toleration's operator is Equal or Exists, and its effect NoSchedule, PreferNoSchedule, NoExecute or absent",
    ),
    (
        "has(self.operator) && self.operator == 'Exists' ? !has(self.value) || self.value == '' : has(self.key) && self.key != ''",
        "a toleration with operator Exists has no value, and any other has a key",
    ),
    (
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        "a toleration's tolerationSeconds goes with effect NoExecute",
    ),
];

/// A list of at most 16.
pub(crate) fn list(generator: &mut SchemaGenerator) -> Schema {
    let mut one = upstream::schema::<Toleration>(generator);
    for (field, bounds) in [
        (
            "key",
            json!({
                "description": "Key of the taint. Absent, with Exists: any.",
                "maxLength": 317, "pattern": format!("^$|{}", labels::NAME),
            }),
        ),
        (
            "value",
            json!({"description": "Value of the taint, with Equal.", "maxLength": 63, "pattern": labels::VALUE}),
        ),
        (
            "operator",
            json!({"description": "Equal (default) or Exists.", "maxLength": 16}),
        ),
        (
            "effect",
            json!({"description": "NoSchedule, PreferNoSchedule or NoExecute. Absent: any.", "maxLength": 32}),
        ),
        (
            "tolerationSeconds",
            json!({"description": "Seconds that a pod stays under a taint NoExecute. Absent: for ever."}),
        ),
    ] {
        if let (Some(field), Value::Object(bounds)) = (one["properties"][field].as_object_mut(), bounds) {
            field.extend(bounds);
        }
    }
    one["description"] = json!("A taint that is put up with.");
    one["x-kubernetes-validations"] = rules(RULES);
    json_schema!({"type": "array", "maxItems": 16, "items": one})
}
