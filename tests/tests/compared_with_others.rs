//! The last column of README's table "What they say when things fail": each cell is what a real API server shows
//! after the same was done to ours. After a change of words, `UPDATE=1` writes the column anew.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use sconce_crds::condition::Condition;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::node::FakeNode;
use sconce_tests::objects::{deployment, deployment_of_uri, gpu_profile, training, with};
use sconce_tests::room::{Room, conditions, served, told};
use sconce_tests::world::Extent;
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const URI: &str = "https://models.example/iris";

/// The words of Ready as README quotes them: up to the remedy, with its reason set apart.
fn quoted(conditions: &[Condition]) -> String {
    let ready = sconce_crds::condition::find(conditions, "Ready");
    ready
        .map(|ready| {
            let message = ready.message.split(';').next().unwrap_or_default();
            format!("Ready {}, `{}`: {message}", ready.status, ready.reason)
        })
        .unwrap_or_default()
}

/// README's line that begins with `row` ends with `said`.
fn readme_says(row: &str, said: &str) -> Outcome {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(&path)?;
    let start = format!("| {row} |");
    let line = readme
        .lines()
        .find(|line| line.starts_with(&start))
        .ok_or_else(|| format!("README.md has no row that begins with {start:?}"))?;
    let kept = line
        .trim_end_matches('|')
        .rsplit_once('|')
        .map_or(line, |(kept, _)| kept);
    let wanted = format!("{kept}| {said} |");
    if line == wanted {
        return Ok(());
    }
    if std::env::var_os("UPDATE").is_some() {
        return Ok(std::fs::write(&path, readme.replace(line, &wanted))?);
    }
    Err(format!("README.md says\n  {line}\nand the API server\n  {wanted}\nUPDATE=1 writes it").into())
}

async fn room() -> sconce_tests::Result<Room> {
    Room::within(Extent::Scheduling).await
}

/// A deployment that serves, and its one pod.
async fn serving(room: &Room, name: &str) -> Result<Pod, Box<dyn std::error::Error>> {
    room.apply(deployment_of_uri(name, URI)).await?;
    let revision = room.revision(name, None).await?;
    room.answer(name, &revision, 1).await?;
    room.deployment_says(name, "Serving").await?;
    Ok(room
        .kubelet
        .active(&format!("sconce.dev/deployment={name}"), 1)
        .await?
        .remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn compared_an_image_cannot_be_pulled() -> Outcome {
    let room = room().await?;
    room.apply(deployment_of_uri("served", URI)).await?;
    room.apply(training("iris")).await?;
    let server = room.kubelet.active("sconce.dev/deployment=served", 1).await?[0].name_any();
    for pod in [server, room.kubelet.trainer("iris").await?] {
        room.kubelet.takes(&pod).await?;
        let said = Some("registry.example: no such host");
        room.kubelet.waits(&pod, "ErrImagePull", said).await?;
    }
    let seen = room.deployment_says("served", "ImagePullFailed").await?;
    room.training_says("iris", "ImagePullFailed").await?;
    readme_says("image cannot be pulled", &quoted(served(&seen)))?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn compared_a_spec_asks_for_999_gpus_while_it_serves() -> Outcome {
    let room = room().await?;
    room.apply_cluster(gpu_profile("compared")).await?;
    FakeNode::named("compared-0")
        .resource("nvidia.com/gpu", "8")
        .create(&room.client)
        .await?;
    serving(&room, "served").await?;
    let asks = |count: u32| json!({"spec": {"accelerator": {"profile": "compared", "count": count}}});
    let refused = room.change::<ModelDeployment>("served", asks(999)).await;
    let refused = refused
        .err()
        .ok_or("999 units of a pod are admitted")?
        .to_string();
    assert!(
        refused.contains("spec.accelerator.count") && refused.contains("less than or equal to 64"),
        "{refused}"
    );
    let changed: ModelDeployment = room.change("served", asks(64)).await?;
    let seen = room
        .see(
            "served",
            "the change is seen, and refused by the nodes",
            |seen: &ModelDeployment| {
                let ready = sconce_crds::condition::find(served(seen), "Ready");
                ready.is_some_and(|ready| {
                    ready.observed_generation == changed.metadata.generation
                        && ready.message.contains("nvidia.com/gpu")
                })
            },
        )
        .await?;
    assert!(
        told(served(&seen), "Ready").starts_with("False"),
        "{}",
        told(served(&seen), "Ready")
    );
    assert!(told(served(&seen), "Degraded").starts_with("True"));
    assert!(
        told(served(&seen), "Available").starts_with("True: EarlierRevision"),
        "the pod that served goes on: {}",
        told(served(&seen), "Available")
    );
    let cell = format!(
        "999 is refused at admission: at most 64. With 64: {}; Available stays True",
        quoted(served(&seen))
    );
    readme_says("spec changed to 999 GPUs", &cell)?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn compared_a_spec_names_what_does_not_exist() -> Outcome {
    let room = room().await?;
    room.apply(deployment("served", "nobody")).await?;
    let seen = room.deployment_says("served", "TrainingNotFound").await?;
    let missing = json!({"spec": {"dataset": {"uri": "pvc://nothing/iris.csv"}}});
    room.apply(with(training("iris"), &missing)).await?;
    room.training_says("iris", "ClaimNotFound").await?;
    readme_says("spec names something that does not exist", &quoted(served(&seen)))?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn compared_a_child_is_refused_by_the_api_server() -> Outcome {
    let room = room().await?;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    room.apply(quota).await?;
    room.apply(deployment_of_uri("served", URI)).await?;
    let seen = room
        .see("served", "the quota is told", |seen: &ModelDeployment| {
            told(served(seen), "Ready").contains("exceeded quota")
        })
        .await?;
    let cell = quoted(served(&seen));
    let (before, pod) = cell.split_once('"').ok_or("the API server names the pod")?;
    let (_, after) = pod.split_once('"').ok_or("the name of the pod ends")?;
    readme_says(
        "child refused by the API server",
        &format!("{before}\"…\"{after}"),
    )?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn compared_observed_generation() -> Outcome {
    let room = room().await?;
    serving(&room, "served").await?;
    let changed: ModelDeployment = room.change("served", json!({"spec": {"replicas": 2}})).await?;
    let own = changed.metadata.generation;
    let seen = room
        .see("served", "the change is seen", |seen: &ModelDeployment| {
            seen.status
                .as_ref()
                .is_some_and(|status| status.observed_generation == own)
        })
        .await?;
    assert!(!served(&seen).is_empty() && served(&seen).iter().all(|each| each.observed_generation == own));
    room.apply(training("iris")).await?;
    let told = |seen: &ModelTraining| {
        seen.status
            .as_ref()
            .is_some_and(|status| status.observed_generation == Some(1))
    };
    let seen = room.see("iris", "the training is seen", told).await?;
    assert!(
        !conditions(&seen).is_empty()
            && conditions(&seen)
                .iter()
                .all(|each| each.observed_generation == Some(1))
    );
    readme_says(
        "observedGeneration",
        "the object's own, on the status and on every condition",
    )?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn compared_an_annotation_on_the_object() -> Outcome {
    let room = room().await?;
    let pod = serving(&room, "served").await?;
    let annotated = json!({"metadata": {"annotations": {"example.com/note": "looked at"}}});
    room.change::<ModelDeployment>("served", annotated).await?;
    // Whatever the annotation did is done once a later change of the spec is seen.
    let changed: ModelDeployment = room.change("served", json!({"spec": {"replicas": 2}})).await?;
    room.see("served", "the change is seen", |seen: &ModelDeployment| {
        seen.status
            .as_ref()
            .is_some_and(|status| status.observed_generation == changed.metadata.generation)
    })
    .await?;
    let still: Pod = room.get(&pod.name_any()).await?;
    assert_eq!(
        (still.uid(), still.metadata.deletion_timestamp),
        (pod.uid(), None)
    );
    readme_says("annotation on the object", "restarts nothing")?;
    Ok(room.close()?)
}
