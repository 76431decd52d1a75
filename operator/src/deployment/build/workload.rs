//! The pods.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, HTTPGetAction, PodTemplateSpec, Probe};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sconce_contract::credentials::MODEL_CREDENTIALS;
use sconce_contract::progress::{HTTP_PORT, OBSERVABILITY_PORT};
use serde_json::{Value, json};

use super::{child_labels, metadata, selector};
use crate::context::Images;
use crate::deployment::apply;
use crate::deployment::revision::workload_name;
use crate::deployment::rollout::Rollout;
use crate::deployment::validate::{Change, Pods, Serving};
use crate::labels;
use crate::pod::{self, Program, Shape, variable};

/// Seconds from SIGTERM to SIGKILL: the server waits 5 s for the endpoints to forget it, lets requests finish
/// for 20 s more, and must be gone 5 s before it would be killed.
const GRACE_PERIOD: i64 = 40;
/// Seconds for which a server that does not wait by itself is not told to stop, until the endpoints have forgotten it.
const DRAIN_DELAY: i64 = 5;
/// Seconds between two looks at a pod that starts: a replica is late by at most one.
const PROBE_PERIOD: i32 = 1;
/// Seconds that a process may take until it listens. It listens before it has loaded the model, however long
/// that takes: only the readiness probe waits for the model.
const STARTUP_LIMIT: i32 = 600;

/// The Deployment of the wanted revision. Its pod template is written once: another one is another revision's.
pub(super) fn deployment(
    serving: &Serving<'_>,
    rollout: &Rollout,
    pods: &Pods,
    images: &Images,
) -> Deployment {
    let mut metadata = metadata(serving, workload_name(&serving.name, &serving.wanted.revision));
    let told = annotations(serving, rollout).into_iter();
    let placement = (labels::PLACEMENT.to_owned(), pods.accelerator.placement());
    metadata.annotations = Some(
        told.filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .chain([placement])
            .collect(),
    );
    let mut match_labels = selector(serving);
    match_labels.insert(labels::REVISION.to_owned(), serving.wanted.revision.clone());
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(rollout.wanted),
            selector: LabelSelector {
                match_labels: Some(match_labels),
                match_expressions: None,
            },
            // For a person's `kubectl rollout restart`: a new pod first, the old one answers until the new one has.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(0),
            template: template(serving, pods, images),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// What the Deployment remembers. A key without a value is one that it must not carry.
fn annotations(serving: &Serving<'_>, rollout: &Rollout) -> BTreeMap<&'static str, Option<String>> {
    let mut all = serving.wanted.annotations();
    if let Some(begins) = rollout.begins {
        all.insert(labels::WANTED_SINCE, Some(begins.to_string()));
        all.insert(labels::RETRIED, serving.retry.clone());
        all.insert(labels::ROLLED_BACK, None);
    }
    if let Some(back) = rollout.back.as_ref().filter(|back| back.new) {
        // It is strings and a time, which always serialise.
        all.insert(labels::ROLLED_BACK, serde_json::to_string(&back.failed).ok());
    }
    all
}

fn template(serving: &Serving<'_>, pods: &Pods, images: &Images) -> PodTemplateSpec {
    let custom = serving.spec.custom();
    let mut labels = child_labels(serving);
    labels.insert(labels::REVISION.to_owned(), serving.wanted.revision.clone());
    let mut template = pod::template(Shape {
        labels,
        program: program(serving, pods, images),
        env: environment(serving, pods),
        credentials: credentials(serving, pods),
        plan: pod::plan(&pods.plan),
        devices: &workload_name(&serving.name, &serving.wanted.revision),
        volumes: &pods.volumes,
        cpu: &serving.spec.resources.cpu,
        memory: &serving.spec.resources.memory,
        accelerator: &pods.accelerator,
        priority_class_name: serving.spec.scheduling.priority_class_name.clone(),
        ports: match custom {
            Some(custom) => vec![("http", custom.port)],
            None => vec![("http", HTTP_PORT), ("observe", OBSERVABILITY_PORT)],
        },
        startup_probe: custom
            .is_none()
            .then(|| probe("observe", "/livez", STARTUP_LIMIT / PROBE_PERIOD)),
        // Ready means that the model is loaded and an inference has been answered; of a server that is not ours, what
        // its own path means.
        readiness_probe: Some(match custom {
            Some(custom) => probe("http", &custom.readiness_path, 2),
            None => probe("observe", "/readyz", 2),
        }),
        liveness_probe: custom.is_none().then(|| Probe {
            period_seconds: Some(10),
            ..probe("observe", "/livez", 3)
        }),
        termination_grace_period_seconds: GRACE_PERIOD,
        restart_policy: "Always",
        drain_delay: custom.map(|_| DRAIN_DELAY),
        overrides: serving.spec.pod_overrides.as_ref(),
    });
    let annotations = template
        .metadata
        .get_or_insert_default()
        .annotations
        .get_or_insert_default();
    annotations.insert(labels::DEPLOYMENT_UID.to_owned(), serving.uid.clone());
    template
}

fn program<'a>(serving: &'a Serving<'_>, pods: &Pods, images: &'a Images) -> Program<'a> {
    if let Some(custom) = serving.spec.custom() {
        return Program::Custom {
            image: &custom.image,
            command: &custom.command,
            args: &custom.args,
        };
    }
    let image = pods.accelerator.server_image.as_ref();
    Program::Ours {
        image: image.unwrap_or(&images.server).clone(),
        pull_policy: &images.pull_policy,
    }
}

fn credentials(serving: &Serving<'_>, pods: &Pods) -> Vec<EnvFromSource> {
    let secret = serving.spec.model.credentials_ref.as_ref();
    let location = (MODEL_CREDENTIALS, pods.plan.model.as_str(), secret);
    pod::credentials(&[location], serving.spec.custom().is_some())
}

/// How a server that knows nothing of Sconce is told what to serve: by variables that its arguments may name.
/// Documented in docs/custom.md.
fn environment(serving: &Serving<'_>, pods: &Pods) -> Vec<EnvVar> {
    let Some(custom) = serving.spec.custom() else {
        return Vec::new();
    };
    let plan = &pods.plan;
    let mut all = vec![
        variable("SCONCE_NAME", &plan.name),
        variable("SCONCE_REVISION", &plan.revision),
        variable("SCONCE_PORT", custom.port.to_string()),
        variable("SCONCE_MODEL_URI", &plan.model),
    ];
    let path = pods.volumes.path(&plan.model);
    all.extend(path.map(|path| variable("SCONCE_MODEL_PATH", path.to_string_lossy())));
    all.extend(
        plan.digest
            .iter()
            .map(|digest| variable("SCONCE_MODEL_DIGEST", digest)),
    );
    all
}

fn probe(port: &str, path: &str, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(PROBE_PERIOD),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// What may change while the revision stays: how many, which training the same bits came from, and what became of
/// its rollout.
pub(super) fn patch(serving: &Serving<'_>, rollout: &Rollout) -> Value {
    let mut annotations = annotations(serving, rollout);
    if let Change::Keep { live, .. } = &serving.change
        && apply::gives_place(live, rollout.wanted)
    {
        annotations.insert(labels::FEWER_SINCE, Some(Timestamp::now().to_string()));
    }
    if rollout.more {
        annotations.insert(labels::MORE_SINCE, Some(Timestamp::now().to_string()));
    }
    json!({
        "metadata": {"annotations": annotations},
        "spec": {"replicas": rollout.wanted},
    })
}
