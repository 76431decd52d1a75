//! Step 5: what was applied and what is seen, to the status. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource, ResourceExt};
use sconce_crds::deployment::Revision;
use sconce_crds::{ModelDeployment, ModelDeploymentStatus};

use super::dereference::Found;
use super::replicas;
use super::revision::Served;
use super::situation::{self, Counts, Situation, is_rolled_out};
use super::validate::Hold;
use super::verdicts;
use crate::apply::Applied;
use crate::{conditions, labels};

/// A status, what it makes superfluous, and when to look again even if nothing is seen to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// What to store.
    pub status: ModelDeploymentStatus,
    /// Revisions that nothing serves any more.
    pub obsolete: Vec<String>,
    /// When to look again.
    pub again: Duration,
}

/// How often something is looked for that no watch covers: a missing claim or class, a name that is taken.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How often everything is looked at again. A watch that breaks may miss that an object was deleted.
const RESYNC: Duration = Duration::from_secs(600);
/// Most revisions that are told of: one that changes faster than it rolls out must not fill the object.
const MOST_REVISIONS: usize = 16;

/// Nothing new can be served; what is served goes on.
pub fn held(deployment: &ModelDeployment, found: &Found, hold: &Hold, now: Timestamp) -> Outlook {
    let (situation, again) = match hold {
        Hold::Awaited(problem) => (Situation::Awaited(problem.clone()), RESYNC),
        Hold::Refused(problem) => (Situation::Refused(problem.clone()), LOOK_AGAIN),
    };
    let status = compose(deployment, found, &situation, found.served().as_ref(), false, now);
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
    live: &Applied<Deployment>,
    now: Timestamp,
) -> Outlook {
    of_live(deployment, found, wanted, live.get(), now)
}

fn of_live(
    deployment: &ModelDeployment,
    found: &Found,
    wanted: &Served,
    live: &Deployment,
    now: Timestamp,
) -> Outlook {
    let replicas = replicas::wanted(deployment);
    let situation = situation::situation(live, wanted, replicas, &found.pods);
    let rolled_out = is_rolled_out(live, wanted, replicas, &found.pods);
    let status = compose(deployment, found, &situation, Some(wanted), rolled_out, now);
    let kept = |name: &String| status.revisions.iter().any(|revision| revision.name == *name);
    // A watch may lag; that the rollout is complete is what the Deployment's own status says.
    let obsolete = if rolled_out {
        earlier(deployment, found)
            .into_iter()
            .map(|served| served.revision)
            .filter(|name| !kept(name))
            .collect()
    } else {
        Vec::new()
    };
    Outlook {
        status,
        obsolete,
        again: RESYNC,
    }
}

fn compose(
    deployment: &ModelDeployment,
    found: &Found,
    situation: &Situation,
    current: Option<&Served>,
    rolled_out: bool,
    now: Timestamp,
) -> ModelDeploymentStatus {
    let generation = deployment.meta().generation.unwrap_or_default();
    let previous = deployment
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let name = deployment.name_any();
    let counts = Counts::of(&found.pods, current.map(|served| served.revision.as_str()));
    let title = current.map(|served| served.model.title());
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
        revisions: revisions(deployment, found, current, rolled_out),
        ..ModelDeploymentStatus::default()
    }
}

/// The current revision first. Earlier ones stay until the rollout is complete, with or without pods: a pod that
/// is replaced meanwhile needs the plan of its revision.
fn revisions(
    deployment: &ModelDeployment,
    found: &Found,
    current: Option<&Served>,
    rolled_out: bool,
) -> Vec<Revision> {
    let counts = |name: &str| Counts::of(&found.pods, Some(name));
    let others = earlier(deployment, found)
        .into_iter()
        .filter(|served| current.is_none_or(|current| current.revision != served.revision))
        .filter(|served| !rolled_out || counts(&served.revision).current > 0);
    let all = current.cloned().into_iter().chain(others);
    all.take(MOST_REVISIONS)
        .map(|served| served.told(counts(&served.revision).ready))
        .collect()
}

/// What was served before this reconcile, each once: by the live Deployment, and by what the status knew.
fn earlier(deployment: &ModelDeployment, found: &Found) -> Vec<Served> {
    let told = deployment
        .status
        .iter()
        .flat_map(|status| &status.revisions)
        .map(Served::from);
    let mut all: Vec<Served> = Vec::new();
    for served in found.served().into_iter().chain(told) {
        if all.iter().all(|known| known.revision != served.revision) {
            all.push(served);
        }
    }
    all
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
