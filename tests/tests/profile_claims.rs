//! A profile that names a DeviceClass: the real scheduler allocates devices to each pod, and nothing of it is left
//! behind.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use sconce_tests::node::FakeNode;
use sconce_tests::objects::{deployment_of_uri, gpu_profile, training, with};
use sconce_tests::room::{Room, conditions, served, told};
use sconce_tests::wait::until;
use sconce_tests::world::Extent;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn api(room: &Room, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("resource.k8s.io", "v1", kind));
    Api::namespaced_with(room.client.clone(), &room.namespace, &resource)
}

fn by_class(name: &str, class: &str) -> Value {
    with(
        gpu_profile(name),
        &json!({"spec": {"resources": null, "deviceClassName": class}}),
    )
}

fn class(name: &str, driver: &str) -> Value {
    let expression = format!("device.driver == \"{driver}\"");
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": expression}}]},
    })
}

/// Devices that a driver would publish for a node.
fn slice(driver: &str, node: &str, devices: usize) -> Value {
    let devices: Vec<Value> = (0..devices)
        .map(|index| json!({"name": format!("gpu-{index}")}))
        .collect();
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": format!("{node}-{driver}")},
        "spec": {
            "driver": driver, "nodeName": node, "devices": devices,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
        },
    })
}

/// Devices that claims of the namespace have been allocated, by claim.
async fn allocated(room: &Room) -> Option<Vec<usize>> {
    let claims = api(room, "ResourceClaim")
        .list(&ListParams::default())
        .await
        .ok()?;
    let of = |claim: &DynamicObject| {
        let results = claim.data.pointer("/status/allocation/devices/results")?;
        Some(results.as_array()?.len())
    };
    let mut all: Vec<usize> = claims.iter().filter_map(of).collect();
    all.sort_unstable();
    Some(all)
}

/// What a profile tells of its devices: `capacity/allocated`, and why they are not counted.
async fn counts(room: &Room, profile: &str, wanted: &str) -> sconce_tests::Result<()> {
    let profiles: Api<AcceleratorProfile> = Api::all(room.client.clone());
    let mut last = String::new();
    until(&format!("{profile} tells {wanted}"), async || {
        let status = profiles.get(profile).await.ok()?.status?;
        last = match status.units {
            Some(units) => format!("{}/{}", units.capacity, units.allocated),
            None => told(&status.conditions, "NodesFound"),
        };
        last.contains(wanted).then_some(())
    })
    .await
    .map_err(|error| sconce_tests::Error::Unmet(format!("{error}; it says {last:?}")))
}

async fn none_left(room: &Room, kind: &str) -> sconce_tests::Result<()> {
    until(&format!("no {kind} is left"), async || {
        let list = api(room, kind).list(&ListParams::default()).await.ok()?;
        list.items.is_empty().then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_allocated_devices_and_deletion_leaves_nothing() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    let driver = "claims.example";
    FakeNode::named("claims-0").create(&room.client).await?;
    room.apply_cluster(slice(driver, "claims-0", 3)).await?;
    room.apply_cluster(by_class("claims", "claims-class")).await?;
    let asks = json!({"spec": {"accelerator": {"profile": "claims", "count": 2}}});
    room.apply(with(
        deployment_of_uri("first", "https://models.example/iris"),
        &asks,
    ))
    .await?;

    // Before the class is there, nothing is started, and the sentence names it.
    let seen = room.deployment_says("first", "DeviceClassNotFound").await?;
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.contains("spec.accelerator.profile") && ready.contains("\"claims-class\""),
        "{ready}"
    );
    counts(
        &room,
        "claims",
        "Unknown: NotCounted: there is no DeviceClass \"claims-class\"",
    )
    .await?;
    room.apply_cluster(class("claims-class", driver)).await?;
    room.kubelet.active("sconce.dev/deployment=first", 1).await?;
    until("two devices are allocated", async || {
        (allocated(&room).await? == [2]).then_some(())
    })
    .await?;
    counts(&room, "claims", "3/2").await?;
    let pods = room.kubelet.active("sconce.dev/deployment=first", 1).await?;
    until("the pod is on the node with the devices", async || {
        let pod = room.get::<Pod>(pods[0].metadata.name.as_deref()?).await.ok()?;
        (pod.spec?.node_name? == "claims-0").then_some(())
    })
    .await?;

    // Three devices hold no two pairs: the training waits, and says for what.
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "claims-models"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"}},
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "claims-models",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    room.apply_cluster(volume).await?;
    room.apply(claim).await?;
    room.see(
        "models",
        "the claim has its volume",
        |claim: &PersistentVolumeClaim| {
            claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
        },
    )
    .await?;
    let output = json!({"spec": {"output": {"uri": "pvc://models/iris"}}});
    room.apply(with(with(training("second"), &asks), &output)).await?;
    let seen = room.training_says("second", "Unschedulable").await?;
    let ready = told(conditions(&seen), "Ready");
    assert!(ready.contains("cannot allocate all claims"), "{ready}");

    room.delete::<ModelDeployment>("first").await?;
    room.see(
        "second",
        "the training got the devices",
        |seen: &ModelTraining| told(conditions(seen), "Scheduled").starts_with("True"),
    )
    .await?;
    until("one pair is allocated", async || {
        (allocated(&room).await? == [2]).then_some(())
    })
    .await?;
    counts(&room, "claims", "3/2").await?;
    room.delete::<ModelTraining>("second").await?;
    none_left(&room, "ResourceClaim").await?;
    counts(&room, "claims", "3/0").await?;
    // A driver takes a device back, and a node goes away with what it had.
    let slices: Api<DynamicObject> = Api::all_with(
        room.client.clone(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("resource.k8s.io", "v1", "ResourceSlice")),
    );
    room.apply_cluster(slice(driver, "claims-0", 1)).await?;
    counts(&room, "claims", "1/0").await?;
    slices
        .delete(&format!("claims-0-{driver}"), &Default::default())
        .await?;
    counts(&room, "claims", "0/0").await?;
    none_left(&room, "ResourceClaimTemplate").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_count_takes_another_template_and_leaves_none_of_the_first() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    let driver = "recount.example";
    FakeNode::named("recount-0").create(&room.client).await?;
    room.apply_cluster(slice(driver, "recount-0", 4)).await?;
    room.apply_cluster(class("recount-class", driver)).await?;
    room.apply_cluster(by_class("recount", "recount-class")).await?;
    let of = |count: u32| {
        with(
            training("counted"),
            &json!({"spec": {"accelerator": {"profile": "recount", "count": count}}}),
        )
    };
    let templates = async || {
        let list = api(&room, "ResourceClaimTemplate")
            .list(&ListParams::default())
            .await
            .ok()?;
        let count = |template: &DynamicObject| {
            let path = "/spec/spec/devices/requests/0/exactly/count";
            template.data.pointer(path).and_then(Value::as_u64)
        };
        Some(list.iter().filter_map(count).collect::<Vec<_>>())
    };
    for count in [1_u32, 3] {
        room.apply(of(count)).await?;
        let wanted = vec![u64::from(count)];
        until(&format!("the one template is of {count}"), async || {
            (templates().await? == wanted).then_some(())
        })
        .await?;
    }
    room.apply(of(33)).await?;
    let seen = room.training_says("counted", "TooManyDevices").await?;
    assert!(told(conditions(&seen), "Ready").contains("spec.accelerator.count"));

    counts(&room, "recount", "4/").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_a_class_selects_in_words_that_are_not_read_are_said_not_to_be_counted() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    let driver = "odd.example";
    FakeNode::named("odd-0").create(&room.client).await?;
    room.apply_cluster(slice(driver, "odd-0", 3)).await?;
    let mut odd = class("odd-class", driver);
    odd["spec"]["selectors"][0]["cel"]["expression"] = "device.driver.startsWith(\"odd.\")".into();
    room.apply_cluster(odd).await?;
    room.apply_cluster(by_class("odd", "odd-class")).await?;
    let asks = json!({"spec": {"accelerator": {"profile": "odd", "count": 2}}});
    let served = with(deployment_of_uri("odd", "https://models.example/iris"), &asks);
    room.apply(served).await?;
    room.kubelet.active("sconce.dev/deployment=odd", 1).await?;
    // Nobody says of devices that are not counted that there are none; what was allocated is told all the same.
    counts(
        &room,
        "odd",
        "Unknown: NotCounted: the selectors of the DeviceClass \"odd-class\"",
    )
    .await?;
    counts(&room, "odd", "2 are allocated").await?;
    let profiles: Api<AcceleratorProfile> = Api::all(room.client.clone());
    let status = profiles.get("odd").await?.status.unwrap_or_default();
    assert_eq!((status.nodes, status.units), (None, None));
    room.delete::<ModelDeployment>("odd").await?;
    counts(&room, "odd", "0 are allocated").await?;
    Ok(room.close()?)
}
