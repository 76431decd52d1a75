//! Why a pod does not run: no node, no volume, no image, or a container that ends as soon as it starts.

use jiff::{SignedDuration, Timestamp};
use sconce_contract::Report;
use sconce_contract::credentials::{
    CHECKPOINT_CREDENTIALS, DATASET_CREDENTIALS, MODEL_CREDENTIALS, OUTPUT_CREDENTIALS,
};

use super::{OURS, class_name, condition, container, is_custom, last_ending, ours, sentence, state};
use crate::reason::Reason;
use crate::seen::Pod;
use crate::{image_volume, labels, mounts};

/// Reasons for which a waiting container will not start by itself (kubelet, `pkg/kubelet/images` and
/// `pkg/kubelet/container`), and which field of the object to look at.
///
/// The first two take turns while the kubelet tries again; told as one, they do not flap.
const STUCK: &[(&str, Reason, &str)] = &[
    ("ErrImagePull", Reason::ImagePullFailed, IMAGE),
    ("ImagePullBackOff", Reason::ImagePullFailed, IMAGE),
    ("InvalidImageName", Reason::InvalidImageName, IMAGE),
    ("ErrImageNeverPull", Reason::ErrImageNeverPull, IMAGE),
    (
        "CreateContainerConfigError",
        Reason::CreateContainerConfigError,
        CONTAINER,
    ),
    ("CreateContainerError", Reason::CreateContainerError, CONTAINER),
    ("RunContainerError", Reason::RunContainerError, CONTAINER),
];
const IMAGE: &str = "the image";
const CONTAINER: &str = "the container";

/// Why a pod does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// CamelCase, for a condition.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

/// How long a pod may go on when its container has ended: the kubelet takes seconds, a container that was told to stop 30.
pub const OUTLIVED_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// That other containers keep the pod although its own has ended long ago: somebody adds them, and they end never.
pub fn outlived(pod: &Pod, now: Timestamp) -> Option<Hindrance> {
    let ended = state(pod)?.terminated.as_ref()?.finished_at.as_ref()?;
    if now.duration_since(ended.0) < OUTLIVED_AFTER {
        return None;
    }
    let all = pod.status.as_ref()?.container_statuses.iter().flatten();
    let running = all.filter(|container| {
        let state = container.state.as_ref();
        container.name != OURS && state.is_some_and(|state| state.running.is_some())
    });
    let names: Vec<String> = running
        .map(|container| format!("{:?}", &*container.name))
        .collect();
    (!names.is_empty()).then(|| Hindrance {
        reason: Reason::PodGoesOn,
        message: format!(
            "the trainer has ended, but not its pod: {} goes on in it. Somebody adds that to pods; have it added as a native \
             sidecar, which ends with the rest, or not at all (spec.podOverrides.labels or annotations)",
            names.join(", ")
        ),
    })
}

/// Since when no node can take the pod, and what the scheduler says of it.
pub fn unschedulable(pod: &Pod) -> Option<(Timestamp, &str)> {
    let condition = condition(pod, "PodScheduled").filter(|condition| condition.status == "False")?;
    let since = condition.last_transition_time.as_ref()?.0;
    Some((since, condition.message.as_deref().unwrap_or_default()))
}

/// Why the pod does not run, if something stands in its way that waiting alone may not mend.
pub fn hindrance(pod: &Pod) -> Option<Hindrance> {
    homeless(pod)
        .or_else(|| mounts::told(pod))
        .or_else(|| stuck(pod))
        .or_else(|| crashing(pod))
}

/// Why the scheduler finds no node, in its words.
pub fn no_node(pod: &Pod) -> Option<&str> {
    let found = condition(pod, "PodScheduled").filter(|condition| condition.status == "False")?;
    let said = found
        .message
        .as_deref()
        .unwrap_or("the scheduler gives no reason");
    // What follows tells of victims that there are none of, which is no help to who asked for too much.
    let said = ["no new claims to deallocate", "preemption:"]
        .iter()
        .fold(said, |said, aside| said.split(aside).next().unwrap_or(said));
    Some(said.trim_end_matches([' ', ',', '.']))
}

fn homeless(pod: &Pod) -> Option<Hindrance> {
    let said = no_node(pod)?;
    // The words of the scheduler's plugin VolumeBinding; it asks no other plugin before the claim has its volume.
    let remedy = if said.contains("unbound immediate PersistentVolumeClaims") {
        let field = if pod.labels().contains_key(labels::DEPLOYMENT) {
            "spec.model.uri, spec.cache.claimName"
        } else {
            "spec.output.uri"
        };
        format!(
            "a claim has no volume: `kubectl get storageclass` shows whether there is a default one; without it, name a \
             claim that is bound ({field})"
        )
    } else {
        "ask for less in spec.resources or spec.accelerator, or add a node".to_owned()
    };
    Some(Hindrance {
        reason: condition(pod, "PodScheduled")
            .and_then(|found| found.reason.as_deref())
            .map_or(Reason::Unschedulable, Reason::told),
        message: format!("no node can take the pod: {said}; {remedy}"),
    })
}

fn stuck(pod: &Pod) -> Option<Hindrance> {
    let status = container(pod)?;
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let (_, reason, what) = STUCK.iter().find(|(stuck, ..)| *stuck == reason)?;
    let said = waiting
        .message
        .as_deref()
        .unwrap_or("the kubelet gives no reason");
    // The back-off repeats the error that it backs off from.
    let detail = said
        .rsplit_once("ErrImagePull: ")
        .map_or(said, |(_, error)| error);
    let message = if *what == IMAGE {
        image_volume::unpulled(pod, said, detail).unwrap_or_else(|| {
            format!(
                "the image {} cannot be pulled: {detail}; check {}",
                status.image,
                who_names_the_image(pod)
            )
        })
    } else if let Some((field, kind, name)) = missing(pod, detail) {
        let reason = match kind {
            Source::Secret => Reason::SecretNotFound,
            Source::ConfigMap => Reason::ConfigMapNotFound,
        };
        return Some(Hindrance {
            reason,
            message: format!(
                "{field}: there is no {kind:?} named {name:?} in this namespace; create it, and the pod starts by itself"
            ),
        });
    } else {
        image_volume::unmounted(pod, detail)
            .unwrap_or_else(|| format!("the container cannot be started: {detail}"))
    };
    Some(Hindrance {
        reason: reason.clone(),
        message,
    })
}

fn who_names_the_image(pod: &Pod) -> &'static str {
    let trains = pod.labels().contains_key(crate::labels::TRAINING);
    match (!is_custom(pod), trains) {
        (true, true) => {
            "spec.accelerator's profile (images) and the operator's own image settings; with a new value of the \
             annotation sconce.dev/resume the mended image is taken"
        }
        (true, false) => {
            "spec.accelerator's profile (images) and the operator's own image settings; with a new value of the \
             annotation sconce.dev/retry the mended image is taken"
        }
        (false, true) => "spec.model.custom.image, and spec.podOverrides.imagePullSecrets where it needs one",
        (false, false) => {
            "spec.server.custom.image, and spec.podOverrides.imagePullSecrets where it needs one"
        }
    }
}

/// What an environment is taken from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Secret,
    ConfigMap,
}

/// The Secret or ConfigMap without which the container cannot be started, and the field that names it. The operator
/// may not look for Secrets; the kubelet says `secret "NAME" not found`.
fn missing<'a>(pod: &'a Pod, detail: &str) -> Option<(&'static str, Source, &'a str)> {
    let said = |kind: Source, name: &str| {
        let kind = format!("{kind:?}").to_lowercase();
        detail.contains(&format!("{kind} \"{name}\" not found"))
    };
    let sources = ours(pod)?.env_from.as_ref()?;
    sources.iter().find_map(|source| {
        let field = match source.prefix.as_deref() {
            Some(DATASET_CREDENTIALS) => "spec.dataset.credentialsRef",
            Some(MODEL_CREDENTIALS) => "spec.model.credentialsRef",
            Some(OUTPUT_CREDENTIALS) => "spec.output.credentialsRef",
            Some(CHECKPOINT_CREDENTIALS) => "spec.checkpoint.credentialsRef",
            _ => "spec.podOverrides.envFrom",
        };
        let secret = source
            .secret_ref
            .as_ref()
            .map(|secret| (Source::Secret, secret.name.as_str()));
        let map = source
            .config_map_ref
            .as_ref()
            .map(|map| (Source::ConfigMap, map.name.as_str()));
        let (kind, name) = secret.or(map)?;
        said(kind, name).then_some((field, kind, name))
    })
}

fn crashing(pod: &Pod) -> Option<Hindrance> {
    let status = container(pod)?;
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    if waiting.reason.as_deref() != Some("CrashLoopBackOff") {
        return None;
    }
    let Report::Failed(failure) = last_ending(pod)?.report else {
        return None;
    };
    Some(Hindrance {
        reason: class_name(failure.class),
        message: sentence(&failure),
    })
}
