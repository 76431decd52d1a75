//! Where the time of a pod's start went, as far as the API tells.
//!
//! ```text
//!   created ──Scheduled──► node ──Prepared──► sandbox ──Started──► running ──Loaded──► answers
//! ```
//!
//! Kubernetes tells these moments to the second, so each phase may be off by one; they add up to the total.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sconce_contract::Duration;
use sconce_crds::deployment::{ColdStart, ColdStartPhase, ColdStartPhaseName};

use super::situation;
use crate::observed;
use crate::seen::Pod;

/// Of the newest pod of the revision that answers. `before` is what was told of the revision the last time: it stays
/// until a newer pod answers, since a pod that did not answer for a moment tells a later time from then on.
pub fn newest(pods: &[Arc<Pod>], revision: &str, before: Option<&ColdStart>) -> Option<ColdStart> {
    pods.iter()
        .filter(|pod| situation::revision(pod) == Some(revision) && observed::is_ready(pod))
        .filter_map(|pod| of(pod))
        .chain(before.cloned())
        // Of two that are the same pod's, the last.
        .enumerate()
        .max_by_key(|(at, cold_start)| (cold_start.created.0, cold_start.pod.clone(), *at))
        .map(|(_, cold_start)| cold_start)
}

/// Nothing for a pod whose container was started again: when it first was is no longer told.
fn of(pod: &Pod) -> Option<ColdStart> {
    let container = observed::container(pod).filter(|container| container.restart_count == 0)?;
    let started = container.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0;
    let created = pod.creation_timestamp()?;
    let moments = [
        (
            ColdStartPhaseName::Scheduled,
            Some(observed::since(pod, "PodScheduled")?),
        ),
        // Kubernetes 1.29 and later.
        (
            ColdStartPhaseName::Prepared,
            observed::since(pod, "PodReadyToStartContainers"),
        ),
        (ColdStartPhaseName::Started, Some(started)),
        (ColdStartPhaseName::Loaded, Some(observed::since(pod, "Ready")?)),
    ];
    let mut last = created.0;
    let mut phases = Vec::new();
    for (name, moment) in moments {
        let Some(moment) = moment else { continue };
        // Clocks of several machines are at work: no phase takes less than nothing.
        let moment = moment.max(last);
        let took = seconds(last, moment);
        phases.push(ColdStartPhase { name, took });
        last = moment;
    }
    Some(ColdStart {
        pod: pod.name_any(),
        total: seconds(created.0, last),
        created,
        phases,
        cache: None,
    })
}

fn seconds(from: Timestamp, to: Timestamp) -> Duration {
    let passed = to.duration_since(from).max(SignedDuration::ZERO);
    Duration::from_secs(passed.as_secs().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels;
    use serde_json::{Value, json};

    /// Created at `created`, ready since `ready`: seconds of one minute.
    fn pod(name: &str, created: u8, ready: u8, holds: bool) -> Value {
        let at = |second: u8| format!("2026-01-01T00:00:{second:02}Z");
        let condition = |kind: &str, holds: bool, second: u8| {
            let status = if holds { "True" } else { "False" };
            json!({"type": kind, "status": status, "lastTransitionTime": at(second)})
        };
        json!({
            "metadata": {"name": name, "creationTimestamp": at(created), "labels": {labels::REVISION: "r"}},
            "spec": {"containers": []},
            "status": {
                "conditions": [
                    condition("PodScheduled", true, created + 1),
                    condition("PodReadyToStartContainers", true, created + 3),
                    condition("Ready", holds, ready),
                ],
                "containerStatuses": [{
                    "name": "sconce", "image": "s", "imageID": "", "ready": holds, "restartCount": 0,
                    "state": {"running": {"startedAt": at(created + 12)}},
                }],
            },
        })
    }

    fn tells<const N: usize>(pods: [Value; N], before: Option<&ColdStart>) -> Option<ColdStart> {
        let pods = pods.map(|pod| Arc::new(serde_json::from_value(pod).unwrap()));
        newest(&pods, "r", before)
    }

    fn words(cold_start: &ColdStart) -> Vec<String> {
        let phases = cold_start.phases.iter();
        phases
            .map(|phase| format!("{:?} {}", phase.name, phase.took))
            .chain([cold_start.total.to_string()])
            .collect()
    }

    #[test]
    fn the_phases_add_up_to_the_time_from_creation_to_the_first_answer() {
        let told = tells([pod("a", 0, 20, true)], None).unwrap();
        assert_eq!(
            words(&told),
            ["Scheduled 1s", "Prepared 2s", "Started 9s", "Loaded 8s", "20s"]
        );
        // An older kubelet.
        let mut older = pod("a", 0, 20, true);
        older["status"]["conditions"].as_array_mut().unwrap().remove(1);
        let told = tells([older], None).unwrap();
        assert_eq!(words(&told), ["Scheduled 1s", "Started 11s", "Loaded 8s", "20s"]);
    }

    #[test]
    fn it_is_the_newest_pods_of_the_revision_that_answers() {
        let all = || {
            [
                pod("b", 5, 30, true),
                pod("a", 0, 40, true),
                pod("c", 9, 33, false),
            ]
        };
        assert_eq!(tells(all(), None).unwrap().pod, "b");
        let mut other = pod("d", 20, 40, true);
        other["metadata"]["labels"][labels::REVISION] = json!("another");
        assert_eq!(tells([other, pod("a", 0, 20, true)], None).unwrap().pod, "a");
        assert_eq!(tells([pod("c", 9, 33, false)], None), None);
    }

    #[test]
    fn a_second_start_of_the_container_is_not_taken_for_the_first() {
        let mut again = pod("a", 0, 50, true);
        again["status"]["containerStatuses"][0]["restartCount"] = json!(1);
        assert_eq!(tells([again], None), None);
    }

    #[test]
    fn a_pod_that_did_not_answer_for_a_moment_keeps_its_first_time() {
        let first = tells([pod("a", 0, 20, true)], None).unwrap();
        let told = |pods| tells(pods, Some(&first));
        assert_eq!(told([pod("a", 0, 40, false)]), Some(first.clone()));
        assert_eq!(told([pod("a", 0, 50, true)]), Some(first.clone()));
        // An older one takes its place neither now nor when it is gone, a newer one that answers does.
        let with = |other: Value| tells([pod("a", 0, 50, false), other], Some(&first)).unwrap().pod;
        let mut older = pod("z", 0, 20, true);
        older["metadata"]["creationTimestamp"] = json!("2025-12-31T23:59:59Z");
        assert_eq!(with(older.clone()), "a");
        assert_eq!(tells([older], Some(&first)), Some(first.clone()));
        assert_eq!(with(pod("b", 1, 33, false)), "a");
        assert_eq!(with(pod("b", 1, 33, true)), "b");
        assert_eq!(tells([], Some(&first)), Some(first.clone()));
    }

    #[test]
    fn clocks_that_disagree_make_no_negative_time() {
        let told = tells([pod("a", 0, 11, true)], None).unwrap();
        assert_eq!(
            (words(&told)[3].as_str(), words(&told)[4].as_str()),
            ("Loaded 0s", "12s")
        );
    }
}
