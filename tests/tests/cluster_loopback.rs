//! The control plane on loopback keeps its word: several at once, the real RBAC, nothing left.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams};
use kube::{Api, Client};
use sconce_tests::node::FakeNode;
use sconce_tests::wait::until;
use sconce_tests::{ControlPlane, Part};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_do_not_share_objects() -> Outcome {
    let (one, two) = tokio::join!(ControlPlane::builder().start(), ControlPlane::builder().start());
    let (one, two) = (one?, two?);
    create_namespace(&one.client(), "only-here").await?;
    let others: Api<Namespace> = Api::all(two.client());
    assert!(others.get_opt("only-here").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_resource_is_served_and_its_rules_hold() -> Outcome {
    let control_plane = ControlPlane::builder().start().await?;
    let client = control_plane.client();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .create(
            &PostParams::default(),
            &serde_json::from_value(lamp_definition())?,
        )
        .await?;

    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.dev", "v1", "Lamp"));
    let lamps: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
    until("lamps are served", async || {
        lamps.list(&ListParams::default()).await.ok()
    })
    .await?;
    let lamp = |name: &str, watts: i64| {
        DynamicObject::new(name, &resource).data(json!({ "spec": { "watts": watts } }))
    };
    lamps.create(&PostParams::default(), &lamp("bright", 60)).await?;
    let refused = lamps
        .create(&PostParams::default(), &lamp("dark", 0))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("a lamp needs power"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_administrator_may_do_everything() -> Outcome {
    let control_plane = ControlPlane::builder().controller_manager().start().await?;
    let eve: Api<ConfigMap> = Api::default_namespaced(control_plane.client_as("eve", &[]).await?);
    let refused = eve.list(&ListParams::default()).await.unwrap_err();
    assert!(
        refused.to_string().contains("User \"eve\" cannot list"),
        "{refused}"
    );

    let account = control_plane
        .client_of_service_account("default", "default")
        .await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(account);
    let refused = maps.list(&ListParams::default()).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("system:serviceaccount:default:default"),
        "{refused}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_places_a_pod_on_the_node_with_the_accelerator() -> Outcome {
    let control_plane = ControlPlane::builder().scheduler().start().await?;
    let client = control_plane.client();
    FakeNode::named("plain").create(&client).await?;
    FakeNode::named("gpu")
        .resource("nvidia.com/gpu", "2")
        .create(&client)
        .await?;
    let pods: Api<Pod> = Api::default_namespaced(client);
    let limits = json!({ "nvidia.com/gpu": "1" });
    let container = json!({ "name": "train", "image": "none", "resources": { "limits": limits } });
    let pod = json!({ "metadata": { "name": "train" }, "spec": { "containers": [container] } });
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?)
        .await?;
    let node = async || pods.get("train").await.ok()?.spec?.node_name;
    let node = until("the pod is placed", node).await?;
    assert_eq!(node, "gpu");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_api_server_loses_nothing() -> Outcome {
    let mut control_plane = ControlPlane::builder().start().await?;
    let client = control_plane.client();
    create_namespace(&client, "survivor").await?;
    control_plane.kill(Part::ApiServer);
    let nodes: Api<Node> = Api::all(client.clone());
    assert!(nodes.list(&ListParams::default()).await.is_err());
    control_plane.restart(Part::ApiServer).await?;
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.get("survivor").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_it_is_dropped() -> Outcome {
    let control_plane = ControlPlane::builder()
        .controller_manager()
        .scheduler()
        .start()
        .await?;
    let folder = control_plane.folder().to_owned();
    let parts = [
        Part::Etcd,
        Part::ApiServer,
        Part::ControllerManager,
        Part::Scheduler,
    ];
    let pids: Vec<u32> = parts.iter().filter_map(|part| control_plane.pid(*part)).collect();
    assert_eq!(pids.len(), parts.len());
    drop(control_plane);
    assert!(!folder.exists());
    assert!(pids.iter().all(|pid| !is_component(*pid)));
    Ok(())
}

/// The second process of this test is this test again, told by a variable to be the victim.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_the_test_process_is_killed() -> Outcome {
    const VICTIM: &str = "SCONCE_TEST_VICTIM";
    if let Some(told) = std::env::var_os(VICTIM) {
        let control_plane = ControlPlane::builder().start().await?;
        let pids =
            [Part::Etcd, Part::ApiServer].map(|part| control_plane.pid(part).unwrap_or_default().to_string());
        std::fs::write(&told, pids.join(" "))?;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    let folder = tempfile::tempdir()?;
    let told = folder.path().join("pids");
    let mut victim = std::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "nothing_is_left_when_the_test_process_is_killed"])
        .env(VICTIM, &told)
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let pids = async || {
        let text = std::fs::read_to_string(&told).ok()?;
        let pids: Vec<u32> = text.split(' ').filter_map(|pid| pid.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    };
    let pids = until("the victim has started a control plane", pids).await?;
    assert!(pids.iter().all(|pid| is_component(*pid)));
    victim.kill()?;
    victim.wait()?;
    until("its components have ended", async || {
        pids.iter().all(|pid| !is_component(*pid)).then_some(())
    })
    .await?;
    Ok(())
}

fn is_component(pid: u32) -> bool {
    let line = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).into_owned();
    ["etcd", "kube-"].iter().any(|name| line.contains(name))
}

async fn create_namespace(client: &Client, name: &str) -> Result<(), kube::Error> {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .map(|_| ())
}

fn lamp_definition() -> serde_json::Value {
    let rule = json!({ "rule": "self.watts > 0", "message": "a lamp needs power" });
    let spec = json!({
        "type": "object",
        "properties": { "watts": { "type": "integer" } },
        "x-kubernetes-validations": [rule],
    });
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": spec } } });
    json!({
        "metadata": { "name": "lamps.example.dev" },
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": { "kind": "Lamp", "plural": "lamps", "singular": "lamp" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    })
}
