//! The status in many situations, and what it must never say.

use proptest::prelude::*;
use sconce_contract::TrainingPhase;
use sconce_crds::condition::{
    COMPLETE, DEGRADED, FAILED, GATES_PASSED, PROGRESSING, READY, SCHEDULED, find, is_true,
};
use serde_json::{Value, json};

use super::*;
use crate::training::identity::stage;

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// `mtrain/iris` with a gate on accuracy and this change to its spec.
fn training(change: &Value) -> ModelTraining {
    let mut spec = json!({
        "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
        "dataset": {"uri": "configmap://a/b.csv", "target": "y"},
        "evaluation": {"gates": [{"metric": "accuracy", "min": 0.95}]},
    });
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining",
        "metadata": {"name": "iris", "namespace": "ml", "uid": "t1", "generation": 2}, "spec": spec,
    }))
    .unwrap()
}

fn job(status: &Value) -> Job {
    serde_json::from_value(json!({
        "metadata": {"name": "iris-1", "namespace": "ml", "creationTimestamp": at(NOW - 60).to_string()}, "status": status
    }))
    .unwrap()
}

fn job_condition(kind: &str, reason: &str, ago: i64) -> Value {
    json!({"conditions": [{"type": kind, "status": "True", "reason": reason, "message": "m", "lastTransitionTime": at(NOW - ago).to_string()}]})
}

fn pod(node: Option<&str>, status: &Value) -> Arc<Pod> {
    let pod = json!({
        "metadata": {"name": "iris-1-abcde", "creationTimestamp": at(NOW - 30).to_string()},
        "spec": {"nodeName": node, "containers": [{"name": "sconce", "resources": {"limits": {"memory": "1Gi"}}}]},
        "status": status,
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn container(state: &Value) -> Value {
    json!([{"name": "sconce", "image": "trainer:1", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
}

fn running() -> Arc<Pod> {
    pod(
        Some("n"),
        &json!({"phase": "Running", "containerStatuses": container(&json!({"running": {}}))}),
    )
}

fn waiting(reason: &str) -> Arc<Pod> {
    let state = json!({"waiting": {"reason": reason, "message": "not found"}});
    pod(
        Some("n"),
        &json!({"phase": "Pending", "containerStatuses": container(&state)}),
    )
}

fn ended(phase: &str, exit_code: i32, reason: &str, message: &str) -> Arc<Pod> {
    let state = json!({"terminated": {"exitCode": exit_code, "reason": reason, "message": message}});
    pod(
        Some("n"),
        &json!({"phase": phase, "containerStatuses": container(&state)}),
    )
}

fn preempted() -> Arc<Pod> {
    let by = json!([{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]);
    let state = container(&json!({"running": {}}));
    pod(
        Some("n"),
        &json!({"phase": "Running", "conditions": by, "containerStatuses": state}),
    )
}

fn trained(accuracy: f64) -> Arc<Pod> {
    trained_with(accuracy, &json!({}))
}

fn trained_with(accuracy: f64, work: &Value) -> Arc<Pod> {
    let report = json!({
        "outcome": "trained", "run": "r", "epochs": 3, "steps": 30, "loss": 0.123_456, "seconds": 1.0, "work": work,
        "metrics": [{"name": "accuracy", "value": accuracy, "split": "Test"}],
        "artifact": {"uri": "pvc://iris-artifacts/ab", "digest": "sha256:ab", "sizeBytes": 9},
    });
    ended("Succeeded", 0, "Completed", &report.to_string())
}

fn failed(exit_code: i32, class: &str, field: &str) -> Arc<Pod> {
    let report =
        json!({"outcome": "failed", "class": class, "message": "there is no column z", "field": field});
    ended("Failed", exit_code, "Error", &report.to_string())
}

fn look(training: &ModelTraining, job: &Job, pods: &[Arc<Pod>]) -> ModelTrainingStatus {
    of_job(
        training,
        &Identity::of(training),
        job,
        pods,
        None,
        &Turn::default(),
        at(NOW),
    )
    .status
}

fn ready(status: &ModelTrainingStatus) -> (&str, &str) {
    let ready = find(&status.conditions, READY).unwrap();
    (&ready.reason, &ready.message)
}

#[test]
fn a_pod_that_another_container_keeps_is_told_and_not_waited_for_in_silence() {
    let training = training(&json!({}));
    let ended = |seconds: i64, proxy: &Value| {
        let state = json!({"terminated": {"exitCode": 0, "finishedAt": at(NOW - seconds).to_string()}});
        let mut all = container(&state);
        let proxy = json!({
            "name": "linkerd-proxy", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": proxy,
        });
        all.as_array_mut().unwrap().push(proxy);
        pod(Some("n"), &json!({"phase": "Running", "containerStatuses": all}))
    };
    let job = job(&json!({"active": 1}));
    let runs = json!({"running": {}});
    for (seconds, proxy, reason) in [
        (59, &runs, "Ending"),
        (61, &runs, "PodGoesOn"),
        (61, &json!({"terminated": {"exitCode": 0}}), "Ending"),
    ] {
        let status = look(&training, &job, &[ended(seconds, proxy)]);
        let (said, message) = ready(&status);
        assert_eq!(said, reason, "{message}");
        assert_eq!(status.phase, Some(Phase::Evaluating));
        assert_eq!(
            message.contains("\"linkerd-proxy\" goes on"),
            reason == "PodGoesOn"
        );
    }
}

#[test]
#[allow(clippy::type_complexity)] // A table is easiest read as one.
fn each_situation_has_its_phase_and_its_reason() {
    let plain = training(&json!({}));
    let unschedulable = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: 1 Insufficient nvidia.com/gpu."}]});
    let table: Vec<(&str, Value, Vec<Arc<Pod>>, Phase, &str, &str)> = vec![
        (
            "unschedulable",
            json!({}),
            vec![pod(None, &unschedulable)],
            Phase::Pending,
            "Unschedulable",
            "Insufficient nvidia.com/gpu; ask for less in spec.resources",
        ),
        (
            "no image",
            json!({}),
            vec![waiting("ErrImagePull")],
            Phase::Pending,
            "ImagePullFailed",
            "trainer:1 cannot be pulled: not found",
        ),
        (
            "creating",
            json!({}),
            vec![waiting("ContainerCreating")],
            Phase::Pending,
            "Starting",
            "the pod has a node",
        ),
        (
            "no pod for long",
            json!({}),
            vec![],
            Phase::Pending,
            "NoPod",
            "kubectl describe job iris-1",
        ),
        (
            "running",
            json!({}),
            vec![running()],
            Phase::Training,
            "Training",
            "not said yet",
        ),
        (
            "waiting to retry",
            json!({"failed": 1}),
            vec![failed(1, "Storage", "dataset.uri")],
            Phase::Pending,
            "Retrying",
            "spec.dataset.uri: there is no column z",
        ),
        (
            "preempted",
            json!({"active": 1}),
            vec![preempted()],
            Phase::Queued,
            "Preempted",
            "of a higher priority took its place; it goes on by itself",
        ),
        (
            "bad input",
            job_condition("Failed", "PodFailurePolicy", 1),
            vec![failed(65, "BadInput", "dataset.target")],
            Phase::Failed,
            "BadInput",
            "spec.dataset.target: there is no column z",
        ),
        (
            "out of memory",
            job_condition("Failed", "BackoffLimitExceeded", 1),
            vec![ended("Failed", 137, "OOMKilled", "")],
            Phase::Failed,
            "OutOfMemory",
            "spec.resources.memory: the pod was killed when it used more memory than 1Gi",
        ),
        (
            "killed",
            job_condition("Failed", "BackoffLimitExceeded", 1),
            vec![ended("Failed", 139, "Error", "")],
            Phase::Failed,
            "Internal",
            "exit code 139",
        ),
        (
            "deadline",
            job_condition("Failed", "DeadlineExceeded", 1),
            vec![],
            Phase::Failed,
            "DeadlineExceeded",
            "spec.activeDeadlineSeconds",
        ),
        (
            "ended, and the pod not said to have",
            json!({"active": 1}),
            vec![ended("Running", 0, "Completed", "")],
            Phase::Evaluating,
            "Ending",
            "being read",
        ),
        (
            "report on its way",
            job_condition("Complete", "", 1),
            vec![],
            Phase::Evaluating,
            "Ending",
            "being read",
        ),
        (
            "report lost",
            job_condition("Complete", "", 90),
            vec![],
            Phase::Failed,
            "ReportLost",
            "sconce.dev/rerun",
        ),
        (
            "passed",
            job_condition("Complete", "", 1),
            vec![trained(0.97)],
            Phase::Succeeded,
            "Succeeded",
            "the gate holds",
        ),
        (
            "missed",
            job_condition("Complete", "", 1),
            vec![trained(0.91)],
            Phase::Rejected,
            "Rejected",
            "accuracy is 0.91, 0.04 below the required 0.95",
        ),
    ];
    for (case, status, pods, phase, reason, words) in table {
        let status = look(&plain, &job(&status), &pods);
        assert_eq!(status.phase, Some(phase), "{case}");
        assert_eq!(ready(&status).0, reason, "{case}");
        assert!(ready(&status).1.contains(words), "{case}: {}", ready(&status).1);
        assert_eq!(status.observed_generation, Some(2), "{case}");
        assert!(
            status
                .conditions
                .iter()
                .all(|condition| condition.observed_generation == Some(2)),
            "{case}"
        );
    }
}

#[test]
fn a_proxy_beside_the_trainer_does_not_speak_for_it() {
    // The kubelet sorts by name.
    let mut beside = (*ended("Succeeded", 0, "Completed", "")).clone();
    let proxy = json!([{"name": "istio-proxy", "image": "p", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]);
    let mut all: Vec<_> = serde_json::from_value(proxy).unwrap();
    let status = trained(0.97).status.clone().unwrap_or_default();
    all.extend(status.container_statuses.unwrap_or_default());
    beside.status.as_mut().unwrap().container_statuses = Some(all);
    let complete = job(&job_condition("Complete", "CompletionsReached", 1));
    let seen = look(&training(&json!({})), &complete, &[Arc::new(beside)]);
    assert_eq!(seen.phase, Some(Phase::Succeeded), "{:?}", seen.conditions);
}

#[test]
fn a_passed_run_is_ready_and_its_artifact_may_be_served() {
    let plain = training(&json!({}));
    let status = look(&plain, &job(&job_condition("Complete", "", 1)), &[trained(0.97)]);
    assert!(
        is_true(&status.conditions, READY)
            && is_true(&status.conditions, GATES_PASSED)
            && is_true(&status.conditions, COMPLETE)
    );
    assert_eq!(status.artifact, status.candidate);
    assert_eq!(status.artifact.as_ref().unwrap().digest, "sha256:ab");
    assert_eq!(status.progress.as_ref().unwrap().loss, Some(0.1235));
    assert_eq!(stage(&status, &Identity::of(&plain)), Stage::Finished);
}

#[test]
fn a_job_that_has_just_failed_waits_for_its_pod_to_say_why() {
    let plain = training(&json!({}));
    let phase = |reason: &str, ago: i64, pods: &[Arc<Pod>]| {
        look(&plain, &job(&job_condition("Failed", reason, ago)), pods).phase
    };
    let at_work = [pod(
        Some("a"),
        &json!({"phase": "Running", "containerStatuses": container(&json!({"running": {}}))}),
    )];
    for (ago, pods, expected) in [
        (5, &[][..], Phase::Evaluating),
        (5, &at_work, Phase::Evaluating),
        (61, &[], Phase::Failed),
    ] {
        assert_eq!(
            phase("PodFailurePolicy", ago, pods),
            Some(expected),
            "{ago} s ago"
        );
    }
    assert_eq!(phase("DeadlineExceeded", 5, &[]), Some(Phase::Failed));
}

#[test]
fn a_rejected_run_leaves_the_earlier_artifact_in_place() {
    let mut plain = training(&json!({}));
    let earlier = sconce_contract::Artifact {
        uri: "pvc://iris-artifacts/00".into(),
        digest: "sha256:00".into(),
        size_bytes: 1,
        weights_bytes: None,
    };
    plain.status = Some(ModelTrainingStatus {
        artifact: Some(earlier.clone()),
        run: Some("before".into()),
        ..Default::default()
    });
    let status = look(&plain, &job(&job_condition("Complete", "", 1)), &[trained(0.91)]);
    assert_eq!(status.artifact, Some(earlier));
    assert_eq!(status.candidate.unwrap().digest, "sha256:ab");
    assert!(is_true(&status.conditions, DEGRADED) && !is_true(&status.conditions, COMPLETE));
}

#[test]
fn a_lowered_gate_lets_the_candidate_through_and_a_raised_one_withdraws_nothing() {
    let mut plain = training(&json!({}));
    plain.status = Some(look(
        &plain,
        &job(&job_condition("Complete", "", 1)),
        &[trained(0.91)],
    ));
    let mut lowered = training(&json!({"evaluation": {"gates": [{"metric": "accuracy", "min": 0.9}]}}));
    lowered.status = plain.status.clone();
    let identity = Identity::of(&lowered);
    let status = settled(&lowered, &identity, Stage::Finished, at(NOW + 5)).status;
    assert_eq!(status.phase, Some(Phase::Succeeded));
    assert_eq!(status.artifact.as_ref().unwrap().digest, "sha256:ab");
    assert_eq!(
        status.completion_time,
        plain.status.as_ref().unwrap().completion_time
    );

    plain.status = Some(status);
    let status = settled(&plain, &identity, Stage::Finished, at(NOW + 9)).status;
    assert_eq!(status.phase, Some(Phase::Rejected));
    assert_eq!(status.artifact.unwrap().digest, "sha256:ab");
}

#[test]
fn a_failure_keeps_its_words_after_its_job_is_gone() {
    let mut plain = training(&json!({}));
    plain.status = Some(look(
        &plain,
        &job(&job_condition("Failed", "PodFailurePolicy", 1)),
        &[failed(65, "BadInput", "dataset.target")],
    ));
    let identity = Identity::of(&plain);
    assert_eq!(stage(plain.status.as_ref().unwrap(), &identity), Stage::Failed);
    let status = settled(&plain, &identity, Stage::Failed, at(NOW + 100)).status;
    assert_eq!(
        Some(&status),
        plain.status.as_ref(),
        "the same status, byte for byte"
    );
    assert!(is_true(&status.conditions, FAILED));
}

#[test]
fn suspended_is_said_when_nothing_runs_any_more() {
    let held = training(&json!({"suspend": true}));
    assert_eq!(ready(&look(&held, &job(&json!({})), &[running()])).0, "Stopping");
    assert_eq!(look(&held, &job(&json!({})), &[]).phase, Some(Phase::Suspended));
}

#[test]
fn what_a_pod_saved_before_it_left_its_queue_is_told() {
    let mark =
        json!({"step": 40, "epoch": 2, "time": NOW, "uri": "pvc://iris-artifacts/checkpoints/iris/40"});
    let report = json!({
        "outcome": "failed", "class": "Interrupted", "message": "told to stop", "work": {"lastCheckpoint": mark},
    });
    let held = training(&json!({"suspend": true}));
    let pods = [ended("Failed", 75, "Error", &report.to_string())];
    let status = withdrawn(&held, &Identity::of(&held), &pods, at(NOW)).status;
    assert_eq!(status.phase, Some(Phase::Suspended));
    assert_eq!(
        status.last_checkpoint.map(|saved| (saved.step, saved.epoch)),
        Some((40, 2))
    );
    let running = withdrawn(&held, &Identity::of(&held), &[running()], at(NOW)).status;
    assert_eq!(ready(&running).0, "Stopping");
}

#[test]
fn progress_is_told_for_people() {
    let plain = training(&json!({}));
    let said = Progress {
        phase: TrainingPhase::Training,
        epoch: 4,
        epochs: 10,
        step: 450,
        total_steps: 1000,
        loss: Some(0.212_34),
        eta_seconds: Some(130.0),
        ..Progress::default()
    };
    let status = of_job(
        &plain,
        &Identity::of(&plain),
        &job(&json!({})),
        &[running()],
        Some(&said),
        &Turn::default(),
        at(NOW),
    )
    .status;
    let progress = status.progress.unwrap();
    assert_eq!(
        (progress.summary.as_str(), progress.percent),
        ("45% (epoch 5/10)", 45)
    );
    assert_eq!(
        (progress.eta.as_deref(), progress.loss),
        (Some("2m10s"), Some(0.2123))
    );
    assert!(is_true(&status.conditions, PROGRESSING) && is_true(&status.conditions, SCHEDULED));
}

#[test]
fn that_a_run_was_resumed_is_told_after_its_end_too() {
    let mut plain = training(&json!({}));
    let identity = Identity::of(&plain);
    for (work, resumed_from, summary) in [
        (json!({}), None, "100% (3 epochs)"),
        // Its last pod may be done before anyone asks it.
        (
            json!({"resumedFrom": 12}),
            Some(12),
            "100% (3 epochs, resumed from step 12)",
        ),
    ] {
        let pods = [failed(75, "Interrupted", ""), trained_with(0.97, &work)];
        let status = look(&plain, &job(&job_condition("Complete", "", 1)), &pods);
        let told = |status: &ModelTrainingStatus| {
            let progress = status.progress.clone().unwrap();
            (progress.summary, progress.resumed_from)
        };
        assert_eq!(told(&status), (summary.to_owned(), resumed_from));
        plain.status = Some(status);
        let later = settled(&plain, &identity, Stage::Finished, at(NOW + 60)).status;
        assert_eq!(told(&later), (summary.to_owned(), resumed_from));
    }
}

/// Any of the states that a Job and its pods can be seen in, stale and contradictory ones too.
fn any_sight() -> impl Strategy<Value = (Job, Vec<Arc<Pod>>, bool)> {
    let jobs = prop::sample::select(vec![
        json!({}),
        json!({"active": 1}),
        json!({"failed": 2}),
        job_condition("Complete", "", 1),
        job_condition("Complete", "", 90),
        job_condition("Failed", "BackoffLimitExceeded", 1),
        job_condition("Failed", "DeadlineExceeded", 1),
    ]);
    let pods = prop::collection::vec(
        prop::sample::select(vec![
            running(),
            waiting("ErrImagePull"),
            waiting("ContainerCreating"),
            trained(0.99),
            trained(0.1),
            failed(65, "BadInput", "dataset.target"),
            failed(1, "Storage", "dataset.uri"),
            ended("Failed", 137, "OOMKilled", ""),
            preempted(),
            pod(None, &json!({"phase": "Pending"})),
        ]),
        0..3,
    );
    (jobs, pods, any::<bool>()).prop_map(|(status, pods, suspend)| (job(&status), pods, suspend))
}

proptest! {
    #[test]
    fn over_any_sequence_the_status_does_not_lie(sights in prop::collection::vec(any_sight(), 1..6)) {
        let mut before: Option<ModelTrainingStatus> = None;
        for (step, (job, pods, suspend)) in sights.into_iter().enumerate() {
            let mut training = training(&json!({"suspend": suspend}));
            training.status = before.clone();
            let now = at(NOW + i64::try_from(step).unwrap());
            let identity = Identity::of(&training);
            let status = match before.as_ref().map_or(Stage::Due, |status| stage(status, &identity)) {
                Stage::Due => of_job(&training, &identity, &job, &pods, None, &Turn::default(), now).status,
                ended => settled(&training, &identity, ended, now).status,
            };
            let (reason, message) = ready(&status);
            prop_assert!(!reason.is_empty() && !message.is_empty(), "every object has a reason and a next step");
            if is_true(&status.conditions, READY) {
                prop_assert_eq!(status.phase, Some(Phase::Succeeded));
                prop_assert!(status.artifact.is_some(), "ready without an artifact");
                prop_assert!(status.gates.iter().all(|gate| gate.passed));
            }
            for condition in &status.conditions {
                let then = before.as_ref().and_then(|before| find(&before.conditions, &condition.type_));
                if then.is_some_and(|then| then.status == condition.status) {
                    prop_assert_eq!(&condition.last_transition_time, &then.unwrap().last_transition_time, "{} flaps", condition.type_);
                }
            }
            before = Some(status);
        }
    }
}
