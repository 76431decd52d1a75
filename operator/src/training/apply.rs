//! Step 4: the objects of a run, written where they are missing.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use serde_json::json;

use super::build::Children;
use super::dereference::Found;
use super::validate::Run;
use crate::apply::{Applied, Refusal, Writer};
use crate::devices::ResourceClaimTemplate;
use crate::error::Error;

/// Makes the cluster hold the objects of the run, and no other run's.
pub async fn apply(
    writer: &Writer,
    run: &Run<'_>,
    children: Children,
    found: &Found,
) -> Result<Applied<Job>, Refusal> {
    discard_superseded(writer, &run.namespace, &run.uid, found).await?;
    if let Some(live) = &found.job {
        // Its pod template cannot change, and does not: the Job's name is a hash over what it is made of.
        let spec = children.job.spec.unwrap_or_default();
        let lifecycle = json!({"spec": {
            "suspend": spec.suspend, "backoffLimit": spec.backoff_limit, "activeDeadlineSeconds": spec.active_deadline_seconds,
        }});
        return writer.merge(live.as_ref(), &lifecycle).await;
    }
    if let Some(claim) = children.claim {
        writer.ensure(&run.uid, claim, None).await?;
    }
    writer.ensure(&run.uid, children.plan, None).await?;
    if let Some(devices) = children.devices {
        writer.replace(&run.uid, devices).await?;
    }
    writer.ensure(&run.uid, children.job, None).await
}

/// Deletes the Jobs of earlier runs, and their plans.
pub async fn discard_superseded(
    writer: &Writer,
    namespace: &str,
    uid: &str,
    found: &Found,
) -> Result<(), Error> {
    for job in &found.superseded {
        discard(writer, namespace, &job.name_any(), uid).await?;
    }
    Ok(())
}

/// Deletes a Job, its pods, its plan and what its pods claimed from.
pub async fn discard(writer: &Writer, namespace: &str, job: &str, uid: &str) -> Result<(), Error> {
    writer.delete::<Job>(namespace, job, uid).await?;
    writer.delete::<ConfigMap>(namespace, job, uid).await?;
    writer.delete::<ResourceClaimTemplate>(namespace, job, uid).await
}
