//! Which failures are tried again, how often, and that a pod which stands still is one of them.
#![allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use sconce_contract::FailureClass;
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use sconce_tests::objects::{failed, trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn policy(policy: Value) -> Value {
    json!({"spec": {"failurePolicy": policy}})
}

/// Lets the training's next pod run, and answer nothing.
async fn next(room: &Room, name: &str) -> sconce_tests::Result<String> {
    let pod = room.kubelet.trainer(name).await?;
    room.kubelet.takes(&pod).await?;
    // An address of the documentation (RFC 5737): nobody answers there.
    room.kubelet.runs(&pod, "192.0.2.1", true).await?;
    Ok(pod)
}

async fn over(room: &Room, training: &ModelTraining) -> sconce_tests::Result<Job> {
    let job = training.status.as_ref().and_then(|status| status.job.clone());
    let ended = |job: &Job| {
        let conditions = job
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions
            .clone()
            .any(|condition| condition.type_ == "Failed" && condition.status == "True")
    };
    room.see(&job.unwrap_or_default(), "the Job is over", ended).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_stands_still_is_replaced_and_then_the_run_has_failed() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("iris"),
        &policy(json!({"backoffLimit": 1, "stallTimeout": "3s"})),
    ))
    .await?;
    let first = next(&room, "iris").await?;
    room.gone::<Pod>(&first).await?;
    let second = next(&room, "iris").await?;
    assert_ne!(second, first);
    let seen = room.phase("iris", Phase::Failed).await?;
    let says = told(conditions(&seen), "Failed");
    let sentence = format!("spec.failurePolicy.stallTimeout: the pod {second} took no step for 3s");
    assert!(
        says.starts_with(&format!("True: Stalled: {sentence}"))
            && says.contains("(tried 2 times); allow more"),
        "{says}"
    );
    assert!(told(conditions(&seen), "Stalled").starts_with("True"));
    over(&room, &seen).await?;
    room.gone::<Pod>(&second).await?;
    let label = "sconce.dev/training=iris";
    let active = room.kubelet.active(label, 0).await;
    assert!(active.is_ok(), "no third pod is started");
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_stands_still_is_found_by_the_operator_that_comes_after_a_crash() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("iris"),
        &policy(json!({"backoffLimit": 1, "stallTimeout": "4s"})),
    ))
    .await?;
    let first = next(&room, "iris").await?;
    room.see("iris", "the watch has begun", |seen: &ModelTraining| {
        let watchdog = seen.status.as_ref().and_then(|status| status.watchdog.as_ref());
        watchdog.is_some_and(|watchdog| watchdog.pod == first)
    })
    .await?;
    room.world.crash_operator();
    room.world.restart_operator(&room.world.options())?;
    room.gone::<Pod>(&first).await?;
    let seen = room
        .see("iris", "the replacement is counted", |seen: &ModelTraining| {
            let watchdog = seen.status.as_ref().and_then(|status| status.watchdog.as_ref());
            watchdog.is_some_and(|watchdog| watchdog.replaced == 1)
        })
        .await?;
    let watchdog = seen.status.and_then(|status| status.watchdog);
    assert_eq!(watchdog.and_then(|watchdog| watchdog.last_replaced), Some(first));
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    assert!(told(conditions(&done), "Stalled").starts_with("False"));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passed_its_memory_is_tried_once_more_and_again_with_more_memory() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(training("iris"), &policy(json!({"backoffLimit": 6}))))
        .await?;
    for _ in 0..2 {
        let pod = next(&room, "iris").await?;
        room.kubelet.dies(&pod, 137, "OOMKilled", None).await?;
    }
    let seen = room.phase("iris", Phase::Failed).await?;
    let says = told(conditions(&seen), "Failed");
    assert!(
        says.starts_with("True: OutOfMemory: spec.resources.memory: ") && says.ends_with("(tried 2 times)"),
        "{says}"
    );
    let job = over(&room, &seen).await?;
    let pods = room.kubelet.all("sconce.dev/training=iris").await?;
    assert_eq!(
        pods.len(),
        2,
        "both are kept, with their logs, and there is no third"
    );

    room.change::<ModelTraining>("iris", json!({"spec": {"resources": {"memory": "4Gi"}}}))
        .await?;
    room.gone::<Job>(&job.name_any()).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_class_is_tried_as_often_as_it_may_help() -> Outcome {
    let room = Room::open().await?;
    // Class, how many pods are let fail, and what comes of it with one retry allowed.
    for (name, class, pods, ends) in [
        ("bad", FailureClass::BadInput, 1, true),
        ("diverged", FailureClass::Diverged, 1, true),
        ("storage", FailureClass::Storage, 2, true),
        ("internal", FailureClass::Internal, 2, true),
        ("interrupted", FailureClass::Interrupted, 3, false),
    ] {
        room.apply(with(training(name), &policy(json!({"backoffLimit": 1}))))
            .await?;
        for _ in 0..pods {
            let pod = next(&room, name).await?;
            room.kubelet.ends(&pod, &failed(class, None, "it broke")).await?;
        }
        if ends {
            let seen = room.phase(name, Phase::Failed).await?;
            let says = told(conditions(&seen), "Failed");
            assert!(
                says.starts_with(&format!("True: {class:?}: it broke")),
                "{name}: {says}"
            );
            assert_eq!(
                room.kubelet
                    .all(&format!("sconce.dev/training={name}"))
                    .await?
                    .len(),
                pods,
                "{name}"
            );
        } else {
            room.run_to(name, &trained(&format!("{name}-artifacts"), 'a', 0.9))
                .await?;
            room.phase(name, Phase::Succeeded).await?;
        }
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_too_long_ends_with_the_field_to_raise() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("iris"),
        &json!({"spec": {"activeDeadlineSeconds": 2}}),
    ))
    .await?;
    next(&room, "iris").await?;
    let seen = room.phase("iris", Phase::Failed).await?;
    let says = told(conditions(&seen), "Failed");
    assert!(
        says.starts_with("True: DeadlineExceeded: spec.activeDeadlineSeconds: "),
        "{says}"
    );
    Ok(room.close()?)
}
