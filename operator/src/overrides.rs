//! What a spec adds to its pods: checked against what the AcceleratorProfile says, then put into the template.
//!
//! Both only add. Where they say different things of the same name, neither wins: the spec is refused with both.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapVolumeSource, EmptyDirVolumeSource, EnvFromSource, EnvVar,
    LocalObjectReference, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, SecretEnvSource,
    SecretVolumeSource, Volume, VolumeMount,
};
use sconce_crds::overrides::{EmptyDir, Medium, PodOverrides, PodVolume, Variable, VariableSource};

use crate::accelerator::Resolved;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::volumes::Source;

/// The field in which they are said.
const FIELD: &str = "spec.podOverrides";
/// What the names of the user's volumes begin with in a pod.
const PREFIX: &str = "user-";

/// Makes sure that the overrides and the profile do not contradict one another.
///
/// # Errors
/// A node label or a variable of which both say something, and not the same.
pub fn fit(overrides: &PodOverrides, accelerator: &Resolved, profile: &str) -> Result<(), Problem> {
    let conflict = |field: &str, name: &str, ours: &str, theirs: &str| {
        Problem::new(
            Reason::OverrideConflict,
            format!("{FIELD}.{field}"),
            format!(
                "{name:?} is {ours:?} here and {theirs:?} in the AcceleratorProfile {profile:?} (spec.{field}); \
                 remove it here, or choose another profile"
            ),
        )
    };
    for (key, value) in &overrides.node_selector {
        if let Some(theirs) = accelerator
            .node_selector
            .get(key)
            .filter(|theirs| *theirs != value)
        {
            return Err(conflict("nodeSelector", key, value, theirs));
        }
    }
    for Variable { name, value } in &overrides.env {
        let theirs = accelerator.env.iter().find(|variable| variable.name == *name);
        let theirs = theirs.map(|variable| variable.value.clone().unwrap_or_default());
        if let Some(theirs) = theirs.filter(|theirs| theirs != value) {
            return Err(conflict("env", name, value, &theirs));
        }
    }
    Ok(())
}

/// Claims and ConfigMaps that the volumes name: without one of them a pod waits, and only its events say why.
pub fn sources(overrides: Option<&PodOverrides>) -> BTreeSet<Source> {
    let volumes = overrides.iter().flat_map(|overrides| &overrides.volumes);
    volumes.filter_map(source).collect()
}

/// The first claim or ConfigMap that a volume names and that is `missing`.
///
/// # Errors
/// With the name of the volume.
pub fn exist(overrides: Option<&PodOverrides>, missing: &BTreeSet<Source>) -> Result<(), Problem> {
    for volume in overrides.iter().flat_map(|overrides| &overrides.volumes) {
        if let Some(source) = source(volume).filter(|source| missing.contains(source)) {
            let field = format!("{FIELD}.volumes[{}]", volume.name);
            return Err(crate::training::validate::absent(&field, &source));
        }
    }
    Ok(())
}

fn source(volume: &PodVolume) -> Option<Source> {
    let claim = volume.persistent_volume_claim.as_ref();
    claim
        .map(|claim| Source::Claim(claim.claim_name.clone()))
        .or_else(|| {
            volume
                .config_map
                .as_ref()
                .map(|map| Source::ConfigMap(map.name.clone()))
        })
}

/// Adds the overrides to a template. What the operator has put there stays.
pub fn add(template: &mut PodTemplateSpec, overrides: &PodOverrides) {
    let metadata = template.metadata.get_or_insert_default();
    let labels = metadata.labels.get_or_insert_default();
    for (key, value) in &overrides.labels {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if !overrides.annotations.is_empty() {
        metadata
            .annotations
            .get_or_insert_default()
            .extend(overrides.annotations.clone());
    }
    let spec = template.spec.get_or_insert_default();
    spec.service_account_name
        .clone_from(&overrides.service_account_name);
    if !overrides.image_pull_secrets.is_empty() {
        let secrets = overrides.image_pull_secrets.iter();
        spec.image_pull_secrets = Some(
            secrets
                .map(|secret| LocalObjectReference {
                    name: secret.name.clone(),
                })
                .collect(),
        );
    }
    if !overrides.node_selector.is_empty() {
        spec.node_selector
            .get_or_insert_default()
            .extend(overrides.node_selector.clone());
    }
    for toleration in &overrides.tolerations {
        let all = spec.tolerations.get_or_insert_default();
        if !all.contains(toleration) {
            all.push(toleration.clone());
        }
    }
    for given in &overrides.volumes {
        spec.volumes.get_or_insert_default().push(volume(given));
    }
    into_container(spec, overrides);
}

fn into_container(spec: &mut PodSpec, overrides: &PodOverrides) {
    let Some(container) = spec.containers.first_mut() else {
        return;
    };
    for Variable { name, value } in &overrides.env {
        let all = container.env.get_or_insert_default();
        let value = Some(value.clone());
        // A variable that is set by default only, such as HOME, gives way; a profile's says the same.
        match all.iter_mut().find(|variable| variable.name == *name) {
            Some(variable) => variable.value = value,
            None => all.push(EnvVar {
                name: name.clone(),
                value,
                value_from: None,
            }),
        }
    }
    if !overrides.env_from.is_empty() {
        container
            .env_from
            .get_or_insert_default()
            .extend(overrides.env_from.iter().map(variables));
    }
    for given in &overrides.volumes {
        let read_only = given.read_only || given.secret.is_some() || given.config_map.is_some();
        container.volume_mounts.get_or_insert_default().push(VolumeMount {
            name: volume_name(given),
            mount_path: given.mount_path.clone(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
    }
}

fn variables(source: &VariableSource) -> EnvFromSource {
    EnvFromSource {
        prefix: source.prefix.clone(),
        secret_ref: source.secret_ref.as_ref().map(|secret| SecretEnvSource {
            name: secret.name.clone(),
            optional: None,
        }),
        config_map_ref: source.config_map_ref.as_ref().map(|map| ConfigMapEnvSource {
            name: map.name.clone(),
            optional: None,
        }),
    }
}

/// A prefix of their own keeps the user's volumes apart from the operator's.
fn volume_name(given: &PodVolume) -> String {
    format!("{PREFIX}{}", given.name)
}

/// The name that the spec gives a pod's volume; nothing for one of the operator's.
pub fn given_name(volume: &str) -> Option<&str> {
    volume.strip_prefix(PREFIX)
}

fn volume(given: &PodVolume) -> Volume {
    Volume {
        name: volume_name(given),
        secret: given.secret.as_ref().map(|secret| SecretVolumeSource {
            secret_name: Some(secret.secret_name.clone()),
            ..SecretVolumeSource::default()
        }),
        config_map: given.config_map.as_ref().map(|map| ConfigMapVolumeSource {
            name: map.name.clone(),
            ..ConfigMapVolumeSource::default()
        }),
        persistent_volume_claim: given.persistent_volume_claim.as_ref().map(|claim| {
            PersistentVolumeClaimVolumeSource {
                claim_name: claim.claim_name.clone(),
                read_only: None,
            }
        }),
        empty_dir: given.empty_dir.as_ref().map(empty_dir),
        ..Volume::default()
    }
}

fn empty_dir(given: &EmptyDir) -> EmptyDirVolumeSource {
    EmptyDirVolumeSource {
        medium: given.medium.map(|Medium::Memory| "Memory".to_owned()),
        size_limit: given.size_limit.as_ref().map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn overrides(value: Value) -> PodOverrides {
        serde_json::from_value(value).unwrap()
    }

    fn accelerator() -> Resolved {
        Resolved {
            node_selector: [("zone".to_owned(), "a".to_owned())].into(),
            tolerations: serde_json::from_value(json!([{"key": "gpu", "operator": "Exists"}])).unwrap(),
            env: serde_json::from_value(json!([{"name": "DEBUG", "value": "0"}])).unwrap(),
            ..Resolved::default()
        }
    }

    #[test]
    fn what_contradicts_the_profile_is_refused_with_both() {
        for (given, field) in [
            (
                json!({"nodeSelector": {"zone": "b"}}),
                "spec.podOverrides.nodeSelector",
            ),
            (
                json!({"env": [{"name": "DEBUG", "value": "1"}]}),
                "spec.podOverrides.env",
            ),
        ] {
            let problem = fit(&overrides(given), &accelerator(), "l4").unwrap_err();
            assert_eq!(problem.field, field);
            assert!(
                problem.message.contains("AcceleratorProfile \"l4\""),
                "{}",
                problem.message
            );
        }
        let same =
            json!({"nodeSelector": {"zone": "a", "disk": "ssd"}, "env": [{"name": "DEBUG", "value": "0"}]});
        assert_eq!(fit(&overrides(same), &accelerator(), "l4"), Ok(()));
    }

    #[test]
    fn what_is_added_leaves_what_is_there() {
        let mut template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"sconce.dev/training": "iris"}},
            "spec": {
                "containers": [{
                    "name": "sconce", "env": [{"name": "HOME", "value": "/tmp"}],
                    "volumeMounts": [{"name": "plan", "mountPath": "/etc/sconce"}],
                }],
                "volumes": [{"name": "plan"}],
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "nodeSelector": {"zone": "a"},
            }
        }))
        .unwrap();
        let given = overrides(json!({
            "labels": {"team": "a", "sconce.dev/training": "other"}, "annotations": {"note": "x"},
            "env": [{"name": "A", "value": "1"}, {"name": "HOME", "value": "/work"}],
            "envFrom": [{"secretRef": {"name": "keys"}, "prefix": "K_"}, {"configMapRef": {"name": "more"}}],
            "serviceAccountName": "reader", "imagePullSecrets": [{"name": "pull"}],
            "tolerations": [{"key": "gpu", "operator": "Exists"}, {"key": "spot", "operator": "Exists"}],
            "nodeSelector": {"disk": "ssd"},
            "volumes": [
                {"name": "plan", "mountPath": "/keys", "secret": {"secretName": "keys"}},
                {"name": "scratch", "mountPath": "/scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
                {"name": "data", "mountPath": "/data", "readOnly": true, "persistentVolumeClaim": {"claimName": "tables"}},
                {"name": "map", "mountPath": "/map", "configMap": {"name": "settings"}},
            ],
        }));
        add(&mut template, &given);
        let written = serde_json::to_value(&template).unwrap();
        assert_eq!(
            written["metadata"],
            json!({"labels": {"sconce.dev/training": "iris", "team": "a"}, "annotations": {"note": "x"}})
        );
        let spec = &written["spec"];
        assert_eq!(spec["serviceAccountName"], "reader");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
        assert_eq!(
            spec["tolerations"],
            json!([{"key": "gpu", "operator": "Exists"}, {"key": "spot", "operator": "Exists"}])
        );
        assert_eq!(spec["nodeSelector"], json!({"zone": "a", "disk": "ssd"}));
        assert_eq!(
            spec["volumes"],
            json!([
                {"name": "plan"},
                {"name": "user-plan", "secret": {"secretName": "keys"}},
                {"name": "user-scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
                {"name": "user-data", "persistentVolumeClaim": {"claimName": "tables"}},
                {"name": "user-map", "configMap": {"name": "settings"}},
            ])
        );
        let container = &spec["containers"][0];
        assert_eq!(
            container["env"],
            json!([{"name": "HOME", "value": "/work"}, {"name": "A", "value": "1"}])
        );
        assert_eq!(
            container["envFrom"],
            json!([{"secretRef": {"name": "keys"}, "prefix": "K_"}, {"configMapRef": {"name": "more"}}])
        );
        let read_only: Vec<&Value> = container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| &mount["readOnly"])
            .collect();
        assert_eq!(
            read_only,
            [
                &Value::Null,
                &json!(true),
                &Value::Null,
                &json!(true),
                &json!(true)
            ]
        );
    }

    #[test]
    fn a_claim_or_a_map_that_is_not_there_is_named_with_its_volume() {
        let given = overrides(json!({"volumes": [
            {"name": "data", "mountPath": "/data", "persistentVolumeClaim": {"claimName": "tables"}},
            {"name": "keys", "mountPath": "/keys", "secret": {"secretName": "keys"}},
        ]}));
        let claim = Source::Claim("tables".to_owned());
        assert_eq!(sources(Some(&given)), [claim.clone()].into());
        let problem = exist(Some(&given), &[claim].into()).unwrap_err();
        assert_eq!(problem.field, "spec.podOverrides.volumes[data]");
        assert_eq!(exist(Some(&given), &BTreeSet::new()), Ok(()));
    }
}
