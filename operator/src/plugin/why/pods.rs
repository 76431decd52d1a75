//! A Job or a Deployment with its pods: where each is, what it waits for, and how it ended. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use sconce_contract::Report;

use super::Gathered;
use super::tree::Branch;
use crate::observed;
use crate::plugin::table::age;
use crate::seen::{ContainerStatus, Deployment, Job, Pod};

/// Pods of one Job or Deployment that are shown: those that tell most, and of these the newest.
const MOST_PODS: usize = 3;

pub(super) fn pods_of<'a>(
    found: &'a Gathered,
    label: &(&str, String),
    is_own: impl Fn(&Pod) -> bool,
) -> Vec<&'a Pod> {
    let belongs = |pod: &&Pod| pod.labels().get(label.0) == Some(&label.1) && is_own(pod);
    found.pods.iter().filter(belongs).collect()
}

pub(super) fn workload(title: String, pods: &[&Pod], now: Timestamp) -> Branch {
    let mut branch = Branch::new(title);
    if pods.is_empty() {
        branch.says.push("it has no pod".to_owned());
    }
    let shown = telling(pods);
    branch.children = shown.iter().take(MOST_PODS).map(|pod| of_pod(pod, now)).collect();
    if pods.len() > MOST_PODS {
        branch
            .children
            .push(Branch::new(format!("{} further pods", pods.len() - MOST_PODS)));
    }
    branch
}

/// First those that something is in the way of, then those that report for others; among equals the order stays.
pub(super) fn telling<'a>(pods: &[&'a Pod]) -> Vec<&'a Pod> {
    let mut pods = pods.to_vec();
    pods.sort_by_cached_key(|pod| (observed::hindrance(pod).is_none(), !observed::leads(pod)));
    pods
}

pub(super) fn replicas(child: &Deployment) -> String {
    let wanted = child.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = child
        .status
        .as_ref()
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0);
    format!("{ready} of {wanted} ready")
}

pub(super) fn attempts(child: &Job) -> String {
    let Some(status) = &child.status else {
        return "no pod yet".to_owned();
    };
    let counts = [
        (status.active, "active"),
        (status.succeeded, "succeeded"),
        (status.failed, "failed"),
    ];
    let told: Vec<String> = counts
        .into_iter()
        .filter_map(|(count, word)| {
            count
                .filter(|count| *count > 0)
                .map(|count| format!("{count} {word}"))
        })
        .collect();
    let suspended = child.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false);
    match (suspended, told.is_empty()) {
        (true, _) => "suspended".to_owned(),
        (false, true) => "no pod yet".to_owned(),
        (false, false) => told.join(", "),
    }
}

fn of_pod(pod: &Pod, now: Timestamp) -> Branch {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let place = node.map_or_else(|| "no node".to_owned(), |node| format!("on node {node}"));
    let status = pod.status.as_ref();
    let phase = match status.and_then(|status| status.phase.as_deref()) {
        _ if pod.metadata.deletion_timestamp.is_some() => "stopping",
        Some("Running") if observed::is_ready(pod) => "Running and ready",
        phase => phase.unwrap_or("Pending"),
    };
    let since = pod
        .creation_timestamp()
        .map(|Time(created)| format!(" · {}", age(created, now)))
        .unwrap_or_default();
    let mut branch = Branch::new(format!("Pod {} · {place} · {phase}{since}", pod.name_any()));
    let containers = status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    if let Some(hindrance) = observed::hindrance(pod) {
        branch
            .says
            .push(format!("{}: {}", hindrance.reason, hindrance.message));
    } else {
        branch.says.extend(containers.iter().filter_map(waits));
    }
    if let Some(ending) = observed::last_ending(pod) {
        let when = if observed::has_ended(pod) {
            "ended"
        } else {
            "ended before"
        };
        let how = match &ending.report {
            Report::Trained { artifact, .. } => format!("trained, and left {}", artifact.uri),
            Report::Helped { .. } => "learned along with worker 0".to_owned(),
            Report::Failed(failure) => {
                format!(
                    "{}: {}",
                    observed::class_name(failure.class),
                    observed::sentence(failure)
                )
            }
        };
        branch
            .says
            .push(format!("{when} with exit code {}: {how}", ending.exit_code));
    }
    for container in containers.iter().filter(|container| container.restart_count > 0) {
        branch.says.push(format!(
            "container {} was started again {} times",
            container.name, container.restart_count
        ));
    }
    branch
}

fn waits(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let name = &container.name;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or("no reason given");
        let message = waiting
            .message
            .as_deref()
            .map(|message| format!(": {message}"))
            .unwrap_or_default();
        return Some(format!("container {name} waits: {reason}{message}"));
    }
    let running = state.running.is_some() && !container.ready;
    running.then(|| format!("container {name} runs and is not ready"))
}
