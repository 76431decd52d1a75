//! Several pods that learn one model together: a Job of numbered pods, of which the first speaks for all.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use sconce_contract::{FailureClass, Progress, Report, TrainingPhase, TrainingPlan, Trials, Work};
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use sconce_tests::objects::{failed, plan, trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use sconce_tests::trainer::FakeTrainer;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const OURS: &str = "sconce.dev/training=iris";
const NUMBER: &str = "batch.kubernetes.io/job-completion-index";

fn of(nodes: &Value) -> Value {
    let change = json!({"spec": {"nodes": nodes, "output": {"uri": "s3://models/iris"}}});
    with(training("iris"), &change)
}

/// The names of the pods that are at work, by their number.
async fn numbered(room: &Room, count: usize) -> Outcome<Vec<String>> {
    let mut pods = room.kubelet.active(OURS, count).await?;
    let number = |pod: &Pod| pod.labels().get(NUMBER).cloned().unwrap_or_default();
    pods.sort_by_key(number);
    let numbers: Vec<String> = pods.iter().map(number).collect();
    let expected: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected, "each has a number of its own");
    Ok(pods.iter().map(ResourceExt::name_any).collect())
}

fn progress(run: &str, workers: u32) -> Progress {
    Progress {
        run: run.to_owned(),
        phase: TrainingPhase::Training,
        epochs: 10,
        step: 50,
        total_steps: 100,
        workers: Some(workers),
        ..Progress::default()
    }
}

async fn run_of(room: &Room) -> Outcome<String> {
    let seen = room
        .see("iris", "it has a run", |training: &ModelTraining| {
            training
                .status
                .as_ref()
                .is_some_and(|status| status.run.is_some())
        })
        .await?;
    Ok(seen.status.and_then(|status| status.run).unwrap_or_default())
}

fn helped(run: &str, worker: u32) -> Report {
    Report::Helped {
        run: run.to_owned(),
        worker,
        steps: 100,
        work: Work::default(),
    }
}

fn ready(training: &ModelTraining) -> String {
    told(conditions(training), "Ready")
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pods_learn_together_and_a_lost_one_has_all_meet_again() -> Outcome {
    let room = Room::open().await?;
    room.apply(of(&json!({"count": 3}))).await?;
    let pods = numbered(&room, 3).await?;

    let job = room.get::<Job>(&room.ours::<Job>().await?[0]).await?;
    let name = job.name_any();
    let given: TrainingPlan = plan(job.spec.as_ref().map(|spec| &spec.template))?;
    assert_eq!(
        given.nodes.map(|nodes| (nodes.count, nodes.min_count)),
        Some((3, None))
    );
    let service = room.get::<Service>(&name).await?;
    let spec = service.spec.unwrap_or_default();
    assert_eq!(spec.cluster_ip.as_deref(), Some("None"), "it is headless");
    let owners = service.metadata.owner_references.unwrap_or_default();
    assert_eq!(
        owners[0].uid,
        job.uid().unwrap_or_default(),
        "it goes with the Job"
    );
    let policies = room.ours::<NetworkPolicy>().await?;
    assert_eq!(policies, [&*name]);
    let first = room.get::<Pod>(&pods[0]).await?.spec.unwrap_or_default();
    assert_eq!(
        (first.hostname, first.subdomain),
        (Some(format!("{name}-0")), Some(name.clone())),
        "the others find it by its name"
    );

    let run = run_of(&room).await?;
    let trainer = FakeTrainer::start(progress(&run, 3)).await?;
    for pod in &pods {
        room.kubelet.takes(pod).await?;
    }
    // The first one's alone is asked.
    room.kubelet.runs(&pods[0], trainer.address(), true).await?;
    room.kubelet.runs(&pods[1], "127.0.0.2", true).await?;
    room.kubelet.runs(&pods[2], "127.0.0.3", true).await?;
    let seen = room
        .see("iris", "three learn", |training: &ModelTraining| {
            ready(training).contains("training on 10 epochs of data with 3 of 3 workers")
        })
        .await?;
    let status = seen.status.unwrap_or_default();
    let told_progress = status.progress.unwrap_or_default();
    assert_eq!((told_progress.nodes, told_progress.percent), (Some(3), 50));

    // One is killed for its memory; the others leave with what an interruption leaves with, and count towards nothing.
    room.kubelet.dies(&pods[2], 137, "OOMKilled", None).await?;
    let lost = failed(
        FailureClass::Interrupted,
        None,
        "worker 2 was lost at step 50 of 100",
    );
    room.kubelet.ends(&pods[1], &lost).await?;
    room.kubelet.ends(&pods[0], &lost).await?;
    room.see("iris", "whose fault it was", |training: &ModelTraining| {
        ready(training).contains("worker 2: spec.resources.memory: the pod was killed")
    })
    .await?;

    let again = numbered(&room, 3).await?;
    assert!(again.iter().all(|pod| !pods.contains(pod)), "all of them are new");
    for pod in &again {
        room.kubelet.takes(pod).await?;
        room.kubelet.runs(pod, "127.0.0.4", true).await?;
    }
    for worker in [1, 2] {
        room.kubelet
            .ends(&again[worker as usize], &helped(&run, worker))
            .await?;
    }
    room.kubelet.ends(&again[0], &trained("iris", 'a', 0.9)).await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    let status = done.status.unwrap_or_default();
    assert_eq!(status.attempts, Some(2));
    assert!(status.artifact.is_some());
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_pod_ends_the_run_whatever_became_of_the_others() -> Outcome {
    let room = Room::open().await?;
    room.apply(of(&json!({"count": 3, "minCount": 2}))).await?;
    let pods = numbered(&room, 3).await?;
    let run = run_of(&room).await?;
    let trainer = FakeTrainer::start(progress(&run, 2)).await?;
    // The last one finds no node.
    for pod in &pods[..2] {
        room.kubelet.takes(pod).await?;
    }
    room.kubelet.runs(&pods[0], trainer.address(), true).await?;
    room.kubelet.runs(&pods[1], "127.0.0.2", true).await?;
    let seen = room
        .see("iris", "two of three learn", |training: &ModelTraining| {
            ready(training).contains("with 2 of 3 workers")
        })
        .await?;
    assert_eq!(seen.status.and_then(|status| status.progress?.nodes), Some(2));
    room.kubelet.ends(&pods[0], &trained("iris", 'a', 0.9)).await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    assert!(done.status.unwrap_or_default().artifact.is_some());

    // Another run, of one pod, has no use for what led several together.
    let name = room.ours::<Service>().await?.remove(0);
    let alone = json!({
        "metadata": {"annotations": {"sconce.dev/rerun": "alone"}}, "spec": {"nodes": {"count": 1, "minCount": null}},
    });
    room.change::<ModelTraining>("iris", alone).await?;
    room.gone::<Service>(&name).await?;
    room.gone::<NetworkPolicy>(&name).await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pods_take_the_trials_of_a_search_and_one_that_is_lost_ends_nothing() -> Outcome {
    let room = Room::open().await?;
    let search = json!({
        "objective": {"metric": "accuracy"}, "maxTrials": 24, "parallelTrials": 6,
        "space": [{"path": "hyperparameters.batchSize", "choice": [8, 32]}],
    });
    let split = json!({"validation": 0.2, "test": 0.2});
    let searched = json!({"spec": {"search": search, "dataset": {"split": split}}});
    room.apply(with(of(&json!({"count": 3})), &searched)).await?;
    let pods = numbered(&room, 3).await?;
    let job = room.get::<Job>(&room.ours::<Job>().await?[0]).await?;
    let given: TrainingPlan = plan(job.spec.as_ref().map(|spec| &spec.template))?;
    assert_eq!(given.nodes.map(|nodes| nodes.count), Some(3));
    assert_eq!(given.search.map(|search| search.parallel_trials), Some(6));

    let run = run_of(&room).await?;
    let said = |finished, workers| Progress {
        trials: Some(Trials {
            finished,
            total: 24,
            best: Some(0.9),
        }),
        ..progress(&run, workers)
    };
    let trainer = FakeTrainer::start(said(11, 2)).await?;
    for pod in &pods {
        room.kubelet.takes(pod).await?;
    }
    room.kubelet.runs(&pods[0], trainer.address(), true).await?;
    room.kubelet.runs(&pods[1], "127.0.0.2", true).await?;
    let seen = room
        .see("iris", "two of three take trials", |training: &ModelTraining| {
            ready(training)
                .contains("searching with 2 of 3 workers: 11 of 24 trials are done, the best so far")
        })
        .await?;
    assert_eq!(seen.status.and_then(|status| status.progress?.nodes), Some(2));

    // What keeps the third from taking some is told, and holds up nobody.
    room.kubelet
        .waits(&pods[2], "ImagePullBackOff", Some("no such image"))
        .await?;
    room.see("iris", "why one is missing", |training: &ModelTraining| {
        let says = ready(training);
        says.contains("searching with 2 of 3 workers") && says.contains("; worker 2: the image")
    })
    .await?;

    // One is killed for its memory: the first goes on, and a new one comes in its place.
    room.kubelet.dies(&pods[1], 137, "OOMKilled", None).await?;
    let again = numbered(&room, 3).await?;
    assert_eq!((&again[0], &again[2]), (&pods[0], &pods[2]), "nobody else leaves");
    assert_ne!(again[1], pods[1]);
    room.kubelet.ends(&again[0], &trained("iris", 'a', 0.9)).await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    assert!(done.status.unwrap_or_default().artifact.is_some());
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_one_of_them_from_joining_is_told_with_its_number() -> Outcome {
    let room = Room::open().await?;
    room.apply(of(&json!({"count": 2}))).await?;
    let pods = numbered(&room, 2).await?;
    for pod in &pods {
        room.kubelet.takes(pod).await?;
    }
    let run = run_of(&room).await?;
    let loading = Progress {
        phase: TrainingPhase::Loading,
        ..progress(&run, 2)
    };
    let trainer = FakeTrainer::start(loading).await?;
    room.kubelet.runs(&pods[0], trainer.address(), true).await?;
    room.see("iris", "it waits", |training: &ModelTraining| {
        ready(training).contains("waiting until all of the 2 workers are there")
    })
    .await?;
    room.kubelet
        .waits(&pods[1], "ImagePullBackOff", Some("no such image"))
        .await?;
    room.see("iris", "for whom it waits", |training: &ModelTraining| {
        ready(training).contains("worker 1: the image") && ready(training).contains("no such image")
    })
    .await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_pods_cannot_do_is_refused_by_its_field() -> Outcome {
    let room = Room::open().await?;
    room.apply(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await?;
    let claim = json!({"spec": {"nodes": {"count": 2}, "output": {"uri": "pvc://models/iris"}}});
    room.apply(with(training("iris"), &claim)).await?;
    let seen = room.training_says("iris", "ClaimAccessMode").await?;
    let says = told(conditions(&seen), "Accepted");
    assert!(
        says.contains("spec.nodes.count: each pod mounts the claim \"models\""),
        "{says}"
    );
    assert!(room.ours::<Job>().await?.is_empty());

    let layers =
        json!([{"dense": {"units": 4}}, {"batchNorm": {}}, {"dense": {"units": 3, "activation": "Softmax"}}]);
    let normed = json!({"metadata": {"name": "normed"}, "spec": {"model": {"network": {"layers": layers}}}});
    room.apply(with(of(&json!({"count": 2})), &normed)).await?;
    let seen = room.training_says("normed", "BadInput").await?;
    let says = told(conditions(&seen), "Accepted");
    let expected = "spec.nodes.count: model.network.layers[1].batchNorm measures whole batches";
    assert!(says.contains(expected), "{says}");
    Ok(room.close()?)
}

/// A search in two pods, none of which is tried again.
async fn searching(room: &Room) -> Outcome<(Vec<String>, FakeTrainer)> {
    let search = json!({
        "objective": {"metric": "accuracy"}, "maxTrials": 24, "parallelTrials": 6,
        "space": [{"path": "hyperparameters.batchSize", "choice": [8, 32]}],
    });
    let spec = json!({"spec": {
        "search": search, "dataset": {"split": {"validation": 0.2, "test": 0.2}},
        "failurePolicy": {"backoffLimit": 0},
    }});
    room.apply(with(of(&json!({"count": 2})), &spec)).await?;
    let pods = numbered(room, 2).await?;
    let run = run_of(room).await?;
    let trials = Trials {
        finished: 3,
        total: 24,
        best: None,
    };
    let said = Progress {
        trials: Some(trials),
        ..progress(&run, 1)
    };
    for pod in &pods {
        room.kubelet.takes(pod).await?;
    }
    let trainer = FakeTrainer::start(said).await?;
    room.kubelet.runs(&pods[0], trainer.address(), true).await?;
    room.kubelet.runs(&pods[1], "127.0.0.2", true).await?;
    Ok((pods, trainer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_goes_on_without_a_pod_that_failed_for_good_and_says_so() -> Outcome {
    let room = Room::open().await?;
    let (pods, _trainer) = searching(&room).await?;
    let full = failed(FailureClass::Storage, None, "the scratch has no room left");
    room.kubelet.ends(&pods[1], &full).await?;
    room.see("iris", "who is missing", |training: &ModelTraining| {
        let says = ready(training);
        says.contains("searching with") && says.contains("; worker 1: the scratch has no room left")
    })
    .await?;
    let seen = room.get::<ModelTraining>("iris").await?;
    assert!(
        ready(&seen).ends_with("it is not started again"),
        "{}",
        ready(&seen)
    );
    room.kubelet.ends(&pods[0], &trained("iris", 'a', 0.9)).await?;
    let done = room.phase("iris", Phase::Succeeded).await?;
    assert!(done.status.unwrap_or_default().artifact.is_some());
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_whose_first_pod_failed_for_good_has_failed_and_keeps_no_pod() -> Outcome {
    let room = Room::open().await?;
    let (pods, _trainer) = searching(&room).await?;
    let full = failed(FailureClass::Storage, None, "the claim has no room left");
    room.kubelet.ends(&pods[0], &full).await?;
    let seen = room.phase("iris", Phase::Failed).await?;
    let says = ready(&seen);
    assert!(says.contains("the claim has no room left"), "{says}");
    room.kubelet.active(OURS, 0).await?;
    Ok(room.close()?)
}
