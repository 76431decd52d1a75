//! A Job: what may change of it, and what became of it. Not: its pod template, which cannot change, and which its name
//! tells.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use serde::{Deserialize, Serialize};

use super::{Condition, Kept, Metadata, Seen, list};

/// A Job of ours.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, Resource)]
#[resource(inherit = k8s_openapi::api::batch::v1::Job)]
pub struct Job {
    /// Who and whose it is.
    #[serde(default)]
    pub metadata: Metadata,
    /// What may change of it.
    pub spec: Option<JobSpec>,
    /// What became of it.
    pub status: Option<JobStatus>,
}

impl Seen<k8s_openapi::api::batch::v1::Job> for Job {}

impl Job {
    /// Its annotations that are read.
    pub fn annotations(&self) -> &Kept {
        &self.metadata.annotations
    }

    /// Whether the pod of this number failed and is not started again.
    pub fn has_lost(&self, index: u32) -> bool {
        let told = self
            .status
            .as_ref()
            .and_then(|status| status.failed_indexes.as_deref());
        told.unwrap_or_default().split(',').any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let within = |first: u32, last: u32| (first..=last).contains(&index);
            matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if within(first, last))
        })
    }
}

/// What may change of a Job: what a patch says is held against it, so that each field of
/// `training::apply::lifecycle` is here.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JobSpec {
    /// Whether it has no pods for now.
    pub suspend: Option<bool>,
    /// Pods that may fail.
    pub backoff_limit: Option<i32>,
    /// Longest that it may take.
    pub active_deadline_seconds: Option<i64>,
}

/// What became of a Job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JobStatus {
    /// Whether it has ended, and how.
    #[serde(deserialize_with = "list")]
    pub conditions: Option<Vec<Condition>>,
    /// Pods that have not ended.
    pub active: Option<i32>,
    /// Pods that failed.
    pub failed: Option<i32>,
    /// Pods that ended well.
    pub succeeded: Option<i32>,
    /// Of numbered pods those that are not started again, as numbers and ranges of them: `0,2-4`.
    pub failed_indexes: Option<String>,
    /// When it was last started.
    pub start_time: Option<Time>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::labels;

    #[test]
    fn what_may_change_of_a_job_and_what_became_of_it_is_kept() {
        let spec = json!({"suspend": false, "backoffLimit": 3, "activeDeadlineSeconds": 60});
        let status = json!({
            "conditions": [{
                "type": "Complete", "status": "True", "reason": "CompletionsReached", "message": "m",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
            "active": 0, "failed": 1, "succeeded": 1, "failedIndexes": "1,3-4", "startTime": "2026-01-01T00:00:00Z",
        });
        let mut whole = json!({
            "metadata": {"name": "j", "annotations": {labels::YIELDING: "{}"}}, "spec": spec, "status": status,
        });
        whole["spec"]["template"] = json!({"spec": {"containers": [{"name": "c"}]}});
        whole["status"]["uncountedTerminatedPods"] = json!({});
        let job: Job = serde_json::from_value(whole).unwrap();
        let kept = serde_json::to_value(&job).unwrap();
        assert_eq!((&kept["spec"], &kept["status"]), (&spec, &status));
        assert_eq!(kept["metadata"]["annotations"], json!({labels::YIELDING: "{}"}));
        let lost: Vec<u32> = (0..7).filter(|&index| job.has_lost(index)).collect();
        assert_eq!(lost, [1, 3, 4]);
        assert!(!Job::default().has_lost(0));
    }
}
