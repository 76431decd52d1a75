//! Trainings and deployments that are small enough for many to run on two cores, and data for them.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta};
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use serde_json::{Value, json};

use crate::objects::with;
use crate::site::Site;
use crate::{Error, Result};

/// 150 flowers of three species: `sepal_length`, `sepal_width`, `petal_length`, `petal_width`, `species`.
pub const FLOWERS: &str = include_str!("../../examples/iris/data/flowers.csv");
/// A setosa, a versicolor and a virginica of the table, in the order of its columns.
pub const THREE: [[f64; 4]; 3] = [[5.1, 3.5, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4], [6.3, 3.3, 6.0, 2.5]];
/// What they are.
pub const SPECIES: [&str; 3] = ["setosa", "versicolor", "virginica"];

/// A ConfigMap with a table under the key `table.csv`.
#[must_use]
pub fn table(name: &str, csv: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"table.csv": csv}})
}

/// A claim of the default storage class.
#[must_use]
pub fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    })
}

/// A training on the table of flowers at `uri`: done in a second, accurate to 0.9 and more, not tried again.
#[must_use]
pub fn training(name: &str, uri: &str) -> Value {
    json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": name},
        "spec": {
            "dataset": {"uri": uri, "target": "species", "split": {"test": 0.2}},
            "model": {"network": {"layers": [
                {"dense": {"units": 16, "activation": "Tanh"}},
                {"dense": {"units": 3, "activation": "Softmax"}},
            ]}},
            "hyperparameters": {
                "epochs": 60, "batchSize": 16,
                "optimizer": {"type": "SGD", "learningRate": 0.1, "momentum": 0.9},
            },
            "resources": {"cpu": "100m", "memory": "128Mi"},
            "failurePolicy": {"backoffLimit": 0},
        },
    })
}

/// [`training`] on [`table`]`("flowers", FLOWERS)`.
#[must_use]
pub fn of_flowers(name: &str) -> Value {
    training(name, "configmap://flowers/table.csv")
}

/// The training, so long that nobody waits for its end.
#[must_use]
pub fn endless(training: Value) -> Value {
    with(
        training,
        &json!({"spec": {"hyperparameters": {"epochs": 100_000}}}),
    )
}

/// A deployment of a training's artifact.
#[must_use]
pub fn deployment(name: &str, training: &str) -> Value {
    json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name},
        "spec": {"model": {"trainingRef": {"name": training}}, "resources": {"cpu": "100m", "memory": "64Mi"}},
    })
}

/// Trains `iris` on flowers and serves it as `iris`, until it answers.
///
/// # Errors
/// When it does not come so far.
pub async fn serve_flowers(site: &Site) -> Result<ModelTraining> {
    site.apply_all([
        table("flowers", FLOWERS),
        of_flowers("iris"),
        deployment("iris", "iris"),
    ])
    .await?;
    let trained = site.phase("iris", Phase::Succeeded).await?;
    site.deployment_says("iris", "Serving").await?;
    Ok(trained)
}

/// Copies the tables of a ConfigMap into a claim, by a pod: our own images hold no program that could.
///
/// # Errors
/// When the pod does not end well.
pub async fn fill(site: &Site, claim: &str, tables: &str) -> Result<()> {
    let image = shell_image(site).await?;
    let name = format!("fill-{claim}");
    site.apply(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "fill", "image": image, "command": ["sh", "-c", "cat /from/table.csv >/to/table.csv"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "from", "mountPath": "/from"}, {"name": "to", "mountPath": "/to"}],
            }],
            "volumes": [
                {"name": "from", "configMap": {"name": tables}},
                {"name": "to", "persistentVolumeClaim": {"claimName": claim}},
            ],
        },
    }))
    .await?;
    let ended = |pod: &Pod| matches!(pod_phase(pod), "Succeeded" | "Failed");
    let pod = site.see(&name, "the claim is filled", ended).await?;
    if pod_phase(&pod) != "Succeeded" {
        return Err(Error::Unmet(format!(
            "the pod {name} did not fill the claim: {:?}",
            pod.status
        )));
    }
    let pods: Api<Pod> = site.api();
    let deleted = pods.delete(&name, &DeleteParams::default()).await;
    deleted
        .map(drop)
        .map_err(Error::api(format!("delete pod {name}")))
}

fn pod_phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// An image with a shell that the nodes have already: the one by which kind's own storage makes folders. A cluster
/// that is not kind's pulls one.
async fn shell_image(site: &Site) -> Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(site.client.clone(), "local-path-storage");
    let config = maps
        .get_opt("local-path-config")
        .await
        .map_err(Error::api("get ConfigMap local-path-config"))?;
    let helper = config.and_then(|config| config.data?.remove("helperPod.yaml"));
    let image = helper.and_then(|helper| {
        let pod: Value = serde_norway::from_str(&helper).ok()?;
        Some(pod["spec"]["containers"][0]["image"].as_str()?.to_owned())
    });
    Ok(image.unwrap_or_else(|| "docker.io/library/busybox:1.37".to_owned()))
}

/// Everything in the namespace that is ours: labelled so, or owned by an object of ours, as `Kind/name`.
///
/// # Errors
/// When the API server does not answer.
pub async fn ours(site: &Site) -> Result<Vec<String>> {
    use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    let mut found = Vec::new();
    macro_rules! look {
        ($($kind:ident)*) => {$(
            for object in site.labelled::<$kind>("").await? {
                if is_ours(&object.metadata) {
                    found.push(format!("{}/{}", stringify!($kind), object.metadata.name.unwrap_or_default()));
                }
            }
        )*};
    }
    look!(Job Deployment ReplicaSet Service EndpointSlice ConfigMap PersistentVolumeClaim Pod);
    Ok(found)
}

fn is_ours(metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.iter().flatten();
    let mut marks = labels.map(|(key, value)| (key.as_str(), value.as_str()));
    marks.any(|(key, value)| {
        key.starts_with("sconce.dev/") || (key, value) == ("app.kubernetes.io/managed-by", "sconce")
    }) || metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.api_version.starts_with("sconce.dev/"))
}
