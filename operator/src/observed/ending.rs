//! How a pod's container ended: in its own words where it left any, otherwise in those of the kubelet.

use kube::ResourceExt;
use sconce_contract::{Failure, FailureClass, Report};

use super::{condition, container, is_custom, ours, state};
use crate::reason::Reason;
use crate::seen::Pod;

/// Exit code of a container whose process was ended by SIGKILL.
const KILLED: i32 = 137;

/// Most characters of a line of a log that a condition repeats.
const LONGEST_LINE: usize = 400;

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Its exit code.
    pub exit_code: i32,
    /// What it reported; made up from what the kubelet says where it could report nothing.
    pub report: Report,
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

fn memory_limit(pod: &Pod) -> Option<String> {
    let resources = ours(pod)?.resources.as_ref()?;
    resources.limits.as_ref()?.memory.clone()
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
