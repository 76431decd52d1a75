//! A training becomes a Job, tells how far it is, and ends with what the pod reported.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use sconce_contract::{Progress, TrainingPhase, TrainingPlan};
use sconce_crds::training::Phase;
use sconce_crds::{AcceleratorProfile, ModelTraining};
use sconce_tests::objects::{digest, gpu_profile, plan, trained, training, with};
use sconce_tests::operator::TRAINER_IMAGE;
use sconce_tests::room::{Room, conditions, told};
use sconce_tests::trainer::FakeTrainer;
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn it_becomes_a_claim_a_plan_and_a_job_that_it_owns() -> Outcome {
    let room = Room::open().await?;
    let metrics = json!({"spec": {"evaluation": {"metrics": ["auroc"]}, "resources": {"cpu": "500m", "memory": "2Gi"}}});
    room.apply(with(training("iris"), &metrics)).await?;
    let pod = room.kubelet.trainer("iris").await?;
    let object = room.training_says("iris", "Pending").await?;
    let uid = object.uid().unwrap_or_default();
    let status = object.status.clone().unwrap_or_default();
    let (run, job_name) = (status.run.unwrap_or_default(), status.job.unwrap_or_default());

    let (job, claim) = (
        room.get::<Job>(&job_name).await?,
        room.get::<PersistentVolumeClaim>("iris-artifacts").await?,
    );
    for metadata in [&job.metadata, &claim.metadata] {
        let owners = metadata.owner_references.clone().unwrap_or_default();
        assert_eq!(owners.len(), 1, "{metadata:?}");
        assert!(
            owners[0].uid == uid && owners[0].controller == Some(true) && owners[0].kind == "ModelTraining"
        );
        assert_eq!(
            metadata
                .labels
                .as_ref()
                .map(|labels| labels["sconce.dev/training"].as_str()),
            Some("iris")
        );
        assert_eq!(
            metadata.finalizers,
            claim_protection(metadata.finalizers.as_ref())
        );
    }
    assert!(
        object.finalizers().is_empty(),
        "nothing outside the cluster has to be cleaned"
    );

    let written: TrainingPlan = plan(job.spec.as_ref().map(|spec| &spec.template))?;
    assert_eq!(
        (written.name.as_str(), written.run.as_str()),
        ("iris", run.as_str())
    );
    assert_eq!(written.network, object.spec.model.network);
    assert_eq!(written.dataset, object.spec.dataset);
    assert_eq!(written.hyperparameters, object.spec.hyperparameters);
    assert_eq!(written.evaluation, object.spec.evaluation);
    assert_eq!(written.output, "pvc://iris-artifacts");
    assert_eq!(written.mounts.len(), 1);

    // The namespace enforces the restricted standard: that there is a pod at all shows that it keeps it.
    let pod = room.get::<Pod>(&pod).await?;
    let spec = pod.spec.ok_or("a pod without a spec")?;
    assert_eq!(spec.automount_service_account_token, Some(false));
    let container = &spec.containers[0];
    assert_eq!(container.image.as_deref(), Some(TRAINER_IMAGE));
    let resources = serde_json::to_value(&container.resources)?;
    let asked = json!({"cpu": "500m", "memory": "2Gi"});
    assert_eq!((&resources["limits"], &resources["requests"]), (&asked, &asked));
    let mounts: BTreeSet<&str> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| mount.mount_path.as_str())
        .collect();
    assert_eq!(
        mounts,
        [
            "/etc/sconce",
            "/mnt/sconce/pvc/iris-artifacts",
            "/mnt/sconce/scratch"
        ]
        .into()
    );
    let told_mount = written.mounts[0].path.display().to_string();
    assert!(
        mounts.contains(told_mount.as_str()),
        "the plan names another folder: {told_mount}"
    );
    Ok(room.close()?)
}

/// What the cluster itself puts on a claim.
fn claim_protection(found: Option<&Vec<String>>) -> Option<Vec<String>> {
    found.map(|_| vec!["kubernetes.io/pvc-protection".to_owned()])
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_how_far_it_is_and_ends_with_what_was_reported() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    let starting = room.training_says("iris", "Starting").await?;
    assert!(told(conditions(&starting), "Scheduled").starts_with("True"));
    assert!(told(conditions(&starting), "Running").starts_with("False"));

    let run = starting.status.and_then(|status| status.run).unwrap_or_default();
    let said = Progress {
        run: run.clone(),
        phase: TrainingPhase::Training,
        epoch: 2,
        epochs: 10,
        step: 250,
        total_steps: 1000,
        loss: Some(0.512_345),
        eta_seconds: Some(130.0),
        ..Progress::default()
    };
    let trainer = FakeTrainer::start(said.clone()).await?;
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    let seen = room
        .see("iris", "a quarter is done", |training: &ModelTraining| {
            percent(training) == Some(25)
        })
        .await?;
    let status = seen.status.clone().unwrap_or_default();
    assert_eq!(status.phase, Some(Phase::Training));
    let progress = status.progress.unwrap_or_default();
    assert_eq!(
        (progress.summary.as_str(), progress.eta.as_deref()),
        ("25% (epoch 3/10)", Some("2m10s"))
    );
    assert_eq!(
        (progress.step, progress.total_steps, progress.loss),
        (250, 1000, Some(0.5123))
    );
    assert!(
        told(conditions(&seen), "Ready").starts_with("False")
            && told(conditions(&seen), "Progressing").starts_with("True")
    );

    trainer.says(Progress {
        epoch: 7,
        step: 750,
        loss: Some(0.1),
        ..said.clone()
    });
    room.see("iris", "three quarters are done", |training: &ModelTraining| {
        percent(training) == Some(75)
    })
    .await?;
    trainer.says(Progress {
        epoch: 10,
        step: 1000,
        phase: TrainingPhase::Evaluating,
        ..said
    });
    room.phase("iris", Phase::Evaluating).await?;

    room.kubelet
        .ends(&pod, &trained("iris-artifacts", 'a', 0.97))
        .await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    let status = done.status.clone().unwrap_or_default();
    let artifact = status.artifact.clone().ok_or("no artifact")?;
    assert_eq!((artifact.digest, artifact.size_bytes), (digest('a'), 8192));
    assert_eq!(artifact.uri, format!("pvc://iris-artifacts/{}", "a".repeat(64)));
    assert_eq!(
        (status.artifact, status.completed_run),
        (status.candidate, Some(run))
    );
    let metrics: Vec<(&str, f64)> = status
        .metrics
        .iter()
        .map(|metric| (metric.name.as_str(), metric.value))
        .collect();
    assert_eq!(metrics, [("loss", 0.2), ("accuracy", 0.97)]);
    let progress = status.progress.unwrap_or_default();
    assert_eq!(
        (progress.summary.as_str(), progress.percent, progress.loss),
        ("100% (10 epochs)", 100, Some(0.1235))
    );
    assert_eq!(
        (status.attempts, status.completion_time.is_some()),
        (Some(1), true)
    );
    for (kind, start) in [
        ("Ready", "True: Succeeded"),
        ("Complete", "True: Succeeded"),
        ("GatesPassed", "True: NoGates"),
        ("Progressing", "False"),
        ("Degraded", "False"),
        ("Failed", "False"),
        ("Running", "False: Ended"),
    ] {
        assert!(
            told(conditions(&done), kind).starts_with(start),
            "{kind}: {}",
            told(conditions(&done), kind)
        );
    }
    Ok(room.close()?)
}

fn percent(training: &ModelTraining) -> Option<u32> {
    Some(training.status.as_ref()?.progress.as_ref()?.percent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_of_another_run_is_not_taken_for_its_own() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    let stranger = Progress {
        run: "0123456789".to_owned(),
        step: 9,
        total_steps: 10,
        epochs: 1,
        ..Progress::default()
    };
    let trainer = FakeTrainer::start(stranger.clone()).await?;
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    let seen = room.phase("iris", Phase::Training).await?;
    let ready = told(conditions(&seen), "Ready");
    assert!(
        ready.ends_with("the trainer has not said yet how far it is"),
        "{ready}"
    );
    assert_eq!(percent(&seen), None);
    let run = seen.status.and_then(|status| status.run).unwrap_or_default();
    trainer.says(Progress { run, ..stranger });
    room.see("iris", "its own word counts", |training: &ModelTraining| {
        percent(training) == Some(90)
    })
    .await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_goes_takes_nothing_from_a_run_that_has_begun() -> Outcome {
    let room = Room::open().await?;
    room.apply_cluster(gpu_profile("going")).await?;
    let on = json!({"spec": {"accelerator": {"profile": "going"}}});
    room.apply(with(training("iris"), &on)).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.phase("iris", Phase::Training).await?;
    let profiles: Api<AcceleratorProfile> = Api::all(room.client.clone());
    profiles.delete("going", &DeleteParams::default()).await?;
    // Its lifecycle is still a person's to change, and it goes on.
    room.change::<ModelTraining>("iris", json!({"spec": {"suspend": true}}))
        .await?;
    room.phase("iris", Phase::Suspended).await?;
    room.change::<ModelTraining>("iris", json!({"spec": {"suspend": false}}))
        .await?;
    let metrics = &trained("iris-artifacts", 'a', 0.9);
    room.run_to("iris", metrics).await?;
    let seen = room.phase("iris", Phase::Succeeded).await?;
    assert!(
        told(conditions(&seen), "Accepted").starts_with("True"),
        "{seen:?}"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_spec_runs_again_and_the_job_before_goes() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let first = room
        .succeeds("iris", &trained("iris-artifacts", 'a', 0.9))
        .await?;
    let first_job = first.job.clone().unwrap_or_default();

    room.change::<ModelTraining>("iris", json!({"spec": {"hyperparameters": {"seed": 1}}}))
        .await?;
    room.gone::<Job>(&first_job).await?;
    let again = room
        .training_says("iris", "Pending")
        .await?
        .status
        .unwrap_or_default();
    assert_ne!((&again.job, &again.run), (&first.job, &first.run));
    assert_eq!(
        again.artifact, first.artifact,
        "what was learned before stays while it runs again"
    );
    assert_eq!((again.progress, again.completion_time), (None, None));

    let second = room
        .succeeds("iris", &trained("iris-artifacts", 'b', 0.95))
        .await?;
    assert_eq!(second.artifact.map(|artifact| artifact.digest), Some(digest('b')));
    assert_eq!(room.ours::<Job>().await?, [second.job.unwrap_or_default()]);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_resources_after_success_are_no_reason_to_run_again_but_the_annotation_is() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let first = room
        .succeeds("iris", &trained("iris-artifacts", 'a', 0.9))
        .await?;

    let more = json!({"spec": {"resources": {"memory": "4Gi"}, "failurePolicy": {"backoffLimit": 0}}});
    room.change::<ModelTraining>("iris", more).await?;
    // Phase of the new generation: the change was seen.
    let after = room
        .phase("iris", Phase::Succeeded)
        .await?
        .status
        .unwrap_or_default();
    assert_eq!(
        (&after.run, &after.job, &after.completion_time),
        (&first.run, &first.job, &first.completion_time)
    );
    assert_eq!(room.ours::<Job>().await?, [first.job.clone().unwrap_or_default()]);

    room.change::<ModelTraining>(
        "iris",
        json!({"metadata": {"annotations": {"sconce.dev/rerun": "1"}}}),
    )
    .await?;
    room.run_to("iris", &trained("iris-artifacts", 'b', 0.9)).await?;
    let again = room.see("iris", "it ran again", |training: &ModelTraining| {
        training
            .status
            .as_ref()
            .is_some_and(|status| status.phase == Some(Phase::Succeeded) && status.run != first.run)
    });
    let again = again.await?.status.unwrap_or_default();
    assert_eq!(again.artifact.map(|artifact| artifact.digest), Some(digest('b')));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_time_the_job_goes_and_everything_else_stays() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("iris"),
        &json!({"spec": {"ttlSecondsAfterFinished": 2}}),
    ))
    .await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    let job = done
        .status
        .clone()
        .and_then(|status| status.job)
        .unwrap_or_default();
    room.gone::<Job>(&job).await?;
    let pods: Api<Pod> = room.api();
    sconce_tests::wait::until("the pods are gone", async || {
        pods.list(&Default::default())
            .await
            .ok()?
            .items
            .is_empty()
            .then_some(())
    })
    .await?;
    room.get::<PersistentVolumeClaim>("iris-artifacts").await?;
    let after = room.phase("iris", Phase::Succeeded).await?;
    assert_eq!(
        after.status, done.status,
        "what is known of the run does not end with its Job"
    );
    // Nor does the end of the Job make it run again.
    room.still::<ModelTraining>("iris", std::time::Duration::from_secs(2))
        .await?;
    assert!(room.ours::<Job>().await?.is_empty());
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_of_a_pod_that_was_deleted_as_it_ended_is_not_lost() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.phase("iris", Phase::Training).await?;
    // It had its model when it was told to stop; the kubelet lets the pod go a moment later.
    room.kubelet.holds(true);
    room.delete::<Pod>(&pod).await?;
    room.kubelet
        .ends(&pod, &trained("iris-artifacts", 'a', 0.9))
        .await?;
    room.kubelet.holds(false);
    room.phase("iris", Phase::Succeeded).await?;
    Ok(room.close()?)
}
