//! What of a watched object is not kept: bytes that nothing here reads, of thousands of objects.
//!
//! A pod of ours has 8 KiB as the API server tells it, and 2 KiB after this.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, Pod, PodSpec, PodTemplateSpec, ResourceRequirements, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Resource, ResourceExt};

use crate::labels;

/// The whole object once more, as `kubectl apply` on the client's side remembers it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Of every kind: who set which field, kubectl's copy, and a pod's plan, which its program reads.
pub fn metadata<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.remove(LAST_APPLIED);
        annotations.remove(labels::PLAN);
    }
    shrink(&mut object.meta_mut().owner_references);
}

/// A list is read into room for four or more, and a container's status alone has 752 bytes.
fn shrink<T>(list: &mut Option<Vec<T>>) {
    if let Some(list) = list {
        list.shrink_to_fit();
    }
}

/// Of a pod: what tells the kubelet how to run it. Kept: where it is, what it asks for, what became of it.
pub fn pod(pod: &mut Pod) {
    metadata(pod);
    if let Some(status) = &mut pod.status {
        status.host_ips = None;
        status.pod_ips = None;
        for statuses in [
            &mut status.container_statuses,
            &mut status.init_container_statuses,
        ] {
            shrink(statuses);
            statuses.iter_mut().flatten().for_each(container_status);
        }
        shrink(&mut status.conditions);
    }
    let Some(spec) = pod.spec.take() else { return };
    // A Secret or a ConfigMap that is missing is told by the field that names it (`crate::mounts`), and so is an image
    // that cannot be mounted (`crate::image_volume`).
    let volumes = spec.volumes.into_iter().flatten();
    let named: Vec<Volume> = volumes
        .filter(|volume| volume.secret.is_some() || volume.config_map.is_some() || volume.image.is_some())
        .collect();
    let init = spec
        .init_containers
        .map(|all| all.into_iter().map(container).collect());
    pod.spec = Some(PodSpec {
        node_name: spec.node_name,
        node_selector: spec.node_selector,
        priority: spec.priority,
        containers: spec.containers.into_iter().map(container).collect(),
        init_containers: init,
        volumes: Some(named).filter(|named| !named.is_empty()),
        ..PodSpec::default()
    });
}

/// Kept: `envFrom` names the Secrets that a container waits for, `securityContext` tells whose image it is
/// ([`crate::observed`]), and what passed a limit is told with it.
fn container(container: Container) -> Container {
    let limits = container.resources.and_then(|resources| resources.limits);
    Container {
        name: container.name,
        env_from: container.env_from,
        security_context: container.security_context,
        resources: limits.map(|limits| ResourceRequirements {
            limits: Some(limits),
            ..ResourceRequirements::default()
        }),
        ..Container::default()
    }
}

/// What the kubelet says once more of the spec.
fn container_status(status: &mut ContainerStatus) {
    status.allocated_resources = None;
    status.resources = None;
    status.user = None;
    status.volume_mounts = None;
}

/// Of a Job: its pod template and which pods are its. These cannot be changed, and the Job's name tells what it was made
/// from.
pub fn job(job: &mut Job) {
    metadata(job);
    if let Some(status) = &mut job.status {
        shrink(&mut status.conditions);
    }
    if let Some(spec) = &mut job.spec {
        spec.template = PodTemplateSpec::default();
        spec.selector = None;
    }
}

/// Of a Deployment: which pods are its, and most of its pod template, which is never rewritten. Kept: what its pods ask
/// of a node, and whether they use a folder of it.
pub fn workload(workload: &mut Deployment) {
    metadata(workload);
    if let Some(status) = &mut workload.status {
        shrink(&mut status.conditions);
    }
    let Some(spec) = &mut workload.spec else { return };
    spec.selector = LabelSelector::default();
    let pod = spec.template.spec.take().unwrap_or_default();
    let containers = pod.containers.into_iter().map(|container| Container {
        name: container.name,
        // Limits are the same: [`crate::pod`] writes both.
        resources: container.resources.map(|resources| ResourceRequirements {
            requests: resources.requests,
            ..ResourceRequirements::default()
        }),
        ..Container::default()
    });
    let volumes = pod.volumes.into_iter().flatten();
    let folders: Vec<Volume> = volumes.filter(|volume| volume.host_path.is_some()).collect();
    spec.template = PodTemplateSpec {
        metadata: None,
        spec: Some(PodSpec {
            containers: containers.collect(),
            node_selector: pod.node_selector,
            volumes: Some(folders).filter(|folders| !folders.is_empty()),
            ..PodSpec::default()
        }),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_pod_asks_for_and_became_is_kept() {
        let status = json!({
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:20Z"}],
            "containerStatuses": [{
                "name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:12Z"}},
            }],
        });
        let mut stripped: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": {LAST_APPLIED: "{}", labels::PLAN: "{}", "sconce.dev/deployment-uid": "1"}},
            "spec": {
                "nodeName": "n", "volumes": [
                    {"name": "v"}, {"name": "user-keys", "secret": {"secretName": "keys"}},
                    {"name": "model-image", "image": {"reference": "i"}},
                ],
                "containers": [{
                    "name": "c", "args": ["x"], "env": [{"name": "A"}],
                    "envFrom": [{"secretRef": {"name": "s"}}], "securityContext": {"readOnlyRootFilesystem": false},
                    "resources": {"limits": {"nvidia.com/gpu": "1"}},
                }],
            },
            "status": status,
        }))
        .unwrap();
        pod(&mut stripped);
        let kept = serde_json::to_value(&stripped).unwrap();
        assert_eq!(
            kept["spec"],
            json!({
                "nodeName": "n", "volumes": [
                    {"name": "user-keys", "secret": {"secretName": "keys"}},
                    {"name": "model-image", "image": {"reference": "i"}},
                ],
                "containers": [{
                    "name": "c", "envFrom": [{"secretRef": {"name": "s"}}],
                    "resources": {"limits": {"nvidia.com/gpu": "1"}},
                    "securityContext": {"readOnlyRootFilesystem": false},
                }],
            })
        );
        assert_eq!(
            kept["metadata"]["annotations"],
            json!({"sconce.dev/deployment-uid": "1"})
        );
        // All of it: hindrances, endings and cold starts are read from it.
        assert_eq!(kept["status"], status);
    }

    #[test]
    fn of_a_deployment_what_its_pods_ask_of_a_node_is_kept() {
        let mut stripped: Deployment = serde_json::from_value(json!({
            "metadata": {"name": "d", "annotations": {"sconce.dev/model": "{}"}},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"annotations": {labels::PLAN: "{}"}, "labels": {"a": "b"}},
                    "spec": {
                        "nodeSelector": {"pool": "gpu"},
                        "volumes": [{"name": "v"}, {"name": "models", "hostPath": {"path": "/var/models"}}],
                        "containers": [{"name": "c", "args": ["x"], "resources": {"requests": {"cpu": "1"}}}],
                    },
                },
            },
            "status": {"readyReplicas": 2},
        }))
        .unwrap();
        workload(&mut stripped);
        let kept = serde_json::to_value(&stripped).unwrap();
        let pod = json!({
            "nodeSelector": {"pool": "gpu"}, "volumes": [{"name": "models", "hostPath": {"path": "/var/models"}}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
        });
        assert_eq!(kept["spec"]["template"], json!({ "spec": pod }));
        assert_eq!(kept["spec"]["replicas"], 2);
        assert_eq!(kept["metadata"]["annotations"], json!({"sconce.dev/model": "{}"}));
        assert_eq!(kept["status"], json!({"readyReplicas": 2}));
    }
}
