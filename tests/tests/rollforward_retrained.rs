//! A retrained model that passes its gates replaces the one that is served, by itself; one that does not, does not.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use sconce_contract::plan::Served;
use sconce_contract::{FailureClass, Incumbent, Metric, MetricName, MetricSplit, Report, TrainingPlan};
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::objects::{deployment, digest, failed, plan, trained, training, with};
use sconce_tests::room::{Room, conditions, served, told};
use serde_json::json;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A training with a gate, and a deployment that serves its artifact `a`; the revision that is served.
async fn served_model(room: &Room) -> Outcome<String> {
    let gate = json!({"spec": {"evaluation": {"gates": [{"metric": "accuracy", "min": 0.9}]}}});
    room.apply(with(training("iris"), &gate)).await?;
    room.apply(deployment("iris", "iris")).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.95)).await?;
    let revision = room.revision("iris", None).await?;
    room.answer("iris", &revision, 1).await?;
    room.deployment_says("iris", "Serving").await?;
    Ok(revision)
}

async fn retrain(room: &Room, seed: u32) -> Outcome {
    room.change::<ModelTraining>("iris", json!({"spec": {"hyperparameters": {"seed": seed}}}))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_rolls_forward_and_the_old_answers_until_the_new_does() -> Outcome {
    let room = Room::open().await?;
    let old = served_model(&room).await?;
    retrain(&room, 2).await?;
    room.run_to("iris", &trained("iris-artifacts", 'b', 0.97)).await?;
    let new = room.revision("iris", Some(&old)).await?;

    let seen = room
        .see(
            "iris",
            "a pod of each revision is there",
            |seen: &ModelDeployment| seen.status.as_ref().is_some_and(|status| status.replicas == 2),
        )
        .await?;
    let status = seen.status.clone().unwrap_or_default();
    let names: Vec<&str> = status
        .revisions
        .iter()
        .map(|revision| revision.name.as_str())
        .collect();
    assert_eq!(names, [&new, &old], "the wanted one first");
    assert_eq!(
        (status.updated_replicas, status.ready_replicas),
        (1, 0),
        "an old pod that answers is not counted"
    );
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.starts_with("False: RollingOut") && ready.contains("an earlier revision answers until they do"),
        "{ready}"
    );
    assert!(told(served(&seen), "Available").starts_with("True: EarlierRevision"));
    assert!(told(served(&seen), "RolloutComplete").starts_with("False"));

    room.answer("iris", &new, 1).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    let status = seen.status.clone().unwrap_or_default();
    assert_eq!(status.model.as_deref(), Some("iris @ sha256:bbbbbbbbbbbb"));
    let answering: Vec<_> = status
        .revisions
        .iter()
        .map(|revision| (revision.digest.clone(), revision.ready_replicas))
        .collect();
    assert_eq!(answering, [(Some(digest('b')), 1), (Some(digest('a')), 0)]);
    assert!(
        status
            .revisions
            .iter()
            .all(|revision| revision.completed.is_some())
    );
    assert!(told(served(&seen), "RolloutComplete").starts_with("True"));
    for (revision, replicas) in [(&old, 0), (&new, 1)] {
        let name = format!("iris-{revision}");
        let workload: Deployment = room.get(&name).await?;
        assert_eq!(workload.spec.and_then(|spec| spec.replicas), Some(replicas));
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_model_changes_nothing_and_says_why() -> Outcome {
    let room = Room::open().await?;
    let revision = served_model(&room).await?;
    let before = room.workload("iris").await?;
    retrain(&room, 3).await?;
    room.run_to("iris", &trained("iris-artifacts", 'b', 0.5)).await?;
    room.phase("iris", Phase::Rejected).await?;
    let seen = room
        .see(
            "iris",
            "the deployment says why it stays",
            |seen: &ModelDeployment| told(served(seen), "ModelResolved").contains("LaterRunRejected"),
        )
        .await?;
    let resolved = told(served(&seen), "ModelResolved");
    assert!(
        resolved.contains("sha256:aaaaaaaaaaaa stays")
            && resolved.contains("accuracy is 0.5, 0.4 below the required 0.9"),
        "{resolved}"
    );
    assert!(told(served(&seen), "Ready").starts_with("True"));
    assert_eq!(room.revision("iris", None).await?, revision);
    assert_eq!(
        room.workload("iris").await?.metadata.generation,
        before.metadata.generation
    );

    // The gate is lowered: what was held back is served, without another run.
    let gate = json!({"spec": {"evaluation": {"gates": [{"metric": "accuracy", "min": 0.4}]}}});
    room.change::<ModelTraining>("iris", gate).await?;
    let lowered = room.revision("iris", Some(&revision)).await?;
    room.answer("iris", &lowered, 1).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert_eq!(
        seen.status.and_then(|status| status.model).as_deref(),
        Some("iris @ sha256:bbbbbbbbbbbb")
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_retraining_changes_nothing_and_says_why() -> Outcome {
    let room = Room::open().await?;
    let revision = served_model(&room).await?;
    retrain(&room, 4).await?;
    room.run_to(
        "iris",
        &failed(FailureClass::BadInput, Some("dataset.target"), "no such column"),
    )
    .await?;
    room.phase("iris", Phase::Failed).await?;
    let seen = room
        .see(
            "iris",
            "the deployment says why it stays",
            |seen: &ModelDeployment| told(served(seen), "ModelResolved").contains("LaterRunFailed"),
        )
        .await?;
    let resolved = told(served(&seen), "ModelResolved");
    assert!(
        resolved.contains("sha256:aaaaaaaaaaaa stays")
            && resolved.contains("spec.dataset.target: no such column"),
        "{resolved}"
    );
    assert!(told(served(&seen), "Ready").starts_with("True"));
    assert_eq!(room.revision("iris", None).await?, revision);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_that_crashes_is_told_and_the_old_one_goes_on() -> Outcome {
    let room = Room::open().await?;
    let old = served_model(&room).await?;
    retrain(&room, 5).await?;
    room.run_to("iris", &trained("iris-artifacts", 'c', 0.99)).await?;
    let new = room.revision("iris", Some(&old)).await?;
    let label = format!("sconce.dev/deployment=iris,sconce.dev/revision={new}");
    let pod = room
        .kubelet
        .active(&label, 1)
        .await?
        .remove(0)
        .metadata
        .name
        .unwrap_or_default();
    room.kubelet.takes(&pod).await?;
    room.kubelet
        .crashes(
            &pod,
            &failed(
                FailureClass::Storage,
                None,
                "the artifact's weights do not match its manifest",
            ),
        )
        .await?;
    let seen = room.deployment_says("iris", "Storage").await?;
    assert!(told(served(&seen), "Ready").contains("the artifact's weights do not match its manifest"));
    assert!(
        told(served(&seen), "Degraded").starts_with("True")
            && told(served(&seen), "Available").starts_with("True: EarlierRevision")
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_training_takes_nothing_from_what_is_served() -> Outcome {
    let room = Room::open().await?;
    let revision = served_model(&room).await?;
    room.delete::<ModelTraining>("iris").await?;
    let seen = room.deployment_says("iris", "TrainingNotFound").await?;
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.contains("until then iris @ sha256:aaaaaaaaaaaa is served"),
        "{ready}"
    );
    assert!(told(served(&seen), "Available").starts_with("True"));
    assert_eq!(room.revision("iris", None).await?, revision);
    room.kubelet.active("sconce.dev/deployment=iris", 1).await?;
    Ok(room.close()?)
}

/// A report of a run that was told of the incumbent `digit`, which reaches that much.
fn compared(digit: char, accuracy: f64, incumbent: Option<(char, f64)>) -> Report {
    let mut report = trained("iris-artifacts", digit, accuracy);
    if let Report::Trained { incumbent: told, .. } = &mut report {
        *told = incumbent.map(|(digit, value)| Incumbent {
            digest: Some(digest(digit)),
            metrics: vec![Metric {
                name: MetricName::Accuracy,
                value,
                split: MetricSplit::Test,
            }],
        });
    }
    report
}

/// What the trainer's pod is told to be better than.
async fn told_of(room: &Room) -> Outcome<Option<Served>> {
    let name = room.kubelet.trainer("iris").await?;
    let pod: Pod = room.get(&name).await?;
    let labels = pod.metadata.labels.unwrap_or_default();
    let job: Job = room.get(&labels["batch.kubernetes.io/job-name"]).await?;
    let plan: TrainingPlan = plan(job.spec.as_ref().map(|spec| &spec.template))?;
    Ok(plan.incumbent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_does_not_beat_the_served_one_is_rejected_and_two_served_ones_are_unclear() -> Outcome {
    let room = Room::open().await?;
    let old = served_model(&room).await?;
    let beats = json!({"spec": {"evaluation": {"gates": [{"metric": "accuracy", "beats": "Incumbent"}]}}});
    room.change::<ModelTraining>("iris", beats).await?;
    retrain(&room, 6).await?;
    let incumbent = told_of(&room).await?;
    assert_eq!(incumbent.map(|served| served.digest), Some(digest('a')));
    room.run_to("iris", &compared('b', 0.93, Some(('a', 0.95))))
        .await?;
    let seen = room.phase("iris", Phase::Rejected).await?;
    let why = told(conditions(&seen), "GatesPassed");
    assert!(
        why.contains("accuracy is 0.93, 0.02 worse than the 0.95 of the incumbent aaaaaaaaaa"),
        "{why}"
    );
    assert_eq!(room.revision("iris", None).await?, old);

    // A person serves the rejected one beside it: which of the two is to be beaten?
    let manual = json!({
        "metadata": {"annotations": {"sconce.dev/promote": digest('b')}},
        "spec": {"model": {"trainingRef": {"promotion": "Manual"}}},
    });
    room.apply(with(deployment("beside", "iris"), &manual)).await?;
    let beside = room.revision("beside", None).await?;
    room.answer("beside", &beside, 1).await?;
    room.deployment_says("beside", "Serving").await?;
    retrain(&room, 7).await?;
    let seen = room.training_says("iris", "IncumbentUnclear").await?;
    let why = told(conditions(&seen), "Ready");
    assert!(
        why.contains("the ModelDeployments \"beside\" and \"iris\" serve different models"),
        "{why}"
    );
    room.delete::<ModelDeployment>("beside").await?;
    assert_eq!(
        told_of(&room).await?.map(|served| served.digest),
        Some(digest('a'))
    );
    room.run_to("iris", &compared('c', 0.97, Some(('a', 0.95))))
        .await?;
    room.phase("iris", Phase::Succeeded).await?;
    room.revision("iris", Some(&old)).await?;
    Ok(room.close()?)
}
