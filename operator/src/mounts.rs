//! Why a pod's volumes are not mounted. The kubelet and the controller that attaches volumes say so in events, and
//! nowhere else; what they say is held with the pod as one of its conditions, so that all that follows stays pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::error::{Doing, Error};
use crate::observed::{self, Hindrance};
use crate::reason::Reason;
use crate::seen::{Condition, Pod};
use crate::{image_volume, labels, overrides};

/// A pod without a container after this long may be one whose volumes cannot be mounted.
pub const AFTER: SignedDuration = SignedDuration::from_secs(10);
/// The condition, which no pod in the cluster has.
const MOUNTED: &str = "sconce.dev/VolumesMounted";
/// Reasons of events that tell of volumes (kubelet, `pkg/kubelet/events`; `pkg/controller/volume/events`).
const REASONS: &[&str] = &["FailedMount", "FailedAttachVolume"];
/// Pods that are asked about at a time: others of a revision wait for the same.
const ASKED: usize = 2;
/// What repeats that volumes are missing, without a reason.
const TIMED_OUT: &str = "Unable to attach or mount volumes";

/// Asks what keeps the volumes of `pods` from being mounted, and adds it to them.
///
/// # Errors
/// The API server does not answer.
pub async fn tell(
    client: &Client,
    namespace: &str,
    pods: &mut [Arc<Pod>],
    now: Timestamp,
) -> Result<(), Error> {
    let waiting = pods
        .iter_mut()
        .rev()
        .filter(|pod| waits(pod) && age(pod, now) >= AFTER);
    for pod in waiting.take(ASKED) {
        let api: Api<Event> = Api::namespaced(client.clone(), namespace);
        let of_pod = format!(
            "involvedObject.uid={},type=Warning",
            pod.uid().unwrap_or_default()
        );
        let events = api.list(&ListParams::default().fields(&of_pod)).await;
        let events = events.doing(|| format!("list Events of Pod {namespace}/{}", pod.name_any()))?;
        if let Some((reason, said)) = newest(events.items) {
            let hindrance = hindrance(pod, &reason, &said);
            add(Arc::make_mut(pod), hindrance);
        }
    }
    Ok(())
}

/// When to ask again: nothing that is watched tells of an event.
pub fn again(pods: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let ages = pods.iter().filter(|pod| waits(pod)).map(|pod| age(pod, now));
    let left = ages.map(|age| if age < AFTER { AFTER - age } else { AFTER });
    left.min()
        .map(|left| left.unsigned_abs().max(Duration::from_secs(1)))
}

/// What [`tell`] has found.
pub fn told(pod: &Pod) -> Option<Hindrance> {
    let told = observed::condition(pod, MOUNTED)?;
    Some(Hindrance {
        reason: Reason::told(told.reason.as_deref()?),
        message: told.message.clone()?,
    })
}

/// Whether the pod has a node and its sandbox is not there yet, before which its volumes are mounted.
fn waits(pod: &Pod) -> bool {
    let prepared = observed::condition(pod, "PodReadyToStartContainers");
    pod.metadata.deletion_timestamp.is_none()
        && observed::is_scheduled(pod)
        && observed::is_being_created(pod)
        && prepared.is_none_or(|prepared| prepared.status != "True")
}

fn age(pod: &Pod, now: Timestamp) -> SignedDuration {
    let created = pod.creation_timestamp();
    created.map_or(SignedDuration::ZERO, |created| now.duration_since(created.0))
}

/// The newest event that tells of volumes; one that gives no reason only where no other is.
fn newest(events: Vec<Event>) -> Option<(String, String)> {
    let of_volumes = events.into_iter().filter_map(|event| {
        let reason = event
            .reason
            .clone()
            .filter(|reason| REASONS.contains(&reason.as_str()))?;
        let said = event.message.clone()?;
        let series = event
            .series
            .as_ref()
            .and_then(|series| series.last_observed_time.clone());
        let seen = series.or(event.event_time.clone()).map(|time| time.0);
        let seen = seen.max(event.last_timestamp.clone().map(|time| time.0));
        Some((!said.starts_with(TIMED_OUT), seen, reason, said))
    });
    of_volumes.max().map(|(_, _, reason, said)| (reason, said))
}

fn hindrance(pod: &Pod, reason: &str, said: &str) -> Hindrance {
    if let Some((field, kind, name)) = missing(pod, said) {
        return Hindrance {
            reason: match kind {
                "Secret" => Reason::SecretNotFound,
                _ => Reason::ConfigMapNotFound,
            },
            message: format!(
                "{field}: there is no {kind} named {name:?} in this namespace; create it, and the pod starts by itself"
            ),
        };
    }
    if said.contains("Multi-Attach") {
        let field = if pod.labels().contains_key(labels::TRAINING) {
            "spec.dataset.uri, spec.output and spec.checkpoint.uri"
        } else {
            "spec.replicas"
        };
        return Hindrance {
            reason: Reason::ClaimAccessMode,
            message: format!(
                "{field}: a claim that is ReadWriteOnce is mounted on another node, and only one node may at a time: \
                 {said}; use a claim that is ReadWriteMany or ReadOnlyMany, or have its pods on one node \
                 (spec.podOverrides.nodeSelector)"
            ),
        };
    }
    let message = image_volume::unmounted(pod, said).unwrap_or_else(|| {
        format!(
            "the volumes of the pod cannot be mounted: {said}; check spec.podOverrides.volumes and the claims that \
             the spec names"
        )
    });
    Hindrance {
        reason: Reason::told(reason),
        message,
    }
}

/// The Secret or ConfigMap of a volume that the kubelet does not find, in its words `secret "NAME" not found`.
fn missing<'a>(pod: &'a Pod, said: &str) -> Option<(String, &'static str, &'a str)> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    volumes.iter().find_map(|volume| {
        let secret = volume
            .secret
            .as_ref()
            .and_then(|secret| secret.secret_name.as_deref());
        let map = volume.config_map.as_ref().map(|map| map.name.as_str());
        let (kind, name) = secret
            .map(|name| ("Secret", name))
            .or(map.map(|name| ("ConfigMap", name)))?;
        let found_missing = said.contains(&format!("{} \"{name}\" not found", kind.to_lowercase()));
        let field = match overrides::given_name(&volume.name) {
            Some(given) => format!("spec.podOverrides.volumes[{given}]"),
            None => "spec.dataset.uri".to_owned(),
        };
        found_missing.then_some((field, kind, name))
    })
}

fn add(pod: &mut Pod, hindrance: Hindrance) {
    let conditions = pod
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    conditions.push(Condition {
        type_: MOUNTED.into(),
        status: "False".into(),
        reason: Some(String::from(hindrance.reason).into()),
        message: Some(hindrance.message),
        last_transition_time: None,
    });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(labels: &Value, conditions: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "uid": "1", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n", "containers": [], "volumes": [
                {"name": "plan", "configMap": {"name": "a-1"}},
                {"name": "user-keys", "secret": {"secretName": "keys"}},
            ]},
            "status": {"phase": "Pending", "conditions": conditions, "containerStatuses": [
                {"name": "sconce", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}},
            ]},
        }))
        .unwrap()
    }

    fn event(reason: &str, last: &str, message: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {}, "reason": reason, "message": message, "lastTimestamp": last,
        }))
        .unwrap()
    }

    #[test]
    fn a_secret_of_a_volume_is_told_by_its_field() {
        let said = r#"MountVolume.SetUp failed for volume "user-keys" : secret "keys" not found"#;
        let found = hindrance(&pod(&json!({}), &json!([])), "FailedMount", said);
        assert_eq!(found.reason, "SecretNotFound");
        assert!(
            found
                .message
                .starts_with("spec.podOverrides.volumes[keys]: there is no Secret named \"keys\"")
        );
    }

    #[test]
    fn a_claim_that_is_in_use_on_another_node_is_told_with_what_it_would_take() {
        let said = r#"Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) iris-1"#;
        let found = hindrance(
            &pod(&json!({"sconce.dev/deployment": "iris"}), &json!([])),
            "FailedAttachVolume",
            said,
        );
        assert_eq!(found.reason, "ClaimAccessMode");
        assert!(
            found.message.starts_with("spec.replicas: ") && found.message.contains("ReadWriteMany"),
            "{}",
            found.message
        );
    }

    #[test]
    fn the_newest_event_with_a_reason_counts() {
        let events = vec![
            event("FailedMount", "2026-01-01T00:00:10Z", "secret \"a\" not found"),
            event("FailedMount", "2026-01-01T00:00:20Z", "secret \"b\" not found"),
            event(
                "FailedMount",
                "2026-01-01T00:00:30Z",
                "Unable to attach or mount volumes: timed out",
            ),
            event("BackOff", "2026-01-01T00:00:40Z", "another matter"),
        ];
        assert_eq!(newest(events).unwrap().1, "secret \"b\" not found");
    }

    #[test]
    fn a_pod_whose_image_is_pulled_has_its_volumes() {
        let creating = pod(&json!({}), &json!([]));
        let pulling = pod(
            &json!({}),
            &json!([{"type": "PodReadyToStartContainers", "status": "True"}]),
        );
        assert!(waits(&creating) && !waits(&pulling));
        let at = |second: i64| Timestamp::new(1_767_225_600 + second, 0).unwrap();
        assert_eq!(again(&[Arc::new(creating)], at(4)), Some(Duration::from_secs(6)));
        assert_eq!(again(&[Arc::new(pulling)], at(4)), None);
    }
}
