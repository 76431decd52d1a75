//! What of a watched object is not kept: bytes that nothing here reads, of thousands of objects.
//!
//! A pod of ours has 8 KiB as the API server tells it, and 2 KiB after this.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, Pod, PodTemplateSpec};
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
}

/// Of a pod: what tells the kubelet how to run it. Kept: where it is, what it asks for, what became of it.
pub fn pod(pod: &mut Pod) {
    metadata(pod);
    let Some(spec) = &mut pod.spec else { return };
    // A Secret or a ConfigMap that is missing is told by the field that names it (`crate::mounts`).
    let volumes = spec.volumes.iter_mut();
    volumes.for_each(|volumes| {
        volumes.retain(|volume| volume.secret.is_some() || volume.config_map.is_some());
    });
    spec.volumes = spec.volumes.take().filter(|volumes| !volumes.is_empty());
    spec.tolerations = None;
    spec.affinity = None;
    spec.security_context = None;
    spec.image_pull_secrets = None;
    let containers = spec.containers.iter_mut();
    containers
        .chain(spec.init_containers.iter_mut().flatten())
        .for_each(container);
}

/// Kept: `envFrom` names the Secrets that a container waits for, `securityContext` tells whose image it is
/// ([`crate::observed`]).
fn container(container: &mut Container) {
    container.args = None;
    container.command = None;
    container.env = None;
    container.lifecycle = None;
    container.liveness_probe = None;
    container.ports = None;
    container.readiness_probe = None;
    container.startup_probe = None;
    container.volume_mounts = None;
}

/// Of a Job: its pod template. It cannot be changed, and the Job's name tells what it was made from.
pub fn job(job: &mut Job) {
    metadata(job);
    if let Some(spec) = &mut job.spec {
        spec.template = PodTemplateSpec::default();
    }
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
                "nodeName": "n", "volumes": [{"name": "v"}, {"name": "user-keys", "secret": {"secretName": "keys"}}],
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
                "nodeName": "n", "volumes": [{"name": "user-keys", "secret": {"secretName": "keys"}}],
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
}
