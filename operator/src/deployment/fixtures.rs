//! Objects for tests, that read as sentences.

use std::sync::Arc;

use sconce_crds::deployment::TrainingSource;
use sconce_crds::{ModelDeployment, ModelTraining};
use serde_json::{Value, json};

use super::dereference::Found;
use super::resolve::resolve;
use super::revision::{Model, Served};
use super::rollout::Rollout;
use super::rollout::decide::Manner;
use super::workload::{self, Workload};
use crate::labels;
use crate::seen::{Deployment, Pod};

/// `sha256:` and one byte repeated.
pub fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

/// The artifact of `iris` (UID `t1`) with that digest.
pub fn model(byte: &str) -> Model {
    Model {
        uri: format!("pvc://iris-artifacts/{}", byte.repeat(32)),
        digest: Some(digest(byte)),
        training: Some(TrainingSource {
            name: "iris".to_owned(),
            uid: "t1".to_owned(),
        }),
    }
}

/// `mdep/flowers` in the namespace `ml` with this spec; what the spec leaves out has its default.
pub fn deployment(spec: &Value) -> ModelDeployment {
    serde_json::from_value(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "flowers", "namespace": "ml", "uid": "d1", "generation": 3},
        "spec": spec,
    }))
    .unwrap()
}

/// Serves what passes the gates of `iris`.
pub fn of_training() -> ModelDeployment {
    deployment(&json!({"model": {"trainingRef": {"name": "iris"}}}))
}

/// The same with so many replicas.
pub fn with_replicas(replicas: i32) -> ModelDeployment {
    deployment(&json!({"model": {"trainingRef": {"name": "iris"}}, "replicas": replicas}))
}

/// `mtrain/iris` with this status.
pub fn training(status: &Value) -> ModelTraining {
    serde_json::from_value(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining",
        "metadata": {"name": "iris", "namespace": "ml", "uid": "t1"},
        "spec": {"model": {"network": {"layers": [{"dense": {"units": 1}}]}}, "dataset": {"uri": "configmap://a/b.csv", "target": "y"}},
        "status": status,
    }))
    .unwrap()
}

/// An artifact as a training's status tells it.
pub fn artifact(byte: &str) -> Value {
    json!({"uri": model(byte).uri, "digest": digest(byte), "sizeBytes": 1})
}

/// A condition.
pub fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "R", "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// A live Deployment that was made for this, whose status speaks of its spec.
pub fn live(served: &Served) -> Deployment {
    let annotations: serde_json::Map<String, Value> = served
        .annotations()
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.into())))
        .collect();
    serde_json::from_value(json!({
        "metadata": {
            "name": "flowers", "namespace": "ml", "generation": 2, "annotations": annotations,
            "ownerReferences": [{"apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "name": "flowers", "uid": "d1", "controller": true}]
        },
        "spec": {"replicas": 1, "selector": {}, "template": {}},
        "status": {"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]}
    }))
    .unwrap()
}

/// A pod of a revision, with this status.
pub fn pod(name: &str, revision: &str, status: &Value) -> Arc<Pod> {
    let pod = json!({
        "metadata": {"name": name, "labels": {labels::REVISION: revision}},
        "spec": {"containers": [{"name": "sconce", "resources": {"limits": {"memory": "256Mi"}}}]},
        "status": status,
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// A pod that answers.
pub fn ready(name: &str, revision: &str) -> Arc<Pod> {
    pod(
        name,
        revision,
        &json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
    )
}

/// A pod that loads its model.
pub fn loading(name: &str, revision: &str) -> Arc<Pod> {
    pod(
        name,
        revision,
        &json!({
            "phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "sconce", "image": "server", "imageID": "", "ready": false, "restartCount": 0, "state": {"running": {}}}]
        }),
    )
}

/// A pod that no node can take.
pub fn unschedulable(name: &str, revision: &str) -> Arc<Pod> {
    pod(
        name,
        revision,
        &json!({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}]
        }),
    )
}

/// A pod that ended with this report and is in this state now.
pub fn crashed(name: &str, revision: &str, state: &Value, report: &str) -> Arc<Pod> {
    pod(
        name,
        revision,
        &json!({
            "phase": "Running",
            "containerStatuses": [{
                "name": "sconce", "image": "server", "imageID": "", "ready": false, "restartCount": 2, "state": state,
                "lastState": {"terminated": {"exitCode": 65, "reason": "Error", "message": report}}
            }]
        }),
    )
}

/// What is found: this training, this live Deployment, these pods, and nothing missing.
pub fn found(
    deployment: &ModelDeployment,
    training: Option<&ModelTraining>,
    live: impl IntoIterator<Item = Deployment>,
    pods: Vec<Arc<Pod>>,
) -> Found {
    let status = deployment.status.as_ref();
    let mut workloads: Vec<Workload> = live
        .into_iter()
        .filter_map(|live| Workload::read(Arc::new(live), status, jiff::Timestamp::MAX))
        .collect();
    workload::sort(&mut workloads);
    Found {
        profile: None,
        spare: None,
        resolution: resolve(
            deployment,
            training,
            workloads.first().map(|workload| &workload.served),
        ),
        missing: None,
        one_pod_only: false,
        cache_claim_missing: false,
        node_cache: None,
        missing_volumes: std::collections::BTreeSet::new(),
        missing_runtime_class: None,
        device_class: crate::devices::DeviceClass::Found,
        priority_class_missing: false,
        fit: crate::fit::Question::default(),
        workloads,
        service: None,
        pods,
        leaving: Vec::new(),
    }
}

/// What a rollout decides with nothing else in its way.
pub fn rollout(replicas: i32) -> Rollout {
    Rollout {
        wanted: replicas,
        others: Vec::new(),
        begins: None,
        back: None,
        overdue: false,
        more: false,
        manner: Manner::SurgeWithoutUnits,
        again: None,
    }
}
