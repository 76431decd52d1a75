//! Step 4: the objects that serve a model, written where they differ.
//!
//! A Deployment is written after what its pods claim devices from. A crash after any write leaves what the next
//! reconcile completes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1;
use kube::ResourceExt;
use serde_json::json;

use super::build::{Children, Workload};
use super::dereference::Found;
use super::revision::workload_name;
use super::rollout::Rollout;
use super::rollout::history::Obsolete;
use super::validate::{Change, Serving};
use crate::apply::{Applied, Refusal, Writer};
use crate::devices::ResourceClaimTemplate;
use crate::error::Error;
use crate::labels;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::seen::Deployment;

/// Makes the cluster hold the objects of the deployment. Where the revision was given up, the one to go back to comes
/// first.
pub async fn apply(
    writer: &Writer,
    serving: &Serving<'_>,
    children: Children,
    rollout: &Rollout,
    found: &Found,
) -> Result<Applied<Deployment>, Refusal> {
    if let Workload::Whole(deployment) | Workload::Anew(deployment) = &children.workload {
        image_volumes(writer, deployment).await?;
    }
    if let Some(devices) = children.devices {
        match (&children.workload, &serving.change) {
            // Of this revision, and well: its pods have their devices.
            (Workload::Patch(_), Change::Keep { live, .. }) if is_well(live) => {}
            // One that somebody deleted keeps pods from starting. One that is there stays: it fits the pods.
            (Workload::Patch(_), _) => writer.provide(&serving.uid, devices).await?,
            (Workload::Whole(_) | Workload::Anew(_), _) => writer.replace(&serving.uid, devices).await?,
        }
    }
    writer
        .ensure(&serving.uid, children.service, found.service.as_deref())
        .await?;
    if rollout.back.is_some() {
        scale(writer, &rollout.others).await?;
    }
    let applied = match (children.workload, &serving.change) {
        (Workload::Patch(patch), Change::Keep { live, .. }) => writer.merge(live.as_ref(), &patch).await?,
        (Workload::Anew(deployment), Change::Anew { live, .. }) => {
            let name = live.name_any();
            writer
                .delete::<Deployment>(&serving.namespace, &name, &serving.uid)
                .await?;
            writer.ensure(&serving.uid, deployment, None).await?
        }
        (Workload::Whole(deployment) | Workload::Anew(deployment), _) => {
            writer.ensure(&serving.uid, deployment, None).await?
        }
        (Workload::Patch(_), _) => {
            let what = format!("Deployment {}/{}", serving.namespace, serving.name);
            return Err(Error::Incomplete(what, "object to patch").into());
        }
    };
    if rollout.back.is_none() {
        scale(writer, &rollout.others).await?;
    }
    Ok(applied)
}

/// Whether that takes pods away: of an earlier revision, or of one that is to have fewer.
pub fn takes_away(serving: &Serving<'_>, rollout: &Rollout) -> bool {
    let own = match &serving.change {
        Change::Keep { live, .. } => fewer(live, rollout.wanted),
        Change::Anew { .. } => true,
        Change::Roll(_) => false,
    };
    own || any_fewer(&rollout.others)
}

/// Whether one of these is to have fewer pods than it asks for.
pub fn any_fewer(counts: &[(Arc<Deployment>, i32)]) -> bool {
    counts.iter().any(|(live, count)| fewer(live, *count))
}

/// Whether a pod that answers goes where the Deployment is to have so many.
pub fn gives_place(live: &Deployment, count: i32) -> bool {
    let answer = live.status.as_ref().and_then(|status| status.ready_replicas);
    fewer(live, count) && count < answer.unwrap_or(0)
}

fn fewer(live: &Deployment, count: i32) -> bool {
    count < live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// An API server that serves no image volumes drops them and their mounts without a word (`pkg/api/pod`,
/// `dropImageVolumes`), so it is asked what it would store before pods are made without their model.
async fn image_volumes(writer: &Writer, deployment: &v1::Deployment) -> Result<(), Refusal> {
    if !has_image(deployment) || has_image(&writer.rehearse(deployment).await?) {
        return Ok(());
    }
    Err(Refusal::Problem(Problem::new(
        Reason::ImageVolumesNotServed,
        "spec.model.uri",
        "oci:// is mounted as an image volume, which this cluster's API server does not serve (the feature gate \
         ImageVolume, on by default from Kubernetes 1.35): have it set there and on the kubelets, or put the model on a \
         claim (pvc://) or a web server (https://)",
    )))
}

fn has_image(deployment: &v1::Deployment) -> bool {
    let template = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let volumes = template.and_then(|pod| pod.volumes.as_ref());
    volumes.into_iter().flatten().any(|volume| volume.image.is_some())
}

/// Gives Deployments their number of pods. One that gives a place back remembers since when: it is not taken at once.
async fn scale(writer: &Writer, counts: &[(Arc<Deployment>, i32)]) -> Result<(), Refusal> {
    for (live, replicas) in counts {
        let mut patch = json!({"spec": {"replicas": replicas}});
        if gives_place(live, *replicas) {
            patch["metadata"] = json!({"annotations": {labels::FEWER_SINCE: Timestamp::now().to_string()}});
        }
        writer.merge(live.as_ref(), &patch).await?;
    }
    Ok(())
}

fn is_well(live: &Deployment) -> bool {
    let wanted = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    live.status.as_ref().is_some_and(|status| {
        status.observed_generation == live.metadata.generation && status.ready_replicas.unwrap_or(0) == wanted
    })
}

/// Where nothing new can be served, what is served can still be scaled. A refusal tells nothing that the first
/// problem does not outweigh.
pub async fn hold(writer: &Writer, counts: &[(Arc<Deployment>, i32)]) -> Result<(), Error> {
    match scale(writer, counts).await {
        Ok(()) | Err(Refusal::Problem(_)) => Ok(()),
        Err(Refusal::Error(error)) => Err(error),
    }
}

/// Deletes what is left of revisions that nothing serves any more: the Deployments, and then what their pods claimed
/// devices from.
pub async fn discard(
    writer: &Writer,
    namespace: &str,
    name: &str,
    uid: &str,
    obsolete: &[Obsolete],
) -> Result<(), Error> {
    for Obsolete { revision, workload } in obsolete {
        if let Some(workload) = workload {
            writer.delete::<Deployment>(namespace, workload, uid).await?;
        }
        let name = workload_name(name, revision);
        writer
            .delete::<ResourceClaimTemplate>(namespace, &name, uid)
            .await?;
    }
    Ok(())
}
