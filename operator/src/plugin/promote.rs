//! `kubectl sconce promote NAME [DIGEST]`: says by the annotation which artifact a deployment serves.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use sconce_crds::deployment::{PROMOTE_ANNOTATION, Promotion, TrainingSource};
use sconce_crds::{ModelDeployment, ModelTraining, ModelTrainingStatus};
use serde_json::json;

use super::PluginError;
use super::cluster::{Asked, Cluster, Kind};
use crate::deployment::resolve;

/// Who is said to have set the annotation.
const MANAGER: &str = "kubectl-sconce";

/// What is promoted.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Name of the ModelDeployment, with or without mdep/.
    pub object: Asked,
    /// Digest of the artifact, or its first 12 digits or more. By default that of the training's last finished run.
    pub digest: Option<String>,
    /// Also where the artifact missed its gates.
    #[arg(long)]
    pub force: bool,
}

/// Sets the annotation.
///
/// # Errors
/// When there is nothing to promote, or the artifact missed its gates and `force` is not set.
pub async fn run(cluster: &Cluster, options: &Options) -> Result<(), PluginError> {
    let asked = Asked {
        kind: Some(options.object.kind.unwrap_or(Kind::Deployment)),
        name: options.object.name.clone(),
    };
    if asked.kind == Some(Kind::Training) {
        return Err(PluginError::Refused(
            "it is a ModelDeployment that serves what is promoted: give mdep/NAME".to_owned(),
        ));
    }
    let deployment = cluster.find::<ModelDeployment>(&asked.name).await?;
    let deployment = deployment.ok_or_else(|| cluster.not_found(&asked))?;
    let training = match &deployment.spec.model.training_ref {
        Some(reference) => cluster.find::<ModelTraining>(&reference.name).await?,
        None => None,
    };
    let digest = choose(
        &deployment,
        training.as_ref(),
        options.digest.as_deref(),
        options.force,
    )?;
    let change = Patch::Merge(json!({"metadata": {"annotations": {PROMOTE_ANNOTATION: digest}}}));
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let changed = cluster
        .api::<ModelDeployment>()
        .patch(&asked.name, &parameters, &change)
        .await;
    changed.map_err(PluginError::api(format!(
        "set an annotation of modeldeployments {}",
        asked.name
    )))?;
    let (name, namespace) = (&asked.name, &cluster.namespace);
    println!("{digest} is promoted; `kubectl sconce why mdep/{name} -n {namespace}` shows how it rolls out");
    Ok(())
}

/// The digest to write: what the API would follow and a person may want. Pure.
fn choose(
    deployment: &ModelDeployment,
    training: Option<&ModelTraining>,
    asked: Option<&str>,
    force: bool,
) -> Result<String, PluginError> {
    let name = deployment.name_any();
    let Some(reference) = &deployment.spec.model.training_ref else {
        return Err(PluginError::Refused(format!(
            "mdep/{name} serves what spec.model.uri names, and no training: change spec.model.uri or spec.model.digest"
        )));
    };
    if reference.promotion != Promotion::Manual {
        return Err(PluginError::Refused(format!(
            "mdep/{name} serves by itself what passes its gates, and the annotation would change nothing: set \
             spec.model.trainingRef.promotion to Manual first"
        )));
    }
    let Some(training) = training else {
        return Err(PluginError::Refused(format!(
            "there is no ModelTraining named {:?}, which spec.model.trainingRef.name names: create it, or correct the name",
            reference.name
        )));
    };
    let nothing = ModelTrainingStatus::default();
    let status = training.status.as_ref().unwrap_or(&nothing);
    let (asked, candidate) = match (asked, &status.candidate) {
        (Some(asked), _) => (asked.trim().to_ascii_lowercase(), status.candidate.as_ref()),
        (None, Some(candidate)) => (candidate.digest.clone(), Some(candidate)),
        (None, None) => {
            return Err(PluginError::Nothing(format!(
                "the ModelTraining {:?} has left no artifact yet: `kubectl sconce why mtrain/{}` tells how far it is",
                reference.name, reference.name
            )));
        }
    };
    let hex = asked.strip_prefix("sha256:").unwrap_or(&asked);
    let is = |digest: &str| {
        digest
            .strip_prefix("sha256:")
            .is_some_and(|digest| digest.starts_with(hex))
    };
    let known = known(deployment, training, status);
    let mut fitting = known.iter().filter(|digest| is(digest));
    let digest = match (hex.len() >= 12, fitting.next(), fitting.next()) {
        (false, ..) => {
            return Err(PluginError::Refused(format!(
                "{asked:?} is too short for a digest: give at least 12 of its digits; {}",
                listed(&known)
            )));
        }
        (true, Some(digest), None) => digest.clone(),
        (true, Some(_), Some(_)) => {
            return Err(PluginError::Refused(format!(
                "{asked:?} is the beginning of more than one digest: give more of it"
            )));
        }
        (true, None, _) => {
            return Err(PluginError::Refused(format!(
                "no artifact of the ModelTraining {:?} has the digest {asked:?}: {}",
                reference.name,
                listed(&known)
            )));
        }
    };
    let is_candidate = candidate.is_some_and(|candidate| candidate.digest == digest);
    match resolve::missed(status).filter(|_| is_candidate && !force) {
        Some(why) => Err(PluginError::Refused(format!(
            "{digest} missed its gates: {why}; --force promotes it all the same"
        ))),
        None => Ok(digest),
    }
}

/// Digests that the operator would follow: what the training left, and what the deployment served or serves of it. One of
/// the same name that was there before is another training.
fn known(
    deployment: &ModelDeployment,
    training: &ModelTraining,
    status: &ModelTrainingStatus,
) -> Vec<String> {
    let left = status
        .candidate
        .iter()
        .chain(&status.artifact)
        .map(|artifact| artifact.digest.clone());
    let source = TrainingSource {
        name: training.name_any(),
        uid: training.uid().unwrap_or_default(),
    };
    let revisions = deployment.status.iter().flat_map(|status| &status.revisions);
    let revisions = revisions.filter(|revision| revision.training.as_ref() == Some(&source));
    let mut all: Vec<String> = left
        .chain(revisions.filter_map(|revision| revision.digest.clone()))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        "it has left none yet".to_owned()
    } else {
        format!("known are {}", known.join(", "))
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn deployment(model: serde_json::Value) -> ModelDeployment {
        serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "iris"},
            "spec": {"model": model},
        }))
        .unwrap()
    }

    fn manual() -> ModelDeployment {
        deployment(json!({"trainingRef": {"name": "iris", "promotion": "Manual"}}))
    }

    fn training(passed: &str) -> ModelTraining {
        let artifact = |digit| json!({"uri": "pvc://m/x", "digest": digest(digit), "sizeBytes": 1});
        serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": "iris", "uid": "t1"},
            "spec": {
                "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
                "dataset": {"uri": "https://data.example/t.csv", "target": "y"},
            },
            "status": {
                "candidate": artifact('b'), "artifact": artifact('a'),
                "conditions": [{
                    "type": "GatesPassed", "status": passed, "reason": "x", "message": "accuracy is 0.9, below 0.95",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_last_finished_run_or_the_digest_that_is_given() {
        let passed = training("True");
        for (asked, expected) in [
            (None, 'b'),
            (Some("aaaaaaaaaaaa"), 'a'),
            (Some("SHA256:bbbbbbbbbbbbb"), 'b'),
        ] {
            assert_eq!(
                choose(&manual(), Some(&passed), asked, false).unwrap(),
                digest(expected),
                "{asked:?}"
            );
        }
    }

    #[test]
    fn what_was_served_of_an_earlier_training_of_the_name_is_not_known() {
        let passed = training("True");
        for (uid, is_known) in [("t1", true), ("t0", false)] {
            let mut deployment = manual();
            deployment.status = serde_json::from_value(json!({"revisions": [{
                "name": "0123456789", "uri": "pvc://m/c", "digest": digest('c'), "readyReplicas": 1,
                "training": {"name": "iris", "uid": uid},
            }]}))
            .unwrap();
            let chosen = choose(&deployment, Some(&passed), Some("cccccccccccc"), false);
            assert_eq!(chosen.is_ok(), is_known, "{uid}");
        }
    }

    #[test]
    fn what_missed_its_gates_takes_force_and_what_passed_before_does_not() {
        let rejected = training("False");
        let refused = choose(&manual(), Some(&rejected), None, false)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("accuracy is 0.9, below 0.95") && refused.contains("--force"),
            "{refused}"
        );
        assert_eq!(
            choose(&manual(), Some(&rejected), None, true).unwrap(),
            digest('b')
        );
        assert_eq!(
            choose(&manual(), Some(&rejected), Some("aaaaaaaaaaaa"), false).unwrap(),
            digest('a')
        );
    }

    #[test]
    fn what_missed_its_gates_takes_force_also_once_another_run_waits_is_at_work_or_has_failed() {
        let gate = |passed: bool| json!([{"metric": "accuracy", "required": ">= 0.95", "observed": 0.9, "passed": passed}]);
        let mut at_work = training("Unknown");
        // Of a run that waits, is suspended or has failed, no condition speaks of gates.
        let mut waits = training("Unknown");
        waits.status.get_or_insert_default().conditions.clear();
        for training in [&mut at_work, &mut waits] {
            training.status.get_or_insert_default().gates = serde_json::from_value(gate(false)).unwrap();
            let refused = choose(&manual(), Some(&*training), None, false)
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains("missed its gates: accuracy is 0.9, and >= 0.95 is required; --force"),
                "{refused}"
            );
            let forced = choose(&manual(), Some(&*training), None, true).unwrap();
            assert_eq!(forced, digest('b'));
            let earlier = choose(&manual(), Some(&*training), Some("aaaaaaaaaaaa"), false).unwrap();
            assert_eq!(earlier, digest('a'));

            training.status.get_or_insert_default().gates = serde_json::from_value(gate(true)).unwrap();
            let passed = choose(&manual(), Some(&*training), None, false).unwrap();
            assert_eq!(passed, digest('b'));
        }
    }

    #[test]
    fn what_would_change_nothing_is_refused_with_what_would() {
        let passed = training("True");
        let automatic = deployment(json!({"trainingRef": {"name": "iris"}}));
        let of_uri = deployment(json!({"uri": "pvc://m/x"}));
        for (deployment, training, asked, says) in [
            (automatic, Some(&passed), None, "promotion to Manual"),
            (of_uri, None, None, "spec.model.uri"),
            (manual(), None, None, "no ModelTraining named \"iris\""),
            (manual(), Some(&passed), Some("aaa"), "at least 12"),
            (
                manual(),
                Some(&passed),
                Some("cccccccccccc"),
                "known are sha256:aaaa",
            ),
        ] {
            let refused = choose(&deployment, training, asked, true)
                .unwrap_err()
                .to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
