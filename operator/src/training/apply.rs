//! Step 4: the objects of a run, written where they are missing.

use k8s_openapi::api::batch::v1;
use k8s_openapi::api::core::v1::PersistentVolumeClaim as Claim;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::build::Children;
use super::dereference::Found;
use super::validate::Run;
use super::yielding::Yielding;
use crate::apply::{Applied, Refusal, Writer};
use crate::devices::ResourceClaimTemplate;
use crate::error::Error;
use crate::labels;
use crate::owner;
use crate::seen::Job;

/// Makes the cluster hold the objects of the run, and no other run's.
pub async fn apply(
    writer: &Writer,
    run: &Run<'_>,
    children: Children,
    found: &Found,
) -> Result<Applied<Job>, Refusal> {
    discard_superseded(writer, &run.namespace, &run.uid, found).await?;
    let Children {
        claim,
        devices,
        service,
        policy,
        job,
    } = children;
    let job = match &found.job {
        // Its pod template cannot change, and does not: the Job's name is a hash over what it is made of.
        Some(live) => {
            let patch = lifecycle(run, &job, live);
            writer.merge(live.as_ref(), &patch).await?
        }
        None => create(writer, run, claim, devices, job).await?,
    };
    // Without them its pods would not find each other, the first time and after each loss.
    if goes_on(job.get()) && !found.connected {
        let uid = job.get().uid().unwrap_or_default();
        let owners = Some(vec![owner::reference::<v1::Job>(&run.identity.job, &uid)]);
        if let Some(mut service) = service {
            service.metadata.owner_references.clone_from(&owners);
            writer.provide(&uid, service).await?;
        }
        if let Some(mut policy) = policy {
            policy.metadata.owner_references = owners;
            writer.provide(&uid, policy).await?;
        }
    }
    Ok(job)
}

/// Makes the Job, and before it what its pods claim.
async fn create(
    writer: &Writer,
    run: &Run<'_>,
    claim: Option<Claim>,
    devices: Option<ResourceClaimTemplate>,
    job: v1::Job,
) -> Result<Applied<Job>, Refusal> {
    if let Some(claim) = claim {
        // One that is there is as somebody wanted it, and may have grown; what the spec says of it is tried.
        match run.spec.output.size {
            Some(_) => writer.ensure(&run.uid, claim, None::<&Claim>).await.map(drop)?,
            None => writer.create::<_, Claim>(&run.uid, claim).await.map(drop)?,
        }
    }
    if let Some(devices) = devices {
        writer.replace(&run.uid, devices).await?;
    }
    writer.create(&run.uid, job).await
}

/// Whether that begins a run, or takes something away from one: a Job is made, deleted, or changed in how it may run.
pub fn is_grave(run: &Run<'_>, children: &Children, found: &Found) -> bool {
    let changes = |live: &Job| {
        let patch = lifecycle(run, &children.job, live);
        Writer::changes(live, &patch)
    };
    !found.superseded.is_empty() || found.job.as_deref().is_none_or(changes)
}

/// Whether [`end`] has something to end.
pub fn goes_on(job: &Job) -> bool {
    let mut conditions = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    !conditions
        .any(|condition| condition.status == "True" && matches!(&*condition.type_, "Complete" | "Failed"))
}

/// Ends a Job that would go on though its run has failed: by a deadline that has passed, after which its controller
/// stops its pods, starts no others and keeps those that ended, with their logs.
pub async fn end(writer: &Writer, job: &Job) -> Result<(), Error> {
    if !goes_on(job) {
        return Ok(());
    }
    match writer
        .merge(job, &json!({"spec": {"activeDeadlineSeconds": 1}}))
        .await
    {
        // Whoever refuses it has the last word; the status has told of the failure.
        Ok(_) | Err(Refusal::Problem(_)) => Ok(()),
        Err(Refusal::Error(error)) => Err(error),
    }
}

/// What may change of a Job that is there. In a queue, whether it is suspended is Kueue's to say.
pub(super) fn lifecycle(run: &Run<'_>, job: &v1::Job, live: &Job) -> Value {
    let spec = job.spec.clone().unwrap_or_default();
    let mut patch = json!({"spec": {"activeDeadlineSeconds": spec.active_deadline_seconds}});
    // That of several pods is one of each, which cannot change: another limit makes another Job.
    if spec.backoff_limit.is_some() {
        patch["spec"]["backoffLimit"] = json!(spec.backoff_limit);
    }
    if run.spec.scheduling.queue_name.is_none() {
        patch["spec"]["suspend"] = json!(spec.suspend);
        let yielding = run.yielding.as_ref().map(Yielding::write);
        if yielding.is_some() || live.annotations().contains_key(labels::YIELDING) {
            patch["metadata"]["annotations"][labels::YIELDING] = json!(yielding);
        }
    }
    patch
}

/// Deletes the Jobs of earlier runs.
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

/// Deletes a Job, its pods and what its pods claimed from.
pub async fn discard(writer: &Writer, namespace: &str, job: &str, uid: &str) -> Result<(), Error> {
    // The Job last: as long as it is there, this is done again, and after a crash in between nothing is forgotten.
    writer
        .delete::<ResourceClaimTemplate>(namespace, job, uid)
        .await?;
    writer.delete::<Job>(namespace, job, uid).await
}

#[cfg(test)]
mod tests {
    use sconce_crds::ModelTraining;

    use super::*;
    use crate::context::Images;
    use crate::seen;
    use crate::training::build::build;
    use crate::training::identity::Identity;
    use crate::training::validate::validate;

    #[test]
    fn a_job_is_seen_with_all_that_may_change_of_it() {
        let training: ModelTraining = serde_json::from_value(json!({
            "metadata": {"name": "iris", "namespace": "ml", "uid": "t1"},
            "spec": {
                "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
                "dataset": {"uri": "https://data.example/iris.csv", "target": "y"},
                "activeDeadlineSeconds": 60, "failurePolicy": {"backoffLimit": 2},
            },
        }))
        .unwrap();
        let found = Found::default();
        let run = validate(&training, &Identity::of(&training), &found).unwrap();
        let images = Images {
            trainer: "t".to_owned(),
            server: "s".to_owned(),
            pull_policy: "Always".to_owned(),
        };
        let made = build(&run, &images).job;
        let live: Job = seen::of(&made);
        let changes = |live: &Job| Writer::changes(live, &lifecycle(&run, &made, live));
        assert!(!changes(&live), "it is as it was made");
        for change in [
            json!({"suspend": true}),
            json!({"backoffLimit": 3}),
            json!({"activeDeadlineSeconds": 1}),
        ] {
            let mut other = serde_json::to_value(&live).unwrap();
            for (field, value) in change.as_object().unwrap() {
                other["spec"][field] = value.clone();
            }
            assert!(changes(&serde_json::from_value(other).unwrap()), "{change}");
        }
        let mut yielding = live;
        yielding
            .metadata
            .annotations
            .insert(labels::YIELDING, "{}".to_owned());
        assert!(changes(&yielding));
    }
}
