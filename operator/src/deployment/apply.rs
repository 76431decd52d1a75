//! Step 4: the objects that serve a model, written where they differ.
//!
//! A Deployment is written last: it is what makes pods, and they mount the plan. A crash after any write leaves
//! what the next reconcile completes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::build::{Children, Workload};
use super::dereference::Found;
use super::revision::plan_name;
use super::validate::Serving;
use crate::apply::{Applied, Refusal, Writer};
use crate::devices::ResourceClaimTemplate;
use crate::error::Error;

/// Makes the cluster hold the objects of the deployment.
pub async fn apply(
    writer: &Writer,
    serving: &Serving<'_>,
    children: Children,
    found: &Found,
) -> Result<Applied<Deployment>, Refusal> {
    if let Some(plan) = children.plan {
        match (&children.workload, found.live.as_deref()) {
            // Of this revision, and well: its pods have mounted the plan.
            (Workload::Patch(_), Some(live)) if is_well(live) => {}
            // A plan that somebody deleted keeps pods from starting. One that is there stays: it fits the template.
            (Workload::Patch(_), _) => writer.provide(&serving.uid, plan).await?,
            (Workload::Whole(_), _) => writer.replace(&serving.uid, plan).await?,
        }
    }
    if let Some(devices) = children.devices {
        match (&children.workload, found.live.as_deref()) {
            (Workload::Patch(_), Some(live)) if is_well(live) => {}
            (Workload::Patch(_), _) => writer.provide(&serving.uid, devices).await?,
            (Workload::Whole(_), _) => writer.replace(&serving.uid, devices).await?,
        }
    }
    writer
        .ensure(&serving.uid, children.service, found.service.as_deref())
        .await?;
    match (children.workload, &found.live) {
        (Workload::Patch(patch), Some(live)) => writer.merge(live.as_ref(), &patch).await,
        (Workload::Whole(deployment), live) => writer.ensure(&serving.uid, deployment, live.as_deref()).await,
        (Workload::Patch(_), None) => Err(Error::Incomplete(
            format!("Deployment {}/{}", serving.namespace, serving.name),
            "object to patch",
        )
        .into()),
    }
}

fn is_well(live: &Deployment) -> bool {
    let wanted = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    live.status.as_ref().is_some_and(|status| {
        status.observed_generation == live.metadata.generation && status.ready_replicas.unwrap_or(0) == wanted
    })
}

/// Where nothing new can be served, what is served can still be scaled. A refusal tells nothing that the first
/// problem does not outweigh.
pub async fn scale(writer: &Writer, live: &Arc<Deployment>, replicas: i32) -> Result<(), Error> {
    match writer
        .merge(live.as_ref(), &json!({"spec": {"replicas": replicas}}))
        .await
    {
        Ok(_) | Err(Refusal::Problem(_)) => Ok(()),
        Err(Refusal::Error(error)) => Err(error),
    }
}

/// Deletes the plans of revisions that nothing serves any more.
pub async fn discard(
    writer: &Writer,
    namespace: &str,
    name: &str,
    uid: &str,
    revisions: &[String],
) -> Result<(), Error> {
    for revision in revisions {
        let name = plan_name(name, revision);
        writer.delete::<ConfigMap>(namespace, &name, uid).await?;
        writer
            .delete::<ResourceClaimTemplate>(namespace, &name, uid)
            .await?;
    }
    Ok(())
}
