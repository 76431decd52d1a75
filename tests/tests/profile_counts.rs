//! A profile tells what the cluster has of it: units on nodes that take its pods, and those that pods hold.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use sconce_crds::accelerator::Units;
use sconce_crds::condition::find;
use sconce_crds::{AcceleratorProfile, AcceleratorProfileStatus};
use sconce_tests::node::FakeNode;
use sconce_tests::objects::{gpu_profile, with};
use sconce_tests::room::Room;
use sconce_tests::wait::until;
use sconce_tests::world::Extent;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Waits until the profile tells so of its units: (nodes, capacity, allocated).
async fn counts(room: &Room, profile: &str, wanted: (i64, i64, i64)) -> sconce_tests::Result<()> {
    let profiles: Api<AcceleratorProfile> = Api::all(room.client.clone());
    let mut last = AcceleratorProfileStatus::default();
    let (nodes, capacity, allocated) = wanted;
    until(&format!("{profile} counts {wanted:?}"), async || {
        let seen = profiles.get(profile).await.ok()?;
        last = seen.status.clone().unwrap_or_default();
        let same = last.nodes == Some(nodes)
            && last.units == Some(Units { capacity, allocated })
            && last.observed_generation == seen.metadata.generation;
        same.then_some(())
    })
    .await
    .map_err(|error| sconce_tests::Error::Unmet(format!("{error}; it says {last:?}")))
}

/// The condition NodesFound as `Reason: message`.
async fn found(room: &Room, profile: &str, words: &str) -> sconce_tests::Result<String> {
    let profiles: Api<AcceleratorProfile> = Api::all(room.client.clone());
    until(&format!("{profile} says {words}"), async || {
        let status = profiles.get(profile).await.ok()?.status?;
        let condition = find(&status.conditions, "NodesFound")?;
        let told = format!(
            "{}: {}: {}",
            condition.status, condition.reason, condition.message
        );
        told.contains(words).then_some(told)
    })
    .await
}

/// A pod that asks for so many units of a resource, on a node that carries the label.
fn pod(name: &str, resource: &str, count: u32, pool: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"pool": pool},
            "tolerations": [{"key": resource, "operator": "Exists"}],
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "c", "image": "registry.example/any",
                "resources": {"limits": {(resource): count.to_string()}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

async fn change_node(room: &Room, name: &str, change: Value) -> sconce_tests::Result<()> {
    let nodes: Api<Node> = Api::all(room.client.clone());
    let patched = nodes
        .patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await;
    patched
        .map(drop)
        .map_err(|error| sconce_tests::Error::Unmet(error.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn status_counts_units_as_nodes_and_pods_come_and_go() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    let resource = "counts.example/gpu";
    let profile = with(
        gpu_profile("counts"),
        &json!({"spec": {
            "resources": {"nvidia.com/gpu": null, (resource): "1"}, "nodeSelector": {"pool": "counts"},
            "tolerations": [{"key": resource, "operator": "Exists", "effect": "NoSchedule"}],
        }}),
    );
    room.apply_cluster(profile.clone()).await?;
    counts(&room, "counts", (0, 0, 0)).await?;
    found(&room, "counts", "False: NoNodes: no node carries the labels").await?;

    for (name, units) in [("counts-0", "4"), ("counts-1", "8")] {
        FakeNode::named(name)
            .label("pool", "counts")
            .taint(resource, "present")
            .resource(resource, units)
            .create(&room.client)
            .await?;
    }
    // Of another kind: neither its capacity nor its pods count.
    FakeNode::named("counts-other")
        .label("pool", "counts-other")
        .resource(resource, "8")
        .create(&room.client)
        .await?;
    counts(&room, "counts", (2, 12, 0)).await?;
    found(&room, "counts", "True: Found").await?;

    room.apply(pod("other", resource, 2, "counts-other")).await?;
    room.apply(pod("large", resource, 8, "counts")).await?;
    room.apply(pod("small", resource, 1, "counts")).await?;
    counts(&room, "counts", (2, 12, 9)).await?;

    // One that waits holds nothing; one that is on its way out holds its unit until it is gone.
    room.apply(pod("waiting", resource, 8, "counts")).await?;
    room.see("waiting", "no node has room", |pod: &Pod| {
        let conditions = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions
            .clone()
            .any(|condition| condition.reason.as_deref() == Some("Unschedulable"))
    })
    .await?;
    room.delete::<Pod>("waiting").await?;
    room.kubelet.holds(true);
    let pods: Api<Pod> = room.api();
    let slowly = DeleteParams {
        grace_period_seconds: Some(600),
        ..DeleteParams::default()
    };
    pods.delete("large", &slowly).await?;
    // One more thing that happens, so that the count which follows has seen the deletion.
    room.apply(pod("next", resource, 1, "counts")).await?;
    counts(&room, "counts", (2, 12, 10)).await?;
    room.kubelet.holds(false);
    pods.delete("large", &DeleteParams::default().grace_period(0))
        .await?;
    counts(&room, "counts", (2, 12, 2)).await?;

    // A pod that has ended holds nothing, though it is still there.
    room.kubelet.dies("small", 0, "Completed", None).await?;
    counts(&room, "counts", (2, 12, 1)).await?;

    let held_on = room
        .get::<Pod>("next")
        .await?
        .spec
        .and_then(|spec| spec.node_name)
        .unwrap_or_default();
    let (free, units) = if held_on == "counts-0" {
        ("counts-1", 4)
    } else {
        ("counts-0", 8)
    };
    change_node(&room, free, json!({"spec": {"unschedulable": true}})).await?;
    counts(&room, "counts", (1, units, 1)).await?;
    change_node(&room, &held_on, json!({"spec": {"unschedulable": true}})).await?;
    counts(&room, "counts", (0, 0, 0)).await?;
    found(&room, "counts", "cordoned, not ready, or have a taint").await?;
    change_node(&room, free, json!({"spec": {"unschedulable": null}})).await?;
    found(&room, "counts", "True: Found").await?;

    // A profile of twice as much has half the units.
    room.apply_cluster(with(profile, &json!({"spec": {"resources": {(resource): "2"}}})))
        .await?;
    let node = if free == "counts-0" { 2 } else { 4 };
    counts(&room, "counts", (1, node, 0)).await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_written_at_most_once_a_second_and_not_without_need() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    let resource = "busy.example/gpu";
    let profile = with(
        gpu_profile("busy"),
        &json!({"spec": {"resources": {"nvidia.com/gpu": null, (resource): "1"}, "nodeSelector": {"pool": "busy"}}}),
    );
    room.apply_cluster(profile).await?;
    FakeNode::named("busy-0")
        .label("pool", "busy")
        .resource(resource, "64")
        .create(&room.client)
        .await?;
    counts(&room, "busy", (1, 64, 0)).await?;
    let profiles: Api<AcceleratorProfile> = Api::all(room.client.clone());
    let start = tokio::time::Instant::now();
    let mut versions = Vec::new();
    for index in 0..40 {
        room.apply(pod(&format!("busy-{index}"), resource, 1, "busy"))
            .await?;
        versions.push(profiles.get("busy").await?.resource_version());
    }
    counts(&room, "busy", (1, 64, 40)).await?;
    let seconds = start.elapsed().as_secs();
    versions.push(profiles.get("busy").await?.resource_version());
    versions.dedup();
    let writes = versions.len() as u64;
    assert!(writes <= seconds + 2, "{writes} writes in {seconds} s");
    let before = profiles.get("busy").await?.resource_version();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(profiles.get("busy").await?.resource_version(), before);
    Ok(room.close()?)
}
