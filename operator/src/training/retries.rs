//! Which failures are tried again, where exit codes alone cannot tell.
//!
//! | class | tried again | by what |
//! |---|---|---|
//! | BadInput, Diverged | never | exit code 65, the Job's podFailurePolicy |
//! | Interrupted | always, without counting | exit code 75, the same |
//! | evicted, preempted | always, without counting | the pod's DisruptionTarget, the same |
//! | OutOfMemory | once: the same pod would need as much again | here |
//! | Storage, Internal | `backoffLimit` times, with growing pauses | the Job |
//! | Stalled | `backoffLimit` times | [`super::watchdog`] |

use std::collections::BTreeMap;
use std::sync::Arc;

use sconce_contract::{FailureClass, Report};

use super::situation::Situation;
use crate::observed;
use crate::seen::Pod;

/// Pods that may pass their memory limit, or find no memory on their accelerator, before the run has failed.
const OUT_OF_MEMORY: usize = 2;

/// The run has failed, though its Job would go on: `pods` are the Job's, oldest first.
pub fn exhausted(pods: &[Arc<Pod>]) -> Option<Situation> {
    let failures = pods
        .iter()
        .filter(|pod| observed::is_finished(pod))
        .filter_map(|pod| match observed::last_ending(pod)?.report {
            Report::Failed(failure) => Some((pod, failure)),
            Report::Trained { .. } | Report::Helped { .. } => None,
        });
    let mut large: BTreeMap<Option<u32>, Vec<_>> = BTreeMap::new();
    for (pod, failure) in failures.filter(|(_, failure)| failure.class == FailureClass::OutOfMemory) {
        // Of several that learn together, all may pass theirs in the same attempt.
        large
            .entry(observed::worker(pod))
            .or_default()
            .push((pod, failure));
    }
    let tried = large.into_values().find(|tried| tried.len() >= OUT_OF_MEMORY)?;
    let (pod, last) = tried.last()?;
    Some(Situation::Failed {
        reason: observed::class_name(last.class),
        message: format!(
            "{} (tried {} times)",
            observed::of_worker(pod, observed::sentence(last)),
            tried.len()
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(code: i32, reason: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "spec": {"containers": [{"name": "sconce", "resources": {"limits": {"memory": "1Gi"}}}]},
                "status": {"phase": "Failed", "containerStatuses": [{
                    "name": "sconce", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": code, "reason": reason}},
                }]},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn what_passed_its_memory_twice_is_not_tried_a_third_time() {
        let (large, other) = (ended(137, "OOMKilled"), ended(1, "Error"));
        assert_eq!(exhausted(std::slice::from_ref(&large)), None);
        assert_eq!(exhausted(&[large.clone(), other.clone(), other.clone()]), None);
        let Some(Situation::Failed { reason, message }) = exhausted(&[large.clone(), other, large]) else {
            panic!("tried a third time")
        };
        assert_eq!(reason, "OutOfMemory");
        assert!(
            message.starts_with("spec.resources.memory: ") && message.ends_with("(tried 2 times)"),
            "{message}"
        );
    }
}
