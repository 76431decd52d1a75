//! Who comes first: a pod of a higher priority takes a training's place, or serving does to which it yields. The real
//! scheduler places and preempts; the training says who came first, and goes on by itself.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::node::FakeNode;
use sconce_tests::objects::{deployment_of_uri, gpu_profile, trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use sconce_tests::wait::until;
use sconce_tests::world::Extent;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What trainers end with that have written a checkpoint (EX_TEMPFAIL).
const INTERRUPTED: u8 = 75;

/// A room with a node of its own that has this many units of a profile of its own, which is named after the room.
async fn room_with(units: u32) -> Result<Room, Box<dyn std::error::Error>> {
    let room = Room::within(Extent::Scheduling).await?;
    let name = room.namespace.clone();
    let resource = format!("example.com/{name}");
    let node = FakeNode::named(&format!("{name}-node")).resource(&resource, &units.to_string());
    node.create(&room.client).await?;
    let of_its_own = json!({"spec": {"resources": {"nvidia.com/gpu": null, resource: "1"}}});
    room.apply_cluster(with(gpu_profile(&name), &of_its_own)).await?;
    // For the claim of the training's artifacts: the scheduler places no pod whose claim has no volume.
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": name, "name": "iris-artifacts"},
        },
    });
    room.apply_cluster(volume).await?;
    room.kubelet.stopped_end_with(INTERRUPTED);
    Ok(room)
}

async fn priority_class(room: &Room, name: &str, value: i32) -> Outcome {
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
    });
    room.apply_cluster(class).await?;
    Ok(())
}

fn on(room: &Room, scheduling: &Value) -> Value {
    json!({"spec": {"accelerator": {"profile": room.namespace}, "scheduling": scheduling}})
}

/// The training's pod, once the scheduler has placed it, running.
async fn trains(room: &Room, name: &str) -> Result<String, Box<dyn std::error::Error>> {
    let pod = until(&format!("a pod of {name} has a node"), async || {
        let pod = room.kubelet.trainer(name).await.ok()?;
        let live = room.get::<Pod>(&pod).await.ok()?;
        live.spec?.node_name.map(|_| pod)
    })
    .await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.phase(name, Phase::Training).await?;
    Ok(pod)
}

/// Waits until this many pods of the deployment have a node.
async fn placed(room: &Room, deployment: &str, count: usize) -> Outcome {
    let label = format!("sconce.dev/deployment={deployment}");
    until(&format!("{count} pods of {deployment} have a node"), async || {
        let mut pods = room.kubelet.all(&label).await.ok()?;
        pods.retain(|pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            pod.metadata.deletion_timestamp.is_none() && node.is_some()
        });
        (pods.len() == count).then_some(())
    })
    .await?;
    Ok(())
}

/// As `kubectl scale` does.
async fn scale(room: &Room, deployment: &str, replicas: u32) -> Outcome {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let api = room.api::<ModelDeployment>();
    api.patch_scale(deployment, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

async fn job(room: &Room) -> Result<Job, Box<dyn std::error::Error>> {
    let names = room.ours::<Job>().await?;
    assert_eq!(names.len(), 1, "{names:?}");
    Ok(room.get::<Job>(&names[0]).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_a_burst_of_serving_preempts_a_training_which_goes_on_afterwards() -> Outcome {
    let room = room_with(2).await?;
    let (serving, batch) = (
        format!("{}-serving", room.namespace),
        format!("{}-batch", room.namespace),
    );
    priority_class(&room, &serving, 1000).await?;
    priority_class(&room, &batch, 10).await?;
    let chat = deployment_of_uri("chat", "https://models.example/chat");
    room.apply(with(chat, &on(&room, &json!({"priorityClassName": serving}))))
        .await?;
    placed(&room, "chat", 1).await?;
    // Not even one failed pod is allowed: whatever counts as a failure fails the Job.
    let iris = with(
        training("iris"),
        &json!({"spec": {"failurePolicy": {"backoffLimit": 0}}}),
    );
    room.apply(with(iris, &on(&room, &json!({"priorityClassName": batch}))))
        .await?;
    let pod = trains(&room, "iris").await?;

    room.kubelet.holds(true);
    scale(&room, "chat", 2).await?;
    let seen = room.training_says("iris", "Preempted").await?;
    let status = seen.status.clone().unwrap_or_default();
    assert_eq!(
        (status.phase, status.interruptions),
        (Some(Phase::Queued), Some(1))
    );
    let said = told(conditions(&seen), "Ready");
    for words in [
        "ModelDeployment \"chat\" of a higher priority took its place",
        "goes on by itself",
        "a higher scheduling.priorityClassName",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert!(
        told(conditions(&seen), "Running").starts_with("True"),
        "its pod still stops"
    );
    assert!(told(conditions(&seen), "Degraded").starts_with("False"));

    // It has written its checkpoint: the server gets its place, and the next pod waits.
    room.kubelet.holds(false);
    room.gone::<Pod>(&pod).await?;
    placed(&room, "chat", 2).await?;
    let waits = room
        .see(
            "iris",
            "it says what the next pod waits for",
            |training: &ModelTraining| {
                told(conditions(training), "Ready").contains("meanwhile no node can take it: 0/")
            },
        )
        .await?;
    assert!(told(conditions(&waits), "Ready").contains("Preempted: ModelDeployment \"chat\""));
    assert!(told(conditions(&waits), "Running").starts_with("False"));
    let live = job(&room).await?.status.unwrap_or_default();
    assert_eq!(live.failed.unwrap_or(0), 0, "making way is no failure");
    assert!(
        live.conditions
            .unwrap_or_default()
            .iter()
            .all(|found| found.type_ != "Failed")
    );

    scale(&room, "chat", 1).await?;
    let next = trains(&room, "iris").await?;
    assert_ne!(next, pod);
    room.kubelet
        .ends(&next, &trained("iris-artifacts", 'a', 0.9))
        .await?;
    let done = room
        .phase("iris", Phase::Succeeded)
        .await?
        .status
        .unwrap_or_default();
    assert_eq!(
        (done.attempts, done.interruptions),
        (Some(1), Some(1)),
        "one attempt, which made way once"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_a_priority_class_that_is_missing_is_named_and_its_coming_is_seen() -> Outcome {
    let room = room_with(1).await?;
    let class = format!("{}-later", room.namespace);
    let chat = deployment_of_uri("chat", "https://models.example/chat");
    room.apply(with(chat, &on(&room, &json!({"priorityClassName": class}))))
        .await?;
    let seen = room.deployment_says("chat", "PriorityClassNotFound").await?;
    let said = told(sconce_tests::room::served(&seen), "Ready");
    assert!(
        said.contains(&format!(
            "spec.scheduling.priorityClassName: there is no PriorityClass named {class:?}"
        )),
        "{said}"
    );
    priority_class(&room, &class, 77).await?;
    placed(&room, "chat", 1).await?;
    let pods = room.kubelet.all("sconce.dev/deployment=chat").await?;
    assert_eq!(pods[0].spec.as_ref().and_then(|spec| spec.priority), Some(77));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_a_training_yields_to_serving_without_priorities_and_goes_on_when_it_is_quiet() -> Outcome {
    let room = room_with(2).await?;
    let chat = deployment_of_uri("chat", "https://models.example/chat");
    room.apply(with(chat, &on(&room, &json!({})))).await?;
    placed(&room, "chat", 1).await?;
    room.apply(with(training("iris"), &on(&room, &json!({"yieldTo": "Serving"}))))
        .await?;
    let pod = trains(&room, "iris").await?;

    room.kubelet.holds(true);
    scale(&room, "chat", 2).await?;
    let seen = room.training_says("iris", "YieldedToServing").await?;
    let status = seen.status.clone().unwrap_or_default();
    assert_eq!(
        (status.phase, status.interruptions),
        (Some(Phase::Queued), Some(1))
    );
    let said = told(conditions(&seen), "Ready");
    assert!(
        said.contains("made way for ModelDeployment \"chat\", which found no unit of"),
        "{said}"
    );
    assert!(
        told(conditions(&seen), "Running").starts_with("True"),
        "its pod still stops"
    );
    room.kubelet.holds(false);
    room.gone::<Pod>(&pod).await?;
    placed(&room, "chat", 2).await?;
    assert!(
        job(&room)
            .await?
            .spec
            .is_some_and(|spec| spec.suspend == Some(true))
    );

    // The operator's memory is in the cluster.
    room.world.restart_operator(&room.world.options())?;
    scale(&room, "chat", 1).await?;
    placed(&room, "chat", 1).await?;
    // Only once it has been quiet for a while: `yielding` decides for how long.
    room.training_says("iris", "YieldedToServing").await?;
    assert!(room.kubelet.all("sconce.dev/training=iris").await?.is_empty());
    let next = trains(&room, "iris").await?;
    room.kubelet
        .ends(&next, &trained("iris-artifacts", 'a', 0.9))
        .await?;
    room.phase("iris", Phase::Succeeded).await?;
    let live = job(&room).await?;
    assert!(!live.annotations().contains_key("sconce.dev/yielding"));
    assert_eq!(live.status.unwrap_or_default().failed.unwrap_or(0), 0);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_no_training_yields_for_want_of_anything_else_or_to_another_namespace() -> Outcome {
    let room = room_with(1).await?;
    room.apply(with(training("iris"), &on(&room, &json!({"yieldTo": "Serving"}))))
        .await?;
    let pod = trains(&room, "iris").await?;
    // A server that asks for more memory than any node has, and no unit.
    let huge = json!({"spec": {"resources": {"memory": "900Gi"}}});
    room.apply(with(
        deployment_of_uri("huge", "https://models.example/huge"),
        &huge,
    ))
    .await?;
    room.deployment_says("huge", "Unschedulable").await?;
    let elsewhere = Room::within(Extent::Scheduling).await?;
    let chat = deployment_of_uri("chat", "https://models.example/chat");
    elsewhere.apply(with(chat, &on(&room, &json!({})))).await?;
    elsewhere.deployment_says("chat", "Unschedulable").await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(job(&room).await?.metadata.generation, Some(1));
    assert!(room.get::<Pod>(&pod).await?.metadata.deletion_timestamp.is_none());
    // The next of its own namespace is another matter, and the training that waits steps back.
    let chat = deployment_of_uri("chat", "https://models.example/chat");
    room.apply(with(chat, &on(&room, &json!({})))).await?;
    room.training_says("iris", "YieldedToServing").await?;
    elsewhere.delete::<ModelDeployment>("chat").await?;
    placed(&room, "chat", 1).await?;
    elsewhere.close()?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_a_queue_without_kueue_is_refused_rather_than_waited_for() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    let queued = json!({"spec": {"scheduling": {"queueName": "team-a"}}});
    room.apply(with(training("iris"), &queued)).await?;
    let seen = room.training_says("iris", "QueueNotAvailable").await?;
    let said = told(conditions(&seen), "Accepted");
    assert!(
        said.contains("spec.scheduling.queueName: the cluster has no Kueue"),
        "{said}"
    );
    assert!(said.contains("install Kueue, or remove the field"), "{said}");
    assert!(room.ours::<Job>().await?.is_empty());
    room.apply(training("iris")).await?;
    room.kubelet.trainer("iris").await?;
    Ok(room.close()?)
}
