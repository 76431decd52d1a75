//! What pods said that were deleted before anyone looked.
//!
//! A pod that is told to stop writes its report, and may be gone from the watch's store a moment later, before its
//! training is reconciled. The watch's events bring it all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;

use crate::seen::Pod;
use crate::{labels, observed};

/// Most pods that are remembered. Those of trainings that are deleted are never asked for; where they are too many,
/// all are forgotten, and a status says of a checkpoint what was known before.
const MOST: usize = 256;

/// The last pod of each training that ended while it was being deleted, until it is asked for.
#[derive(Debug, Default)]
pub struct LastWords(Mutex<HashMap<(String, String), Arc<Pod>>>);

impl LastWords {
    /// Takes note of a pod that was seen. One that is not being deleted stays in the store, and is found there.
    pub fn hear(&self, pod: &Arc<Pod>) {
        if pod.metadata.deletion_timestamp.is_none() || !observed::has_ended(pod) {
            return;
        }
        if let Some(training) = pod.labels().get(labels::TRAINING) {
            let key = (pod.namespace().unwrap_or_default(), training.clone());
            let mut pods = self.lock();
            if pods.len() >= MOST {
                pods.clear();
            }
            // What the first of several says is not lost to what the others say.
            let of_same_job =
                |known: &Arc<Pod>| known.labels().get(labels::JOB_NAME) == pod.labels().get(labels::JOB_NAME);
            let is_known = pods
                .get(&key)
                .is_some_and(|known| observed::leads(known) && of_same_job(known));
            if observed::leads(pod) || !is_known {
                pods.insert(key, Arc::clone(pod));
            }
        }
    }

    /// Adds the pod that is not among `pods` any more, as one that has ended, where it is of the training's Job. Whether
    /// there was one: once the status knows of it, [`LastWords::forget`].
    pub fn tell(
        &self,
        namespace: &str,
        training: &str,
        pods: &mut Vec<Arc<Pod>>,
        is_ours: impl Fn(&Pod) -> bool,
    ) -> bool {
        let key = (namespace.to_owned(), training.to_owned());
        let Some(pod) = self.lock().get(&key).cloned() else {
            return false;
        };
        if !is_ours(&pod) || pods.iter().any(|seen| seen.uid() == pod.uid()) {
            return false;
        }
        let mut ended = (*pod).clone();
        if !observed::is_finished(&ended) {
            // Its container has ended, and the pod itself with its deletion.
            ended.status.get_or_insert_default().phase = Some("Failed".into());
        }
        pods.push(Arc::new(ended));
        pods.sort_by_key(|pod| pod.creation_timestamp());
        true
    }

    /// The status knows.
    pub fn forget(&self, namespace: &str, training: &str) {
        self.lock().remove(&(namespace.to_owned(), training.to_owned()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Arc<Pod>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(uid: &str, deleted: bool, state: &Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {
                "name": uid, "namespace": "ml", "uid": uid,
                "labels": {"sconce.dev/training": "iris", "batch.kubernetes.io/job-name": "iris-1"},
            },
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "sconce", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state},
                ],
            },
        });
        if deleted {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn told(words: &LastWords, job: &str, mut pods: Vec<Arc<Pod>>) -> Vec<String> {
        let is_ours = |pod: &Pod| pod.labels().get(labels::JOB_NAME).is_some_and(|name| name == job);
        words.tell("ml", "iris", &mut pods, is_ours);
        assert!(
            pods.iter()
                .all(|pod| observed::is_finished(pod) || pod.name_any() == "next")
        );
        pods.iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn a_pod_that_ended_and_went_is_told_until_the_status_knows() {
        let ended = json!({"terminated": {"exitCode": 75}});
        let words = LastWords::default();
        words.hear(&pod("a", true, &ended));
        assert_eq!(told(&words, "iris-1", vec![]), ["a"]);
        assert_eq!(told(&words, "iris-1", vec![]), ["a"], "until the status knows");
        words.forget("ml", "iris");
        assert!(told(&words, "iris-1", vec![]).is_empty());
    }

    #[test]
    fn of_several_the_first_has_the_last_word() {
        let ended = json!({"terminated": {"exitCode": 75}});
        let numbered = |name: &str, number: u32| {
            let mut pod = (*pod(name, true, &ended)).clone();
            pod.metadata.labels.insert(labels::WORKER, number.to_string());
            Arc::new(pod)
        };
        let words = LastWords::default();
        words.hear(&numbered("b", 1));
        assert_eq!(told(&words, "iris-1", vec![]), ["b"]);
        words.hear(&numbered("a", 0));
        words.hear(&numbered("c", 2));
        assert_eq!(told(&words, "iris-1", vec![]), ["a"]);
    }

    #[test]
    fn one_that_is_there_or_runs_or_is_of_another_job_is_not() {
        let ended = json!({"terminated": {"exitCode": 75}});
        let running = json!({"running": {}});
        let words = LastWords::default();
        words.hear(&pod("a", false, &ended));
        words.hear(&pod("b", true, &running));
        assert!(told(&words, "iris-1", vec![]).is_empty());
        words.hear(&pod("c", true, &ended));
        assert!(told(&words, "iris-2", vec![]).is_empty());
        words.hear(&pod("next", true, &ended));
        assert_eq!(told(&words, "iris-1", vec![pod("next", true, &ended)]), ["next"]);
    }
}
