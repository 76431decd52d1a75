//! Whatever stands in the way is one sentence on the object, with the field to change; when it goes, so does the
//! sentence. With nothing to tell, nothing is written.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use sconce_contract::FailureClass;
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::node::FakeNode;
use sconce_tests::objects::{deployment, deployment_of_uri, failed, gpu_profile, trained, training, with};
use sconce_tests::room::{Room, conditions, served, told};
use sconce_tests::world::Extent;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A room with a scheduler.
async fn room() -> sconce_tests::Result<Room> {
    Room::within(Extent::Scheduling).await
}

/// The Ready condition's words of a training that says `reason`; it is Degraded, and Accepted or not.
async fn complaint(room: &Room, name: &str, reason: &str, accepted: bool) -> sconce_tests::Result<String> {
    let seen = room.training_says(name, reason).await?;
    let accepts = told(conditions(&seen), "Accepted");
    assert!(
        accepts.starts_with(if accepted { "True" } else { "False" }),
        "{accepts}"
    );
    assert!(told(conditions(&seen), "Degraded").starts_with("True"));
    assert_eq!(
        seen.status.as_ref().and_then(|status| status.phase),
        Some(Phase::Pending)
    );
    Ok(told(conditions(&seen), "Ready"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_no_node_has_and_the_node_that_comes() -> Outcome {
    let room = room().await?;
    room.apply_cluster(gpu_profile("status-l4")).await?;
    let asks = json!({"spec": {"accelerator": {"profile": "status-l4", "count": 2}}});
    // A claim with a volume, so that it is the unit alone that no node has.
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "status-models"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"}},
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}},
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
    room.apply(with(with(training("iris"), &asks), &output)).await?;
    let ready = complaint(&room, "iris", "Unschedulable", true).await?;
    assert!(
        ready.contains("no node can take the pod") && ready.contains("Insufficient nvidia.com/gpu"),
        "{ready}"
    );
    assert!(ready.contains("spec.accelerator"), "{ready}");
    room.apply(with(
        deployment_of_uri("served", "https://models.example/iris"),
        &asks,
    ))
    .await?;
    let seen = room.deployment_says("served", "Unschedulable").await?;
    assert!(told(served(&seen), "Ready").contains("Insufficient nvidia.com/gpu"));
    assert!(told(served(&seen), "Degraded").starts_with("True"));

    FakeNode::named("gpu-0")
        .resource("nvidia.com/gpu", "4")
        .create(&room.client)
        .await?;
    let seen = room.training_says("iris", "Starting").await?;
    assert!(
        told(conditions(&seen), "Scheduled").starts_with("True")
            && told(conditions(&seen), "Degraded").starts_with("False")
    );
    room.run_to("iris", &trained("models", 'a', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_no_volume_is_made_for() -> Outcome {
    let room = room().await?;
    room.apply(training("iris")).await?;
    // Without a default storage class, nobody makes a volume for the training's own claim.
    let ready = complaint(&room, "iris", "Unschedulable", true).await?;
    assert!(
        ready.contains("unbound immediate PersistentVolumeClaims"),
        "{ready}"
    );
    assert!(
        ready.contains("kubectl get storageclass") && ready.contains("spec.output.uri"),
        "{ready}"
    );
    assert!(!ready.contains("ask for less"), "{ready}");
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled() -> Outcome {
    let room = room().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet
        .waits(&pod, "ErrImagePull", Some("registry.example: no such host"))
        .await?;
    let seen = room
        .see(
            "iris",
            "the training tells of the image",
            |seen: &ModelTraining| told(conditions(seen), "Ready").contains("cannot be pulled"),
        )
        .await?;
    let ready = told(conditions(&seen), "Ready");
    assert!(
        ready.contains("registry.example: no such host")
            && ready.contains("spec.accelerator's profile (images)"),
        "{ready}"
    );
    assert!(told(conditions(&seen), "Degraded").starts_with("True"));

    room.apply(deployment_of_uri("served", "https://models.example/iris"))
        .await?;
    let pod = room.kubelet.active("sconce.dev/deployment=served", 1).await?[0].name_any();
    room.kubelet.takes(&pod).await?;
    room.kubelet
        .waits(&pod, "ImagePullBackOff", Some("back-off pulling image"))
        .await?;
    let seen = room
        .see(
            "served",
            "the deployment tells of the image",
            |seen: &ModelDeployment| told(served(seen), "Ready").contains("cannot be pulled"),
        )
        .await?;
    assert!(told(served(&seen), "Available").starts_with("False"));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_spec_names_and_is_not_there_each_by_its_field_and_it_goes_on_once_it_is() -> Outcome {
    let room = room().await?;
    let of = |name: &str, spec: Value| with(training(name), &json!({ "spec": spec }));
    room.apply(of("claim", json!({"dataset": {"uri": "pvc://tables/iris.csv"}})))
        .await?;
    room.apply(of("output", json!({"output": {"uri": "pvc://models/iris"}})))
        .await?;
    room.apply(of(
        "map",
        json!({"dataset": {"uri": "configmap://flowers/iris.csv"}}),
    ))
    .await?;
    room.apply(of(
        "priority",
        json!({"scheduling": {"priorityClassName": "status-batch"}}),
    ))
    .await?;
    room.apply(of("profile", json!({"accelerator": {"profile": "status-late"}})))
        .await?;
    for (name, reason, sentence) in [
        (
            "claim",
            "ClaimNotFound",
            "spec.dataset.uri: there is no PersistentVolumeClaim named \"tables\"",
        ),
        (
            "output",
            "ClaimNotFound",
            "spec.output.uri: there is no PersistentVolumeClaim named \"models\"",
        ),
        (
            "map",
            "ConfigMapNotFound",
            "spec.dataset.uri: there is no ConfigMap named \"flowers\"",
        ),
        (
            "priority",
            "PriorityClassNotFound",
            "spec.scheduling.priorityClassName: there is no PriorityClass named \"status-batch\"",
        ),
        (
            "profile",
            "ProfileNotFound",
            "spec.accelerator.profile: there is no AcceleratorProfile named \"status-late\"",
        ),
    ] {
        let ready = complaint(&room, name, reason, false).await?;
        assert!(ready.contains(sentence), "{ready}");
    }
    let jobs = room.ours::<k8s_openapi::api::batch::v1::Job>().await?;
    assert!(jobs.is_empty(), "{jobs:?}");

    for name in ["tables", "models"] {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        room.apply(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})).await?;
    }
    room.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flowers"}, "data": {"iris.csv": "a,species\n1,x\n"}})).await?;
    room.apply_cluster(json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "status-batch"}, "value": -10})).await?;
    room.apply_cluster(json!({"apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "status-late"}, "spec": {"device": "CPU"}})).await?;
    for name in ["profile", "claim", "output", "map", "priority"] {
        room.kubelet.trainer(name).await?;
        room.see(name, "it is accepted", |seen: &ModelTraining| {
            told(conditions(seen), "Accepted").starts_with("True")
        })
        .await?;
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_no_image_computes_on() -> Outcome {
    let room = room().await?;
    room.apply_cluster(with(
        gpu_profile("status-bare"),
        &json!({"spec": {"images": null}}),
    ))
    .await?;
    room.apply(with(
        training("iris"),
        &json!({"spec": {"accelerator": {"profile": "status-bare"}}}),
    ))
    .await?;
    let ready = complaint(&room, "iris", "NoImageForDevice", false).await?;
    assert!(
        ready.contains("spec.accelerator.profile") && ready.contains("spec.images.trainer"),
        "{ready}"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_refuses_the_pods() -> Outcome {
    let room = room().await?;
    room.apply(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})).await?;
    room.apply(deployment_of_uri("served", "https://models.example/iris"))
        .await?;
    let seen = room
        .see(
            "served",
            "the deployment tells of the quota",
            |seen: &ModelDeployment| told(served(seen), "Ready").contains("exceeded quota"),
        )
        .await?;
    assert!(told(served(&seen), "Degraded").starts_with("True"));
    room.apply(training("iris")).await?;
    let ready = complaint(&room, "iris", "PodRefused", true).await?;
    assert!(
        ready.contains("the pod is forbidden: exceeded quota: none"),
        "{ready}"
    );
    assert!(ready.contains("ask for less"), "{ready}");
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_not_there_reaches_the_deployment_that_waits_for_it() -> Outcome {
    let room = room().await?;
    room.apply(training("iris")).await?;
    room.apply(deployment("iris", "iris")).await?;
    room.run_to(
        "iris",
        &failed(
            FailureClass::BadInput,
            Some("dataset.target"),
            "no such column: species",
        ),
    )
    .await?;
    let seen = room.deployment_says("iris", "TrainingFailed").await?;
    assert!(told(served(&seen), "Ready").contains("spec.dataset.target: no such column: species"));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_speaks_of_the_newest_generation() -> Outcome {
    let room = room().await?;
    room.apply(training("iris")).await?;
    room.apply(deployment_of_uri("served", "https://models.example/iris"))
        .await?;
    for seconds in [100, 200, 300] {
        let changed: ModelTraining = room
            .change("iris", json!({"spec": {"ttlSecondsAfterFinished": seconds}}))
            .await?;
        let generation = changed.metadata.generation;
        let seen = room
            .see("iris", "the change is seen", |seen: &ModelTraining| {
                seen.status
                    .as_ref()
                    .is_some_and(|status| status.observed_generation == generation)
            })
            .await?;
        assert!(
            conditions(&seen)
                .iter()
                .all(|condition| condition.observed_generation == generation)
        );
        let changed: ModelDeployment = room
            .change("served", json!({"spec": {"replicas": seconds / 100 + 1}}))
            .await?;
        let generation = changed.metadata.generation;
        let seen = room
            .see("served", "the change is seen", |seen: &ModelDeployment| {
                seen.status
                    .as_ref()
                    .is_some_and(|status| status.observed_generation == generation)
            })
            .await?;
        assert!(
            served(&seen)
                .iter()
                .all(|condition| condition.observed_generation == generation)
        );
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_nothing_happens() -> Outcome {
    let room = room().await?;
    room.apply(training("done")).await?;
    room.run_to("done", &trained("done-artifacts", 'a', 0.9)).await?;
    room.phase("done", Phase::Succeeded).await?;
    room.apply(with(
        training("refused"),
        &json!({"spec": {"dataset": {"uri": "configmap://nothing/iris.csv"}}}),
    ))
    .await?;
    room.training_says("refused", "ConfigMapNotFound").await?;
    room.apply(training("waiting")).await?;
    let pod = room.kubelet.trainer("waiting").await?;
    room.kubelet.takes(&pod).await?;
    room.training_says("waiting", "Starting").await?;
    room.apply(deployment_of_uri("served", "https://models.example/iris"))
        .await?;
    let revision = room.revision("served", None).await?;
    room.answer("served", &revision, 1).await?;
    room.deployment_says("served", "Serving").await?;
    room.apply(deployment("held", "nobody")).await?;
    room.deployment_says("held", "TrainingNotFound").await?;
    let workload = format!("served-{revision}");
    // Longer than the 10 s after which what is missing is looked for again.
    let time = Duration::from_secs(12);
    tokio::try_join!(
        room.still::<ModelTraining>("done", time),
        room.still::<ModelTraining>("refused", time),
        room.still::<ModelTraining>("waiting", time),
        room.still::<ModelDeployment>("served", time),
        room.still::<ModelDeployment>("held", time),
        room.still::<k8s_openapi::api::apps::v1::Deployment>(&workload, time),
    )?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn somebodys_webhook_that_does_not_answer_is_told_and_nothing_waits_for_people() -> Outcome {
    let room = room().await?;
    // Nobody listens there, and nothing may be made without it.
    let rule = json!({
        "apiGroups": ["batch", "apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs", "deployments"],
    });
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "status-policy"},
        "webhooks": [{
            "name": "policy.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "clientConfig": {"url": "https://127.0.0.1:1/"}, "rules": [rule], "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": room.namespace}},
        }],
    });
    room.apply_cluster(webhook).await?;
    room.apply(training("iris")).await?;
    room.apply(deployment_of_uri("served", "https://models.example/iris/1"))
        .await?;
    let says = complaint(&room, "iris", "ChildRefused", false).await?;
    assert!(
        says.contains("spec: the API server failed to create Job") && says.contains("policy.example.com"),
        "{says}"
    );
    let seen = room.deployment_says("served", "ChildRefused").await?;
    assert!(told(served(&seen), "Ready").contains("policy.example.com"));

    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(room.client.clone());
    webhooks.delete("status-policy", &DeleteParams::default()).await?;
    room.kubelet.trainer("iris").await?;
    room.revision("served", None).await?;
    Ok(room.close()?)
}
