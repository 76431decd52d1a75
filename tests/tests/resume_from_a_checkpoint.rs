//! The status of a training whose pods come and go: where it is, where the next pod goes on, what they held.

use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use sconce_contract::{
    CheckpointMark, Failure, FailureClass, Progress, Report, TrainingPhase, TrainingPlan, Work,
};
use sconce_crds::ModelTraining;
use sconce_crds::training::{AcceleratorSeconds, Phase, TrainingProgress};
use sconce_tests::objects::{self, gpu_profile, trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use sconce_tests::trainer::FakeTrainer;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn suspend(held: bool) -> Value {
    json!({"spec": {"suspend": held}})
}

/// What a pod did that saved its state at this step.
fn work(resumed_from: Option<u64>, saved: Option<u64>, busy_seconds: u64) -> Work {
    Work {
        resumed_from,
        busy_milliseconds: busy_seconds * 1000,
        last_checkpoint: saved.map(|step| CheckpointMark {
            step,
            epoch: u32::try_from(step / 100).unwrap_or_default(),
            time: 1_800_000_000,
            uri: format!("pvc://iris-artifacts/checkpoints/iris/r/step-{step}"),
        }),
    }
}

/// How a pod ends that was told to.
fn interrupted(work: Work) -> Report {
    Report::Failed(Failure {
        work: Some(Box::new(work)),
        ..Failure::new(FailureClass::Interrupted, "told to stop; the state is saved")
    })
}

fn at(run: &str, step: u64, work: Work) -> Progress {
    Progress {
        run: run.to_owned(),
        phase: TrainingPhase::Training,
        epoch: u32::try_from(step / 100).unwrap_or_default(),
        epochs: 10,
        step,
        total_steps: 1000,
        loss: Some(0.5),
        eta_seconds: Some(60.0),
        work,
        ..Progress::default()
    }
}

fn progress(training: &ModelTraining) -> TrainingProgress {
    let status = training.status.clone().unwrap_or_default();
    status.progress.unwrap_or_default()
}

fn saved(training: &ModelTraining) -> Option<u64> {
    let checkpoint = training.status.as_ref()?.last_checkpoint.as_ref()?;
    Some(checkpoint.step)
}

async fn run_of(room: &Room, name: &str) -> Result<String, Box<dyn std::error::Error>> {
    let seen = room.phase(name, Phase::Pending).await?;
    Ok(seen.status.and_then(|status| status.run).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_after_suspend_is_told_from_the_step_that_was_saved() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    let run = run_of(&room, "iris").await?;
    let trainer = FakeTrainer::start(at(&run, 250, work(None, Some(240), 9))).await?;
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    let seen = room
        .see("iris", "a checkpoint is told", |training: &ModelTraining| {
            saved(training) == Some(240) && progress(training).step == 250
        })
        .await?;
    let checkpoint = seen
        .status
        .and_then(|status| status.last_checkpoint)
        .ok_or("no checkpoint")?;
    assert_eq!(
        (checkpoint.epoch, checkpoint.time.0.as_second()),
        (2, 1_800_000_000)
    );
    assert!(checkpoint.uri.ends_with("/step-240"), "{}", checkpoint.uri);

    room.kubelet.holds(true);
    room.change::<ModelTraining>("iris", suspend(true)).await?;
    room.training_says("iris", "Stopping").await?;
    room.see(&pod, "the pod is told to stop", |pod: &Pod| {
        pod.metadata.deletion_timestamp.is_some()
    })
    .await?;
    // It goes as soon as it has reported, as it may: its word is heard all the same.
    room.kubelet
        .ends(&pod, &interrupted(work(None, Some(263), 10)))
        .await?;
    room.kubelet.holds(false);
    room.see(
        "iris",
        "what the pod saved last is told",
        |training: &ModelTraining| saved(training) == Some(263),
    )
    .await?;
    room.gone::<Pod>(&pod).await?;
    let held = room.phase("iris", Phase::Suspended).await?;
    assert!(
        told(conditions(&held), "Suspended").contains("go on from status.lastCheckpoint"),
        "{held:?}"
    );
    let kept = progress(&held);
    assert_eq!(
        (
            kept.summary.as_str(),
            kept.step,
            kept.percent,
            kept.epoch,
            kept.eta
        ),
        ("26% (saved at step 263)", 263, 26, 2, None)
    );

    // While the next pod reads its data it knows nothing yet, which is no reason to say 0 %.
    room.change::<ModelTraining>("iris", suspend(false)).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    trainer.says(Progress {
        run: run.clone(),
        epochs: 10,
        ..Progress::default()
    });
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    let loading = room.phase("iris", Phase::Training).await?;
    assert_eq!((progress(&loading).step, saved(&loading)), (263, Some(263)));

    trainer.says(at(&run, 300, work(Some(263), Some(263), 2)));
    let seen = room
        .see("iris", "it goes on", |training: &ModelTraining| {
            progress(training).step == 300
        })
        .await?;
    let again = progress(&seen);
    assert_eq!(
        (again.summary.as_str(), again.resumed_from),
        ("30% (epoch 4/10, resumed from step 263)", Some(263))
    );
    let says = told(conditions(&seen), "Running");
    assert!(says.ends_with("resumed from step 263"), "{says}");

    room.kubelet
        .ends(&pod, &trained("iris-artifacts", 'a', 0.9))
        .await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    assert_eq!(saved(&done), None, "checkpoints go with the end of the run");
    assert_eq!(progress(&done).percent, 100);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_from_nothing_is_not_told_as_progress() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    let run = run_of(&room, "iris").await?;
    let trainer = FakeTrainer::start(at(&run, 250, work(None, Some(200), 9))).await?;
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    room.see("iris", "a checkpoint is told", |training: &ModelTraining| {
        saved(training) == Some(200)
    })
    .await?;
    // Killed outright, it says nothing; what was known of the checkpoint stays.
    room.kubelet.evicts(&pod).await?;
    let next = room.kubelet.trainer("iris").await?;
    assert_ne!(next, pod);
    let seen = room
        .see(
            "iris",
            "it is back at the checkpoint",
            |training: &ModelTraining| progress(training).step == 200,
        )
        .await?;
    assert_eq!(saved(&seen), Some(200));
    // The next pod finds the checkpoint damaged and begins at the beginning: then that is what is told.
    room.kubelet.takes(&next).await?;
    trainer.says(at(&run, 10, work(None, None, 1)));
    room.kubelet.runs(&next, trainer.address(), true).await?;
    let seen = room
        .see("iris", "it began again", |training: &ModelTraining| {
            progress(training).step == 10
        })
        .await?;
    assert_eq!((saved(&seen), progress(&seen).resumed_from), (None, None));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_saved_is_told_while_the_training_goes_on() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    let run = run_of(&room, "iris").await?;
    let trainer = FakeTrainer::start(Progress {
        checkpoint_failure: Some("the volume has no room left".to_owned()),
        ..at(&run, 250, work(None, None, 9))
    })
    .await?;
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    let seen = room.phase("iris", Phase::Training).await?;
    let says = told(conditions(&seen), "Running");
    assert!(
        says.ends_with(
            "its state could not be saved, so work is lost if the pod stops: the volume has no room left"
        ),
        "{says}"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_says_where_checkpoints_go_and_a_change_of_that_is_the_same_run() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    room.kubelet.trainer("iris").await?;
    let before = room
        .phase("iris", Phase::Pending)
        .await?
        .status
        .unwrap_or_default();
    let plan = plan(&room, before.job.as_deref()).await?;
    let checkpoint = plan.checkpoint.ok_or("no checkpoints by default")?;
    assert_eq!(checkpoint.uri, "pvc://iris-artifacts/checkpoints/iris");
    assert_eq!(
        (serde_json::to_value(&checkpoint.every)?, checkpoint.keep),
        (json!({"interval": "5m"}), 2)
    );

    let elsewhere =
        json!({"spec": {"checkpoint": {"every": {"steps": 7}, "keep": 3, "uri": "pvc://fast/of/mine/"}}});
    room.change::<ModelTraining>("iris", elsewhere).await?;
    let refused = room.training_says("iris", "ClaimNotFound").await?;
    let says = told(conditions(&refused), "Accepted");
    assert!(
        says.contains("spec.checkpoint.uri: there is no PersistentVolumeClaim named \"fast\""),
        "{says}"
    );
    room.apply(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "fast"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }))
    .await?;
    let after = room.see("iris", "another Job is at work", |training: &ModelTraining| {
        let status = training.status.as_ref();
        status.is_some_and(|status| status.job.is_some() && status.job != before.job)
    });
    let after = after.await?.status.unwrap_or_default();
    assert_eq!(after.run, before.run, "what is learned is the same");
    let plan = self::plan(&room, after.job.as_deref()).await?;
    let checkpoint = plan.checkpoint.ok_or("no checkpoints")?;
    assert_eq!(checkpoint.uri, "pvc://fast/of/mine/iris");
    assert_eq!((checkpoint.every.steps, checkpoint.keep), (Some(7), 3));
    assert!(plan.mounts.iter().any(|mount| mount.uri == "pvc://fast"));
    Ok(room.close()?)
}

async fn plan(room: &Room, job: Option<&str>) -> Result<TrainingPlan, Box<dyn std::error::Error>> {
    let job: Job = room.get(job.unwrap_or_default()).await?;
    Ok(objects::plan(job.spec.as_ref().map(|spec| &spec.template))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn accelerator_seconds_count_over_all_pods_and_outlive_them() -> Outcome {
    let room = Room::open().await?;
    room.apply_cluster(gpu_profile("counted")).await?;
    room.apply(with(
        training("iris"),
        &json!({"spec": {"accelerator": {"profile": "counted", "count": 2}}}),
    ))
    .await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    let run = run_of(&room, "iris").await?;
    let trainer = FakeTrainer::start(at(&run, 10, work(None, None, 1))).await?;
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    let steps = AtomicU64::new(10);
    let seen = room
        .see("iris", "two units are counted", |training: &ModelTraining| {
            let step = steps.fetch_add(10, Ordering::Relaxed) % 1000;
            trainer.says(at(&run, step, work(None, None, 1)));
            seconds(training).is_some_and(|seconds| seconds.allocated >= 4)
        })
        .await?;
    let first = seconds(&seen).ok_or("nothing is counted")?;
    assert_eq!((first.allocated % 2, first.busy), (0, 2), "both units");

    room.kubelet
        .ends(&pod, &interrupted(work(None, Some(20), 2)))
        .await?;
    let next = room.kubelet.trainer("iris").await?;
    assert_ne!(next, pod);
    room.see(
        "iris",
        "the pod's last word counts",
        |training: &ModelTraining| seconds(training).is_some_and(|seconds| seconds.busy == 4),
    )
    .await?;
    room.delete::<Pod>(&pod).await?;
    room.gone::<Pod>(&pod).await?;
    room.kubelet.takes(&next).await?;
    room.kubelet
        .ends(&next, &trained("iris-artifacts", 'a', 0.9))
        .await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    let all = seconds(&done).ok_or("nothing is counted at the end")?;
    assert!(all.allocated >= first.allocated && all.busy == 4, "{all:?}");
    assert_eq!(all.pods.len(), 2, "each of both once: {all:?}");

    room.apply(training("plain")).await?;
    room.run_to("plain", &trained("plain-artifacts", 'b', 0.9))
        .await?;
    let plain = room.phase("plain", Phase::Succeeded).await?;
    assert_eq!(seconds(&plain), None, "the processor is not counted");
    Ok(room.close()?)
}

fn seconds(training: &ModelTraining) -> Option<AcceleratorSeconds> {
    training.status.as_ref()?.accelerator_seconds.clone()
}
