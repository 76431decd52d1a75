//! Step 3: what is to be served, to the objects that serve it. Pure, and cannot fail.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    ConfigMap, HTTPGetAction, PodTemplateSpec, Probe, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sconce_contract::progress::{HTTP_PORT, OBSERVABILITY_PORT};
use sconce_crds::ModelDeployment;
use serde_json::{Value, json};

use super::revision::plan_name;
use super::validate::{Change, Pods, Serving};
use crate::context::Images;
use crate::labels;
use crate::owner;
use crate::pod::{self, PLAN_KEY, Shape};

/// Port of the Service.
const SERVICE_PORT: i32 = 80;
/// Seconds from SIGTERM to SIGKILL: the server waits 5 s for the endpoints to forget it, lets requests finish
/// for 20 s more, and must be gone 5 s before it would be killed.
const GRACE_PERIOD: i64 = 40;
/// Seconds without a further ready pod after which a rollout counts as stuck.
const PROGRESS_DEADLINE: i32 = 600;
/// Seconds between two looks at a pod that starts: a replica is late by at most one.
const PROBE_PERIOD: i32 = 1;
/// Seconds that a process may take until it listens. It listens before it has loaded the model, however long
/// that takes: only the readiness probe waits for the model.
const STARTUP_LIMIT: i32 = 600;

/// The objects that serve a model.
#[derive(Clone, Debug)]
pub struct Children {
    /// The plan, where it is known what pods are made of.
    pub plan: Option<ConfigMap>,
    /// The address.
    pub service: Service,
    /// The pods.
    pub workload: Workload,
}

/// The Deployment, or what changes of it.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // One is made per reconcile, and moved twice.
pub enum Workload {
    /// The whole of it, with a new pod template.
    Whole(Deployment),
    /// A JSON merge patch of the live one that leaves its pod template as it is.
    Patch(Value),
}

/// The objects that serve the wanted revision.
pub fn build(serving: &Serving<'_>, images: &Images) -> Children {
    let (plan, workload) = match &serving.change {
        Change::Roll(pods) => (
            Some(plan(serving, pods)),
            Workload::Whole(deployment(serving, pods, images)),
        ),
        Change::Keep { pods, .. } => (
            pods.as_ref().map(|pods| plan(serving, pods)),
            Workload::Patch(patch(serving)),
        ),
    };
    Children {
        plan,
        service: service(serving),
        workload,
    }
}

fn metadata(serving: &Serving<'_>, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(serving.namespace.clone()),
        labels: Some(child_labels(serving)),
        owner_references: Some(vec![owner::reference::<ModelDeployment>(
            &serving.name,
            &serving.uid,
        )]),
        ..ObjectMeta::default()
    }
}

fn child_labels(serving: &Serving<'_>) -> BTreeMap<String, String> {
    labels::child(labels::DEPLOYMENT, &serving.name, labels::SERVER)
}

fn plan(serving: &Serving<'_>, pods: &Pods) -> ConfigMap {
    // A plan is structs and maps with string keys, which always serialise; the server refuses an empty plan.
    let json = serde_json::to_string_pretty(&pods.plan).unwrap_or_default();
    ConfigMap {
        metadata: metadata(serving, plan_name(&serving.name, &serving.wanted.revision)),
        data: Some([(PLAN_KEY.to_owned(), json)].into()),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// Labels by which the Deployment and the Service find their pods: of every revision, and never changed, because
/// a Deployment's selector cannot be.
fn selector(serving: &Serving<'_>) -> BTreeMap<String, String> {
    [(labels::DEPLOYMENT.to_owned(), serving.name.clone())].into()
}

fn service(serving: &Serving<'_>) -> Service {
    Service {
        metadata: metadata(serving, serving.name.clone()),
        spec: Some(ServiceSpec {
            selector: Some(selector(serving)),
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                port: SERVICE_PORT,
                target_port: Some(IntOrString::String("http".to_owned())),
                protocol: Some("TCP".to_owned()),
                app_protocol: Some("http".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn deployment(serving: &Serving<'_>, pods: &Pods, images: &Images) -> Deployment {
    let mut metadata = metadata(serving, serving.name.clone());
    let told = serving.wanted.annotations().into_iter();
    metadata.annotations = Some(
        told.filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect(),
    );
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(serving.spec.replicas),
            selector: LabelSelector {
                match_labels: Some(selector(serving)),
                match_expressions: None,
            },
            // A new pod first: the old one answers until the new one has.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE),
            revision_history_limit: Some(2),
            template: template(serving, pods, images),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn template(serving: &Serving<'_>, pods: &Pods, images: &Images) -> PodTemplateSpec {
    let mut labels = child_labels(serving);
    labels.insert(labels::REVISION.to_owned(), serving.wanted.revision.clone());
    let mut template = pod::template(Shape {
        labels,
        image: pods
            .accelerator
            .server_image
            .clone()
            .unwrap_or_else(|| images.server.clone()),
        image_pull_policy: &images.pull_policy,
        args: Vec::new(),
        plan: &plan_name(&serving.name, &serving.wanted.revision),
        volumes: &pods.volumes,
        cpu: &serving.spec.resources.cpu,
        memory: &serving.spec.resources.memory,
        accelerator: &pods.accelerator,
        priority_class_name: None,
        ports: vec![("http", HTTP_PORT), ("observe", OBSERVABILITY_PORT)],
        startup_probe: Some(probe("/livez", STARTUP_LIMIT / PROBE_PERIOD)),
        // Ready means that the model is loaded and an inference has been answered.
        readiness_probe: Some(probe("/readyz", 2)),
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            ..probe("/livez", 3)
        }),
        termination_grace_period_seconds: GRACE_PERIOD,
        restart_policy: "Always",
    });
    let metadata = template.metadata.get_or_insert_default();
    metadata.annotations = Some([(labels::DEPLOYMENT_UID.to_owned(), serving.uid.clone())].into());
    template
}

fn probe(path: &str, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("observe".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(PROBE_PERIOD),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// What may change while the revision stays: how many, and which training the same bits came from.
fn patch(serving: &Serving<'_>) -> Value {
    json!({
        "metadata": {"annotations": serving.wanted.annotations()},
        "spec": {"replicas": serving.spec.replicas},
    })
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
