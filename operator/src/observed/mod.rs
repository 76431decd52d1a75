//! What a pod tells by its status: in which state it is, where it is stuck ([`hindrance`]), how it ended ([`ending`]), and
//! in which words of its own.

mod ending;
mod hindrance;

use std::sync::Arc;

use jiff::Timestamp;

pub use self::ending::{Ending, class_name, last_ending, last_word, sentence};
pub use self::hindrance::{Hindrance, OUTLIVED_AFTER, hindrance, no_node, outlived, unschedulable};
use crate::labels;
use crate::pod::CONTAINER as OURS;
use crate::seen::{Condition, Container, ContainerState, ContainerStatus, Pod};

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

/// Address of the pod, once it has one.
pub fn address(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref()
}

/// The condition of a type.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a Condition> {
    let all = pod.status.as_ref()?.conditions.as_ref()?;
    all.iter().find(|condition| condition.type_ == kind)
}

/// A container whose root is writable runs an image of the user's own.
fn is_custom(pod: &Pod) -> bool {
    let security = ours(pod).and_then(|container| container.security_context.as_ref());
    security.and_then(|security| security.read_only_root_filesystem) == Some(false)
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
