//! Step 3: what is to be served, to the objects that serve it. Pure, and cannot fail.

mod service;
mod workload;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sconce_crds::ModelDeployment;
use serde_json::Value;

use self::service::service;
use self::workload::{deployment, patch};
use super::revision::workload_name;
use super::rollout::Rollout;
use super::validate::{Change, Serving};
use crate::context::Images;
use crate::devices::ResourceClaimTemplate;
use crate::labels;
use crate::owner;

/// The objects that serve a model.
#[derive(Clone, Debug)]
pub struct Children {
    /// What each pod claims of devices, where they do and it is known what pods are made of.
    pub devices: Option<ResourceClaimTemplate>,
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
    /// The same, in the place of one that failed.
    Anew(Deployment),
    /// A JSON merge patch of the live one that leaves its pod template as it is.
    Patch(Value),
}

/// The objects that serve the wanted revision, as far as the rollout is.
pub fn build(serving: &Serving<'_>, rollout: &Rollout, images: &Images) -> Children {
    let workload = match &serving.change {
        Change::Roll(pods) => Workload::Whole(deployment(serving, rollout, pods, images)),
        Change::Anew { pods, .. } => Workload::Anew(deployment(serving, rollout, pods, images)),
        Change::Keep { .. } => Workload::Patch(patch(serving, rollout)),
    };
    let pods = match &serving.change {
        Change::Roll(pods) | Change::Anew { pods, .. } => Some(pods),
        Change::Keep { pods, .. } => pods.as_ref(),
    };
    let name = workload_name(&serving.name, &serving.wanted.revision);
    Children {
        devices: pods.and_then(|pods| ResourceClaimTemplate::of(&pods.accelerator, metadata(serving, name))),
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

/// Labels by which the Service finds its pods: of every revision, so that whichever answers gets requests.
fn selector(serving: &Serving<'_>) -> BTreeMap<String, String> {
    [(labels::DEPLOYMENT.to_owned(), serving.name.clone())].into()
}

#[cfg(test)]
mod tests;
