//! A model in an image, where the cluster serves image volumes: Kubernetes' gate ImageVolume is on here.

use k8s_openapi::api::core::v1::Pod;
use sconce_contract::ServingPlan;
use sconce_tests::objects::{deployment_of_uri, digest, plan, with};
use sconce_tests::room::{Room, served, told};
use sconce_tests::world::Extent;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const IMAGE: &str = "registry.example:5000/models/iris@sha256:0123456789012345678901234567890123456789012345678901234567890123";

/// The deployment's pod as the API server and its admission let it in: image, mount path, whether read-only.
async fn admitted(room: &Room, object: Value) -> Outcome<(Pod, String)> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    room.apply(object).await?;
    room.revision(&name, None).await?;
    let pods = room
        .kubelet
        .active(&format!("sconce.dev/deployment={name}"), 1)
        .await?;
    let spec = pods[0].spec.clone().unwrap_or_default();
    let volumes = spec.volumes.unwrap_or_default();
    let volume = volumes
        .iter()
        .find(|volume| volume.image.is_some())
        .ok_or("no image volume")?;
    let reference = volume.image.as_ref().and_then(|image| image.reference.clone());
    assert_eq!(reference.as_deref(), Some(IMAGE));
    let mounts = spec.containers[0].volume_mounts.clone().unwrap_or_default();
    let mount = mounts
        .iter()
        .find(|mount| mount.name == volume.name)
        .ok_or("no mount")?;
    assert_eq!(mount.read_only, Some(true));
    Ok((pods[0].clone(), mount.mount_path.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_in_an_image_is_mounted_read_only_and_the_server_is_told_where() -> Outcome {
    let room = Room::within(Extent::ImageVolumes).await?;
    let uri = format!("oci://{IMAGE}");
    let object = with(
        deployment_of_uri("iris", &uri),
        &json!({"spec": {"model": {"digest": digest('a')}}}),
    );
    let (_, path) = admitted(&room, object).await?;
    let workload = room.workload("iris").await?;
    let plan: ServingPlan = plan(workload.spec.as_ref().map(|spec| &spec.template))?;
    assert_eq!(
        (plan.model.as_str(), plan.mounts[0].uri.as_str()),
        (uri.as_str(), uri.as_str())
    );
    assert_eq!(plan.mounts[0].path.to_string_lossy(), path);
    let revision = room.revision("iris", None).await?;
    room.answer("iris", &revision, 1).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert_eq!(told(served(&seen), "Cached"), "");
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_ones_own_finds_the_image_by_its_path() -> Outcome {
    let room = Room::within(Extent::ImageVolumes).await?;
    let server = json!({"custom": {"image": "registry.example/own:1", "readinessPath": "/ready"}});
    let object = with(
        deployment_of_uri("own", &format!("oci://{IMAGE}")),
        &json!({"spec": {"server": server, "podOverrides": {"imagePullSecrets": [{"name": "registry"}]}}}),
    );
    let (pod, path) = admitted(&room, object).await?;
    let spec = pod.spec.unwrap_or_default();
    let environment = spec.containers[0].env.clone().unwrap_or_default();
    let told = environment
        .iter()
        .find(|variable| variable.name == "SCONCE_MODEL_PATH");
    assert_eq!(told.and_then(|variable| variable.value.clone()), Some(path));
    let secrets = spec.image_pull_secrets.unwrap_or_default();
    assert_eq!(secrets[0].name, "registry");
    Ok(room.close()?)
}
