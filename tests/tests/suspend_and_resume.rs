//! `spec.suspend` stops a training's pod and starts it again; the status says which of the two is so.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use sconce_tests::objects::{trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn suspend(held: bool) -> Value {
    json!({"spec": {"suspend": held}})
}

#[tokio::test(flavor = "multi_thread")]
async fn created_suspended_it_starts_no_pod_until_it_is_let_go() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(training("iris"), &suspend(true))).await?;
    let seen = room.phase("iris", Phase::Suspended).await?;
    assert!(told(conditions(&seen), "Suspended").starts_with("True"));
    for kind in ["Ready", "Progressing", "Degraded"] {
        assert!(
            told(conditions(&seen), kind).starts_with("False: Suspended"),
            "{kind}"
        );
    }
    assert!(room.kubelet.all("sconce.dev/training=iris").await?.is_empty());
    room.change::<ModelTraining>("iris", suspend(false)).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let seen = room.phase("iris", Phase::Succeeded).await?;
    assert!(told(conditions(&seen), "Suspended").starts_with("False"));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_pod_is_stopped_and_suspended_is_said_when_it_has() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    let running = room
        .phase("iris", Phase::Training)
        .await?
        .status
        .unwrap_or_default();

    room.kubelet.holds(true);
    room.change::<ModelTraining>("iris", suspend(true)).await?;
    let seen = room.training_says("iris", "Stopping").await?;
    assert!(
        told(conditions(&seen), "Suspended").starts_with("False"),
        "the pod still runs"
    );
    assert!(told(conditions(&seen), "Running").starts_with("True"));
    room.kubelet.holds(false);
    room.gone::<Pod>(&pod).await?;
    room.phase("iris", Phase::Suspended).await?;

    room.change::<ModelTraining>("iris", suspend(false)).await?;
    let next = room.kubelet.trainer("iris").await?;
    assert_ne!(next, pod);
    let done = room
        .succeeds("iris", &trained("iris-artifacts", 'a', 0.9))
        .await?;
    assert_eq!(
        (done.run, &done.job),
        (running.run, &running.job),
        "it is the same run in the same Job"
    );
    assert_eq!(room.ours::<Job>().await?, [done.job.unwrap_or_default()]);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn suspending_what_has_ended_changes_nothing() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let before = room
        .succeeds("iris", &trained("iris-artifacts", 'a', 0.9))
        .await?;
    room.change::<ModelTraining>("iris", suspend(true)).await?;
    let after = room
        .phase("iris", Phase::Succeeded)
        .await?
        .status
        .unwrap_or_default();
    assert_eq!(
        (after.artifact, after.completion_time),
        (before.artifact, before.completion_time)
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_learned_cannot_change_while_it_runs_unless_it_is_suspended_with_the_change() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    let running = room.phase("iris", Phase::Training).await?;

    for change in [
        json!({"hyperparameters": {"epochs": 3}}),
        json!({"dataset": {"target": "petal"}}),
    ] {
        let refused = room
            .change::<ModelTraining>("iris", json!({"spec": change}))
            .await
            .map(drop)
            .err();
        let refused = refused.ok_or("a running training was changed")?.to_string();
        assert!(
            refused.contains("cannot change while the training runs: wait for it, or set spec.suspend: true"),
            "{refused}"
        );
    }
    // What does not touch the run may change.
    room.change::<ModelTraining>("iris", json!({"spec": {"ttlSecondsAfterFinished": 600}}))
        .await?;

    let held: Value = json!({"spec": {"suspend": true, "hyperparameters": {"epochs": 3}}});
    room.change::<ModelTraining>("iris", held).await?;
    let suspended = room.phase("iris", Phase::Suspended).await?;
    assert_ne!(
        suspended.status.and_then(|status| status.job),
        running.status.and_then(|status| status.job)
    );
    room.change::<ModelTraining>("iris", json!({"spec": {"suspend": false}}))
        .await?;
    room.run_to("iris", &trained("iris-artifacts", 'c', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    Ok(room.close()?)
}
