//! Step 5: what was applied and what is seen, to the status. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};
use sconce_crds::deployment::{ColdStart, Revision};
use sconce_crds::{ModelDeployment, ModelDeploymentStatus};

use super::cold_start;
use super::dereference::Found;
use super::replicas;
use super::revision::Served;
use super::rollout::history::{self, Obsolete};
use super::rollout::{self, Rollout};
use super::situation::{self, Counts, Sight, Situation};
use super::validate::Hold;
use super::verdicts;
use super::workload::Workload;
use crate::apply::Applied;
use crate::problem;
use crate::scaling::policy;
use crate::seen::Deployment;
use crate::{conditions, labels};

/// A status, what it makes superfluous, and when to look again even if nothing is seen to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// What to store.
    pub status: ModelDeploymentStatus,
    /// Revisions that nothing serves any more.
    pub obsolete: Vec<Obsolete>,
    /// When to look again.
    pub again: Duration,
}

/// How often everything is looked at again. A watch that breaks may miss that an object was deleted.
const RESYNC: Duration = Duration::from_secs(600);
/// Most revisions that are told of: one that changes faster than it rolls out must not fill the object.
const MOST_REVISIONS: usize = 16;

/// Nothing new can be served; what is served goes on.
pub fn held(deployment: &ModelDeployment, found: &Found, hold: &Hold, now: Timestamp) -> Outlook {
    let situation = match hold {
        Hold::Awaited(problem) => Situation::Awaited(problem.clone()),
        Hold::Refused(problem) => Situation::Refused(problem.clone()),
    };
    let answers = |workload: &Workload| found.counts(workload.revision()).ready > 0;
    let current = found.workloads.first().map(|workload| Current {
        served: &workload.served,
        completed: workload.completed,
        shown: match rollout::last_good(found, workload.revision()) {
            Some(to) if workload.failed.is_some() || (answers(to) && !answers(workload)) => &to.served,
            _ => &workload.served,
        },
    });
    let status = compose(deployment, found, &situation, current.as_ref(), false, &[], now);
    let again = match hold {
        Hold::Awaited(_) => RESYNC,
        Hold::Refused(_) => problem::look_again(&status.conditions, now),
    };
    Outlook {
        status,
        obsolete: Vec::new(),
        again,
    }
}

/// The wanted revision is applied.
pub fn serving(
    deployment: &ModelDeployment,
    found: &Found,
    wanted: &Served,
    rollout: &Rollout,
    live: &Applied<Deployment>,
    now: Timestamp,
) -> Outlook {
    of_live(deployment, found, wanted, rollout, live.get(), now)
}

pub(super) fn of_live(
    deployment: &ModelDeployment,
    found: &Found,
    wanted: &Served,
    rollout: &Rollout,
    live: &Deployment,
    now: Timestamp,
) -> Outlook {
    let before = found.of(&wanted.revision).filter(|_| rollout.begins.is_none());
    let sight = Sight {
        live,
        wanted,
        custom: deployment.spec.custom(),
        replicas: replicas::wanted(deployment),
        rollout,
        was_complete: before.is_some_and(Workload::is_complete),
        promised: promised(deployment),
        pods: &found.pods,
    };
    let rolled_out = sight.is_rolled_out();
    let answers = sight.replicas > 0 && (sight.is_settled() || sight.is_scaling());
    let known = found.of(&wanted.revision).and_then(|workload| workload.completed);
    let completed = if answers && !sight.was_complete {
        Some(now)
    } else {
        known
    };
    // A watch may lag; that the rollout is complete is what the Deployment's own status says.
    let obsolete = history::obsolete(deployment, found, &wanted.revision, rolled_out);
    let current = Current {
        served: wanted,
        completed,
        shown: rollout.back.as_ref().map_or(wanted, |back| &back.to),
    };
    let situation = situation::situation(&sight);
    let mut status = compose(
        deployment,
        found,
        &situation,
        Some(&current),
        rolled_out,
        &obsolete,
        now,
    );
    let whole = rolled_out || answers;
    status.settled_replicas = settled(deployment, sight.replicas, whole.then_some(status.ready_replicas));
    Outlook {
        status,
        obsolete,
        again: rollout.again.map_or(RESYNC, |again| again.min(RESYNC)),
    }
}

/// How many pods have answered at once, now that so many are wanted. `ready` are those of the current revision, once it
/// is rolled out: a rollout changes nothing of what was promised before.
fn settled(deployment: &ModelDeployment, wanted: i32, ready: Option<i32>) -> Option<i32> {
    let before = deployment
        .status
        .as_ref()
        .and_then(|status| status.settled_replicas);
    [before, ready]
        .into_iter()
        .flatten()
        .max()
        .map(|most| most.min(wanted))
}

/// Pods that have to answer while an autoscaler changes their number. One at least: where none does, nothing is Ready.
fn promised(deployment: &ModelDeployment) -> Option<i32> {
    let spec = &deployment.spec;
    let settled = settled(deployment, replicas::wanted(deployment), None).filter(|_| spec.is_autoscaled())?;
    let least = spec.managed().map_or(1, policy::fewest);
    Some(settled.max(least))
}

/// The revision that is asked for, or that stays.
struct Current<'a> {
    served: &'a Served,
    completed: Option<Timestamp>,
    /// What people are shown as the model that is served.
    shown: &'a Served,
}

fn compose(
    deployment: &ModelDeployment,
    found: &Found,
    situation: &Situation,
    current: Option<&Current<'_>>,
    rolled_out: bool,
    obsolete: &[Obsolete],
    now: Timestamp,
) -> ModelDeploymentStatus {
    let generation = deployment.meta().generation.unwrap_or_default();
    let previous = deployment
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let name = deployment.name_any();
    let counts = Counts::of(
        &found.pods,
        current.map(|current| current.served.revision.as_str()),
    );
    let title = current.map(|current| current.shown.model.title());
    let verdicts = verdicts::of(
        situation,
        &found.resolution,
        &counts,
        rolled_out,
        title.as_deref(),
    );
    ModelDeploymentStatus {
        observed_generation: Some(generation),
        phase: Some(verdicts::phase(situation)),
        conditions: conditions::settle(previous, verdicts, generation, now),
        model: title,
        // Before there is something to serve, there is no Service that would answer.
        url: current.map(|_| format!("http://{name}.{}.svc", deployment.namespace().unwrap_or_default())),
        replicas: counts.all(),
        updated_replicas: counts.current,
        ready_replicas: counts.ready,
        selector: Some(format!("{}={name}", labels::DEPLOYMENT)),
        revisions: revisions(deployment, found, current, obsolete),
        settled_replicas: settled(deployment, replicas::wanted(deployment), None),
        cold_start: current.and_then(|current| cold_start(deployment, found, &current.served.revision)),
        ..ModelDeploymentStatus::default()
    }
}

fn cold_start(deployment: &ModelDeployment, found: &Found, revision: &str) -> Option<ColdStart> {
    let before = deployment.status.as_ref();
    // What was told of another revision says nothing of this one.
    let same = before.filter(|before| {
        before
            .revisions
            .first()
            .is_some_and(|first| first.name == revision)
    });
    let told = same.and_then(|before| before.cold_start.as_ref());
    cold_start::newest(&found.pods, revision, told)
}

/// The current revision first, and then the others, the one that was asked for last before the rest. One without a
/// Deployment of its own, from the version before, stays while a pod of it may need its plan.
fn revisions(
    deployment: &ModelDeployment,
    found: &Found,
    current: Option<&Current<'_>>,
    obsolete: &[Obsolete],
) -> Vec<Revision> {
    let told = deployment.status.iter().flat_map(|status| &status.revisions);
    let first = current.map(|current| (current.served.clone(), current.completed));
    let live = found
        .workloads
        .iter()
        .map(|workload| (workload.served.clone(), workload.completed));
    let past = told.map(|told| (Served::from(told), told.completed.as_ref().map(|time| time.0)));
    let mut all: Vec<Revision> = Vec::new();
    for (served, completed) in first.into_iter().chain(live).chain(past) {
        let is_known = all.iter().any(|known| known.name == served.revision);
        let is_obsolete = obsolete
            .iter()
            .any(|obsolete| obsolete.revision == served.revision);
        if !is_known && !is_obsolete && all.len() < MOST_REVISIONS {
            let ready = found.counts(&served.revision).ready;
            all.push(served.told(ready, completed.map(Time)));
        }
    }
    all
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
