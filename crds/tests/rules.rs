//! Every CEL rule of the CRDs refuses what it should, without an API server; and the files in `yaml/` are what
//! the types say.
#![allow(clippy::unwrap_used)] // It is what a test does.

use std::collections::BTreeSet;

use kube_cel::{Validator, apply_defaults, compile_schema};
use sconce_crds::{manifest, offline};
use serde_json::Value;

fn schema(kind: &str) -> Value {
    offline::schema(kind).unwrap()
}

fn valid(kind: &str) -> Value {
    let all: Value = serde_norway::from_str(include_str!("valid.yaml")).unwrap();
    all[kind].clone()
}

fn refusals() -> Vec<Value> {
    serde_norway::from_str(include_str!("refusals.yaml")).unwrap()
}

/// RFC 7386.
fn merge(target: &mut Value, change: &Value) {
    let (Value::Object(target), Value::Object(change)) = (&mut *target, change) else {
        *target = change.clone();
        return;
    };
    for (key, value) in change {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn messages(schema: &Value, object: &Value, before: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(schema, object, before) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .as_slice()
            .iter()
            .map(|error| error.message.clone())
            .collect(),
    }
}

#[test]
fn each_rule_refuses_its_rows_and_nothing_else() {
    for row in refusals() {
        let (kind, case) = (row["kind"].as_str().unwrap(), row["case"].as_str().unwrap());
        let schema = schema(kind);
        let mut object = apply_defaults(&schema, &valid(kind));
        let before = row.get("before").map(|before| {
            merge(&mut object, before);
            object.clone()
        });
        assert_eq!(
            messages(&schema, &object, before.as_ref()),
            Vec::<String>::new(),
            "{case}: the valid object"
        );
        merge(&mut object, &row["change"]);
        let object = apply_defaults(&schema, &object);
        let found = messages(&schema, &object, before.as_ref());
        let wanted = row["message"].as_str().unwrap();
        assert!(
            found.iter().any(|message| message.contains(wanted)),
            "{case}: {found:?} does not say {wanted:?}"
        );
    }
}

#[test]
fn a_misspelt_field_is_told_with_those_that_there_are() {
    let mut object = valid("ModelTraining");
    merge(
        &mut object,
        &serde_json::json!({"spec": {"hyperparameters": {"epoch": 3}}}),
    );
    let complaints = offline::admit(&schema("ModelTraining"), &object).unwrap_err();
    assert!(
        complaints[0].starts_with(
            "spec.hyperparameters.epoch: there is no such field; there are accumulateBatches, batchSize"
        ),
        "{complaints:?}"
    );
}

#[test]
fn a_running_training_may_change_when_it_is_suspended_with_the_change() {
    let schema = schema("ModelTraining");
    let mut before = apply_defaults(&schema, &valid("ModelTraining"));
    merge(&mut before, &serde_json::json!({"status": {"phase": "Training"}}));
    let mut after = before.clone();
    merge(
        &mut after,
        &serde_json::json!({"spec": {"suspend": true, "hyperparameters": {"seed": 1}}}),
    );
    assert_eq!(messages(&schema, &after, Some(&before)), Vec::<String>::new());
}

#[test]
fn every_rule_compiles_and_has_a_row_that_it_refuses() {
    let rows = refusals();
    let mut without = BTreeSet::new();
    for definition in manifest::definitions().unwrap() {
        let kind = definition.spec.names.kind.clone();
        let schema = schema(&kind);
        assert!(
            !compile_schema(&schema).has_errors(),
            "{kind}: {:?}",
            compile_schema(&schema).compilation_errors()
        );
        let mut found = Vec::new();
        collect_messages(&schema, &mut found);
        for message in found {
            let covered = rows.iter().any(|row| {
                row["kind"] == kind.as_str() && message.contains(row["message"].as_str().unwrap())
            });
            if !covered {
                without.insert(format!("{kind}: {message}"));
            }
        }
    }
    assert!(
        without.is_empty(),
        "rules without a row in refusals.yaml: {without:#?}"
    );
}

fn collect_messages(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(rules) = fields.get("x-kubernetes-validations").and_then(Value::as_array) {
                into.extend(
                    rules
                        .iter()
                        .map(|rule| rule["message"].as_str().unwrap().to_owned()),
                );
            }
            fields.values().for_each(|value| collect_messages(value, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_messages(item, into)),
        _ => {}
    }
}

#[test]
fn every_field_of_a_spec_is_described() {
    for definition in manifest::definitions().unwrap() {
        let kind = definition.spec.names.kind.clone();
        let schema = schema(&kind);
        let mut silent = Vec::new();
        collect_silent(
            &schema["properties"]["spec"],
            &format!("{kind}.spec"),
            &mut silent,
        );
        assert!(silent.is_empty(), "fields without a description: {silent:#?}");
    }
}

fn collect_silent(schema: &Value, path: &str, into: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            into.push(path.clone());
        }
        collect_silent(field, &path, into);
    }
    if schema["items"].is_object() {
        collect_silent(&schema["items"], &format!("{path}[]"), into);
    }
}

#[test]
fn the_files_are_what_crdgen_writes_and_small_enough_for_kubectl_apply() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let mut total = 0;
    for (name, yaml) in manifest::files().unwrap() {
        let written = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(written == yaml, "crds/yaml/{name} is stale: run `make crds`");
        // A client-side apply keeps the whole object in an annotation, and annotations end at 256 KiB.
        assert!(yaml.len() < 100 * 1024, "{name} has {} bytes", yaml.len());
        total += yaml.len();
    }
    assert!(total < 256 * 1024);
}
