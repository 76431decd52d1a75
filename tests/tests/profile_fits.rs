//! A workload that cannot fit its accelerator takes none: it is told with the numbers, and with what would do.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::objects::{deployment, deployment_of_uri, gpu_profile, trained, training, with};
use sconce_tests::room::{Room, conditions, served, told};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn profile(name: &str, memory: &str) -> Value {
    with(gpu_profile(name), &json!({"spec": {"memory": memory}}))
}

fn on(object: Value, profile: &str, count: u32) -> Value {
    with(
        object,
        &json!({"spec": {"accelerator": {"profile": profile, "count": count}}}),
    )
}

/// 16384² weights: 1 GiB of them, 6 GiB with a copy, gradients in two forms and Adam's moments.
fn large(name: &str) -> Value {
    let layers = json!([{"dense": {"units": 16_384}}, {"dense": {"units": 16_384}}, {"dense": {"units": 1}}]);
    with(
        training(name),
        &json!({"spec": {"model": {"network": {"layers": layers}}}}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_cannot_fit_is_not_started_and_is_told_what_would_do() -> Outcome {
    let room = Room::open().await?;
    for (name, memory) in [("fits-1g", "1Gi"), ("fits-80g", "80Gi"), ("fits-8g", "8Gi")] {
        room.apply_cluster(profile(name, memory)).await?;
    }
    room.apply(on(large("wide"), "fits-1g", 1)).await?;
    let seen = room.training_says("wide", "DoesNotFit").await?;
    let (accepted, fits) = (
        told(conditions(&seen), "Accepted"),
        told(conditions(&seen), "FitsAccelerator"),
    );
    assert!(
        accepted.starts_with("False: DoesNotFit: spec.accelerator: "),
        "{accepted}"
    );
    // The columns are not known, and what is known is too much already.
    assert!(
        fits.starts_with("False: DoesNotFit: a pod needs at least 6.0"),
        "{fits}"
    );
    assert!(
        fits.contains("weights 1.00 GiB, gradients and optimiser 5.00 GiB"),
        "{fits}"
    );
    assert!(fits.contains("a unit of fits-1g has 1.00 GiB"), "{fits}");
    assert!(
        fits.ends_with("the smallest profile that would do is fits-8g (8.00 GiB per unit)"),
        "{fits}"
    );
    let jobs = room.ours::<Job>().await?;
    assert!(jobs.is_empty(), "{jobs:?}");

    // There it starts, and says that it fits, since it names its columns.
    let named = json!({"spec": {"dataset": {"features": ["width", "height"]}}});
    room.apply(with(on(large("wide"), "fits-8g", 1), &named)).await?;
    let seen = room
        .see("wide", "it fits", |seen: &ModelTraining| {
            told(conditions(seen), "FitsAccelerator").starts_with("True: Fits: a pod needs 6.0")
        })
        .await?;
    assert!(told(conditions(&seen), "Accepted").starts_with("True"));
    room.kubelet.trainer("wide").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_said_to_be_unknown_and_refuses_nothing() -> Outcome {
    let room = Room::open().await?;
    room.apply_cluster(profile("fits-24g", "24Gi")).await?;
    room.apply_cluster(gpu_profile("fits-untold")).await?;
    let unknown = async |name: &str, reason: &str| {
        room.see(name, &format!("it says {reason}"), |seen: &ModelTraining| {
            told(conditions(seen), "FitsAccelerator").starts_with(&format!("Unknown: {reason}: "))
        })
        .await
    };
    room.apply(on(training("columns"), "fits-24g", 1)).await?;
    unknown("columns", "ColumnsUnknown").await?;
    room.kubelet.trainer("columns").await?;
    room.apply(on(training("memory"), "fits-untold", 1)).await?;
    unknown("memory", "MemoryUnknown").await?;
    room.kubelet.trainer("memory").await?;
    room.apply(training("processor")).await?;
    room.kubelet.trainer("processor").await?;
    let seen = room.phase("processor", Phase::Pending).await?;
    assert_eq!(told(conditions(&seen), "FitsAccelerator"), "");

    room.apply(on(
        deployment_of_uri("uri", "https://models.example/iris"),
        "fits-24g",
        1,
    ))
    .await?;
    room.see(
        "uri",
        "what a URI names is not known",
        |seen: &ModelDeployment| told(served(seen), "FitsAccelerator").starts_with("Unknown: NeedUnknown"),
    )
    .await?;
    room.kubelet.active("sconce.dev/deployment=uri", 1).await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_held_against_the_size_of_its_artifact() -> Outcome {
    let room = Room::open().await?;
    room.apply_cluster(profile("fits-16m", "16Mi")).await?;
    room.apply_cluster(profile("fits-64m", "64Mi")).await?;
    room.apply(training("iris")).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    room.apply(on(deployment("iris", "iris"), "fits-16m", 1)).await?;
    let seen = room.deployment_says("iris", "DoesNotFit").await?;
    let fits = told(served(&seen), "FitsAccelerator");
    assert!(
        fits.starts_with("False: DoesNotFit: a pod needs 32.0 MiB (weights 4.00 KiB"),
        "{fits}"
    );
    let deployments = room.ours::<Deployment>().await?;
    assert!(deployments.is_empty(), "{deployments:?}");
    room.apply(on(deployment("iris", "iris"), "fits-64m", 1)).await?;
    room.see("iris", "it fits", |seen: &ModelDeployment| {
        told(served(seen), "FitsAccelerator").starts_with("True: Fits")
    })
    .await?;
    room.kubelet.active("sconce.dev/deployment=iris", 1).await?;
    Ok(room.close()?)
}
