use serde_json::json;

use super::*;

fn of<K: serde::de::DeserializeOwned>(value: serde_json::Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn training(name: &str) -> ModelTraining {
    of(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining",
        "metadata": {"name": name, "namespace": "ml"},
        "spec": {
            "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
            "dataset": {"uri": "https://data.example/t.csv", "target": "y"},
            "accelerator": {"profile": "nvidia-l4", "count": 2},
        },
    }))
}

fn pod(label: &str, owner: &str, node: Option<&str>, phase: &str) -> Pod {
    of(json!({
        "metadata": {"name": "p", "namespace": "ml", "labels": {label: owner}},
        "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase},
    }))
}

fn seen() -> Seen {
    let deployment = of(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "served", "namespace": "ml"},
        "spec": {"model": {"uri": "pvc://m/x"}, "accelerator": {"profile": "nvidia-l4"}, "replicas": 3},
    }));
    let profile = |name: &str, spec: serde_json::Value| {
        of(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": name}, "spec": spec,
        }))
    };
    let mut l4: AcceleratorProfile = profile(
        "nvidia-l4",
        json!({"device": "CUDA", "resources": {"nvidia.com/gpu": "1"}}),
    );
    l4.status = Some(of(json!({"nodes": 1, "units": {"capacity": 8, "allocated": 5}})));
    Seen {
        profiles: Some(vec![
            profile("cpu", json!({"device": "CPU"})),
            profile(
                "nvidia-h100",
                json!({"device": "CUDA", "resources": {"nvidia.com/gpu": "1"}}),
            ),
            l4,
        ]),
        trainings: vec![training("tumour"), training("waiting"), training("done")],
        deployments: vec![deployment],
        pods: vec![
            pod(labels::TRAINING, "tumour", Some("n"), "Running"),
            pod(labels::TRAINING, "waiting", None, "Pending"),
            pod(labels::TRAINING, "done", Some("n"), "Succeeded"),
            pod(labels::DEPLOYMENT, "served", Some("n"), "Running"),
            pod(labels::DEPLOYMENT, "served", Some("n"), "Pending"),
            pod(labels::DEPLOYMENT, "served", None, "Pending"),
            pod(labels::DEPLOYMENT, "tumour", Some("n"), "Running"),
        ],
        place: "in the namespace \"ml\"".to_owned(),
    }
}

#[test]
fn who_has_a_pod_with_a_node_holds_its_units_and_nobody_else_does() {
    insta::assert_snapshot!(table(&seen()));
}

#[test]
fn with_the_rights_of_a_namespace_its_own_use_is_told() {
    let seen = Seen {
        profiles: None,
        ..seen()
    };
    let text = table(&seen);
    assert!(
        text.contains("nvidia-l4   unknown   unknown    unknown     4"),
        "{text}"
    );
    assert!(text.contains("ClusterRoleBinding"), "{text}");
}

#[test]
fn nobody_is_said_to_hold_where_nobody_does() {
    let seen = Seen {
        pods: Vec::new(),
        ..seen()
    };
    assert!(table(&seen).ends_with("Nobody holds a unit in the namespace \"ml\".\n"));
}

#[test]
fn the_busy_share_is_that_of_the_seconds_in_the_status() {
    let told = |allocated: f64, at_work: f64| {
        busy(&json!({"status": {"acceleratorSeconds": {"allocated": allocated, "busy": at_work}}}))
    };
    assert_eq!(told(5400.0, 2700.0), Some(0.5));
    assert_eq!(told(0.0, 0.0), None);
    assert_eq!(busy(&training("x")), None);
}
