//! What the pods are given, as one name; and how a live Deployment tells what it was given.
//!
//! ```text
//!   revision = artifact (URI, digest), resources, accelerator (name, count), warm-up, custom server, credentials, pod
//!              overrides, scheduling, cache
//! ```
//!
//! Only what the user's spec says is in it. The number of replicas, the operator's images and what a profile
//! contains are not: scaling, an upgrade of the operator and the edit of a profile restart no running pod.
//!
//! A field that a later version adds must be left out of its JSON while it holds its default, or every
//! deployment would roll after an upgrade.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sconce_contract::Warmup;
use sconce_contract::credentials::CredentialsRef;
use sconce_contract::digest::short_hash;
use sconce_crds::ModelDeploymentSpec;
use sconce_crds::cache::Cache;
use sconce_crds::custom::CustomServer;
use sconce_crds::deployment::{Revision, TrainingSource};
use sconce_crds::scheduling::ServingScheduling;

use sconce_crds::overrides::PodOverrides;
use sconce_crds::resources::{Accelerator, ServingResources};
use serde::Serialize;

use crate::labels;
use crate::seen::Deployment;

/// Hexadecimal digits of a digest that people are shown: enough to tell any two artifacts apart.
const SHOWN: usize = 12;

/// An artifact, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// URI of its folder, without a slash at the end.
    pub uri: String,
    /// Its digest, `sha256:HEX`, where it is known.
    pub digest: Option<String>,
    /// The training that it came from.
    pub training: Option<TrainingSource>,
}

impl Model {
    /// For people: `tumour @ sha256:0123456789ab`.
    pub fn title(&self) -> String {
        let name = self
            .training
            .as_ref()
            .map_or(&self.uri, |training| &training.name);
        match &self.digest {
            Some(digest) => format!("{name} @ {}", short(digest)),
            None => name.clone(),
        }
    }
}

/// The beginning of a digest, for people.
pub fn short(digest: &str) -> &str {
    let end = "sha256:".len() + SHOWN;
    digest.get(..end).unwrap_or(digest)
}

/// A model in a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Ten hexadecimal digits over what the pods are given.
    pub revision: String,
    /// What they serve.
    pub model: Model,
}

impl Served {
    /// The model in the shape that a spec gives it.
    pub fn of(model: Model, spec: &ModelDeploymentSpec) -> Self {
        let given = Given(
            &model.uri,
            model.digest.as_deref(),
            &spec.resources,
            spec.accelerator.as_ref(),
            spec.warmup.as_ref(),
            spec.custom(),
            spec.model.credentials_ref.as_ref(),
            spec.pod_overrides.as_ref().filter(|added| !added.is_empty()),
            spec.caching(),
        );
        let revision = if spec.scheduling == ServingScheduling::default() {
            short_hash(&given)
        } else {
            short_hash(&(given, &spec.scheduling))
        };
        Served { revision, model }
    }

    /// What a live Deployment was made for.
    pub fn read(live: &Deployment) -> Option<Self> {
        let annotation = |key: &str| live.annotations().get(key).cloned();
        let training = annotation(labels::TRAINING)
            .zip(annotation(labels::TRAINING_UID))
            .map(|(name, uid)| TrainingSource { name, uid });
        let model = Model {
            uri: annotation(labels::MODEL_URI)?,
            digest: annotation(labels::MODEL_DIGEST),
            training,
        };
        Some(Served {
            revision: annotation(labels::REVISION)?,
            model,
        })
    }

    /// The same, as annotations. A key without a value is one that the Deployment must not carry.
    pub fn annotations(&self) -> BTreeMap<&'static str, Option<String>> {
        let training = self.model.training.as_ref();
        [
            (labels::REVISION, Some(self.revision.clone())),
            (labels::MODEL_URI, Some(self.model.uri.clone())),
            (labels::MODEL_DIGEST, self.model.digest.clone()),
            (labels::TRAINING, training.map(|training| training.name.clone())),
            (
                labels::TRAINING_UID,
                training.map(|training| training.uid.clone()),
            ),
        ]
        .into()
    }

    /// The same, as the status tells it.
    pub fn told(&self, ready_replicas: i32, completed: Option<Time>) -> Revision {
        Revision {
            name: self.revision.clone(),
            uri: self.model.uri.clone(),
            digest: self.model.digest.clone(),
            ready_replicas,
            completed,
            training: self.model.training.clone(),
        }
    }
}

impl From<&Revision> for Served {
    fn from(told: &Revision) -> Self {
        let model = Model {
            uri: told.uri.clone(),
            digest: told.digest.clone(),
            training: told.training.clone(),
        };
        Served {
            revision: told.name.clone(),
            model,
        }
    }
}

/// What the pods are given. What a later version adds comes last and is left out while it says nothing.
#[derive(Serialize)]
struct Given<'a>(
    &'a str,
    Option<&'a str>,
    &'a ServingResources,
    Option<&'a Accelerator>,
    Option<&'a Warmup>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<&'a CustomServer>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<&'a CredentialsRef>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<&'a PodOverrides>,
    #[serde(skip_serializing_if = "Option::is_none")] Option<&'a Cache>,
);

/// Name of a revision's Deployment, and of what its pods claim devices from.
pub fn workload_name(deployment: &str, revision: &str) -> String {
    format!("{deployment}-{revision}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn model() -> Model {
        Model {
            uri: "pvc://a/b".to_owned(),
            digest: Some(format!("sha256:{}", "ab".repeat(32))),
            training: Some(TrainingSource {
                name: "iris".to_owned(),
                uid: "u1".to_owned(),
            }),
        }
    }

    fn spec(change: &Value) -> ModelDeploymentSpec {
        let mut spec = json!({"model": {"uri": "pvc://a/b"}});
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn revision(change: &Value) -> String {
        Served::of(model(), &spec(change)).revision
    }

    #[test]
    fn what_the_pods_are_given_makes_a_revision() {
        let base = revision(&json!({}));
        assert_eq!(base.len(), 10);
        for change in [
            json!({"resources": {"memory": "1Gi"}}),
            json!({"accelerator": {"profile": "l4"}}),
            json!({"warmup": {"rows": [[1, 2]]}}),
            json!({"scheduling": {"priorityClassName": "serving"}}),
            json!({"server": {"custom": {"image": "a", "readinessPath": "/"}}}),
            json!({"podOverrides": {"labels": {"team": "a"}}}),
            json!({"cache": {"strategy": "Node"}}),
            json!({"model": {"uri": "https://a/b", "credentialsRef": {"name": "a"}}}),
        ] {
            assert_ne!(revision(&change), base, "{change}");
        }
        assert_ne!(
            revision(&json!({"accelerator": {"profile": "l4", "count": 1}})),
            revision(&json!({"accelerator": {"profile": "l4", "count": 2}}))
        );
        for other in [
            Model {
                digest: None,
                ..model()
            },
            Model {
                uri: "pvc://a/c".to_owned(),
                ..model()
            },
        ] {
            assert_ne!(Served::of(other, &spec(&json!({}))).revision, base);
        }
    }

    #[test]
    fn everything_else_makes_none() {
        let base = revision(&json!({}));
        for change in [
            json!({"replicas": 7}),
            json!({"scheduling": {}}),
            json!({"cache": {"strategy": "None"}}),
            json!({"server": {}, "podOverrides": {"labels": {}}}),
            json!({"resources": {"cpu": "500m", "memory": "256Mi"}}),
            json!({"model": {"trainingRef": {"name": "x"}}}),
        ] {
            assert_eq!(revision(&change), base, "{change}");
        }
        let elsewhere = Model {
            training: None,
            ..model()
        };
        assert_eq!(Served::of(elsewhere, &spec(&json!({}))).revision, base);
    }

    #[test]
    fn the_name_of_a_revision_outlives_versions_of_the_operator() {
        // If this fails, every deployment in every cluster would roll at the next upgrade.
        assert_eq!(revision(&json!({})), "cdba5ac7a4");
    }

    #[test]
    fn a_deployment_tells_what_it_was_made_for() {
        for model in [
            model(),
            Model {
                digest: None,
                training: None,
                ..model()
            },
        ] {
            let served = Served::of(model, &spec(&json!({})));
            let mut live = Deployment::default();
            for (key, value) in served.annotations() {
                if let Some(value) = value {
                    live.metadata.annotations.insert(key, value);
                }
            }
            assert_eq!(Served::read(&live), Some(served.clone()));
            assert_eq!(Served::from(&served.told(3, None)), served);
        }
        assert_eq!(Served::read(&Deployment::default()), None);
    }

    #[test]
    fn people_are_shown_the_beginning_of_the_digest() {
        assert_eq!(model().title(), "iris @ sha256:abababababab");
        assert_eq!(
            Model {
                training: None,
                digest: None,
                ..model()
            }
            .title(),
            "pvc://a/b"
        );
    }
}
