//! What pods are given for tables, artifacts and checkpoints in clouds: each location's Secret under its own prefix, and
//! no claim.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use sconce_contract::TrainingPlan;
use sconce_crds::ModelDeployment;
use sconce_tests::objects::{deployment, plan, trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Prefix and Secret of each source of the container's environment.
fn sources(pod: &Pod) -> Result<Vec<(String, String)>, serde_json::Error> {
    let pod = serde_json::to_value(&pod.spec)?;
    let all = pod["containers"][0]["envFrom"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(all
        .iter()
        .map(|source| (text(&source["prefix"]), text(&source["secretRef"]["name"])))
        .collect())
}

fn in_clouds(name: &str) -> Value {
    let spec = json!({
        "dataset": {"uri": "az://tables/iris.csv", "credentialsRef": {"name": "reader"}},
        "checkpoint": {"uri": "gs://state/iris", "credentialsRef": {"name": "saver"}},
        "output": {"uri": "s3://models/iris", "credentialsRef": {"name": "writer"}},
    });
    with(training(name), &json!({ "spec": spec }))
}

#[tokio::test(flavor = "multi_thread")]
async fn store_each_locations_secret_reaches_the_pod_by_its_own_prefix_and_no_claim_is_made() -> Outcome {
    let room = Room::open().await?;
    room.apply(in_clouds("ours")).await?;
    let pod: Pod = room.get(&room.kubelet.trainer("ours").await?).await?;
    let prefixed = [
        ("SCONCE_DATASET_", "reader"),
        ("SCONCE_CHECKPOINT_", "saver"),
        ("SCONCE_OUTPUT_", "writer"),
    ]
    .map(|(prefix, name)| (prefix.to_owned(), name.to_owned()));
    assert_eq!(sources(&pod)?, prefixed);
    let claims: Api<PersistentVolumeClaim> = room.api();
    assert!(claims.list(&Default::default()).await?.items.is_empty());
    let carried: TrainingPlan = plan(Some(&k8s_openapi::api::core::v1::PodTemplateSpec {
        metadata: Some(pod.metadata.clone()),
        spec: None,
    }))?;
    assert_eq!(carried.output, "s3://models/iris");
    assert_eq!(
        carried
            .output_credentials_ref
            .map(|secret| secret.name)
            .as_deref(),
        Some("writer")
    );
    assert_eq!(
        carried.checkpoint.map(|checkpoint| checkpoint.uri).as_deref(),
        Some("gs://state/iris/ours")
    );
    assert!(carried.mounts.is_empty(), "{:?}", carried.mounts);

    // A trainer of the user's own asks by its cloud's own client, which knows no prefix.
    let custom = json!({"network": null, "custom": {"image": "registry.example/forest:1"}});
    room.apply(with(in_clouds("theirs"), &json!({"spec": {"model": custom}})))
        .await?;
    let pod: Pod = room.get(&room.kubelet.trainer("theirs").await?).await?;
    let plain = ["reader", "saver", "writer"].map(|name| (String::new(), name.to_owned()));
    assert_eq!(sources(&pod)?, [prefixed, plain].concat());

    // One that is missing is told by the field that names it.
    let name = room.kubelet.trainer("ours").await?;
    room.kubelet.takes(&name).await?;
    room.kubelet
        .waits(
            &name,
            "CreateContainerConfigError",
            Some("secret \"writer\" not found"),
        )
        .await?;
    let seen = room.training_says("ours", "SecretNotFound").await?;
    let says = told(conditions(&seen), "Degraded");
    assert!(
        says.contains("spec.output.credentialsRef: there is no Secret named \"writer\""),
        "{says}"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn store_credentials_for_a_model_on_a_claim_are_refused_by_their_field() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.97)).await?;
    let needless = json!({"spec": {"model": {"credentialsRef": {"name": "reader"}}}});
    room.apply(with(deployment("iris", "iris"), &needless)).await?;
    let seen: ModelDeployment = room.deployment_says("iris", "CredentialsNotNeeded").await?;
    let says = serde_json::to_string(&seen.status)?;
    assert!(
        says.contains("spec.model.credentialsRef: nobody asks for credentials at pvc://iris-artifacts/"),
        "{says}"
    );
    Ok(room.close()?)
}
