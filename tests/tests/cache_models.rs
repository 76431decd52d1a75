//! Models that servers keep on a claim or on their nodes: what pods are given, what real servers do with it, and what a
//! person is told.

use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodSpec};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use sconce_contract::ServingPlan;
use sconce_crds::ModelDeployment;
use sconce_tests::models::{RunningServer, WebModel};
use sconce_tests::objects::{self, bound_claim, deployment_of_uri, digest, with};
use sconce_tests::room::{Room, served, told};
use sconce_tests::wait::until;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A deployment of the model with a cache.
fn caching(name: &str, web: &WebModel, cache: &Value) -> Value {
    let spec = json!({"model": {"digest": web.artifact.digest}, "cache": cache});
    with(deployment_of_uri(name, &web.uri), &json!({ "spec": spec }))
}

fn plan(workload: &Deployment) -> Outcome<ServingPlan> {
    Ok(objects::plan(workload.spec.as_ref().map(|spec| &spec.template))?)
}

fn pod_spec(workload: &Deployment) -> PodSpec {
    let spec = workload.spec.as_ref().and_then(|spec| spec.template.spec.clone());
    spec.unwrap_or_default()
}

/// Runs a real server for the deployment's pod that has no address yet; `folder` is what is mounted at `path`.
async fn serve(room: &Room, name: &str, count: usize, path: &str, folder: &Path) -> Outcome<RunningServer> {
    let plan = plan(&room.workload(name).await?)?;
    let label = format!("sconce.dev/deployment={name}");
    let pods = room.kubelet.active(&label, count).await?;
    let address = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let pod = pods
        .iter()
        .find(|pod| address(pod).is_none())
        .ok_or("every pod runs")?;
    room.kubelet.takes(&pod.name_any()).await?;
    let server = RunningServer::start(&plan, &[(Path::new(path), folder)])?;
    server.ready().await?;
    room.kubelet.runs(&pod.name_any(), &server.address, true).await?;
    Ok(server)
}

async fn cached(room: &Room, name: &str, word: &str) -> Outcome<ModelDeployment> {
    let what = format!("Cached is told as {word}");
    let seen = room.see(name, &what, |seen: &ModelDeployment| {
        told(served(seen), "Cached").contains(word)
    });
    Ok(seen.await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_on_one_claim_download_a_model_once_and_the_status_says_which_did() -> Outcome {
    let (room, web) = (Room::open().await?, WebModel::train().await?);
    let cache = json!({"strategy": "SharedVolume", "claimName": "models", "sizeLimit": "1Gi"});
    room.apply(caching("iris", &web, &cache)).await?;
    let seen = room.deployment_says("iris", "ClaimNotFound").await?;
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.contains("spec.cache.claimName") && ready.contains("\"models\""),
        "{ready}"
    );
    assert!(room.ours::<Deployment>().await?.is_empty());

    for object in bound_claim(&room.namespace, "models") {
        room.apply_cluster(object).await?;
    }
    let workload = room.workload("iris").await?;
    let pod = pod_spec(&workload);
    let mounts = pod.containers[0].volume_mounts.clone().unwrap_or_default();
    let mount = mounts
        .iter()
        .find(|mount| mount.mount_path == "/mnt/sconce/pvc/models");
    assert_eq!(mount.ok_or("no mount")?.read_only, None);
    let told_plan = plan(&workload)?.cache.ok_or("no cache in the plan")?;
    assert_eq!(
        (told_plan.scope, told_plan.size_limit),
        (room.namespace.clone(), Some(1 << 30))
    );

    let claim = tempfile::tempdir()?;
    let seen = cached(&room, "iris", "NoPodTold").await?;
    assert!(told(served(&seen), "Cached").starts_with("Unknown"));
    let _first = serve(&room, "iris", 1, "/mnt/sconce/pvc/models", claim.path()).await?;
    let seen = cached(&room, "iris", "Fetched").await?;
    assert!(told(served(&seen), "Cached").starts_with("True"));
    let first = seen
        .status
        .and_then(|status| status.cold_start)
        .ok_or("no cold start")?;

    // The newest pod is told of; times of pods have whole seconds.
    until("another second begins", async || {
        (Timestamp::now().as_second() > first.created.0.as_second()).then_some(())
    })
    .await?;
    room.change::<ModelDeployment>("iris", json!({"spec": {"replicas": 2}}))
        .await?;
    let _second = serve(&room, "iris", 2, "/mnt/sconce/pvc/models", claim.path()).await?;
    let seen = cached(&room, "iris", "Hit").await?;
    let second = seen
        .status
        .and_then(|status| status.cold_start)
        .ok_or("no cold start")?;
    assert_ne!(second.pod, first.pod);
    for file in ["manifest.json", "model.safetensors"] {
        assert_eq!(web.times(file), 1, "{file}");
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_the_nodes_waits_for_the_chart_and_for_the_namespace_and_says_which() -> Outcome {
    let (room, web) = (Room::open().await?, WebModel::train().await?);
    room.apply(caching("iris", &web, &json!({"strategy": "Node"})))
        .await?;
    let seen = room.deployment_says("iris", "NodeCacheDisabled").await?;
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.contains("spec.cache.strategy: Node") && ready.contains("nodeCache.enabled"),
        "{ready}"
    );
    assert!(room.ours::<Deployment>().await?.is_empty());

    let mut options = room.world.options();
    options.node_cache = Some("/var/lib/sconce/cache".to_owned());
    room.world.restart_operator(&options)?;
    // The real admission plugin: the namespace enforces `restricted`.
    let seen = room.deployment_says("iris", "FailedCreate").await?;
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.contains("violates PodSecurity") && ready.contains("spec.cache.strategy: Node"),
        "{ready}"
    );
    assert!(
        ready.contains("SharedVolume") && ready.contains("enforce: privileged"),
        "{ready}"
    );

    let namespaces: Api<Namespace> = Api::all(room.client.clone());
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    namespaces
        .patch(&room.namespace, &PatchParams::default(), &Patch::Merge(&labels))
        .await?;
    let folder = tempfile::tempdir()?;
    let _server = serve(&room, "iris", 1, "/mnt/sconce/cache", folder.path()).await?;
    let volumes = pod_spec(&room.workload("iris").await?)
        .volumes
        .unwrap_or_default();
    let host = volumes.iter().find_map(|volume| volume.host_path.as_ref());
    assert_eq!(host.ok_or("no folder of the node")?.path, "/var/lib/sconce/cache");
    cached(&room, "iris", "Fetched").await?;
    assert!(room.deployment_says("iris", "Serving").await.is_ok());
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_take_the_model_is_no_hindrance_and_is_told() -> Outcome {
    let (room, web) = (Room::open().await?, WebModel::train().await?);
    for object in bound_claim(&room.namespace, "models") {
        room.apply_cluster(object).await?;
    }
    let cache = json!({"strategy": "SharedVolume", "claimName": "models", "sizeLimit": "10"});
    room.apply(caching("iris", &web, &cache)).await?;
    let claim = tempfile::tempdir()?;
    let _server = serve(&room, "iris", 1, "/mnt/sconce/pvc/models", claim.path()).await?;
    let seen = cached(&room, "iris", "NotCached").await?;
    let cached = told(served(&seen), "Cached");
    assert!(
        cached.starts_with("False") && cached.contains("cache.sizeLimit allows 10"),
        "{cached}"
    );
    room.deployment_says("iris", "Serving").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_a_model_is_refused_by_name_where_the_cluster_serves_no_image_volumes() -> Outcome {
    let room = Room::open().await?;
    let uri = "oci://registry.example/models/iris:1";
    room.apply(deployment_of_uri("iris", uri)).await?;
    let seen = room.deployment_says("iris", "ImageVolumesNotServed").await?;
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.contains("spec.model.uri") && ready.contains("ImageVolume") && ready.contains("pvc://"),
        "{ready}"
    );
    assert!(room.ours::<Deployment>().await?.is_empty());

    // What is mended goes on by itself.
    let elsewhere = json!({"spec": {"model": {"uri": "https://models.example/iris", "digest": digest('a')}}});
    room.change::<ModelDeployment>("iris", elsewhere).await?;
    room.workload("iris").await?;
    Ok(room.close()?)
}
