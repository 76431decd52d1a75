//! A Deployment: what it was made for, how many pods it has, and what these ask of a node. Not: the rest of its pod
//! template, which is never rewritten.

use kube::Resource;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Condition, Kept, Map, Metadata, Seen, list, list_of};

/// The one condition that is read.
const READ: &str = "ReplicaFailure";

/// A Deployment of ours.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, Resource)]
#[resource(inherit = k8s_openapi::api::apps::v1::Deployment)]
pub struct Deployment {
    /// Who and whose it is, and what it was made for.
    #[serde(default)]
    pub metadata: Metadata,
    /// What it is to have.
    pub spec: Option<DeploymentSpec>,
    /// What it has.
    pub status: Option<DeploymentStatus>,
}

impl Seen<k8s_openapi::api::apps::v1::Deployment> for Deployment {}

impl Deployment {
    /// Its annotations that are read.
    pub fn annotations(&self) -> &Kept {
        &self.metadata.annotations
    }

    /// What its pods are made of.
    pub fn template(&self) -> Option<&TemplateSpec> {
        self.spec.as_ref()?.template.spec.as_ref()
    }
}

/// What a Deployment is to have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeploymentSpec {
    /// Pods.
    pub replicas: Option<i32>,
    /// What they are made of.
    pub template: Template,
}

/// What pods are made of.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Template {
    /// What they are.
    pub spec: Option<TemplateSpec>,
}

/// What pods ask of a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TemplateSpec {
    /// Labels that it must have.
    pub node_selector: Map,
    /// Containers.
    #[serde(deserialize_with = "list")]
    pub containers: Option<Vec<TemplateContainer>>,
    /// Folders of the node.
    #[serde(deserialize_with = "folders")]
    pub volumes: Option<Vec<Folder>>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TemplateContainer {
    /// What it asks for.
    pub resources: Requests,
}

/// What a container asks for. Limits are the same: [`crate::pod`] writes both.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Requests {
    /// Quantities by the name of the resource.
    pub requests: Map,
}

/// A volume that is a folder of the node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Folder {
    /// Where; nothing where the volume is something else.
    pub host_path: Option<HostPath>,
}

/// A folder of a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct HostPath {
    /// Its path.
    pub path: String,
}

/// What a Deployment has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DeploymentStatus {
    /// Which spec it speaks of.
    pub observed_generation: Option<i64>,
    /// Pods that answer.
    pub ready_replicas: Option<i32>,
    /// Why the API server makes no pod of it, where that is so; no other conditions.
    #[serde(deserialize_with = "conditions")]
    pub conditions: Option<Vec<Condition>>,
}

impl DeploymentStatus {
    /// Why the API server makes no pod, where that was so at some time.
    pub fn replica_failure(&self) -> Option<&Condition> {
        let mut all = self.conditions.iter().flatten();
        all.find(|condition| condition.type_ == READ)
    }
}

fn folders<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Folder>>, D::Error> {
    list_of(deserializer, |volume: &Folder| volume.host_path.is_some())
}

fn conditions<'de, D>(deserializer: D) -> Result<Option<Vec<Condition>>, D::Error>
where
    D: Deserializer<'de>,
{
    list_of(deserializer, |condition: &Condition| condition.type_ == READ)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::labels;

    #[test]
    fn of_a_deployment_what_its_pods_ask_of_a_node_is_kept() {
        let failure = json!({
            "type": READ, "status": "True", "reason": "FailedCreate", "message": "quota",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let live: Deployment = serde_json::from_value(json!({
            "metadata": {"name": "d", "annotations": {labels::MODEL_URI: "pvc://a/b", "team": "a"}},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"annotations": {labels::PLAN: "{}"}, "labels": {"a": "b"}},
                    "spec": {
                        "nodeSelector": {"pool": "gpu"},
                        "volumes": [{"name": "v"}, {"name": "models", "hostPath": {"path": "/var/models", "type": ""}}],
                        "containers": [{"name": "c", "args": ["x"], "resources": {"requests": {"cpu": "1"}}}],
                    },
                },
            },
            "status": {
                "observedGeneration": 3, "readyReplicas": 2, "replicas": 2,
                "conditions": [{"type": "Available", "status": "True"}, failure],
            },
        }))
        .unwrap();
        let kept = serde_json::to_value(&live).unwrap();
        let pod = json!({
            "nodeSelector": {"pool": "gpu"}, "volumes": [{"hostPath": {"path": "/var/models"}}],
            "containers": [{"resources": {"requests": {"cpu": "1"}}}],
        });
        assert_eq!(kept["spec"], json!({"replicas": 2, "template": {"spec": pod}}));
        assert_eq!(
            kept["metadata"]["annotations"],
            json!({labels::MODEL_URI: "pvc://a/b"})
        );
        assert_eq!(
            kept["status"],
            json!({"observedGeneration": 3, "readyReplicas": 2, "conditions": [failure]})
        );
    }
}
