//! From what is found to how many pods each revision is to have, and whether the newest has to be given up.
//!
//! ```text
//!   asked for last ──► complete? ──yes──► served
//!                         │ no
//!                         ▼
//!                 a pod more answers within progressDeadline? ──yes──► goes on
//!                         │ no
//!                         ▼
//!                 rolled back to the one that was complete last, until another is asked for, or `sconce.dev/retry`
//! ```
//!
//! Going forward and going back are the same: pods of one revision take the place of all others', by [`decide`]. Whether it
//! goes forward is [`progress`]'s word.

pub mod decide;
pub mod history;
pub mod needs;
#[cfg(test)]
mod plan_tests;
mod progress;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sconce_crds::ModelDeployment;
use sconce_crds::rollout::RETRY_ANNOTATION;

use self::decide::{Manner, Place, Pods, View, decide};
use self::needs::Needs;
use self::progress::{Progress, all_answer, progress};
use super::dereference::Found;
use super::situation;
use super::validate::{Change, Serving};
use super::workload::{Failed, Workload};
use super::{replicas, revision};
use crate::observed;
use crate::seen::{Deployment, Pod};

/// How long a pod may find no node, or be hindered, before it counts as one that will not answer: the scheduler and the
/// kubelet take seconds to notice that something has become free.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// How long it may find no node while a unit is said to be spare. It may be one that a pod of ours has just given back,
/// which takes up to its grace period; the count may also be wrong.
const LONG_PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// How long it may find no node, after an earlier pod was last told to go, until there is none for it: that one is gone after
/// its grace period at the latest, and the scheduler tries again within ten seconds.
const LONGEST_PATIENCE: SignedDuration = SignedDuration::from_secs(120);

/// How many pods each revision is to have now.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Pods of the revision that is asked for.
    pub wanted: i32,
    /// Deployments of all other revisions, and their pods.
    pub others: Vec<(Arc<Deployment>, i32)>,
    /// Since when the revision is asked for, where that begins now.
    pub begins: Option<Timestamp>,
    /// The revision that is asked for was given up, and this one is served in its stead.
    pub back: Option<Back>,
    /// The revision's last pod is overdue, and there is none to go back to.
    pub overdue: bool,
    /// What comes first.
    pub manner: Manner,
    /// Whether the revision that is asked for gets a pod more, as all of it answer.
    pub more: bool,
    /// When time alone may change the decision.
    pub again: Option<Duration>,
}

/// A revision that is served instead of a newer one.
#[derive(Clone, Debug, PartialEq)]
pub struct Back {
    /// Why the newer one was given up.
    pub failed: Failed,
    /// Whether that is decided just now.
    pub new: bool,
    /// The one that is served.
    pub to: revision::Served,
}

/// Decides for a revision that can be served.
pub fn plan(deployment: &ModelDeployment, serving: &Serving<'_>, found: &Found, now: Timestamp) -> Rollout {
    let wanted = &serving.wanted.revision;
    let current = found
        .workloads
        .first()
        .filter(|first| first.revision() == wanted && !serving.change.begins());
    let begins = current.is_none().then(|| begin(&found.workloads, now));
    let progress = match current {
        Some(current) => match progress(deployment, current, found, now) {
            Progress::Failed { new: true, .. } if is_next_due(deployment, current, found, now) => {
                Progress::Goes(deployment.spec.rollout.progress_deadline.get())
            }
            progress => progress,
        },
        None => Progress::Begins,
    };
    let needs = match (&progress, &serving.change) {
        (Progress::Failed { to, .. }, _) => Needs::of(&to.live),
        (_, Change::Roll(pods) | Change::Anew { pods, .. }) => serving.needs(pods),
        (_, Change::Keep { live, .. }) => Needs::of(live),
    };
    let (target, back) = match &progress {
        Progress::Failed { failed, new, to } => (
            to.revision(),
            Some(Back {
                failed: failed.clone(),
                new: *new,
                to: to.served.clone(),
            }),
        ),
        _ => (wanted.as_str(), None),
    };
    let mut shares = share(deployment, found, target, &needs, now);
    let more = back.is_none()
        && current.is_some_and(|current| all_answer(current, found) && shares.target > current.replicas());
    let at = shares
        .pods
        .iter()
        .position(|(workload, _)| workload.revision() == wanted);
    Rollout {
        // One that does not exist yet is the target.
        wanted: at.map_or(shares.target, |at| shares.pods.remove(at).1),
        others: shares
            .pods
            .into_iter()
            .map(|(workload, count)| (Arc::clone(&workload.live), count))
            .collect(),
        begins,
        back,
        overdue: matches!(progress, Progress::Overdue),
        more,
        manner: shares.manner,
        again: [shares.again, progress.left()].into_iter().flatten().min(),
    }
}

/// Whether the rollout waits for nothing but whoever takes the next step: each pod that was asked for answers, and they are
/// enough, or one more is due, or an earlier one is to go. So it is where nobody was there to take it for as long as the
/// deadline.
fn is_next_due(deployment: &ModelDeployment, current: &Workload, found: &Found, now: Timestamp) -> bool {
    if !all_answer(current, found) {
        return false;
    }
    let needs = Needs::of(&current.live);
    let shares = share(deployment, found, current.revision(), &needs, now);
    let mut others = shares
        .pods
        .iter()
        .filter(|(workload, _)| workload.revision() != current.revision());
    current.replicas() >= replicas::wanted(deployment)
        || shares.target > current.replicas()
        || others.any(|(workload, count)| *count < workload.replicas())
}

/// How many pods each revision is to have while nothing new can be served.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Deployments and their pods.
    pub counts: Vec<(Arc<Deployment>, i32)>,
    /// When time alone may change them.
    pub again: Option<Duration>,
}

/// Where nothing new can be served, what is served goes on, in the number that is asked for; what did not come up in time
/// gives way to what was good before. That is found again each time: nobody writes it down meanwhile.
pub fn hold(deployment: &ModelDeployment, found: &Found, now: Timestamp) -> Held {
    let Some(current) = found.workloads.first() else {
        return Held::default();
    };
    let progress = progress(deployment, current, found, now);
    let target = match progress {
        Progress::Failed { to, .. } => to,
        _ => current,
    };
    let shares = share(
        deployment,
        found,
        target.revision(),
        &Needs::of(&target.live),
        now,
    );
    let counts = shares.pods.into_iter();
    Held {
        counts: counts
            .map(|(workload, count)| (Arc::clone(&workload.live), count))
            .collect(),
        again: [shares.again, progress.left()].into_iter().flatten().min(),
    }
}

/// Later than everything that was asked for before, whatever the clocks of two operators say.
fn begin(workloads: &[Workload], now: Timestamp) -> Timestamp {
    let latest = workloads.iter().map(|workload| workload.since).max();
    let after = latest.and_then(|latest| latest.checked_add(SignedDuration::from_micros(1)).ok());
    after.map_or(now, |after| after.max(now))
}

/// The revision to go back to: of all others, the one that was complete last; else, where no status tells, one that
/// answers.
pub(super) fn last_good<'a>(found: &'a Found, wanted: &str) -> Option<&'a Workload> {
    let others = || {
        found
            .workloads
            .iter()
            .filter(|workload| workload.revision() != wanted)
    };
    let answers = |workload: &&Workload| found.counts(workload.revision()).ready > 0;
    others()
        .filter(|workload| workload.completed.is_some())
        .max_by_key(|workload| workload.completed)
        .or_else(|| others().find(answers))
}

struct Shares<'a> {
    target: i32,
    pods: Vec<(&'a Workload, i32)>,
    manner: Manner,
    again: Option<Duration>,
}

/// Lets the pods of one revision take the place of all others'.
fn share<'a>(
    deployment: &ModelDeployment,
    found: &'a Found,
    target: &str,
    needs: &Needs,
    now: Timestamp,
) -> Shares<'a> {
    let spec = &deployment.spec;
    let (ours, mut others): (Vec<&Workload>, Vec<&Workload>) = found
        .workloads
        .iter()
        .partition(|workload| workload.revision() == target);
    // What never was complete goes first, what was complete last is kept longest.
    others.sort_by_key(|workload| (workload.completed, Reverse(workload.since)));
    let units = spec
        .accelerator
        .as_ref()
        .map_or(0, |asked| i64::from(asked.count));
    let spare = found.spare;
    let limit = if spare.is_some_and(|spare| spare >= units) {
        LONG_PATIENCE
    } else {
        PATIENCE
    };
    let homeless = ours.first().and_then(|ours| homeless(ours, found));
    let fewer = others.iter().filter_map(|other| other.fewer_since).max();
    let blocked = homeless.is_some_and(|(since, _)| now.duration_since(since) >= limit);
    let deadline = deadline(deployment);
    let stuck = |since: Timestamp| {
        now.duration_since(fewer.map_or(since, |fewer| fewer.max(since))) >= LONGEST_PATIENCE
    };
    let view = View {
        strategy: spec.rollout.strategy,
        wanted: replicas::wanted(deployment),
        target: ours.first().map_or_else(Pods::default, |ours| Pods {
            broken: 0,
            ..pods(ours, found, blocked, deadline, now)
        }),
        others: others
            .iter()
            .map(|other| pods(other, found, blocked, deadline, now))
            .collect(),
        leaving: count(
            found
                .leaving
                .iter()
                .filter(|pod| left_to_leave(pod, now).is_some())
                .count(),
        ),
        place: Place {
            units,
            spare,
            fits_in_exchange: others
                .iter()
                .find(|other| other.replicas() > 0)
                .is_some_and(|other| {
                    let lacking = homeless.map(|(_, words)| words);
                    needs.fit_in_place_of(&Needs::of(&other.live), lacking)
                }),
            blocked,
            stuck: homeless.is_some_and(|(since, _)| stuck(since)),
            given: ours
                .first()
                .zip(fewer)
                .is_some_and(|(ours, fewer)| fewer >= ours.since),
        },
    };
    let decision = decide(&view);
    let shares = ours
        .iter()
        .enumerate()
        // A second Deployment of the same revision is what an operator of the version before has made meanwhile.
        .map(|(at, ours)| (*ours, if at == 0 { decision.target } else { 0 }))
        .chain(others.into_iter().zip(decision.others));
    Shares {
        target: decision.target,
        pods: shares.collect(),
        manner: decision.manner,
        again: patience(found, deadline, now),
    }
}

/// How long a pod may take to answer.
fn deadline(deployment: &ModelDeployment) -> SignedDuration {
    let limit = deployment.spec.rollout.progress_deadline.get();
    SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX)
}

/// `blocked`: a pod of the revision that is to be served waits for room.
fn pods(workload: &Workload, found: &Found, blocked: bool, deadline: SignedDuration, now: Timestamp) -> Pods {
    let counts = found.counts(workload.revision());
    let unready = found
        .pods
        .iter()
        .filter(|pod| situation::revision(pod) == Some(workload.revision()) && !observed::is_ready(pod));
    // Nobody relies on a revision that never was complete, or was given up. A pod of another one that loads its model answers
    // before any that is new, unless something keeps it from it, or it is in the place of a new one.
    let lost = |pod: &&Arc<Pod>| {
        let passed = unready_for(pod, now);
        let is_vain = || blocked || passed >= deadline || observed::hindrance(pod).is_some();
        workload.completed.is_none() || workload.failed.is_some() || (passed >= PATIENCE && is_vain())
    };
    Pods {
        replicas: workload.replicas(),
        there: counts.current,
        ready: counts.ready,
        broken: count(unready.clone().filter(lost).count()),
        homeless: count(unready.filter(|pod| is_homeless(pod, now)).count()),
    }
}

fn is_homeless(pod: &Pod, now: Timestamp) -> bool {
    observed::unschedulable(pod).is_some_and(|(since, _)| now.duration_since(since) >= PATIENCE)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn unready_for(pod: &Pod, now: Timestamp) -> SignedDuration {
    let created = || pod.creation_timestamp().map(|time| time.0);
    let since = observed::since(pod, "Ready").or_else(created);
    since.map_or(SignedDuration::ZERO, |since| now.duration_since(since))
}

/// Why a pod finds no place, and since when: no node has room, or the API server makes none, as where a quota is used
/// up. The latter does not say since when, and is told only after a while.
fn homeless<'a>(workload: &'a Workload, found: &'a Found) -> Option<(Timestamp, &'a str)> {
    let refusal = situation::refusal(&workload.live).map(|words| (Timestamp::UNIX_EPOCH, words));
    let ours = |pod: &&Arc<Pod>| situation::revision(pod) == Some(workload.revision());
    let pods = found.pods.iter().filter(ours);
    pods.filter_map(|pod| observed::unschedulable(pod))
        .chain(refusal)
        .min_by_key(|(since, _)| *since)
}

/// How long the pod may still take to be gone. One that takes longer is on a node that does not answer, and what it
/// holds there is of use to nobody. Its deletion time is the end of its grace period.
fn left_to_leave(pod: &Pod, now: Timestamp) -> Option<SignedDuration> {
    let left = pod.metadata.deletion_timestamp.as_ref()?.0 + PATIENCE;
    Some(left.duration_since(now)).filter(jiff::SignedDuration::is_positive)
}

/// When the first pod's time is over that is waited for.
fn patience(found: &Found, deadline: SignedDuration, now: Timestamp) -> Option<Duration> {
    let waiting = found.pods.iter().filter(|pod| !observed::is_ready(pod));
    let homeless = waiting.clone().filter_map(|pod| observed::unschedulable(pod));
    let passed = waiting.map(|pod| unready_for(pod, now));
    let fewer = found.workloads.iter().filter_map(|workload| workload.fewer_since);
    let since = homeless.map(|(since, _)| since).chain(fewer);
    let passed = passed.chain(since.map(|since| now.duration_since(since)));
    passed
        .flat_map(|passed| {
            [PATIENCE, LONG_PATIENCE, LONGEST_PATIENCE, deadline].map(|limit| limit.saturating_sub(passed))
        })
        .filter(jiff::SignedDuration::is_positive)
        .chain(found.leaving.iter().filter_map(|pod| left_to_leave(pod, now)))
        .filter_map(|left| Duration::try_from(left).ok())
        .min()
}

/// The value of the annotation by which a person has a revision tried again.
pub fn retry(deployment: &ModelDeployment) -> Option<&str> {
    let value = deployment.annotations().get(RETRY_ANNOTATION)?;
    (!value.is_empty()).then_some(value.as_str())
}

/// Whether a person has a revision tried again that does not come up.
pub fn is_asked_again(deployment: &ModelDeployment, current: &Workload) -> bool {
    let asked = retry(deployment);
    asked.is_some() && asked != current.retry.as_deref() && !current.is_complete()
}
