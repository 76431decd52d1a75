//! The number of pods follows the load that they tell; every change is told with its reason, and none is lost.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use sconce_crds::{AcceleratorProfile, ModelDeployment};
use sconce_tests::fleet::{Fleet, PODS};
use sconce_tests::objects::{deployment_of_uri, gpu_profile, with};
use sconce_tests::room::{Room, served, told};
use sconce_tests::wait::until;
use sconce_tests::world::NODE;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const ELSEWHERE: &str = "https://models.example/iris/1";

fn managed(change: &Value) -> Value {
    let spec = json!({"spec": {"autoscaling": {
        "mode": "Managed", "maxReplicas": 4, "target": {"inFlightPerReplica": 1}, "window": "2s", "scaleDownDelay": "3s",
    }}});
    with(with(deployment_of_uri("iris", ELSEWHERE), &spec), change)
}

async fn desired(room: &Room, count: i32) -> Outcome<ModelDeployment> {
    let seen = room
        .see(
            "iris",
            &format!("{count} pods are wanted"),
            |seen: &ModelDeployment| {
                seen.status
                    .as_ref()
                    .is_some_and(|status| status.desired_replicas == Some(count))
            },
        )
        .await?;
    Ok(seen)
}

/// `from-to Reason` of each decision, newest first. Steps of one reason that follow one another are one: how many a
/// change of the load takes depends on how soon after it the operator asks.
fn decisions(object: &ModelDeployment) -> Vec<String> {
    let all = object.status.iter().flat_map(|status| &status.scale_decisions);
    let mut told: Vec<(i32, i32, String)> = Vec::new();
    for decision in all {
        match told.last_mut() {
            Some((from, _, reason)) if *reason == decision.reason && *from == decision.to => {
                *from = decision.from;
            }
            _ => told.push((decision.from, decision.to, decision.reason.clone())),
        }
    }
    let text = |(from, to, reason): &(i32, i32, String)| format!("{from}-{to} {reason}");
    told.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_follows_the_load_up_and_down_and_every_step_is_told() -> Outcome {
    let room = Room::open().await?;
    room.apply(managed(&json!({}))).await?;
    let mut fleet = Fleet::of(&room).await?;
    fleet.grows_to(1).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert_eq!(decisions(&seen), Vec::<String>::new());

    fleet.have(&[3]).await?;
    let seen = desired(&room, 3).await?;
    assert_eq!(decisions(&seen), ["1-3 Queueing"]);
    // What answered before answers still: that there are to be more is no alarm.
    let seen = room.deployment_says("iris", "ScalingUp").await?;
    assert!(told(served(&seen), "Ready").starts_with("True: ScalingUp"));
    assert!(told(served(&seen), "Progressing").starts_with("True: ScalingUp"));
    let seen = desired(&room, 3).await?;
    let decision = &seen.status.as_ref().ok_or("no status")?.scale_decisions[0];
    let inputs = decision.inputs.clone().ok_or("no inputs")?;
    assert_eq!((inputs.target, inputs.ready_replicas), (1.0, 1));
    assert!(inputs.in_flight > 2.0 && inputs.queued > 1.0, "{inputs:?}");
    assert!(
        decision
            .message
            .contains("on 1 replica that answers: 3 replicas take 1 each"),
        "{}",
        decision.message
    );
    fleet.grows_to(3).await?;
    fleet.have(&[1, 1, 1]).await?;
    room.deployment_says("iris", "Serving").await?;
    assert!(told(served(&desired(&room, 3).await?), "ScalingActive").starts_with("True: LoadKnown"));

    // The one that has the least to do goes.
    fleet.have(&[1, 0, 1]).await?;
    let seen = desired(&room, 2).await?;
    assert_eq!(decisions(&seen), ["3-2 BelowTarget", "1-3 Queueing"]);
    let stay = room.kubelet.active(PODS, 2).await?;
    let gone = &fleet.servers[1].0;
    assert!(
        stay.iter().all(|pod| pod.name_any() != *gone),
        "{gone} had nothing to do"
    );
    for pod in &stay {
        assert!(
            !pod.annotations()
                .contains_key("controller.kubernetes.io/pod-deletion-cost")
        );
    }

    let events = room.api::<Event>().list(&Default::default()).await?;
    let notes: Vec<String> = events
        .items
        .into_iter()
        .filter(|event| matches!(event.reason.as_deref(), Some("ScaledUp" | "ScaledDown")))
        .filter_map(|event| event.note)
        .collect();
    // By way of two, where the operator asked before all of the three requests had come: the same event, counted twice.
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("from 1 to 3 replicas: ")
                || note.starts_with("from 1 to 2 replicas: ")),
        "{notes:?}"
    );
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("from 3 to 2 replicas: at most ")),
        "{notes:?}"
    );
    let metrics = room.world.ask_operator("/metrics")?;
    assert!(
        metrics.contains("sconce_operator_scale_decisions_total{direction=\"up\",reason=\"Queueing\"}"),
        "{metrics}"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_stays_within_its_bounds_says_so_and_follows_new_ones() -> Outcome {
    let room = Room::open().await?;
    room.apply(managed(
        &json!({"spec": {"autoscaling": {"minReplicas": 2, "maxReplicas": 3}}}),
    ))
    .await?;
    let mut fleet = Fleet::of(&room).await?;
    fleet.grows_to(2).await?;
    fleet.have(&[5, 5]).await?;
    let seen = desired(&room, 3).await?;
    let limited = room
        .see("iris", "the limit is told", |seen: &ModelDeployment| {
            told(served(seen), "ScalingLimited").starts_with("True: MaxReplicas")
        })
        .await?;
    assert!(told(served(&limited), "ScalingLimited").contains("which is 3"));
    let message = &seen.status.as_ref().ok_or("no status")?.scale_decisions[0].message;
    assert!(message.ends_with("maxReplicas allows no more"), "{message}");

    room.change::<ModelDeployment>(
        "iris",
        json!({"spec": {"autoscaling": {"minReplicas": 1, "maxReplicas": 1}}}),
    )
    .await?;
    let seen = desired(&room, 1).await?;
    assert_eq!(decisions(&seen)[0], "3-1 AboveMaximum");
    room.kubelet.active(PODS, 1).await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_asks_for_one_unit_more_than_nodes_have_and_says_so() -> Outcome {
    let room = Room::open().await?;
    // Two units on the only node, which the stand-in for the kubelet places pods on.
    let units = json!({"example.com/scaled": "2"});
    let nodes: Api<Node> = Api::all(room.client.clone());
    let offer = Patch::Merge(json!({"status": {"capacity": units, "allocatable": units}}));
    nodes.patch_status(NODE, &PatchParams::default(), &offer).await?;
    let profile = json!({"spec": {"resources": {"nvidia.com/gpu": null, "example.com/scaled": "1"}}});
    room.apply_cluster(with(gpu_profile("scaled"), &profile)).await?;
    room.apply(managed(&json!({"spec": {"accelerator": {"profile": "scaled"}}})))
        .await?;
    let mut fleet = Fleet::of(&room).await?;
    fleet.grows_to(1).await?;
    room.deployment_says("iris", "Serving").await?;
    let profiles: Api<AcceleratorProfile> = Api::all(room.client.clone());
    until("the profile counts what the pod holds", async || {
        let units = profiles.get("scaled").await.ok()?.status?.units?;
        ((units.capacity, units.allocated) == (2, 1)).then_some(())
    })
    .await?;

    fleet.have(&[4]).await?;
    let seen = desired(&room, 3).await?;
    let decision = &seen.status.as_ref().ok_or("no status")?.scale_decisions[0];
    assert!(
        decision
            .message
            .ends_with("there are units of the accelerator for 2, so the last one waits for some"),
        "{}",
        decision.message
    );
    assert_eq!(
        decision.inputs.as_ref().and_then(|inputs| inputs.units_allow),
        Some(2)
    );
    // One has a unit, and one waits where whoever can make room sees it.
    let new = room.kubelet.active(PODS, 3).await?;
    let known = fleet.servers[0].0.clone();
    let new: Vec<String> = new
        .iter()
        .map(ResourceExt::name_any)
        .filter(|name| *name != known)
        .collect();
    fleet.joins(&new[0]).await?;
    let seen = room
        .see("iris", "the limit is told", |seen: &ModelDeployment| {
            told(served(seen), "ScalingLimited").starts_with("True: NoFreeUnits")
        })
        .await?;
    assert!(told(served(&seen), "ScalingLimited").contains("which is 2: the next one waits; add nodes"));
    // However long, no further one joins the one that waits.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = desired(&room, 3).await?;
    assert_eq!(decisions(&seen), ["1-3 Queueing"]);
    assert_eq!(room.kubelet.active(PODS, 3).await?.len(), 3);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_freezes_while_the_load_is_unknown_and_says_so() -> Outcome {
    let room = Room::open().await?;
    room.apply(managed(&json!({"spec": {"autoscaling": {"minReplicas": 1}}})))
        .await?;
    let mut fleet = Fleet::of(&room).await?;
    fleet.grows_to(1).await?;
    fleet.have(&[2]).await?;
    desired(&room, 2).await?;
    fleet.grows_to(2).await?;
    fleet.have(&[1, 1]).await?;
    room.deployment_says("iris", "Serving").await?;
    // One is silent: there may be more, not fewer, though the other has nothing to do.
    fleet.servers[1].1.is_silent(true);
    let seen = room
        .see("iris", "one is missed", |seen: &ModelDeployment| {
            told(served(seen), "ScalingActive").starts_with("True: LoadPartlyKnown")
        })
        .await?;
    assert_eq!(seen.status.and_then(|status| status.desired_replicas), Some(2));
    fleet.servers[0].1.is_silent(true);
    fleet.have(&[0, 0]).await?;
    let seen = room
        .see("iris", "nothing is known", |seen: &ModelDeployment| {
            told(served(seen), "ScalingActive").starts_with("False: LoadUnknown")
        })
        .await?;
    assert!(told(served(&seen), "ScalingActive").contains("NetworkPolicy"));
    // Longer than the delay after which there would be fewer, and not one write.
    room.still::<ModelDeployment>("iris", Duration::from_secs(5))
        .await?;
    assert_eq!(decisions(&room.get("iris").await?), ["1-2 Queueing"]);
    for (_, server) in &fleet.servers {
        server.is_silent(false);
    }
    let seen = desired(&room, 1).await?;
    assert_eq!(decisions(&seen), ["2-1 BelowTarget", "1-2 Queueing"]);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_survives_a_restart_and_writes_nothing_while_the_load_is_steady() -> Outcome {
    let room = Room::open().await?;
    room.apply(managed(
        &json!({"spec": {"autoscaling": {"scaleDownDelay": "1h"}}}),
    ))
    .await?;
    let mut fleet = Fleet::of(&room).await?;
    fleet.grows_to(1).await?;
    fleet.have(&[3]).await?;
    desired(&room, 3).await?;
    fleet.grows_to(3).await?;
    fleet.have(&[1, 0, 1]).await?;
    room.deployment_says("iris", "Serving").await?;
    let asked = fleet.servers[0].1.asked();
    room.world.restart_operator(&room.world.options())?;
    until("the new operator asks", async || {
        (fleet.servers[0].1.asked() > asked + 2).then_some(())
    })
    .await?;
    let workload = room.workload("iris").await?;
    let generation = workload.metadata.generation;
    room.still::<ModelDeployment>("iris", Duration::from_secs(4))
        .await?;
    let seen = desired(&room, 3).await?;
    assert_eq!(decisions(&seen), ["1-3 Queueing"]);
    assert_eq!(room.workload("iris").await?.metadata.generation, generation);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_by_the_operator_begins_with_what_there_is_and_takes_back_what_it_told() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        deployment_of_uri("iris", ELSEWHERE),
        &json!({"spec": {"replicas": 3}}),
    ))
    .await?;
    let mut fleet = Fleet::of(&room).await?;
    fleet.grows_to(3).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert_eq!(seen.status.and_then(|status| status.desired_replicas), None);
    // Applied anew without `replicas`, as its message says.
    room.apply(managed(
        &json!({"spec": {"autoscaling": {"scaleDownDelay": "1h"}}}),
    ))
    .await?;
    let seen = desired(&room, 3).await?;
    assert_eq!(decisions(&seen), Vec::<String>::new());
    room.deployment_says("iris", "Serving").await?;

    // A person cannot scale it meanwhile.
    let four = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let refused = room
        .api::<ModelDeployment>()
        .patch_scale("iris", &PatchParams::default(), &four)
        .await;
    let refused = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(
        refused.contains("replicas does not go with autoscaling.mode Managed"),
        "{refused}"
    );

    room.apply(with(
        deployment_of_uri("iris", ELSEWHERE),
        &json!({"spec": {"replicas": 2}}),
    ))
    .await?;
    let seen = room
        .see("iris", "nothing is told of scaling", |seen: &ModelDeployment| {
            let status = seen.status.as_ref();
            status
                .is_some_and(|status| status.desired_replicas.is_none() && status.scale_decisions.is_empty())
                && told(served(seen), "ScalingActive").is_empty()
        })
        .await?;
    assert_eq!(seen.spec.replicas, 2);
    room.kubelet.active(PODS, 2).await?;
    Ok(room.close()?)
}
