//! A rollout where more pods are wanted than there are units.

use serde_json::json;

use super::*;
use crate::deployment::fixtures::{artifact, deployment, found, live, model, pod, ready, training};
use crate::deployment::revision::Served;
use crate::deployment::validate::validate;
use crate::labels;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn asked() -> ModelDeployment {
    deployment(&json!({
        "model": {"trainingRef": {"name": "iris"}}, "replicas": 3, "rollout": {"strategy": "DrainFirst"},
        "autoscaling": {"mode": "External"},
    }))
}

fn served(byte: &str) -> Served {
    Served::of(model(byte), &asked().spec)
}

fn workload(byte: &str, replicas: i32, annotation: (&str, Timestamp)) -> Deployment {
    let mut live = serde_json::to_value(live(&served(byte))).unwrap();
    live["spec"]["replicas"] = json!(replicas);
    live["metadata"]["annotations"][annotation.0] = json!(annotation.1.to_string());
    serde_json::from_value(live).unwrap()
}

/// One that no node has had room for since second 0.
fn homeless(name: &str, byte: &str) -> Arc<Pod> {
    let waits = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": at(0).to_string(),
        "message": "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
    });
    pod(
        name,
        &served(byte).revision,
        &json!({"phase": "Pending", "conditions": [waits]}),
    )
}

fn rolling(fewer: Timestamp) -> Found {
    let (old, new) = (served("aa").revision, served("bb"));
    let trained = json!({
        "phase": "Succeeded", "artifact": artifact("bb"), "completedRun": "r",
        "conditions": [crate::deployment::fixtures::condition("Complete", "True", "")],
    });
    let workloads = [
        workload("aa", 2, (labels::FEWER_SINCE, fewer)),
        workload("bb", 1, (labels::WANTED_SINCE, at(0))),
    ];
    let pods = vec![ready("a", &old), ready("b", &old), homeless("c", "bb")];
    let found = found(&asked(), Some(&training(&trained)), workloads, pods);
    assert_eq!(found.workloads[0].served, new);
    found
}

fn earlier(found: &Found, now: Timestamp) -> i32 {
    let asked = asked();
    let serving = validate(&asked, found).unwrap();
    let rollout = plan(&asked, &serving, found, now);
    assert_eq!(rollout.wanted, 1);
    rollout.others[0].1
}

#[test]
fn an_earlier_pod_goes_for_one_that_finds_no_place_once_what_was_given_back_must_have_been_taken() {
    let found = rolling(at(-60));
    assert_eq!(earlier(&found, at(119)), 2);
    assert_eq!(earlier(&found, at(121)), 1);
    let just_gave_one = rolling(at(100));
    assert_eq!(earlier(&just_gave_one, at(121)), 2);
    assert_eq!(earlier(&just_gave_one, at(221)), 1);
}

#[test]
fn a_revision_that_answers_wherever_there_is_room_is_not_rolled_back() {
    let new = served("bb").revision;
    let mut found = rolling(at(0));
    found.pods = vec![ready("a", &new), ready("b", &new), homeless("c", "bb")];
    let mut asked = asked();
    asked.spec.autoscaling = None;
    let serving = validate(&asked, &found).unwrap();
    let overdue = plan(&asked, &serving, &found, at(7200));
    assert!(overdue.overdue && overdue.back.is_none());
    found.pods = vec![homeless("c", "bb"), ready("a", &served("aa").revision)];
    let back = plan(&asked, &serving, &found, at(7200)).back;
    assert!(back.is_some(), "none of it answers");
    let held = hold(&asked, &found, at(7200));
    let kept = held
        .counts
        .iter()
        .find(|(live, _)| live.annotations().get(labels::REVISION) == Some(&new));
    assert_eq!(
        kept.map(|(_, count)| *count),
        Some(0),
        "nor does it stay where nothing new is let in"
    );
}
