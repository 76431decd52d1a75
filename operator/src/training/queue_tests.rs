//! What a run that makes way says of it, until it has a place again.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2027-01-15T08:00:00Z";

fn training(status: &Value) -> ModelTraining {
    serde_json::from_value(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining",
        "metadata": {"name": "iris", "namespace": "ml", "uid": "t1", "generation": 2},
        "spec": {
            "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
            "dataset": {"uri": "configmap://a/b.csv", "target": "y"},
            "accelerator": {"profile": "l4"},
        },
        "status": status,
    }))
    .unwrap()
}

fn queued(reason: &str, message: &str) -> Value {
    json!({"phase": "Queued", "run": "r", "conditions": [
        {"type": "Ready", "status": "False", "reason": reason, "message": message, "lastTransitionTime": NOW}]})
}

fn job(suspend: bool) -> Job {
    let template = json!({"spec": {"containers": []}});
    serde_json::from_value(
        json!({"metadata": {"name": "iris-1"}, "spec": {"suspend": suspend, "template": template}}),
    )
    .unwrap()
}

fn pod(name: &str, priority: i32, node: Option<&str>, conditions: &Value, labels: &Value) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ml", "labels": labels},
            "spec": {"containers": [], "priority": priority, "nodeName": node},
            "status": {"phase": "Pending", "conditions": conditions},
        }))
        .unwrap(),
    )
}

fn trainer(node: Option<&str>, conditions: &Value) -> Arc<Pod> {
    pod(
        "iris-1-a",
        10,
        node,
        conditions,
        &json!({"sconce.dev/training": "iris"}),
    )
}

fn preempted() -> Arc<Pod> {
    let by = json!([{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "lastTransitionTime": NOW}]);
    trainer(Some("gpu-0"), &by)
}

fn unschedulable(said: &str) -> Arc<Pod> {
    trainer(
        None,
        &json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}]),
    )
}

fn placed() -> Arc<Pod> {
    trainer(Some("gpu-1"), &json!([]))
}

/// One of several.
fn at(worker: u32, pod: Arc<Pod>) -> Arc<Pod> {
    let mut pod = Arc::unwrap_or_clone(pod);
    pod.metadata.labels.insert(labels::WORKER, worker.to_string());
    Arc::new(pod)
}

fn look(training: &ModelTraining, suspended: bool, pods: &[Arc<Pod>], turn: &Turn) -> Option<Wait> {
    wait(training, &job(suspended), &pods.iter().collect::<Vec<_>>(), turn)
}

#[test]
fn who_took_the_place_is_found_among_our_pods() {
    let labels = json!({"sconce.dev/deployment": "chat"});
    let bound =
        json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2027-01-15T08:00:01Z"}]);
    let earlier =
        json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2027-01-15T07:00:00Z"}]);
    let victim = preempted();
    let found = |pods: &[Arc<Pod>]| taker(&victim, pods);
    assert_eq!(
        found(&[pod("chat-1", 100, Some("gpu-0"), &bound, &labels)]).as_deref(),
        Some("ModelDeployment \"chat\"")
    );
    assert_eq!(
        found(&[pod("chat-1", 100, Some("gpu-0"), &earlier, &labels)]),
        None
    );
    assert_eq!(found(&[pod("chat-1", 100, Some("gpu-1"), &bound, &labels)]), None);
    assert_eq!(found(&[pod("chat-1", 10, Some("gpu-0"), &bound, &labels)]), None);
    let mut promised = (*pod("chat-1", 100, None, &json!([]), &labels)).clone();
    promised.metadata.namespace = Some("other".to_owned());
    promised.status.as_mut().unwrap().nominated_node_name = Some("gpu-0".to_owned());
    assert_eq!(
        found(&[victim.clone(), Arc::new(promised)]).as_deref(),
        Some("ModelDeployment \"chat\" of the namespace \"other\"")
    );
}

#[test]
fn a_preempted_run_is_queued_until_a_pod_of_its_has_a_node_again() {
    let turn = Turn {
        taker: Some("ModelDeployment \"chat\"".to_owned()),
        ..Turn::default()
    };
    let first = look(&training(&json!({})), false, &[preempted()], &turn).unwrap();
    assert_eq!((first.reason.as_str(), first.stopping), ("Preempted", true));
    assert!(
        first.message.starts_with(
            "ModelDeployment \"chat\" of a higher priority took its place; it goes on by itself"
        )
    );

    let mut told = training(&queued(first.reason.as_str(), &first.message));
    let unseen = look(&told, false, &[preempted()], &Turn::default()).unwrap();
    assert_eq!(unseen.message, first.message, "who it was is not forgotten");
    let none = look(&told, false, &[], &Turn::default()).unwrap();
    assert_eq!((&none.message, none.stopping), (&first.message, false));
    for said in [
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        "0/2 nodes are available.",
    ] {
        let later = look(&told, false, &[unschedulable(said)], &Turn::default()).unwrap();
        assert_eq!(later.reason, "Preempted");
        assert_eq!(
            later.message,
            format!("{}{MEANWHILE}{}", first.message, said.trim_end_matches('.')),
            "it does not grow"
        );
        told = training(&queued(later.reason.as_str(), &later.message));
    }
    let placed = trainer(Some("gpu-0"), &json!([]));
    assert_eq!(look(&told, false, &[placed], &Turn::default()), None);
}

#[test]
fn several_pods_make_way_with_the_first_that_does_and_wait_until_enough_have_a_place() {
    let mut run = training(&json!({}));
    run.spec.nodes = serde_json::from_value(json!({"count": 3})).unwrap();
    let pods = [at(1, preempted()), at(0, placed()), at(2, placed())];
    let first = look(&run, false, &pods, &Turn::default()).unwrap();
    assert_eq!(first.reason, "Preempted", "another pod is the newest");

    run.status = training(&queued(first.reason.as_str(), &first.message)).status;
    let again = [
        at(1, preempted()),
        at(0, placed()),
        at(1, unschedulable("no room.")),
        at(2, placed()),
    ];
    let waits = look(&run, false, &again, &Turn::default()).unwrap();
    assert_eq!(waits.message, format!("{}{MEANWHILE}no room", first.message));
    run.spec.nodes.min_count = Some(2);
    assert_eq!(
        look(&run, false, &again, &Turn::default()),
        None,
        "two are enough"
    );
    let without_the_first = [at(0, unschedulable("no room.")), at(1, placed()), at(2, placed())];
    let waits = look(&run, false, &without_the_first, &Turn::default());
    assert!(waits.is_some(), "the others wait for the first one");
    run.spec.nodes.min_count = None;
    let all = [0, 1, 2].map(|worker| at(worker, placed()));
    assert_eq!(look(&run, false, &all, &Turn::default()), None);
}

#[test]
fn a_search_makes_way_with_its_first_pod_alone() {
    let search = json!({"objective": {"metric": "loss"}, "space": []});
    let mut run = training(&json!({}));
    run.spec.nodes = serde_json::from_value(json!({"count": 3})).unwrap();
    run.spec.search = Some(serde_json::from_value(search).unwrap());

    let helper = [at(0, placed()), at(1, preempted()), at(2, placed())];
    assert_eq!(look(&run, false, &helper, &Turn::default()), None, "it goes on");
    let first = [at(0, preempted()), at(1, placed()), at(2, placed())];
    let waits = look(&run, false, &first, &Turn::default()).unwrap();
    assert_eq!(waits.reason, "Preempted");

    run.status = training(&queued(waits.reason.as_str(), &waits.message)).status;
    let alone = [at(0, placed()), at(1, unschedulable("no room."))];
    assert_eq!(look(&run, false, &alone, &Turn::default()), None, "one is enough");
}

#[test]
fn a_pod_that_waits_for_the_first_time_is_not_said_to_have_made_way() {
    let waiting = [unschedulable(
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    )];
    assert_eq!(
        look(
            &training(&json!({"phase": "Pending"})),
            false,
            &waiting,
            &Turn::default()
        ),
        None
    );
    let let_in = training(&queued(
        "Preempted",
        "Kueue put it back into the queue \"a\": for another",
    ));
    assert_eq!(look(&let_in, false, &waiting, &Turn::default()), None);
}

#[test]
fn a_job_in_a_queue_waits_for_kueue_and_no_longer_once_it_is_let_in() {
    let mut queues = training(&json!({}));
    queues.spec.scheduling.queue_name = Some("team-a".to_owned());
    assert_eq!(
        look(&queues, true, &[], &Turn::default()).unwrap().reason,
        "AwaitingKueue"
    );
    let turn = Turn {
        queue: Some(Sight::NotServed),
        ..Turn::default()
    };
    assert_eq!(
        look(&queues, true, &[], &turn).unwrap().reason,
        "QueueNotAvailable"
    );
    assert_eq!(look(&queues, false, &[], &turn), None);
    assert_eq!(look(&training(&json!({})), true, &[], &Turn::default()), None);
}

#[test]
fn each_time_that_a_pod_at_work_makes_way_is_counted_once() {
    let count = |phase: &str, before: Option<i32>, now: Phase| {
        let status: ModelTrainingStatus =
            serde_json::from_value(json!({"phase": phase, "interruptions": before})).unwrap();
        interruptions(Some(&status), true, now)
    };
    assert_eq!(count("Training", None, Phase::Queued), Some(1));
    assert_eq!(count("Evaluating", Some(1), Phase::Queued), Some(2));
    assert_eq!(count("Queued", Some(2), Phase::Queued), Some(2));
    assert_eq!(count("Pending", None, Phase::Queued), None);
    assert_eq!(count("Queued", Some(2), Phase::Training), Some(2));
    assert_eq!(interruptions(None, true, Phase::Queued), None);
}
