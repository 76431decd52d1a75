//! What a pod tells by its status: where it is stuck, how it ended, and in which words of its own.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use sconce_contract::credentials::{
    CHECKPOINT_CREDENTIALS, DATASET_CREDENTIALS, MODEL_CREDENTIALS, OUTPUT_CREDENTIALS,
};
use sconce_contract::{Failure, FailureClass, Report};

use crate::image_volume;
use crate::labels;
use crate::mounts;
use crate::pod::CONTAINER as OURS;
use crate::reason::Reason;
use crate::seen::{Container, ContainerState, ContainerStatus, Pod, PodCondition};

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

/// Exit code of a container whose process was ended by SIGKILL.
const KILLED: i32 = 137;

/// Most characters of a line of a log that a condition repeats.
const LONGEST_LINE: usize = 400;

/// Why a pod does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// CamelCase, for a condition.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Its exit code.
    pub exit_code: i32,
    /// What it reported; made up from what the kubelet says where it could report nothing.
    pub report: Report,
}

/// Whether the scheduler has found a node.
pub fn is_scheduled(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

/// The pod's number among those that learn together; nothing where it learns alone.
pub fn worker(pod: &Pod) -> Option<u32> {
    pod.labels().get(labels::WORKER)?.parse().ok()
}

/// Whether the pod is the one that saves, measures and reports: the only one, or the first.
pub fn leads(pod: &Pod) -> bool {
    worker(pod).is_none_or(|worker| worker == 0)
}

/// The newest of these pods, oldest first, that runs and leads.
pub fn at_work(pods: &[Arc<Pod>]) -> Option<&Arc<Pod>> {
    pods.iter().rev().find(|pod| leads(pod) && is_running(pod))
}

/// A sentence about the pod, with its number where it is one of several that do not report for all.
pub fn of_worker(pod: &Pod, sentence: String) -> String {
    match worker(pod).filter(|_| !leads(pod)) {
        Some(worker) => format!("worker {worker}: {sentence}"),
        None => sentence,
    }
}

/// Whether the pod has ended, well or not.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod's container runs now.
pub fn is_running(pod: &Pod) -> bool {
    phase(pod) == "Running"
        && pod.metadata.deletion_timestamp.is_none()
        && state(pod).is_some_and(|state| state.running.is_some())
}

/// Whether the pod's container is not there yet, and nothing is said to stand in its way.
pub fn is_being_created(pod: &Pod) -> bool {
    let waiting = state(pod).and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    phase(pod) == "Pending" && (container(pod).is_none() || reason == Some("ContainerCreating"))
}

/// Whether the pod's container has ended, though the pod itself may not be said to have yet.
pub fn has_ended(pod: &Pod) -> bool {
    state(pod).is_some_and(|state| state.terminated.is_some())
}

/// Whether the pod's container ended with exit code 0.
pub fn ended_well(pod: &Pod) -> bool {
    state(pod)
        .and_then(|state| state.terminated.as_ref())
        .is_some_and(|ended| ended.exit_code == 0)
}

/// Whether the pod counts as ready: its readiness probe answered and it is not on its way out.
pub fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Since when a condition of the pod is as it is.
pub fn since(pod: &Pod, kind: &str) -> Option<Timestamp> {
    Some(condition(pod, kind)?.last_transition_time.as_ref()?.0)
}

/// Since when no node can take the pod, and what the scheduler says of it.
pub fn unschedulable(pod: &Pod) -> Option<(Timestamp, &str)> {
    let condition = condition(pod, "PodScheduled").filter(|condition| condition.status == "False")?;
    let since = condition.last_transition_time.as_ref()?.0;
    Some((since, condition.message.as_deref().unwrap_or_default()))
}

/// Address of the pod, once it has one.
pub fn address(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref()
}

/// Why the pod does not run, if something stands in its way that waiting alone may not mend.
pub fn hindrance(pod: &Pod) -> Option<Hindrance> {
    homeless(pod)
        .or_else(|| mounts::told(pod))
        .or_else(|| stuck(pod))
        .or_else(|| crashing(pod))
}

/// The condition of a type.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let all = pod.status.as_ref()?.conditions.as_ref()?;
    all.iter().find(|condition| condition.type_ == kind)
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
        "a claim has no volume: `kubectl get storageclass` shows whether there is a default one; without it, name a \
         claim that is bound (spec.output.uri)"
    } else {
        "ask for less in spec.resources or spec.accelerator, or add a node"
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
             annotation sconce.dev/rerun the mended image is taken"
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

/// A failure as one sentence that begins with the field to change.
pub fn sentence(failure: &Failure) -> String {
    match &failure.field {
        Some(field) => format!("spec.{field}: {}", failure.message),
        None => failure.message.clone(),
    }
}

/// A failure's class as a condition's reason.
pub fn class_name(class: FailureClass) -> Reason {
    match class {
        FailureClass::BadInput => Reason::BadInput,
        FailureClass::OutOfMemory => Reason::OutOfMemory,
        FailureClass::Interrupted => Reason::Interrupted,
        FailureClass::Diverged => Reason::Diverged,
        FailureClass::Storage => Reason::Storage,
        FailureClass::Internal => Reason::Internal,
    }
}

/// How the pod's container ended, now or the last time.
pub fn last_ending(pod: &Pod) -> Option<Ending> {
    let status = container(pod)?;
    let terminated = [&status.state, &status.last_state]
        .into_iter()
        .flatten()
        .find_map(|state| state.terminated.as_ref())?;
    let told = terminated
        .message
        .as_deref()
        .and_then(|said| Report::parse(said).ok());
    let report = told.unwrap_or_else(|| {
        Report::Failed(untold(
            terminated.reason.as_deref(),
            terminated.exit_code,
            terminated.message.as_deref(),
            pod,
        ))
    });
    Some(Ending {
        exit_code: terminated.exit_code,
        report,
    })
}

/// What the pod's container left for its report, or its log where the kubelet found nothing else.
pub fn last_word(pod: &Pod) -> Option<&str> {
    state(pod)?.terminated.as_ref()?.message.as_deref()
}

/// What must have happened to a container that could not say so itself.
fn untold(reason: Option<&str>, exit_code: i32, message: Option<&str>, pod: &Pod) -> Failure {
    let out_of_memory = |message: String| Failure {
        class: FailureClass::OutOfMemory,
        message,
        field: Some("resources.memory".to_owned()),
        work: None,
    };
    let limit = memory_limit(pod);
    if reason == Some("OOMKilled") {
        let limit = limit.as_deref().unwrap_or("its limit");
        return out_of_memory(format!(
            "the pod was killed when it used more memory than {limit}; raise it"
        ));
    }
    if let Some(limit) = limit.filter(|_| exit_code == KILLED && only_the_kernel_kills(pod)) {
        return out_of_memory(format!(
            "the pod was killed with exit code {KILLED}, and neither was it asked to end nor did the node say why; this \
             is what comes of using more memory than {limit}: raise it"
        ));
    }
    if let Some(why) = unstartable(reason, message) {
        let field = if pod.labels().contains_key(crate::labels::TRAINING) {
            "model.custom.command"
        } else {
            "server.custom.command"
        };
        return Failure {
            class: FailureClass::Internal,
            message: format!(
                "the container of the pod {} cannot be started: {why}",
                pod.name_any()
            ),
            field: is_custom(pod).then(|| field.to_owned()),
            work: None,
        };
    }
    // Of a log, the last line is the one that tells why.
    let said = message
        .and_then(|message| message.lines().map(str::trim).rfind(|line| !line.is_empty()))
        .map(|line| line.chars().take(LONGEST_LINE).collect::<String>());
    let detail = said
        .map(|message| format!(", saying: {message}"))
        .unwrap_or_default();
    Failure::new(
        FailureClass::Internal,
        format!(
            "the pod {} ended with exit code {exit_code} ({}) and left no report{detail}; see `kubectl logs`",
            pod.name_any(),
            reason.unwrap_or("no reason given")
        ),
    )
}

/// Whether nobody but the kernel, for want of memory, would kill the pod's container.
///
/// A container that passes its limit is not always said to be `OOMKilled`: containerd hears of that and of its end on
/// two ways, and the end may come first (containerd, issues 8180 and 12260). A trainer has no probe for which the
/// kubelet would kill it, so what else could have is an eviction, a preemption or a deletion, all of which are told.
fn only_the_kernel_kills(pod: &Pod) -> bool {
    let told = pod.status.as_ref().and_then(|status| status.reason.as_deref());
    let has_probe =
        ours(pod).is_some_and(|ours| ours.liveness_probe.is_some() || ours.startup_probe.is_some());
    pod.labels().contains_key(crate::labels::TRAINING)
        && pod.metadata.deletion_timestamp.is_none()
        && condition(pod, "DisruptionTarget").is_none()
        && told.is_none()
        && !has_probe
}

/// What the runtime says of a program that it cannot start, such as one that the image does not have.
fn unstartable<'a>(reason: Option<&str>, message: Option<&'a str>) -> Option<&'a str> {
    let said = message.filter(|_| reason == Some("StartError"))?.trim();
    let said = said
        .rsplit_once("unable to start container process: ")
        .map_or(said, |(_, why)| why);
    Some(said.trim_end_matches(": unknown"))
}

/// A container whose root is writable runs an image of the user's own.
fn is_custom(pod: &Pod) -> bool {
    let security = ours(pod).and_then(|container| container.security_context.as_ref());
    security.and_then(|security| security.read_only_root_filesystem) == Some(false)
}

fn memory_limit(pod: &Pod) -> Option<String> {
    let resources = ours(pod)?.resources.as_ref()?;
    resources.limits.as_ref()?.memory.clone()
}

/// The container that is ours; a service mesh adds others, and the kubelet sorts what it tells of them by name.
fn ours(pod: &Pod) -> Option<&Container> {
    let mut all = pod.spec.as_ref()?.containers.iter().flatten();
    all.find(|container| container.name == OURS)
}

/// What the kubelet tells of the pod's container.
pub fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let mut all = pod.status.as_ref()?.container_statuses.iter().flatten();
    all.find(|container| container.name == OURS)
}

fn state(pod: &Pod) -> Option<&ContainerState> {
    container(pod)?.state.as_ref()
}

fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "observed_tests.rs"]
mod tests;
