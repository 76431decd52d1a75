//! Kueue, where it is installed: whether its API is served, whether a LocalQueue is there, and what it says of a Job.
//!
//! It is never required. A Job that is to queue carries the queue's name as a label and is created suspended; from
//! then on its `suspend` and what Kueue writes into its pod template are Kueue's
//! (<https://kueue.sigs.k8s.io/docs/tasks/run/jobs/>).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::error::{Doing, Error};
use crate::reason::Reason;

/// Label on a Job: the LocalQueue that lets it in.
pub const QUEUE_NAME: &str = "kueue.x-k8s.io/queue-name";
/// Label on a Workload: the UID of the Job that it stands for.
const JOB_UID: &str = "kueue.x-k8s.io/job-uid";
const GROUP: &str = "kueue.x-k8s.io";
/// How the sentence begins by which a training that Kueue put out is told from others that wait.
pub const PUT_BACK: &str = "Kueue put it back";
/// How long the answer to "is it served, and in which version" is good for.
const FRESH: Duration = Duration::from_secs(15);

/// Remembers which version of Kueue's API is served.
#[derive(Default)]
pub struct Kueue {
    asked: Mutex<Option<(Instant, Option<String>)>>,
}

/// What is known of a Job that Kueue has not let in.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// Kueue's API is not served any more.
    NotServed,
    /// Kueue has not taken notice of the Job.
    Unseen,
    /// The `Workload` that stands for the Job.
    Workload(Value),
}

impl Kueue {
    /// The version in which the API server prefers to serve Kueue's API; nothing where it serves none.
    pub async fn version(&self, client: &Client) -> Result<Option<String>, Error> {
        if let Some((asked, version)) = &*self.memory()
            && asked.elapsed() < FRESH
        {
            return Ok(version.clone());
        }
        let groups = client
            .list_api_groups()
            .await
            .doing(|| "list the API groups".to_owned())?;
        let group = groups.groups.into_iter().find(|group| group.name == GROUP);
        let version = group.and_then(|group| {
            let first = group.versions.into_iter().next();
            Some(group.preferred_version.or(first)?.version)
        });
        *self.memory() = Some((Instant::now(), version.clone()));
        Ok(version)
    }

    /// Whether the LocalQueue is there.
    pub async fn has_queue(
        &self,
        client: &Client,
        version: &str,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Error> {
        let api = api(client, version, namespace, "LocalQueue", "localqueues");
        let read = api.get_metadata_opt(name).await;
        Ok(read
            .doing(|| format!("get LocalQueue {namespace}/{name}"))?
            .is_some())
    }

    /// What Kueue says of the Job with this UID.
    pub async fn look(&self, client: &Client, namespace: &str, job_uid: &str) -> Result<Sight, Error> {
        let Some(version) = self.version(client).await? else {
            return Ok(Sight::NotServed);
        };
        let api = api(client, &version, namespace, "Workload", "workloads");
        let parameters = ListParams::default().labels(&format!("{JOB_UID}={job_uid}"));
        let list = api
            .list(&parameters)
            .await
            .doing(|| format!("list Workloads of {namespace}"))?;
        Ok(list
            .items
            .into_iter()
            .next()
            .map_or(Sight::Unseen, |workload| Sight::Workload(workload.data)))
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Option<String>)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn api(client: &Client, version: &str, namespace: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(GROUP, version, kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

impl Sight {
    /// A reason and one sentence for people.
    pub fn tell(&self, queue: &str) -> (Reason, String) {
        match self {
            Sight::NotServed => (
                Reason::QueueNotAvailable,
                format!(
                    "spec.scheduling.queueName: the API of Kueue is no longer served, so nobody lets the training in from \
                     the queue {queue:?}; install Kueue, or remove the field"
                ),
            ),
            Sight::Unseen => (
                Reason::AwaitingKueue,
                format!(
                    "the Job is in the queue {queue:?}, and Kueue has not taken notice of it; if that lasts, see whether \
                     its controller runs and looks after Jobs of this namespace"
                ),
            ),
            Sight::Workload(workload) => workload_tells(workload, queue),
        }
    }

    /// Whether it had been let in and was put out again.
    pub fn is_evicted(&self) -> bool {
        matches!(self, Sight::Workload(workload) if holds(workload, "Evicted").is_some())
    }
}

fn workload_tells(workload: &Value, queue: &str) -> (Reason, String) {
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    let reserved = holds(workload, "QuotaReserved");
    if reserved.is_none()
        && let Some(evicted) = holds(workload, "Evicted")
    {
        let why = text(evicted, "message");
        let now = find(workload, "QuotaReserved")
            .map(|condition| text(condition, "message"))
            .filter(|now| !now.is_empty() && *now != why)
            .map(|now| format!("; now: {now}"))
            .unwrap_or_default();
        let reason = Reason::told(&text(evicted, "reason"));
        let remedy = if reason == Reason::Deactivated {
            "it is let in again when the Workload's spec.active is true"
        } else {
            "it goes on by itself, from its last checkpoint, when the queue lets it in again"
        };
        let message = format!("{PUT_BACK} into the queue {queue:?}: {why}{now}; {remedy}");
        return (reason, message);
    }
    if reserved.is_some() {
        let checks = find(workload, "Admitted").map(|condition| text(condition, "message"));
        let said = checks
            .filter(|said| !said.is_empty())
            .unwrap_or_else(|| "its admission checks are not done".to_owned());
        return (
            Reason::AwaitingAdmission,
            format!("the queue {queue:?} has quota for it, and Kueue has not let it in yet: {said}"),
        );
    }
    let pending = find(workload, "QuotaReserved");
    let reason = pending
        .map(|condition| text(condition, "reason"))
        // The older word for waiting, which would be taken for the phase.
        .filter(|reason| !reason.is_empty() && reason != "Pending")
        .map_or(Reason::WaitingForQuota, Reason::from);
    let said = pending
        .map(|condition| text(condition, "message"))
        .filter(|said| !said.is_empty())
        .unwrap_or_else(|| "Kueue has not looked at it yet".to_owned());
    (
        reason,
        format!(
            "waiting in the queue {queue:?}: {said}; it starts by itself when the queue lets it in, and `kubectl get \
             localqueue {queue}` shows how many wait"
        ),
    )
}

fn find<'a>(workload: &'a Value, kind: &str) -> Option<&'a Value> {
    workload["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}

fn holds<'a>(workload: &'a Value, kind: &str) -> Option<&'a Value> {
    find(workload, kind).filter(|condition| condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(conditions: &[(&str, &str, &str, &str)]) -> Sight {
        let all: Vec<Value> = conditions
            .iter()
            .map(|(kind, status, reason, message)| json!({"type": kind, "status": status, "reason": reason, "message": message}))
            .collect();
        Sight::Workload(json!({"status": {"conditions": all}}))
    }

    #[test]
    fn each_answer_of_kueue_has_its_reason_and_its_words() {
        let quota = "insufficient unused quota for cpu in flavor default, 1 more needed";
        for (sight, reason, words) in [
            (
                Sight::NotServed,
                "QueueNotAvailable",
                "install Kueue, or remove the field",
            ),
            (Sight::Unseen, "AwaitingKueue", "see whether its controller runs"),
            (workload(&[]), "WaitingForQuota", "has not looked at it yet"),
            (
                workload(&[("QuotaReserved", "False", "Pending", quota)]),
                "WaitingForQuota",
                "1 more needed",
            ),
            (
                workload(&[(
                    "QuotaReserved",
                    "False",
                    "Misconfigured",
                    "LocalQueue x is missing",
                )]),
                "Misconfigured",
                "x is missing",
            ),
            (
                workload(&[
                    ("QuotaReserved", "False", "Pending", "waiting"),
                    (
                        "Evicted",
                        "True",
                        "Preempted",
                        "Preempted to accommodate a workload",
                    ),
                ]),
                "Preempted",
                "to accommodate a workload; now: waiting; it goes on by itself",
            ),
            (
                workload(&[("Evicted", "True", "Deactivated", "The workload is deactivated")]),
                "Deactivated",
                "spec.active",
            ),
            (
                workload(&[
                    ("QuotaReserved", "True", "QuotaReserved", ""),
                    ("Admitted", "False", "UnsatisfiedChecks", "a check waits"),
                ]),
                "AwaitingAdmission",
                "a check waits",
            ),
            (
                workload(&[
                    ("QuotaReserved", "True", "QuotaReserved", ""),
                    ("Evicted", "True", "Preempted", "earlier"),
                ]),
                "AwaitingAdmission",
                "not done",
            ),
        ] {
            let (told, message) = sight.tell("team-a");
            assert_eq!(told, reason, "{sight:?}");
            assert!(message.contains(words), "{sight:?}: {message}");
        }
    }
}
