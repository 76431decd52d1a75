//! Which earlier revisions are kept, so that one can go back to them, and which are forgotten.

use std::cmp::Reverse;

use kube::ResourceExt;
use sconce_crds::ModelDeployment;

use super::last_good;
use crate::deployment::dereference::Found;
use crate::deployment::workload::Workload;

/// A revision that nothing serves or may be gone back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obsolete {
    /// Its name.
    pub revision: String,
    /// Name of its Deployment. The version before had one Deployment for all revisions in turn.
    pub workload: Option<String>,
}

/// What can be forgotten while `wanted` is asked for. `complete` tells whether its rollout is.
pub fn obsolete(deployment: &ModelDeployment, found: &Found, wanted: &str, complete: bool) -> Vec<Obsolete> {
    let good = last_good(found, wanted)
        .filter(|_| !complete)
        .map(Workload::revision);
    let mut idle: Vec<&Workload> = found
        .workloads
        .iter()
        .filter(|workload| workload.revision() != wanted && Some(workload.revision()) != good)
        .filter(|workload| workload.replicas() == 0 && found.counts(workload.revision()).current == 0)
        .collect();
    // One that never was complete is nothing to go back to.
    idle.sort_by_key(|workload| Reverse(workload.completed));
    let limit = usize::try_from(deployment.spec.rollout.revision_history_limit).unwrap_or(0);
    let kept = idle
        .iter()
        .take(limit)
        .filter(|workload| workload.completed.is_some())
        .count();
    let forgotten = idle.into_iter().skip(kept).map(|workload| Obsolete {
        revision: workload.revision().to_owned(),
        workload: Some(workload.live.name_any()),
    });
    forgotten
        .chain(
            without_workload(deployment, found, wanted)
                .into_iter()
                .filter(|_| complete),
        )
        .collect()
}

/// Revisions that only the status knows, and no pod is of: their plans are all that is left.
fn without_workload(deployment: &ModelDeployment, found: &Found, wanted: &str) -> Vec<Obsolete> {
    let told = deployment.status.iter().flat_map(|status| &status.revisions);
    told.filter(|told| told.name != wanted && found.of(&told.name).is_none())
        .filter(|told| found.counts(&told.name).current == 0)
        .map(|told| Obsolete {
            revision: told.name.clone(),
            workload: None,
        })
        .collect()
}
