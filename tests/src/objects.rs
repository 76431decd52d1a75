//! Objects of our kinds as a person writes them, and the reports of trainers that never ran.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use sconce_contract::history::{History, Series};
use sconce_contract::{
    Artifact, Failure, FailureClass, Metric, MetricName, MetricSplit, Report, RowsLeftOut, Work,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Error, Result};

/// A ModelTraining that needs nothing to be there: its data are on the web, its output is a claim of its own.
#[must_use]
pub fn training(name: &str) -> Value {
    json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": name},
        "spec": {
            "model": {"network": {"layers": [
                {"dense": {"units": 8, "activation": "ReLU"}},
                {"dense": {"units": 3, "activation": "Softmax"}},
            ]}},
            "dataset": {"uri": "https://data.example/iris.csv", "target": "species"},
        },
    })
}

/// The plan that pods of a template carry.
///
/// # Errors
/// When there is none, or it is not as the contract says.
pub fn plan<P: DeserializeOwned>(template: Option<&PodTemplateSpec>) -> Result<P> {
    let annotations = template.and_then(|template| template.metadata.as_ref()?.annotations.as_ref());
    let text = annotations.and_then(|all| all.get("sconce.dev/plan"));
    let text = text.ok_or_else(|| Error::Unmet("the pods carry no plan".to_owned()))?;
    serde_json::from_str(text)
        .map_err(|error| Error::Unmet(format!("the plan is not the contract's: {error}: {text}")))
}

/// A ModelDeployment of a training's artifact.
#[must_use]
pub fn deployment(name: &str, training: &str) -> Value {
    json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name},
        "spec": {"model": {"trainingRef": {"name": training}}},
    })
}

/// A ModelDeployment of an artifact somewhere.
#[must_use]
pub fn deployment_of_uri(name: &str, uri: &str) -> Value {
    json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name},
        "spec": {"model": {"uri": uri}},
    })
}

/// An AcceleratorProfile of NVIDIA's with images for it.
#[must_use]
pub fn gpu_profile(name: &str) -> Value {
    let images =
        json!({"trainer": "registry.example/trainer:cuda", "server": "registry.example/server:cuda"});
    json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": name},
        "spec": {"device": "CUDA", "resources": {"nvidia.com/gpu": "1"}, "images": images},
    })
}

/// A claim and the volume that it is bound to, where no storage class makes one: pods that mount it are scheduled.
#[must_use]
pub fn bound_claim(namespace: &str, name: &str) -> [Value; 2] {
    let (size, volume) = (json!({"storage": "1Gi"}), format!("{namespace}-{name}"));
    [
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {
                "capacity": size, "accessModes": ["ReadWriteMany"], "hostPath": {"path": "/nowhere"},
                "storageClassName": "", "claimRef": {"namespace": namespace, "name": name},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "accessModes": ["ReadWriteMany"], "resources": {"requests": size}, "storageClassName": "",
                "volumeName": volume,
            },
        }),
    ]
}

/// The object with a change (RFC 7386: a null takes a field away).
#[must_use]
pub fn with(mut object: Value, change: &Value) -> Value {
    merge(&mut object, change);
    object
}

/// Merges a change into an object (RFC 7386).
pub fn merge(target: &mut Value, change: &Value) {
    let (Value::Object(target), Value::Object(change)) = (&mut *target, change) else {
        *target = change.clone();
        return;
    };
    for (key, value) in change {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// A digest made of one hexadecimal digit, so that tests can tell artifacts apart.
#[must_use]
pub fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// The report of a run that left the artifact of [`digest`]`(digit)` in the claim `claim`.
#[must_use]
pub fn trained(claim: &str, digit: char, accuracy: f64) -> Report {
    let metric = |name, value| Metric {
        name,
        value,
        split: MetricSplit::Test,
    };
    Report::Trained {
        run: String::new(),
        metrics: vec![
            metric(MetricName::Loss, 0.2),
            metric(MetricName::Accuracy, accuracy),
        ],
        artifact: Artifact {
            uri: format!("pvc://{claim}/{}", digit.to_string().repeat(64)),
            digest: digest(digit),
            size_bytes: 8192,
            weights_bytes: Some(4096),
        },
        epochs: 10,
        steps: 40,
        loss: Some(0.123_456),
        seconds: 1.5,
        history: history(),
        work: Work::default(),
        left_out: RowsLeftOut::default(),
        incumbent: None,
        search: None,
    }
}

/// How the losses of such a run went.
#[must_use]
pub fn history() -> History {
    let series = |every, values: &[f64]| Series {
        from: 0,
        every,
        last: 40,
        values: values.to_vec(),
    };
    History {
        loss: series(4, &[1.1, 0.9, 0.72, 0.6, 0.48, 0.4, 0.31, 0.26, 0.2, 0.1235]),
        validation_loss: series(8, &[1.0, 0.75, 0.55, 0.45, 0.42]),
    }
}

/// The report of a pod that failed.
#[must_use]
pub fn failed(class: FailureClass, field: Option<&str>, message: &str) -> Report {
    Report::Failed(Failure {
        class,
        message: message.to_owned(),
        field: field.map(str::to_owned),
        work: None,
    })
}
