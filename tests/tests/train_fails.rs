//! A training that cannot succeed ends as Failed with the field to change; one that may is tried again.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use sconce_contract::FailureClass;
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use sconce_tests::objects::{failed, trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_not_tried_again_and_names_the_field() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let sentence = "the table has no column \"species\"; there are width, kind";
    room.run_to(
        "iris",
        &failed(FailureClass::BadInput, Some("dataset.target"), sentence),
    )
    .await?;
    let seen = room.phase("iris", Phase::Failed).await?;
    let wanted = format!("BadInput: spec.dataset.target: {sentence}");
    for (kind, status) in [("Failed", "True"), ("Ready", "False"), ("Degraded", "True")] {
        assert_eq!(told(conditions(&seen), kind), format!("{status}: {wanted}"));
    }
    assert!(told(conditions(&seen), "Progressing").starts_with("False"));
    assert_eq!(
        room.kubelet.all("sconce.dev/training=iris").await?.len(),
        1,
        "it was tried once"
    );
    let status = seen.status.unwrap_or_default();
    assert_eq!((status.attempts, status.artifact), (Some(1), None));

    // A mended spec is tried at once.
    room.change::<ModelTraining>("iris", json!({"spec": {"dataset": {"target": "kind"}}}))
        .await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let mended = room.phase("iris", Phase::Succeeded).await?;
    assert!(told(conditions(&mended), "Failed").starts_with("False"));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_diverges_is_not_tried_again() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let sentence = "the loss is NaN after step 3; try a smaller learning rate";
    room.run_to(
        "iris",
        &failed(
            FailureClass::Diverged,
            Some("hyperparameters.optimizer.learningRate"),
            sentence,
        ),
    )
    .await?;
    let seen = room.phase("iris", Phase::Failed).await?;
    assert_eq!(
        told(conditions(&seen), "Ready"),
        format!("False: Diverged: spec.hyperparameters.optimizer.learningRate: {sentence}")
    );
    assert_eq!(room.kubelet.all("sconce.dev/training=iris").await?.len(), 1);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_fails_is_tried_as_often_as_is_asked_and_no_more() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("iris"),
        &json!({"spec": {"failurePolicy": {"backoffLimit": 1}}}),
    ))
    .await?;
    let report = failed(
        FailureClass::Storage,
        None,
        "https://data.example/iris.csv answered 503",
    );
    room.run_to("iris", &report).await?;
    let waiting = room
        .see("iris", "it waits to try again", |training: &ModelTraining| {
            told(conditions(training), "Ready")
                .contains("the pod before failed: https://data.example/iris.csv answered 503")
        })
        .await?;
    assert_eq!(
        waiting.status.as_ref().and_then(|status| status.phase),
        Some(Phase::Pending)
    );
    assert!(
        told(conditions(&waiting), "Progressing").starts_with("True")
            && told(conditions(&waiting), "Degraded").starts_with("True")
    );
    assert!(told(conditions(&waiting), "Failed").starts_with("False"));

    room.run_to("iris", &report).await?;
    let seen = room.phase("iris", Phase::Failed).await?;
    let ready = told(conditions(&seen), "Ready");
    assert_eq!(
        ready,
        "False: Storage: https://data.example/iris.csv answered 503 (tried 2 times)"
    );
    assert_eq!(room.kubelet.all("sconce.dev/training=iris").await?.len(), 2);
    assert_eq!(seen.status.and_then(|status| status.attempts), Some(2));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_its_node_stops_or_evicts_is_replaced_without_counting() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("iris"),
        &json!({"spec": {"failurePolicy": {"backoffLimit": 0}}}),
    ))
    .await?;
    // With no retry allowed, either of these would fail the training if it counted.
    let interrupted = failed(FailureClass::Interrupted, None, "told to stop at step 3");
    room.run_to("iris", &interrupted).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.kubelet.evicts(&pod).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    assert_eq!(
        done.status
            .and_then(|status| status.artifact)
            .map(|artifact| artifact.digest),
        Some(sconce_tests::objects::digest('a'))
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_killed_for_its_memory_says_which_field_to_raise_and_another_limit_tries_again() -> Outcome {
    let room = Room::open().await?;
    let small = json!({"spec": {"resources": {"memory": "64Mi"}, "failurePolicy": {"backoffLimit": 0}}});
    room.apply(with(training("iris"), &small)).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.kubelet.dies(&pod, 137, "OOMKilled", None).await?;
    let seen = room.phase("iris", Phase::Failed).await?;
    let ready = told(conditions(&seen), "Ready");
    assert_eq!(
        ready,
        "False: OutOfMemory: spec.resources.memory: the pod was killed when it used more memory than 64Mi; raise it"
    );
    let job = seen.status.and_then(|status| status.job);

    room.change::<ModelTraining>("iris", json!({"spec": {"resources": {"memory": "1Gi"}}}))
        .await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    assert_ne!(done.status.and_then(|status| status.job), job);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_left_no_report_is_told_with_its_exit_code() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("iris"),
        &json!({"spec": {"failurePolicy": {"backoffLimit": 0}}}),
    ))
    .await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet
        .dies(&pod, 134, "Error", Some("thread 'main' panicked\n"))
        .await?;
    let seen = room.phase("iris", Phase::Failed).await?;
    let ready = told(conditions(&seen), "Ready");
    assert!(
        ready.starts_with(&format!(
            "False: Internal: the pod {pod} ended with exit code 134"
        )),
        "{ready}"
    );
    assert!(
        ready.contains("saying: thread 'main' panicked") && ready.contains("kubectl logs"),
        "{ready}"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_it_and_is_named() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("iris"),
        &json!({"spec": {"activeDeadlineSeconds": 2}}),
    ))
    .await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    let seen = room.phase("iris", Phase::Failed).await?;
    let ready = told(conditions(&seen), "Ready");
    assert_eq!(
        ready,
        "False: DeadlineExceeded: spec.activeDeadlineSeconds: the training did not end within 2 s; \
         ask for less, or allow more and give the annotation sconce.dev/resume a new value, and it goes on from its last checkpoint"
    );
    room.gone::<Pod>(&pod).await?;

    let resume = json!({
        "metadata": {"annotations": {"sconce.dev/resume": "1"}}, "spec": {"activeDeadlineSeconds": 600},
    });
    room.change::<ModelTraining>("iris", resume).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let failed = seen.status.unwrap_or_default();
    let done = room.phase("iris", Phase::Succeeded).await?;
    let done = done.status.unwrap_or_default();
    assert_eq!(done.run, failed.run, "what was saved of it is its own");
    assert_ne!(done.job, failed.job);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_leaves_the_artifact_before_it_in_place() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let first = room
        .succeeds("iris", &trained("iris-artifacts", 'a', 0.9))
        .await?;
    room.change::<ModelTraining>("iris", json!({"spec": {"dataset": {"target": "colour"}}}))
        .await?;
    room.run_to(
        "iris",
        &failed(FailureClass::BadInput, Some("dataset.target"), "no such column"),
    )
    .await?;
    let second = room
        .phase("iris", Phase::Failed)
        .await?
        .status
        .unwrap_or_default();
    assert_eq!(second.artifact, first.artifact);

    // Back to what was learned before: it is known, and nothing runs.
    room.change::<ModelTraining>("iris", json!({"spec": {"dataset": {"target": "species"}}}))
        .await?;
    let back = room
        .phase("iris", Phase::Succeeded)
        .await?
        .status
        .unwrap_or_default();
    assert_eq!((back.run, back.artifact), (first.run, first.artifact));
    let jobs: Vec<Job> = room.api::<Job>().list(&Default::default()).await?.items;
    assert!(
        jobs.iter().all(|job| job.metadata.deletion_timestamp.is_some()),
        "{:?}",
        jobs.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_or_a_claim_of_somebody_else_is_left_alone_and_told() -> Outcome {
    let room = Room::open().await?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claimed-artifacts"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    });
    room.apply(claim).await?;
    room.apply(training("claimed")).await?;
    let seen = room.training_says("claimed", "NameTaken").await?;
    let ready = told(conditions(&seen), "Ready");
    assert!(
        ready.contains("a PersistentVolumeClaim named \"claimed-artifacts\" is already there and belongs to somebody else"),
        "{ready}"
    );

    // The name of a Job follows from the spec: one that was there before has the same.
    room.apply(training("iris")).await?;
    room.kubelet.trainer("iris").await?;
    let before = room.training_says("iris", "Pending").await?;
    let name = before.status.and_then(|status| status.job).unwrap_or_default();
    room.delete::<ModelTraining>("iris").await?;
    room.gone::<Job>(&name).await?;
    room.gone::<PersistentVolumeClaim>("iris-artifacts").await?;
    let pod = json!({"spec": {"containers": [{"name": "x", "image": "x"}], "restartPolicy": "Never"}});
    let foreign = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"suspend": true, "template": pod},
    });
    room.apply(foreign).await?;
    let foreign: Job = room.get(&name).await?;
    room.apply(training("iris")).await?;
    let seen = room.training_says("iris", "NameTaken").await?;
    let ready = told(conditions(&seen), "Ready");
    assert!(
        ready.contains(&format!("a Job named \"{name}\" is already there")),
        "{ready}"
    );
    let after: Job = room.get(&name).await?;
    assert_eq!(
        (after.metadata.generation, after.metadata.uid),
        (foreign.metadata.generation, foreign.metadata.uid)
    );
    Ok(room.close()?)
}
