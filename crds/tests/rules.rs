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
fn a_whole_number_is_a_fraction_where_the_field_is_one() {
    let schema = schema("ModelTraining");
    let mut object = valid("ModelTraining");
    let whole = serde_json::json!({"spec": {"dataset": {"split": {"validation": 0, "test": 0}}}});
    merge(&mut object, &whole);
    let admitted = offline::admit(&schema, &object).unwrap();
    assert_eq!(
        admitted["spec"]["dataset"]["split"]["validation"], 0,
        "as it was written"
    );
    let all = serde_json::json!({"spec": {"dataset": {"split": {"validation": 1}}}});
    merge(&mut object, &all);
    assert!(offline::admit(&schema, &object).is_err());
}

#[test]
fn a_key_with_nothing_behind_it_is_no_field() {
    let schema = schema("ModelTraining");
    let mut object = valid("ModelTraining");
    object["spec"]["dataset"]["features"] = Value::Null;
    object["spec"]["hyperparameters"] = serde_json::json!({"epochs": null});
    let admitted = offline::admit(&schema, &object).unwrap();
    assert_eq!(admitted["spec"]["dataset"].get("features"), None);
    assert!(
        admitted["spec"]["hyperparameters"]["epochs"].is_u64(),
        "a null is replaced by the default: {admitted}"
    );
}

#[test]
fn a_null_in_a_row_of_any_shape_stays() {
    let mut object = valid("ModelDeployment");
    let warmup = serde_json::json!({"rows": [{"petal_length": null}]});
    object["spec"]["warmup"] = warmup.clone();
    let admitted = offline::admit(&schema("ModelDeployment"), &object).unwrap();
    assert_eq!(admitted["spec"]["warmup"]["rows"], warmup["rows"]);
}

#[test]
fn bounds_are_told_in_the_api_servers_words() {
    let refused = |change: Value| {
        let mut object = valid("ModelTraining");
        merge(&mut object, &serde_json::json!({"spec": change}));
        offline::admit(&schema("ModelTraining"), &object)
            .unwrap_err()
            .join("\n")
    };
    let too_few = refused(serde_json::json!({"hyperparameters": {"epochs": 0}}));
    assert!(
        too_few.contains(
            "spec.hyperparameters.epochs: Invalid value: 0: spec.hyperparameters.epochs in body should be greater \
             than or equal to 1"
        ),
        "{too_few}"
    );
    let no_format = refused(serde_json::json!({"dataset": {"format": "XLSX"}}));
    assert!(
        no_format.contains("spec.dataset.format: Unsupported value: \"XLSX\": supported values: \"CSV\""),
        "{no_format}"
    );
    let no_uri = refused(serde_json::json!({"dataset": {"uri": "configmap://../patients.csv"}}));
    assert!(
        no_uri.contains("spec.dataset.uri in body should match '^("),
        "{no_uri}"
    );
    let long = refused(serde_json::json!({"dataset": {"target": "y".repeat(5000)}}));
    assert!(long.contains("spec.dataset.target: Too long"), "{long}");
    let empty = refused(serde_json::json!({"model": {"network": {"layers": []}}}));
    assert!(
        empty.contains("spec.model.network.layers in body should have at least 1 items"),
        "{empty}"
    );
}

#[test]
fn what_an_api_server_takes_is_within_bounds() {
    let maximal: Vec<Value> = serde_norway::from_str(include_str!("maximal.yaml")).unwrap();
    for object in maximal {
        let kind = object["kind"].as_str().unwrap();
        if let Err(complaints) = offline::admit(&schema(kind), &object) {
            panic!("{kind} {}: {complaints:#?}", object["metadata"]["name"]);
        }
    }
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

/// Every place of a schema that holds a value: fields, and the items and values of lists and maps.
fn places(schema: &Value, path: &str, into: &mut Vec<(String, Value)>) {
    into.push((path.to_owned(), schema.clone()));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        places(field, &format!("{path}.{name}"), into);
    }
    if schema["items"].is_object() {
        places(&schema["items"], &format!("{path}[]"), into);
    }
    if schema["additionalProperties"].is_object() {
        places(&schema["additionalProperties"], &format!("{path}.*"), into);
    }
}

/// The places of a schema that an object has a value at.
fn filled(schema: &Value, value: &Value, path: &str, into: &mut BTreeSet<String>) {
    into.insert(path.to_owned());
    for (name, value) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(field) => filled(field, value, &format!("{path}.{name}"), into),
            None => filled(&schema["additionalProperties"], value, &format!("{path}.*"), into),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        filled(&schema["items"], item, &format!("{path}[]"), into);
    }
}

#[test]
fn every_field_of_a_spec_is_in_the_maximal_objects() {
    let maximal: Vec<Value> = serde_norway::from_str(include_str!("maximal.yaml")).unwrap();
    for definition in manifest::definitions().unwrap() {
        let kind = definition.spec.names.kind.clone();
        let schema = schema(&kind)["properties"]["spec"].clone();
        let (mut all, mut shown) = (Vec::new(), BTreeSet::new());
        places(&schema, "spec", &mut all);
        for object in maximal.iter().filter(|object| object["kind"] == kind.as_str()) {
            filled(&schema, &object["spec"], "spec", &mut shown);
        }
        let absent: Vec<_> = all.iter().filter(|(path, _)| !shown.contains(path)).collect();
        assert!(absent.is_empty(), "{kind}: not in maximal.yaml: {absent:#?}");
    }
}

/// Numbers that any value is right for, and strings that are read as something else.
const UNBOUNDED: &[(&str, &str)] = &[
    ("spec.evaluation.gates[].min", "a metric may be any number"),
    ("spec.evaluation.gates[].max", "a metric may be any number"),
    ("spec.dataset.split.test", "a rule says 0 to 1"),
    ("spec.dataset.split.validation", "a rule says 0 to 1"),
    ("spec.model.network.layers[].dropout.rate", "a rule says 0 to 1"),
    ("spec.hyperparameters.optimizer.momentum", "a rule says 0 to 1"),
    (
        "spec.hyperparameters.optimizer.learningRate",
        "a rule says above 0; too large a one diverges",
    ),
    (
        "spec.hyperparameters.optimizer.weightDecay",
        "a rule says at least 0; too large a one diverges",
    ),
    (
        "spec.hyperparameters.huberDelta",
        "a rule says above 0; the target's unit decides",
    ),
    ("spec.hyperparameters.labelSmoothing", "a rule says 0 to 1"),
    (
        "spec.hyperparameters.clipNorm",
        "a rule says above 0; the larger, the rarer it clips",
    ),
    (
        "spec.hyperparameters.regularization.l1",
        "a rule says at least 0; too large a one learns nothing",
    ),
    (
        "spec.hyperparameters.regularization.l2",
        "a rule says at least 0; too large a one learns nothing",
    ),
    (
        "spec.hyperparameters.earlyStopping.minDelta",
        "a rule says at least 0; in the loss's unit",
    ),
    (
        "spec.search.space[].choice[]",
        "a value of whatever the field at the path takes, which the operator checks",
    ),
    ("spec.search.space[].uniform.min", "the field at the path decides"),
    ("spec.search.space[].uniform.max", "the field at the path decides"),
    (
        "spec.search.space[].logUniform.min",
        "a rule says above 0; the field at the path decides",
    ),
    (
        "spec.search.space[].logUniform.max",
        "the field at the path decides",
    ),
    ("spec.hyperparameters.schedule.factor", "a rule says 0 to 1"),
    (
        "spec.hyperparameters.schedule.finalLearningRate",
        "a rule says at least 0; too large a one diverges",
    ),
    (
        "spec.hyperparameters.schedule.decay",
        "a rule says at least 0; a larger one is a slower training",
    ),
    ("spec.costPerHour", "a price, of any currency; at least 0"),
    (
        "spec.warmup.rows[]",
        "a row of any shape, which the model's signature decides upon",
    ),
    (
        "spec.podOverrides.tolerations[].tolerationSeconds",
        "Kubernetes takes any, below 0 for none",
    ),
    (
        "spec.tolerations[].tolerationSeconds",
        "Kubernetes takes any, below 0 for none",
    ),
];

#[test]
fn every_value_of_a_spec_is_bounded() {
    let mut unused: BTreeSet<&str> = UNBOUNDED.iter().map(|(path, _)| *path).collect();
    for definition in manifest::definitions().unwrap() {
        let kind = definition.spec.names.kind.clone();
        let mut all = Vec::new();
        places(&schema(&kind)["properties"]["spec"], "spec", &mut all);
        for (path, place) in all {
            let has = |names: &[&str]| names.iter().all(|name| place.get(name).is_some());
            let bounded = match place["type"].as_str() {
                Some("object") => place.get("additionalProperties").is_none() || has(&["maxProperties"]),
                Some("array") => has(&["maxItems"]),
                Some("string") => has(&["enum"]) || has(&["maxLength"]),
                Some("integer" | "number") => has(&["minimum", "maximum"]),
                Some("boolean") => true,
                _ => has(&["minimum", "maxLength", "pattern"]),
            };
            let excused = unused.remove(path.as_str()) || UNBOUNDED.iter().any(|(name, _)| *name == path);
            assert!(bounded || excused, "{kind}: {path} has no bound: {place}");
        }
    }
    assert!(unused.is_empty(), "no longer there: {unused:?}");
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
