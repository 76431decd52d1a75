//! A namespace that is deleted while pods of it learn together.
//!
//! Of each number, Kubernetes keeps the pod that ended until there is another one (the finalizer
//! `batch.kubernetes.io/job-tracking` of a Job with `backoffLimitPerIndex`). In a namespace that goes it makes no other
//! one, and it takes the pods away before everything else there, the Job and its training among it: the namespace would
//! stay for ever. So the Job is taken away as soon as that is seen.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

use super::apply;
use crate::error::{Doing, Error};
use crate::labels;
use crate::seen::{Job, Pod};

/// How soon the namespace is looked at again while a pod is kept: that it goes changes nothing of a pod that went before.
pub const AGAIN: Duration = Duration::from_secs(30);

/// Whether a numbered pod of a Job that goes on is on its way out.
pub fn is_likely(job: &Job, pods: &[Arc<Pod>]) -> bool {
    apply::goes_on(job)
        && pods.iter().any(|pod| {
            pod.metadata.deletion_timestamp.is_some() && pod.metadata.labels.contains_key(labels::WORKER)
        })
}

/// Whether a namespace is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It is, or it is gone already.
    UnderWay,
    /// It stays.
    No,
}

/// Asks whether the namespace is being deleted.
///
/// # Errors
/// When the API server does not say.
pub async fn look(client: &Client, namespace: &str) -> Result<Departure, Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let read = api.get_metadata_opt(namespace).await;
    let read = read.doing(|| format!("get Namespace {namespace}"))?;
    Ok(match read {
        Some(live) if live.metadata.deletion_timestamp.is_none() => Departure::No,
        _ => Departure::UnderWay,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn likely(ended: &str, pod: &Value) -> bool {
        let conditions = json!([{"type": ended, "status": "True"}]);
        let job =
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": conditions}})).unwrap();
        let pod = serde_json::from_value(json!({"metadata": pod})).unwrap();
        is_likely(&job, &[Arc::new(pod)])
    }

    #[test]
    fn a_numbered_pod_that_is_deleted_raises_the_question_while_its_job_goes_on() {
        let (time, number) = ("2026-01-01T00:00:00Z", json!({labels::WORKER: "1"}));
        let kept = json!({"deletionTimestamp": time, "labels": number});
        assert!(likely("FailureTarget", &kept));
        assert!(!likely("Failed", &kept), "a Job that is over keeps none");
        assert!(!likely("FailureTarget", &json!({"labels": number})));
        assert!(
            !likely("FailureTarget", &json!({"deletionTimestamp": time})),
            "a pod alone is let go"
        );
    }
}
