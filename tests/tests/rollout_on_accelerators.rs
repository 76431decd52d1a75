//! Every GPU is taken, and a rollout ends all the same: an earlier pod goes first, one at a time.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use sconce_crds::{AcceleratorProfile, ModelDeployment};
use sconce_tests::kubelet::Kubelet;
use sconce_tests::node::FakeNode;
use sconce_tests::objects::{deployment_of_uri, gpu_profile, with};
use sconce_tests::room::{Room, served, told};
use sconce_tests::wait::until;
use sconce_tests::world::Extent;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A node with so many units of a resource of this test's own, and a profile of them; each is named after the test.
async fn gpus(room: &Room, name: &str, count: u32) -> Outcome<String> {
    let resource = format!("{name}.example/gpu");
    FakeNode::named(name)
        .resource(&resource, &count.to_string())
        .create(&room.client)
        .await?;
    let units = json!({"spec": {"resources": {"nvidia.com/gpu": null, resource.as_str(): "1"}}});
    room.apply_cluster(with(gpu_profile(name), &units)).await?;
    Ok(name.to_owned())
}

/// Runs every pod that the scheduler has placed, and notes the fewest that answered once all did.
struct Runs {
    work: JoinHandle<()>,
    fewest: std::sync::Arc<std::sync::Mutex<usize>>,
}

impl Runs {
    fn start(room: &Room) -> Self {
        let (pods, kubelet) = (
            room.api::<Pod>(),
            Kubelet::of(room.client.clone(), &room.namespace),
        );
        let fewest = std::sync::Arc::new(std::sync::Mutex::new(usize::MAX));
        let noted = std::sync::Arc::clone(&fewest);
        let work = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let Ok(list) = pods.list(&ListParams::default()).await else {
                    continue;
                };
                let mut answering = 0;
                for pod in list.items {
                    if pod.metadata.deletion_timestamp.is_some() {
                        continue;
                    }
                    let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
                    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                    if phase == Some("Running") {
                        answering += 1;
                    } else if placed {
                        let _ = kubelet.runs(&pod.name_any(), "10.244.0.7", true).await;
                    }
                }
                if let Ok(mut fewest) = noted.lock() {
                    *fewest = (*fewest).min(answering);
                }
            }
        });
        Self { work, fewest }
    }

    /// Counts afresh.
    fn all_answer(&self) {
        if let Ok(mut fewest) = self.fewest.lock() {
            *fewest = usize::MAX;
        }
    }

    fn fewest(&self) -> usize {
        self.fewest.lock().map(|fewest| *fewest).unwrap_or(0)
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn asks(profile: &str, replicas: u32, rollout: &Value) -> Value {
    json!({"spec": {"accelerator": {"profile": profile}, "replicas": replicas, "rollout": rollout}})
}

async fn counted(room: &Room, profile: &str, allocated: i64) -> Outcome {
    let profiles: kube::Api<AcceleratorProfile> = kube::Api::all(room.client.clone());
    until("the profile's units are counted", async || {
        let status = profiles.get(profile).await.ok()?.status?;
        (status.units?.allocated == allocated).then_some(())
    })
    .await?;
    Ok(())
}

/// Serves on all units, asks for another revision, and waits until it is served.
async fn rolls(name: &str, strategy: &str) -> Outcome<usize> {
    let room = Room::within(Extent::Scheduling).await?;
    let profile = gpus(&room, name, 2).await?;
    let runs = Runs::start(&room);
    let rollout = json!({"strategy": strategy});
    room.apply(with(
        deployment_of_uri("iris", "https://models.example/iris/1"),
        &asks(&profile, 2, &rollout),
    ))
    .await?;
    room.deployment_says("iris", "Serving").await?;
    counted(&room, &profile, 2).await?;
    runs.all_answer();
    let old = room.revision("iris", None).await?;
    room.change::<ModelDeployment>(
        "iris",
        json!({"spec": {"model": {"uri": "https://models.example/iris/2"}}}),
    )
    .await?;
    room.revision("iris", Some(&old)).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    let status = seen.status.clone().unwrap_or_default();
    assert_eq!((status.ready_replicas, status.replicas), (2, 2));
    let fewest = runs.fewest();
    drop(runs);
    room.close()?;
    Ok(fewest)
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_auto_ends_with_every_gpu_taken_and_takes_one_away_at_a_time() -> Outcome {
    assert_eq!(rolls("auto-full", "Auto").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_drain_first_ends_with_every_gpu_taken() -> Outcome {
    assert_eq!(rolls("drain-full", "DrainFirst").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_auto_surges_into_a_spare_gpu_and_never_has_fewer_answer() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    let profile = gpus(&room, "auto-spare", 3).await?;
    let runs = Runs::start(&room);
    room.apply(with(
        deployment_of_uri("iris", "https://models.example/iris/1"),
        &asks(&profile, 2, &json!({})),
    ))
    .await?;
    room.deployment_says("iris", "Serving").await?;
    counted(&room, &profile, 2).await?;
    runs.all_answer();
    let old = room.revision("iris", None).await?;
    room.change::<ModelDeployment>("iris", json!({"spec": {"resources": {"memory": "300Mi"}}}))
        .await?;
    room.revision("iris", Some(&old)).await?;
    room.deployment_says("iris", "Serving").await?;
    assert_eq!(runs.fewest(), 2);
    drop(runs);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_surge_with_every_gpu_taken_says_what_it_needs_and_takes_nothing_away() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    let profile = gpus(&room, "surge-full", 1).await?;
    let runs = Runs::start(&room);
    room.apply(with(
        deployment_of_uri("iris", "https://models.example/iris/1"),
        &asks(&profile, 1, &json!({"strategy": "Surge"})),
    ))
    .await?;
    room.deployment_says("iris", "Serving").await?;
    runs.all_answer();
    room.change::<ModelDeployment>("iris", json!({"spec": {"resources": {"memory": "300Mi"}}}))
        .await?;
    let seen = room.deployment_says("iris", "Unschedulable").await?;
    let ready = told(served(&seen), "Ready");
    for part in [
        "Insufficient surge-full.example/gpu",
        "spec.rollout.strategy is Surge, which needs room for one more pod",
        "Auto or DrainFirst",
    ] {
        assert!(ready.contains(part), "{part:?} is not in {ready}");
    }
    assert!(told(served(&seen), "Available").starts_with("True: EarlierRevision"));
    // The user follows the advice.
    room.change::<ModelDeployment>("iris", json!({"spec": {"rollout": {"strategy": "Auto"}}}))
        .await?;
    room.deployment_says("iris", "Serving").await?;
    drop(runs);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_auto_keeps_what_answers_when_the_new_pod_would_not_fit_anyway() -> Outcome {
    let room = Room::within(Extent::Scheduling).await?;
    let profile = gpus(&room, "auto-large", 1).await?;
    let runs = Runs::start(&room);
    room.apply(with(
        deployment_of_uri("iris", "https://models.example/iris/1"),
        &asks(&profile, 1, &json!({})),
    ))
    .await?;
    room.deployment_says("iris", "Serving").await?;
    counted(&room, &profile, 1).await?;
    runs.all_answer();
    room.change::<ModelDeployment>("iris", json!({"spec": {"accelerator": {"count": 2}}}))
        .await?;
    let seen = room
        .see("iris", "why it stays is told", |seen: &ModelDeployment| {
            let ready = told(served(seen), "Ready");
            ready.starts_with("False: Unschedulable")
                && ready.contains("asks for more than an earlier one gives back")
        })
        .await?;
    assert_eq!(runs.fewest(), 1);
    assert!(told(served(&seen), "Available").starts_with("True: EarlierRevision"));
    drop(runs);
    Ok(room.close()?)
}
