//! What a pod mounts and what a run may be changed to: volumes that cannot be mounted are told by the field that names
//! them, and a change that a run at work cannot take makes another one.

use k8s_openapi::api::batch::v1::Job;
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::objects::{deployment_of_uri, training, with};
use sconce_tests::room::{Room, conditions, served, told};
use sconce_tests::wait::until;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn with_secret(object: Value) -> Value {
    let volume = json!({"name": "keys", "mountPath": "/keys", "secret": {"secretName": "api-keys"}});
    with(object, &json!({"spec": {"podOverrides": {"volumes": [volume]}}}))
}

const NO_SECRET: &str = r#"MountVolume.SetUp failed for volume "user-keys" : secret "api-keys" not found"#;
const SAID: &str =
    r#"spec.podOverrides.volumes[keys]: there is no Secret named "api-keys" in this namespace"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_a_volume_that_is_not_there_is_told_by_its_field() -> Outcome {
    let room = Room::open().await?;
    room.apply(with_secret(training("iris"))).await?;
    let trainer = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&trainer).await?;
    room.kubelet.says(&trainer, "FailedMount", NO_SECRET).await?;
    room.apply(with_secret(deployment_of_uri(
        "served",
        "https://models.example/iris",
    )))
    .await?;
    let revision = room.revision("served", None).await?;
    let pods = room.kubelet.active("sconce.dev/deployment=served", 1).await?;
    let server = pods[0].metadata.name.clone().unwrap_or_default();
    room.kubelet.takes(&server).await?;
    room.kubelet.says(&server, "FailedMount", NO_SECRET).await?;

    let seen = room.training_says("iris", "SecretNotFound").await?;
    let said = told(conditions(&seen), "Ready");
    assert!(said.contains(SAID), "{said}");
    let seen = room.deployment_says("served", "SecretNotFound").await?;
    let said = told(served(&seen), "Ready");
    assert!(said.contains(SAID), "{said}");

    // Once it is there, the kubelet goes on by itself, and nothing is told of it any more.
    room.kubelet.runs(&trainer, "10.244.0.9", true).await?;
    room.phase("iris", Phase::Training).await?;
    room.answer("served", &revision, 1).await?;
    room.deployment_says("served", "Serving").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_only_one_node_may_mount_is_told_when_pods_land_on_several() -> Outcome {
    let room = Room::open().await?;
    room.apply(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await?;
    let spread = json!({"spec": {"replicas": 2}});
    room.apply(with(deployment_of_uri("spread", "pvc://models/iris"), &spread))
        .await?;
    let revision = room.revision("spread", None).await?;
    let pods = room.kubelet.active("sconce.dev/deployment=spread", 2).await?;
    let names: Vec<String> = pods.into_iter().filter_map(|pod| pod.metadata.name).collect();
    room.kubelet.takes(&names[0]).await?;
    room.kubelet.runs(&names[0], "10.244.0.7", true).await?;
    room.kubelet.takes(&names[1]).await?;
    let said = format!(
        "Multi-Attach error for volume \"pvc-1\" Volume is already used by pod(s) {}",
        names[0]
    );
    room.kubelet.says(&names[1], "FailedAttachVolume", &said).await?;

    let seen = room.deployment_says("spread", "ClaimAccessMode").await?;
    let said = told(served(&seen), "Ready");
    assert!(
        said.contains("spec.replicas: a claim that is ReadWriteOnce"),
        "{said}"
    );
    assert!(said.contains("ReadWriteMany or ReadOnlyMany"), "{said}");
    assert!(
        told(served(&seen), "Available").starts_with("True"),
        "one pod answers"
    );

    let one = json!({"spec": {"replicas": 1}});
    room.change::<ModelDeployment>("spread", one).await?;
    room.deployment_says("spread", "Serving").await?;
    assert_eq!(room.revision("spread", None).await?, revision);
    Ok(room.close()?)
}

async fn job(room: &Room, name: &str) -> Outcome<String> {
    let status = room.get::<ModelTraining>(name).await?.status.ok_or("no status")?;
    Ok(status.job.ok_or("no Job")?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_run_at_work_cannot_take_is_refused_or_makes_another() -> Outcome {
    let room = Room::open().await?;
    room.apply(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await?;
    room.apply(training("iris")).await?;
    let at_work = async || -> Outcome<String> {
        let pod = room.kubelet.trainer("iris").await?;
        room.kubelet.takes(&pod).await?;
        room.kubelet.runs(&pod, "10.244.0.9", true).await?;
        room.phase("iris", Phase::Training).await?;
        job(&room, "iris").await
    };
    let mut before = at_work().await?;
    for refused in [
        json!({"model": {"network": {"layers": [{"dense": {"units": 3}}]}}}),
        json!({"dataset": {"target": "class"}}),
        json!({"dataset": {"uri": "https://data.example/other.csv"}}),
        json!({"hyperparameters": {"epochs": 11}}),
    ] {
        let changed = room
            .change::<ModelTraining>("iris", json!({"spec": refused}))
            .await;
        let error = changed
            .err()
            .ok_or_else(|| format!("{refused} was let through"))?
            .to_string();
        assert!(error.contains("cannot change while the training runs"), "{error}");
    }
    for another in [
        json!({"evaluation": {"metrics": ["accuracy"]}}),
        json!({"output": {"uri": "pvc://models/iris"}}),
        json!({"checkpoint": {"keep": 3}}),
        json!({"resources": {"memory": "2Gi"}}),
    ] {
        room.change::<ModelTraining>("iris", json!({"spec": another}))
            .await?;
        let gone = until("the Job of before is gone", async || {
            let jobs = room.ours::<Job>().await.ok()?;
            (jobs.len() == 1 && jobs[0] != before).then_some(())
        })
        .await;
        gone.map_err(|error| format!("{another}: {error}"))?;
        before = at_work().await?;
    }
    for patched in [
        json!({"failurePolicy": {"backoffLimit": 5, "stallTimeout": "30m"}}),
        json!({"activeDeadlineSeconds": 86400}),
        json!({"ttlSecondsAfterFinished": 60}),
        json!({"evaluation": {"gates": [{"metric": "accuracy", "min": 0.5}]}}),
    ] {
        let changed = room
            .change::<ModelTraining>("iris", json!({"spec": patched}))
            .await?;
        let seen = |training: &ModelTraining| {
            let status = training.status.as_ref();
            status.and_then(|status| status.observed_generation) == changed.metadata.generation
        };
        room.see("iris", "the change is seen", seen).await?;
        assert_eq!(job(&room, "iris").await?, before, "{patched}");
    }
    let live = room.get::<Job>(&before).await?.spec.unwrap_or_default();
    assert_eq!(
        (live.backoff_limit, live.active_deadline_seconds),
        (Some(5), Some(86_400))
    );
    Ok(room.close()?)
}
