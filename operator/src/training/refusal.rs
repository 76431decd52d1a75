//! In which words the API server refuses the pod of a Job. The Job controller repeats them in events, and nowhere
//! else.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use std::sync::Arc;

use super::situation::condition;
use crate::error::{Doing, Error};
use crate::seen::{Job, Pod};

/// A Job without a pod after this long is one whose pod is refused.
pub const AFTER: SignedDuration = SignedDuration::from_secs(10);

/// Whether a Job should have had a pod for a while, and never did.
pub fn is_likely(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> bool {
    // A Job that was suspended starts anew when it is resumed, once its controller has seen that.
    let started = job.status.as_ref().and_then(|status| status.start_time.clone());
    let since = started.or_else(|| job.creation_timestamp());
    let old = since.is_some_and(|since| now.duration_since(since.0) >= AFTER);
    let suspended = job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true));
    pods.is_empty() && old && !suspended && !has_had_one(job) && condition(job, "Suspended").is_none()
}

/// Between two attempts the Job waits, and that is no refusal.
fn has_had_one(job: &Job) -> bool {
    let Some(status) = &job.status else { return false };
    let counts = [status.active, status.failed, status.succeeded];
    counts.into_iter().flatten().any(|count| count > 0)
}

/// The newest refusal that the Job's events tell of.
pub async fn look(client: &Client, namespace: &str, job: &Job) -> Result<Option<String>, Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let uid = job.uid().unwrap_or_default();
    let of_job = format!("involvedObject.uid={uid},reason=FailedCreate");
    let events = api.list(&ListParams::default().fields(&of_job)).await;
    let events = events.doing(|| format!("list Events of Job {namespace}/{}", job.name_any()))?;
    let newest = events.items.into_iter().max_by_key(|event| {
        let series = event
            .series
            .as_ref()
            .and_then(|series| series.last_observed_time.clone());
        let seen = series
            .map(|time| time.0)
            .or(event.last_timestamp.clone().map(|time| time.0));
        seen.or(event.event_time.clone().map(|time| time.0))
    });
    Ok(newest.and_then(|event| event.message).map(|said| tidy(&said)))
}

/// Each attempt has a pod of another name, which would make each refusal another one.
fn tidy(said: &str) -> String {
    let said = said.strip_prefix("Error creating: ").unwrap_or(said);
    let named = said
        .split_once("pods \"")
        .and_then(|(before, rest)| Some((before, rest.split_once('"')?.1)));
    match named {
        Some((before, after)) => format!("{before}the pod{after}"),
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::tidy;

    #[test]
    fn the_name_of_the_attempt_is_left_out() {
        let said =
            r#"Error creating: pods "iris-1-x7k2p" is forbidden: exceeded quota: none, requested: pods=1"#;
        assert_eq!(
            tidy(said),
            "the pod is forbidden: exceeded quota: none, requested: pods=1"
        );
        assert_eq!(tidy("Error creating: no such luck"), "no such luck");
    }
}
