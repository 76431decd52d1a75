//! Which run a spec asks for, and which Job carries it out.
//!
//! ```text
//!   run  = what is learned:   model, dataset, hyperparameters, search, metrics, output, rerun annotation
//!   job  = how it is carried out:   run, accelerator, nodes, resources, scheduling, pod overrides,
//!                                   checkpoint, resume annotation
//! ```
//!
//! A finished run is not repeated because its pod would now get more memory; a failed one is. Gates, suspend,
//! deadlines and limits are in neither: they change without a new pod.
//!
//! A field that a later version adds must be left out of its JSON while it holds its default, or every
//! training would run again after an upgrade.

use kube::ResourceExt;
use sconce_contract::credentials::CredentialsRef;
use sconce_contract::digest::short_hash;
use sconce_contract::{Checkpoint, Dataset, Hyperparameters, MetricName, Nodes, Search};
use sconce_crds::overrides::PodOverrides;
use sconce_crds::resources::{Accelerator, TrainingResources};
use sconce_crds::scheduling::TrainingScheduling;
use sconce_crds::training::{Output, Phase, TrainedModel};
use sconce_crds::{ModelTraining, ModelTrainingStatus};
use serde::Serialize;

use crate::{labels, names};

/// The run that a spec asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Hash over what is learned.
    pub run: String,
    /// Name of the Job, and of what its pods claim devices from.
    pub job: String,
}

impl Identity {
    /// Of a training as it stands.
    pub fn of(training: &ModelTraining) -> Self {
        let spec = &training.spec;
        let mut metrics = spec.evaluation.metrics.clone();
        metrics.sort_unstable();
        let rerun = training.annotations().get(labels::RERUN);
        let run = short_hash(&Learned(
            &spec.model,
            // Who reads the table decides nothing about what is in it.
            Dataset {
                credentials_ref: None,
                ..spec.dataset.clone()
            },
            &spec.hyperparameters,
            metrics,
            // How large the claim is and on which storage decides nothing about what is learned. Another format makes
            // another artifact.
            Output {
                uri: spec.output.uri.clone(),
                formats: spec.output.formats.clone(),
                ..Output::default()
            },
            rerun,
            spec.search.as_ref(),
        ));
        // Whom it gives way to is not what its pod is made of.
        let scheduling = TrainingScheduling {
            yield_to: None,
            ..spec.scheduling.clone()
        };
        let added = spec.pod_overrides.as_ref().filter(|added| !added.is_empty());
        let checkpoint =
            (spec.checkpoint != Checkpoint::default()).then_some(("checkpoint", &spec.checkpoint));
        let credentials = spec.dataset.credentials_ref.as_ref();
        let output = spec.output.credentials_ref.as_ref();
        let how = How(
            &run,
            spec.accelerator.as_ref(),
            &spec.resources,
            &scheduling,
            added,
            checkpoint,
            credentials,
            output.map(|secret| ("output", secret)),
            (spec.nodes != Nodes::default()).then_some((
                "nodes",
                spec.nodes,
                spec.failure_policy.backoff_limit,
            )),
            training
                .annotations()
                .get(labels::RESUME)
                .map(|value| ("resume", value)),
        );
        Identity {
            job: names::hashed(&training.name_any(), &how),
            run,
        }
    }
}

/// What is learned. What a later version adds comes last and is left out while it says nothing.
#[derive(Serialize)]
struct Learned<'a>(
    &'a TrainedModel,
    Dataset,
    &'a Hyperparameters,
    Vec<MetricName>,
    Output,
    Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<&'a Search>,
);

/// How a run is carried out. What a later version adds comes last and is left out while it says nothing.
#[derive(Serialize)]
struct How<'a>(
    &'a str,
    Option<&'a Accelerator>,
    &'a TrainingResources,
    &'a TrainingScheduling,
    #[serde(skip_serializing_if = "Option::is_none")] Option<&'a PodOverrides>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<(&'a str, &'a Checkpoint)>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<&'a CredentialsRef>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<(&'a str, &'a CredentialsRef)>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<(&'a str, Nodes, i32)>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<(&'a str, &'a String)>,
);

/// Whether the run still has to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A Job is at work, or has to be.
    Due,
    /// It ended with an artifact.
    Finished,
    /// It ended without one, and would again.
    Failed,
}

/// What the status knows of the run.
pub fn stage(status: &ModelTrainingStatus, identity: &Identity) -> Stage {
    if status.completed_run.as_deref() == Some(&identity.run) {
        return Stage::Finished;
    }
    if status.phase == Some(Phase::Failed) && status.job.as_deref() == Some(&identity.job) {
        return Stage::Failed;
    }
    Stage::Due
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn training(change: &Value) -> ModelTraining {
        let mut value = json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": "iris"},
            "spec": {
                "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
                "dataset": {"uri": "file:///a.csv", "target": "y"},
            }
        });
        for (path, new) in change.as_object().unwrap() {
            *value
                .pointer_mut(path.rsplit_once('/').unwrap().0)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .entry(path.rsplit_once('/').unwrap().1)
                .or_insert(Value::Null) = new.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_learned_makes_a_new_run() {
        let base = Identity::of(&training(&json!({})));
        for change in [
            json!({"/spec/dataset/target": "z"}),
            json!({"/spec/hyperparameters": {"seed": 1}}),
            json!({"/spec/search": {"objective": {"metric": "loss"}, "space": []}}),
            json!({"/spec/evaluation": {"metrics": ["loss"]}}),
            json!({"/metadata/annotations": {"sconce.dev/rerun": "2"}}),
        ] {
            assert_ne!(Identity::of(&training(&change)).run, base.run, "{change}");
        }
    }

    #[test]
    fn how_it_is_carried_out_makes_a_new_job_of_the_same_run() {
        let base = Identity::of(&training(&json!({})));
        for change in [
            json!({"/spec/resources": {"memory": "2Gi"}}),
            json!({"/metadata/annotations": {"sconce.dev/resume": "2"}}),
        ] {
            let other = Identity::of(&training(&change));
            assert_eq!(other.run, base.run, "{change}");
            assert_ne!(other.job, base.job, "{change}");
        }
    }

    #[test]
    fn the_names_of_a_run_and_its_job_outlive_versions_of_the_operator() {
        // If this fails, every training in every cluster would run again at the next upgrade.
        let base = Identity::of(&training(&json!({})));
        assert_eq!(
            (base.run.as_str(), base.job.as_str()),
            ("d154b59b0b", "iris-8dbb3783d7")
        );
    }

    #[test]
    fn where_its_state_is_saved_is_no_reason_to_learn_again() {
        let base = Identity::of(&training(&json!({})));
        let written = json!({"/spec/checkpoint": {"every": {"interval": "5m"}, "keep": 2}});
        assert_eq!(Identity::of(&training(&written)), base, "the defaults");
        let other = Identity::of(&training(&json!({"/spec/checkpoint": {"every": {"steps": 10}}})));
        assert_eq!(other.run, base.run);
        assert_ne!(
            other.job, base.job,
            "the pod is told by its plan, which cannot change"
        );
    }

    #[test]
    fn what_is_added_to_the_pod_makes_a_new_job_unless_it_is_nothing() {
        let base = Identity::of(&training(&json!({})));
        let nothing = Identity::of(&training(&json!({"/spec/podOverrides": {"labels": {}}})));
        assert_eq!(nothing, base);
        let added = Identity::of(&training(
            &json!({"/spec/podOverrides": {"labels": {"team": "a"}}}),
        ));
        assert_eq!(added.run, base.run);
        assert_ne!(added.job, base.job);
    }

    #[test]
    fn whom_it_gives_way_to_makes_nothing_new_and_a_queue_a_new_job() {
        let base = Identity::of(&training(&json!({"/spec/scheduling": {}})));
        let of = |scheduling: Value| Identity::of(&training(&json!({"/spec/scheduling": scheduling})));
        assert_eq!(of(json!({"yieldTo": "Serving"})), base);
        let queued = of(json!({"queueName": "team-a"}));
        assert_eq!(queued.run, base.run);
        assert_ne!(queued.job, base.job);
    }

    #[test]
    fn defaults_written_out_are_the_same_run() {
        let base = Identity::of(&training(&json!({})));
        let written = training(
            &json!({"/spec/hyperparameters": {"epochs": 10, "batchSize": 32, "seed": 42}, "/spec/suspend": true}),
        );
        assert_eq!(Identity::of(&written), base);
    }

    #[test]
    fn a_run_that_ended_is_known_again_after_another_spec_was_tried() {
        let identity = Identity {
            run: "a".into(),
            job: "x-1".into(),
        };
        let mut status = ModelTrainingStatus {
            completed_run: Some("a".into()),
            run: Some("b".into()),
            ..Default::default()
        };
        assert_eq!(stage(&status, &identity), Stage::Finished);
        status.completed_run = None;
        assert_eq!(stage(&status, &identity), Stage::Due);
    }

    #[test]
    fn a_failed_run_is_tried_again_with_another_pod_only() {
        let status = ModelTrainingStatus {
            phase: Some(Phase::Failed),
            job: Some("x-1".into()),
            run: Some("a".into()),
            ..Default::default()
        };
        assert_eq!(
            stage(
                &status,
                &Identity {
                    run: "a".into(),
                    job: "x-1".into()
                }
            ),
            Stage::Failed
        );
        assert_eq!(
            stage(
                &status,
                &Identity {
                    run: "a".into(),
                    job: "x-2".into()
                }
            ),
            Stage::Due
        );
    }

    #[test]
    fn gates_and_lifecycle_change_nothing() {
        let base = Identity::of(&training(&json!({})));
        let other = training(&json!({
            "/spec/evaluation": {"gates": [{"metric": "loss", "max": 1.0}]},
            "/spec/failurePolicy": {"backoffLimit": 0}, "/spec/ttlSecondsAfterFinished": 1
        }));
        assert_eq!(Identity::of(&other), base);
    }
}
