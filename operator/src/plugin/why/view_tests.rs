#![allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn of<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:50:00Z",
    })
}

fn training(status: Value) -> ModelTraining {
    of(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining",
        "metadata": {"name": "tumour", "namespace": "ml", "generation": 1},
        "spec": {
            "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
            "dataset": {"uri": "https://data.example/t.csv", "target": "y"},
        },
        "status": status,
    }))
}

fn deployment(status: Value) -> ModelDeployment {
    of(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "tumour", "namespace": "ml", "generation": 1},
        "spec": {"model": {"trainingRef": {"name": "tumour"}}},
        "status": status,
    }))
}

fn succeeded() -> ModelTraining {
    training(json!({
        "observedGeneration": 1, "phase": "Succeeded", "job": "tumour-1",
        "progress": {"summary": "100% (10 epochs)", "epoch": 10, "step": 40, "totalSteps": 40, "percent": 100},
        "conditions": [
            condition("Accepted", "True", "Valid", "the spec can be carried out"),
            condition("Ready", "True", "Succeeded", "accuracy 0.97 >= 0.95"),
        ],
    }))
}

fn pod(labels: Value, node: Option<&str>, status: Value) -> Pod {
    of(json!({
        "metadata": {"name": "tumour-pod", "namespace": "ml", "labels": labels, "creationTimestamp": "2026-01-01T00:55:00Z"},
        "spec": {"nodeName": node, "containers": [{"name": "sconce", "resources": {"limits": {"memory": "1Gi"}}}]},
        "status": status,
    }))
}

fn called(mut pod: Pod, name: &str) -> Pod {
    pod.metadata.name = Some(name.to_owned());
    pod
}

fn container(state: Value, last: Value, restarts: i32) -> Value {
    json!({
        "name": "sconce", "image": "registry.example/sconce-server:1", "imageID": "", "ready": false,
        "restartCount": restarts, "state": state, "lastState": last,
    })
}

fn event(reason: &str, message: &str, count: i32) -> Event {
    of(json!({
        "metadata": {"name": "e", "namespace": "ml"}, "type": "Warning", "reason": reason, "message": message, "count": count,
        "involvedObject": {"kind": "Pod", "name": "tumour-pod"}, "lastTimestamp": "2026-01-01T00:59:00Z",
    }))
}

#[test]
fn an_image_that_cannot_be_pulled_from_the_deployment_down_to_the_container() {
    let sentence = "the image registry.example/sconce-server:1 cannot be pulled: no such host; check spec.accelerator's \
                    profile (images) and the operator's own image settings";
    let ready = [
        condition("ModelResolved", "True", "GatesPassed", "it passed"),
        condition("Available", "False", "NoPodAnswers", "no pod answers"),
        condition("Ready", "False", "ImagePullFailed", sentence),
        condition("Degraded", "True", "ImagePullFailed", sentence),
    ];
    let state = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: ErrImagePull: no such host"}});
    let found = Gathered {
        deployment: Some(deployment(json!({
            "observedGeneration": 1, "phase": "Degraded", "conditions": ready, "model": "tumour @ sha256:c7a9404d5941",
            "url": "http://tumour.ml.svc", "replicas": 1, "updatedReplicas": 1, "readyReplicas": 0,
        }))),
        training: Some(succeeded()),
        deployments: vec![of(json!({
            "metadata": {"name": "tumour", "namespace": "ml", "labels": {"sconce.dev/deployment": "tumour"}},
            "spec": {"replicas": 1, "selector": {}, "template": {}}, "status": {"readyReplicas": 0},
        }))],
        pods: vec![pod(
            json!({"sconce.dev/deployment": "tumour"}),
            Some("worker"),
            json!({"phase": "Pending", "containerStatuses": [container(state, json!({}), 0)]}),
        )],
        events: vec![event(
            "Failed",
            "Failed to pull image \"registry.example/sconce-server:1\": no such host",
            12,
        )],
        ..Gathered::default()
    };
    insta::assert_snapshot!(screen(&found, now(), 100));
}

#[test]
fn a_trainer_that_was_killed_for_its_memory_and_waits_to_be_tried_again() {
    let sentence = "spec.resources.memory: the pod was killed when it used more memory than 1Gi; raise it";
    let state = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let found = Gathered {
        training: Some(training(json!({
            "observedGeneration": 1, "phase": "Pending", "job": "tumour-1",
            "conditions": [condition("Ready", "False", "OutOfMemory", sentence)],
        }))),
        jobs: vec![of(json!({
            "metadata": {"name": "tumour-1", "namespace": "ml", "labels": {"sconce.dev/training": "tumour"}},
            "status": {"failed": 1},
        }))],
        pods: vec![pod(
            json!({"sconce.dev/training": "tumour", "batch.kubernetes.io/job-name": "tumour-1"}),
            Some("worker"),
            json!({"phase": "Failed", "containerStatuses": [container(state, json!({}), 0)]}),
        )],
        unseen: vec!["you may not list events (forbidden)".to_owned()],
        ..Gathered::default()
    };
    insta::assert_snapshot!(screen(&found, now(), 100));
}

#[test]
fn a_deployment_that_waits_sends_people_to_its_training() {
    let found = Gathered {
        deployment: Some(deployment(json!({
            "observedGeneration": 1, "phase": "Degraded",
            "conditions": [condition("Ready", "False", "TrainingFailed", "the ModelTraining \"tumour\" failed")],
        }))),
        training: Some(training(json!({
            "observedGeneration": 1, "phase": "Failed", "job": "tumour-1",
            "conditions": [condition("Ready", "False", "BadInput", "spec.dataset.target: no such column: y")],
        }))),
        ..Gathered::default()
    };
    let text = screen(&found, now(), 100);
    assert!(text.contains("└─ ModelTraining ml/tumour · Failed"), "{text}");
    assert!(
        text.contains("└─ Job tumour-1 · is gone, and its pods and logs with it"),
        "{text}"
    );
    assert!(
        text.contains("Next: correct the field that the sentence names"),
        "{text}"
    );
}

#[test]
fn what_the_operator_has_not_seen_is_said_before_anything_else() {
    let mut stale = succeeded();
    stale.metadata.generation = Some(2);
    let found = Gathered {
        training: Some(stale),
        ..Gathered::default()
    };
    let text = screen(&found, now(), 100);
    assert!(
        text.contains("has not seen this spec yet (generation 2, its status is of 1)"),
        "{text}"
    );
    assert!(text.contains("Next: wait a moment and look again"), "{text}");
}

#[test]
fn a_training_that_is_not_there_is_said_where_it_would_be() {
    let missing = condition(
        "Ready",
        "False",
        "TrainingNotFound",
        "there is no ModelTraining named \"tumour\"",
    );
    let found = Gathered {
        deployment: Some(deployment(
            json!({"observedGeneration": 1, "phase": "Pending", "conditions": [missing]}),
        )),
        ..Gathered::default()
    };
    let text = screen(&found, now(), 100);
    assert!(text.contains("└─ ModelTraining tumour · is not there"), "{text}");
    assert!(text.contains("Next: create it in the namespace ml"), "{text}");
}

#[test]
fn one_screen_is_enough_however_many_pods_there_are() {
    let mut found = Gathered {
        deployment: Some(deployment(
            json!({"observedGeneration": 1, "phase": "Progressing", "conditions": [
                condition("Ready", "False", "RollingOut", "0 of 50 replicas answer"),
            ]}),
        )),
        deployments: vec![of(json!({"metadata": {"name": "tumour"}}))],
        ..Gathered::default()
    };
    found.pods = (0..50)
        .map(|_| {
            pod(
                json!({"sconce.dev/deployment": "tumour"}),
                None,
                json!({"phase": "Pending"}),
            )
        })
        .collect();
    let text = screen(&found, now(), 100);
    assert!(
        text.lines().count() < 40 && text.contains("47 further pods"),
        "{text}"
    );
}

#[test]
fn of_many_workers_the_one_that_cannot_start_is_shown_and_the_first() {
    let worker = |number: u32, status: &Value| {
        let labels = json!({
            "sconce.dev/training": "tumour", "batch.kubernetes.io/job-name": "tumour-1",
            "batch.kubernetes.io/job-completion-index": number.to_string(),
        });
        let name = format!("tumour-1-{number}");
        called(pod(labels, Some("worker"), status.clone()), &name)
    };
    let running = json!({"phase": "Running"});
    let state = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}});
    let stuck = json!({"phase": "Pending", "containerStatuses": [container(state, json!({}), 0)]});
    let found = Gathered {
        training: Some(training(json!({
            "observedGeneration": 1, "phase": "Pending", "job": "tumour-1",
            "conditions": [condition("Ready", "False", "ImagePullFailed", "the image cannot be pulled")],
        }))),
        jobs: vec![of(
            json!({"metadata": {"name": "tumour-1"}, "status": {"active": 8}}),
        )],
        // Newest first, as they are gathered.
        pods: (0..8)
            .rev()
            .map(|number| worker(number, if number == 2 { &stuck } else { &running }))
            .collect(),
        ..Gathered::default()
    };
    let text = screen(&found, now(), 100);
    let shown: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split("─ Pod ").nth(1)?.split(' ').next())
        .collect();
    assert_eq!(shown, ["tumour-1-2", "tumour-1-0", "tumour-1-7"], "{text}");
    assert!(
        text.contains("ImagePullFailed: the image") && text.contains("└─ 5 further pods"),
        "{text}"
    );
    assert!(text.contains("`kubectl describe pod tumour-1-2 -n ml`"), "{text}");
}

#[test]
fn a_step_names_a_pod_of_the_object_that_it_is_for() {
    let image = "the image cannot be pulled";
    let unpulled = condition("Ready", "False", "ImagePullFailed", image);
    let failed = condition(
        "Ready",
        "False",
        "TrainingFailed",
        "the ModelTraining \"tumour\" failed",
    );
    let of_training = json!({"sconce.dev/training": "tumour"});
    let of_server = json!({"sconce.dev/deployment": "tumour"});
    for (ready, newest_trains, named) in [(&unpulled, true, "server"), (&failed, false, "trainer")] {
        let running = json!({"phase": "Running"});
        let mut pods = vec![
            called(pod(of_server.clone(), None, running.clone()), "server"),
            called(pod(of_training.clone(), None, running), "trainer"),
        ];
        if newest_trains {
            pods.reverse();
        }
        let found = Gathered {
            deployment: Some(deployment(
                json!({"observedGeneration": 1, "phase": "Degraded", "conditions": [ready]}),
            )),
            training: Some(training(
                json!({"observedGeneration": 1, "phase": "Pending", "conditions": [unpulled]}),
            )),
            pods,
            ..Gathered::default()
        };
        let text = screen(&found, now(), 100);
        let command = format!("`kubectl describe pod {named} -n ml`");
        assert!(text.contains(&command), "{text}");
    }
}

#[test]
fn what_keeps_a_model_that_answers_from_its_further_pods_has_a_step_of_its_own() {
    let found = Gathered {
        deployment: Some(deployment(
            json!({"observedGeneration": 1, "phase": "Degraded", "conditions": [
                condition("Ready", "True", "ScalingUp", "1 replicas answer, 2 more on their way; no node can take the pod"),
                condition("Progressing", "True", "ScalingUp", "1 replicas answer"),
                condition("Degraded", "True", "Unschedulable", "no node can take the pod"),
                condition("ScalingLimited", "True", "MaxReplicas", "the load asks for more pods"),
            ]}),
        )),
        ..Gathered::default()
    };
    let text = screen(&found, now(), 100);
    for part in [
        "Next: wait: it goes on by itself",
        "Also: compare what it asks for with `kubectl sconce top`",
        "Also: raise spec.autoscaling.maxReplicas",
        "ScalingLimited=True MaxReplicas",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn each_revision_has_its_own_pods_and_of_a_deployment_that_scales_what_is_wanted_is_told() {
    let workload = |name: &str, replicas: i32| {
        of(json!({
            "metadata": {"name": name, "namespace": "ml", "annotations": {"sconce.dev/revision": name}},
            "spec": {"replicas": replicas, "selector": {}, "template": {}}, "status": {"readyReplicas": replicas},
        }))
    };
    let labels = json!({"sconce.dev/deployment": "tumour", "sconce.dev/revision": "new"});
    let mut deployment = deployment(json!({
        "observedGeneration": 1, "phase": "Ready", "model": "tumour @ sha256:c7a9404d5941", "replicas": 1,
        "updatedReplicas": 1, "readyReplicas": 1, "desiredReplicas": 3,
        "conditions": [condition("Ready", "True", "ScalingUp", "1 replicas answer")],
    }));
    deployment.spec.autoscaling = of(json!({"mode": "Managed", "maxReplicas": 4}));
    let found = Gathered {
        deployment: Some(deployment),
        deployments: vec![workload("new", 3), workload("old", 0)],
        pods: vec![pod(labels, Some("worker"), json!({"phase": "Running"}))],
        ..Gathered::default()
    };
    let text = screen(&found, now(), 100);
    assert!(text.contains("1 of 3 replicas answer"), "{text}");
    assert_eq!(text.matches("tumour-pod").count(), 1, "{text}");
    let (new, old) = (text.find("Deployment new"), text.find("Deployment old"));
    assert!(
        new < text.find("tumour-pod") && text.find("tumour-pod") < old,
        "{text}"
    );
}

#[test]
fn a_server_is_tried_again_by_its_own_annotation_and_a_queue_is_asked_of_kueue() {
    let failed = Gathered {
        deployment: Some(deployment(
            json!({"observedGeneration": 1, "phase": "Degraded", "conditions": [
                condition("Ready", "False", "Internal", "the pod ended with exit code 1"),
            ]}),
        )),
        ..Gathered::default()
    };
    let text = screen(&failed, now(), 100);
    assert!(
        text.contains("mdep/tumour -n ml --overwrite sconce.dev/retry=") && !text.contains("rerun"),
        "{text}"
    );
    let waits = Gathered {
        training: Some(training(json!({
            "observedGeneration": 1, "phase": "Queued",
            "conditions": [condition("Ready", "False", "Inadmissible", "the queue is stopped")],
        }))),
        ..Gathered::default()
    };
    let text = screen(&waits, now(), 100);
    assert!(
        text.contains("Next: wait; `kubectl get localqueues,workloads -n ml`"),
        "{text}"
    );
}
