//! What a ModelDeployment adds to its pods, and server images that know nothing of Sconce: each reaches the pod as it was
//! said, and what cannot be honoured is refused by its field.
#![allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.

use kube::ResourceExt;
use sconce_crds::ModelDeployment;
use sconce_tests::objects::{deployment_of_uri, with};
use sconce_tests::room::{Room, served, told};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn spec(change: Value) -> Value {
    json!({ "spec": change })
}

fn variable(container: &Value, name: &str) -> Option<String> {
    let all = container["env"].as_array()?;
    let found = all.iter().find(|variable| variable["name"] == name)?;
    found["value"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_server_is_told_where_its_model_is_and_is_ready_when_its_own_path_answers() -> Outcome {
    let room = Room::open().await?;
    room.apply(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await?;
    room.apply_cluster(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "custom-rocm"},
        "spec": {"device": "ROCm", "resources": {"amd.com/gpu": "1"}, "nodeSelector": {"gpu": "mi300x"}},
    }))
    .await?;
    let server = json!({
        "image": "registry.example/tritonserver:1", "args": ["--model-repository=$(SCONCE_MODEL_PATH)"],
        "port": 8000, "readinessPath": "/v2/health/ready",
    });
    let added =
        json!({"labels": {"team": "a"}, "annotations": {"note": "x"}, "env": [{"name": "A", "value": "1"}]});
    room.apply(with(
        deployment_of_uri("iris", "pvc://models/iris/1"),
        &spec(json!({"server": {"custom": server}, "accelerator": {"profile": "custom-rocm"}, "podOverrides": added, "rollout": {"strategy": "Surge"}})),
    ))
    .await?;
    let revision = room.revision("iris", None).await?;
    let pods = room.kubelet.active("sconce.dev/deployment=iris", 1).await?;
    assert_eq!(pods[0].labels().get("team").map(String::as_str), Some("a"));
    assert_eq!(pods[0].annotations().get("note").map(String::as_str), Some("x"));
    assert!(pods[0].annotations().contains_key("sconce.dev/deployment-uid"));
    let live = serde_json::to_value(&pods[0].spec)?;
    let container = &live["containers"][0];
    assert_eq!(container["image"], "registry.example/tritonserver:1");
    assert_eq!(
        container["args"],
        json!(["--model-repository=$(SCONCE_MODEL_PATH)"])
    );
    assert_eq!(
        variable(container, "SCONCE_MODEL_PATH").as_deref(),
        Some("/mnt/sconce/pvc/models/iris/1")
    );
    assert_eq!(
        variable(container, "SCONCE_MODEL_URI").as_deref(),
        Some("pvc://models/iris/1")
    );
    assert_eq!(variable(container, "A").as_deref(), Some("1"));
    let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
    let model = mounts
        .iter()
        .find(|mount| mount["mountPath"] == "/mnt/sconce/pvc/models");
    assert_eq!(model.map(|mount| &mount["readOnly"]), Some(&json!(true)));
    let probe = &container["readinessProbe"]["httpGet"];
    assert_eq!(
        (&probe["path"], &probe["port"]),
        (&json!("/v2/health/ready"), &json!("http"))
    );
    assert_eq!(container["ports"][0]["containerPort"], 8000);
    assert_eq!(container["livenessProbe"], Value::Null);
    assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], 5);
    assert_eq!(container["resources"]["limits"]["amd.com/gpu"], "1");
    assert_eq!(live["automountServiceAccountToken"], false);

    let waiting = room.get::<ModelDeployment>("iris").await?;
    assert!(
        !told(served(&waiting), "Ready").starts_with("True"),
        "no pod answers yet"
    );
    room.answer("iris", &revision, 1).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert!(told(served(&seen), "Ready").starts_with("True"));

    // Another argument is another revision, and the one that answers goes on until it does.
    room.change::<ModelDeployment>(
        "iris",
        spec(json!({"server": {"custom": {"args": ["--strict"]}}})),
    )
    .await?;
    let next = room.revision("iris", Some(&revision)).await?;
    assert_ne!(next, revision);
    let seen = room.get::<ModelDeployment>("iris").await?;
    assert!(told(served(&seen), "Available").starts_with("True"));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployments_overrides_credentials_and_claim_that_do_not_fit_are_told_by_their_field() -> Outcome {
    let room = Room::open().await?;
    room.apply(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "single"},
        "spec": {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await?;
    let web = "https://models.example/iris";
    let volume =
        json!({"volumes": [{"name": "data", "mountPath": "/data", "configMap": {"name": "settings"}}]});
    room.apply(with(
        deployment_of_uri("volume", web),
        &spec(json!({"podOverrides": volume})),
    ))
    .await?;
    room.apply(with(
        deployment_of_uri("pair", "pvc://single/iris"),
        &spec(json!({"replicas": 2})),
    ))
    .await?;
    for (name, reason, sentence) in [
        (
            "volume",
            "ConfigMapNotFound",
            "spec.podOverrides.volumes[data]: there is no ConfigMap named \"settings\"",
        ),
        (
            "pair",
            "ClaimAccessMode",
            "spec.replicas: 2 pods cannot mount the claim of pvc://single/iris, which is ReadWriteOncePod",
        ),
    ] {
        let seen = room.deployment_says(name, reason).await?;
        let says = told(served(&seen), "Ready");
        assert!(says.contains(sentence), "{name}: {says}");
    }
    room.change::<ModelDeployment>("pair", spec(json!({"replicas": 1})))
        .await?;
    room.revision("pair", None).await?;

    room.apply(with(
        deployment_of_uri("keys", web),
        &spec(json!({"model": {"credentialsRef": {"name": "model-keys"}}})),
    ))
    .await?;
    let pod = room.kubelet.active("sconce.dev/deployment=keys", 1).await?[0].name_any();
    room.kubelet.takes(&pod).await?;
    room.kubelet
        .waits(
            &pod,
            "CreateContainerConfigError",
            Some("secret \"model-keys\" not found"),
        )
        .await?;
    let seen = room.deployment_says("keys", "SecretNotFound").await?;
    let says = told(served(&seen), "Ready");
    assert!(
        says.contains("spec.model.credentialsRef: there is no Secret named \"model-keys\""),
        "{says}"
    );
    Ok(room.close()?)
}
