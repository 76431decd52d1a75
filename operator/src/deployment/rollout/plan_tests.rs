//! A rollout where more pods are wanted than there are units.

use sconce_crds::rollout::Strategy;
use serde_json::json;

use super::*;
use crate::deployment::fixtures::{artifact, deployment, found, live, loading, model, pod, ready, training};
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

/// The same, of which the earlier revision was complete.
fn known() -> ModelDeployment {
    let mut known = asked();
    let complete = served("aa").told(
        2,
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(-3600))),
    );
    known.status.get_or_insert_default().revisions = vec![complete];
    known
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
        "message": "0/2 nodes are available: 2 Too many pods.",
    });
    pod(
        name,
        &served(byte).revision,
        &json!({"phase": "Pending", "conditions": [waits]}),
    )
}

/// The pod was created at that second.
fn created(pod: &Pod, second: i64) -> Arc<Pod> {
    let mut pod = serde_json::to_value(pod).unwrap();
    pod["metadata"]["creationTimestamp"] = json!(at(second).to_string());
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// So many pods are asked for of the earlier revision, which gave one up at that time, and of the new one.
fn rolling(replicas: [i32; 2], fewer: Timestamp, pods: Vec<Arc<Pod>>) -> Found {
    let trained = json!({
        "phase": "Succeeded", "artifact": artifact("bb"), "completedRun": "r",
        "conditions": [crate::deployment::fixtures::condition("Complete", "True", "")],
    });
    let workloads = [
        workload("aa", replicas[0], (labels::FEWER_SINCE, fewer)),
        workload("bb", replicas[1], (labels::WANTED_SINCE, at(0))),
    ];
    let found = found(&known(), Some(&training(&trained)), workloads, pods);
    assert_eq!(found.workloads[0].served, served("bb"));
    found
}

fn earlier(found: &Found, now: Timestamp) -> i32 {
    let asked = known();
    let serving = validate(&asked, found).unwrap();
    plan(&asked, &serving, found, now).others[0].1
}

#[test]
fn an_earlier_pod_goes_for_one_that_finds_no_place_once_what_was_given_back_must_have_been_taken() {
    let (old, new) = (served("aa").revision, served("bb").revision);
    let two = || vec![ready("a", &old), ready("b", &old), homeless("c", "bb")];
    let before = rolling([2, 1], at(-60), two());
    assert_eq!(earlier(&before, at(119)), 2);
    assert_eq!(earlier(&before, at(121)), 1);
    let in_vain = rolling([2, 1], at(100), two());
    assert_eq!(
        earlier(&in_vain, at(600)),
        2,
        "the place that was given was not taken"
    );
    let taken = rolling(
        [1, 2],
        at(100),
        vec![ready("a", &old), ready("b", &new), homeless("c", "bb")],
    );
    assert_eq!(earlier(&taken, at(219)), 1);
    assert_eq!(earlier(&taken, at(221)), 0);
}

#[test]
fn pods_that_all_answer_are_not_late_though_nobody_took_the_next_step_for_long() {
    let (old, new) = (served("aa").revision, served("bb").revision);
    let asked = known();
    let after =
        |found: &Found, second: i64| plan(&asked, &validate(&asked, found).unwrap(), found, at(second));
    let answers = vec![ready("a", &old), ready("b", &old), ready("c", &new)];
    let rollout = after(&rolling([2, 1], at(-60), answers.clone()), 7200);
    assert_eq!(rollout.back, None);
    // An earlier one goes first, by the strategy; then the next one is asked for.
    assert_eq!((rollout.others[0].1, rollout.more), (1, false));
    let rollout = after(&rolling([1, 1], at(7200), answers[1..].to_vec()), 7230);
    assert_eq!(
        (rollout.back.is_none(), rollout.wanted, rollout.more),
        (true, 2, true)
    );
    // It has the whole time, counted from then.
    let mut next = rolling([1, 2], at(7200), answers[1..].to_vec());
    next.pods.push(loading("d", &new));
    next.workloads[0].more_since = Some(at(7230));
    for (second, goes_back) in [(7231, false), (7829, false), (7831, true)] {
        assert_eq!(after(&next, second).back.is_some(), goes_back, "{second}");
    }
    // One that does not answer has no more time than before, and none for a pod of its own that was given up.
    let mut silent = rolling(
        [2, 1],
        at(-60),
        vec![ready("a", &old), ready("b", &old), loading("c", &new)],
    );
    assert!(after(&silent, 7200).back.is_some());
    silent.workloads[0].fewer_since = Some(at(7100));
    assert!(after(&silent, 7200).back.is_some());
    silent.workloads[1].fewer_since = Some(at(7100));
    assert!(after(&silent, 7200).back.is_none(), "an earlier one makes way");
}

#[test]
fn a_good_pod_that_loads_its_model_is_kept_until_a_new_one_answers() {
    let (old, new) = (served("aa").revision, served("bb").revision);
    let mut asked = known();
    asked.spec.replicas = 1;
    asked.spec.rollout.strategy = Strategy::Surge;
    let kept = |earlier: &Pod, second: i64| {
        let pods = vec![created(earlier, -300), created(&loading("c", &new), 0)];
        let found = rolling([1, 1], at(-600), pods);
        plan(&asked, &validate(&asked, &found).unwrap(), &found, at(second)).others[0].1
    };
    let loads = loading("a", &old);
    assert_eq!(kept(&loads, 20), 1);
    assert_eq!(kept(&loads, 299), 1);
    assert_eq!(kept(&loads, 301), 0, "it has had as long as a new one has");
    let waits = json!({"waiting": {"reason": "ImagePullBackOff"}});
    let unpulled = pod(
        "a",
        &old,
        &json!({"phase": "Pending", "containerStatuses": [{
            "name": "sconce", "image": "server", "imageID": "", "ready": false, "restartCount": 0, "state": waits,
        }]}),
    );
    assert_eq!(kept(&unpulled, 20), 0, "it will not answer by itself");
    let pods = vec![created(&loads, -300), homeless("c", "bb")];
    let found = rolling([1, 1], at(-600), pods);
    let rollout = plan(&asked, &validate(&asked, &found).unwrap(), &found, at(20));
    assert_eq!(rollout.others[0].1, 0, "the new one has no other place");
}

#[test]
fn a_revision_that_answers_wherever_there_is_room_is_not_rolled_back() {
    let new = served("bb").revision;
    let pods = vec![ready("a", &new), ready("b", &new), homeless("c", "bb")];
    let mut found = rolling([0, 3], at(0), pods);
    let mut asked = known();
    asked.spec.autoscaling = None;
    let overdue = plan(&asked, &validate(&asked, &found).unwrap(), &found, at(7200));
    assert!(overdue.overdue && overdue.back.is_none());
    // There is room now, and it starts.
    for (second, goes_back) in [(7100, false), (0, true)] {
        found.pods[2] = created(&loading("c", &new), second);
        let rollout = plan(&asked, &validate(&asked, &found).unwrap(), &found, at(7200));
        assert_eq!(rollout.back.is_some(), goes_back, "created at {second}");
    }
    found.pods = vec![homeless("c", "bb"), ready("a", &served("aa").revision)];
    let serving = validate(&asked, &found).unwrap();
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
