//! What is served already, for gates with `beats`.

use kube::ResourceExt;
use sconce_contract::plan::Served;
use sconce_crds::{ModelDeployment, ModelTraining};

use crate::problem::Problem;
use crate::reason::Reason;

/// What a deployment serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Its name.
    pub deployment: String,
    /// The artifact.
    pub artifact: Served,
}

/// Whether a gate asks for it.
pub fn is_asked(training: &ModelTraining) -> bool {
    training
        .spec
        .evaluation
        .gates
        .iter()
        .any(|gate| gate.beats.is_some())
}

/// What the deployments that follow this training serve: of each the newest revision whose rollout was complete.
pub fn serving<'a>(
    training: &ModelTraining,
    deployments: impl Iterator<Item = &'a ModelDeployment>,
) -> Vec<Serving> {
    let uid = training.uid().unwrap_or_default();
    let mut all: Vec<Serving> = deployments
        .filter_map(|deployment| {
            let revisions = &deployment.status.as_ref()?.revisions;
            // Another training of the same name is another source.
            let ours = |uid_of: &str| uid_of == uid;
            let complete = revisions.iter().find(|revision| {
                let training = revision.training.as_ref();
                revision.completed.is_some() && training.is_some_and(|training| ours(&training.uid))
            })?;
            Some(Serving {
                deployment: deployment.name_any(),
                artifact: Served {
                    uri: complete.uri.clone(),
                    digest: complete.digest.clone()?,
                },
            })
        })
        .collect();
    all.sort_by(|one, other| one.deployment.cmp(&other.deployment));
    all
}

/// The one model that all of them serve; nothing where none serves any.
///
/// # Errors
/// They serve several.
pub fn the_one(serving: &[Serving]) -> Result<Option<Served>, Problem> {
    let Some(first) = serving.first() else {
        return Ok(None);
    };
    match serving
        .iter()
        .find(|other| other.artifact.digest != first.artifact.digest)
    {
        None => Ok(Some(first.artifact.clone())),
        Some(other) => Err(Problem::new(
            Reason::IncumbentUnclear,
            "spec.evaluation.gates",
            format!(
                "a gate is to beat the incumbent, but the ModelDeployments {:?} and {:?} serve different models of \
                 this training; promote the same one in both, or take `beats` out of the gates",
                first.deployment, other.deployment
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(name: &str, uid: &str, digests: &[(&str, bool)]) -> ModelDeployment {
        let revisions: Vec<_> = digests
            .iter()
            .map(|(digest, complete)| {
                let mut revision = json!({
                    "name": digest, "uri": format!("pvc://models/{digest}"), "digest": digest, "readyReplicas": 1,
                    "training": {"name": "iris", "uid": uid},
                });
                if *complete {
                    revision["completed"] = json!("2026-01-01T00:00:00Z");
                }
                revision
            })
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": name}, "spec": {"model": {"trainingRef": {"name": "iris"}}},
            "status": {"revisions": revisions},
        }))
        .unwrap()
    }

    fn training() -> ModelTraining {
        serde_json::from_value(json!({
            "metadata": {"name": "iris", "uid": "u"},
            "spec": {"model": {}, "dataset": {"uri": "file:///a.csv", "target": "y"},
                     "evaluation": {"gates": [{"metric": "auroc", "beats": "Incumbent"}]}},
        }))
        .unwrap()
    }

    #[test]
    fn what_is_served_is_the_newest_revision_that_was_rolled_out() {
        let training = training();
        assert!(is_asked(&training));
        let one = deployment("a", "u", &[("new", false), ("old", true), ("older", true)]);
        let same = deployment("b", "u", &[("old", true)]);
        let of_another = deployment("c", "other", &[("else", true)]);
        let none_yet = deployment("d", "u", &[("new", false)]);
        let all = [one.clone(), same, of_another, none_yet.clone()];
        let found = the_one(&serving(&training, all.iter())).unwrap().unwrap();
        assert_eq!(
            (found.digest.as_str(), found.uri.as_str()),
            ("old", "pvc://models/old")
        );
        assert_eq!(the_one(&serving(&training, [none_yet].iter())).unwrap(), None);
        let different = [deployment("b", "u", &[("new", true)]), one];
        let problem = the_one(&serving(&training, different.iter())).unwrap_err();
        assert_eq!(problem.reason, Reason::IncumbentUnclear);
        assert!(
            problem.message.contains("\"a\" and \"b\" serve different models"),
            "{}",
            problem.message
        );
    }
}
