//! How many replicas there are to be. Pure: what the spec asks for, what is known of the load, which replicas there are,
//! in; a number with its reason, out.
//!
//! ```text
//!   in flight (computed + waiting), summed over replicas
//!        │ mean over the window; over a tenth of it while requests wait
//!        ▼
//!   demand ÷ target ──► needed ──► more: at once, within max, one above the units, and what answers
//!                                  fewer: once the highest demand of the whole scaleDownDelay needs fewer
//! ```
//!
//! Why it does not flap: more are asked for only where the demand is a tenth above what the present number takes, and
//! fewer only where they would have been enough, at every moment, for a whole delay.

use std::time::Duration;

use super::measure::Usage;
use super::policy::Policy;

/// Part by which a demand may be above the target without a further replica: a mean of whole requests is never exact.
const TOLERANCE: f64 = 0.1;
/// Most replicas at once for each that answers, and most for few that do. A queue that grows while pods start says little
/// about how many will be needed when they have started.
const GROWTH: u32 = 2;
const FIRST_GROWTH: u32 = 4;
/// Pods beyond those that there are units for. Whoever can make room acts on a pod that waits: the scheduler, which
/// preempts; trainings, which give way; what adds nodes. A number that nobody sees moves none of them.
const WAITING: u32 = 1;
/// Slots count as taken from here on: a server computes nothing for an instant between two requests.
const TAKEN: f64 = 0.95;

/// What is known of the load of all replicas together.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Over the window.
    pub steady: Usage,
    /// Over its last tenth.
    pub short: Usage,
    /// The highest demand within the delay before a scale-down, this one among them.
    pub highest: f64,
    /// Requests that a replica computes at a time; 0 where it does not say.
    pub slots: f64,
    /// For how long there has been a load of anyone to take means of: right after the operator's start, they are of an
    /// instant.
    pub seen_for: Duration,
    /// For how long the load of every replica has been known without a gap.
    pub known_for: Duration,
    /// Whether it is known of every replica that answers, now.
    pub complete: bool,
}

/// The replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// As many as were asked for last.
    pub desired: u32,
    /// As many as answer.
    pub ready: u32,
    /// As many as there are units of the accelerator for, as far as that is known.
    pub units_allow: Option<u32>,
}

/// Why the number changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Requests wait, or the next would.
    Queueing,
    /// More in flight than the target says.
    AboveTarget,
    /// Fewer replicas have been enough for long.
    BelowTarget,
    /// The spec's lower bound was raised.
    BelowMinimum,
    /// The spec's upper bound was lowered.
    AboveMaximum,
}

impl Reason {
    /// CamelCase, for the status.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Queueing => "Queueing",
            Reason::AboveTarget => "AboveTarget",
            Reason::BelowTarget => "BelowTarget",
            Reason::BelowMinimum => "BelowMinimum",
            Reason::AboveMaximum => "AboveMaximum",
        }
    }
}

/// What keeps the number below what the load asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The spec's upper bound.
    Maximum,
    /// The accelerator's units.
    Units,
}

/// Whether the number follows the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It does.
    Known,
    /// Of some replicas only: there may be more, not fewer.
    Partly,
    /// No replica tells its load: the number stays.
    Unknown,
    /// No replica answers: the number stays.
    NoReplica,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Replicas from now on.
    pub to: u32,
    /// Why, where that is another number than before.
    pub change: Option<Change>,
    /// What keeps it below what the load asks for.
    pub limit: Option<Limit>,
    /// Whether the load is known.
    pub sight: Sight,
}

/// Why the number is another than before.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// In one word.
    pub reason: Reason,
    /// In one sentence.
    pub message: String,
    /// What was looked at; nothing where the bounds alone ask for it.
    pub inputs: Option<Inputs>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// Requests in flight.
    pub in_flight: f64,
    /// Those of them that waited.
    pub queued: f64,
    /// Requests per replica that were aimed at.
    pub target: f64,
    /// Time that was looked at.
    pub window: Duration,
}

/// The requests in flight that replicas are wanted for, and whether some of them wait.
///
/// While none does, the steady mean is right and a short peak is none of anybody's business.
pub fn demand(steady: Usage, short: Usage, slots: f64, ready: u32) -> (f64, bool) {
    let taken = slots > 0.0 && short.computed >= TAKEN * slots * f64::from(ready);
    if short.queued > 0.0 || taken {
        (short.in_flight().max(steady.in_flight()), true)
    } else {
        (steady.in_flight(), false)
    }
}

/// How many replicas there are to be. `load` is nothing where no replica has told it lately.
pub fn decide(policy: &Policy, load: Option<&Load>, fleet: &Fleet) -> Verdict {
    let within = fleet.desired.clamp(policy.min, policy.max);
    let (Some(load), true) = (load, fleet.ready > 0) else {
        let sight = if fleet.ready == 0 {
            Sight::NoReplica
        } else {
            Sight::Unknown
        };
        return Verdict {
            to: within,
            change: bounds(policy, fleet.desired, within),
            limit: None,
            sight,
        };
    };
    let target = policy.target(load.slots);
    let (now, queueing) = demand(load.steady, load.short, load.slots, fleet.ready);
    let highest = load.highest.max(now);
    let units = fleet.units_allow.unwrap_or(u32::MAX);
    let verdict = |to, change| Verdict {
        to,
        change,
        limit: limit(policy, highest, target, units),
        sight: if load.complete {
            Sight::Known
        } else {
            Sight::Partly
        },
    };
    if within != fleet.desired {
        return verdict(within, bounds(policy, fleet.desired, within));
    }

    let growth = fleet
        .ready
        .saturating_mul(GROWTH)
        .max(fleet.ready.saturating_add(FIRST_GROWTH));
    let beyond = now > f64::from(within) * target * (1.0 + TOLERANCE);
    let more = needed(now, target)
        .min(policy.max)
        .min(units.saturating_add(WAITING))
        .min(growth);
    let long_enough = load.seen_for >= if queueing { policy.short } else { policy.window };
    if beyond && more > within && long_enough {
        let change = raise(policy, load, fleet, (more, needed(now, target)), queueing);
        return verdict(more, Some(change));
    }
    let fewer = needed(highest, target).max(policy.min);
    if fewer < within && load.complete && load.known_for >= policy.scale_down_delay {
        return verdict(fewer, Some(lower(policy, load, highest, fewer)));
    }
    verdict(within, None)
}

/// Replicas that a demand needs.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A cast of a float saturates.
fn needed(demand: f64, target: f64) -> u32 {
    (demand / target).ceil() as u32
}

/// What keeps the number down: more would be asked for only where the demand is as far above as for any further replica.
fn limit(policy: &Policy, highest: f64, target: f64, units: u32) -> Option<Limit> {
    let most = policy.max.min(units);
    let is_short = highest > f64::from(most) * target * (1.0 + TOLERANCE);
    is_short.then_some(if units < policy.max {
        Limit::Units
    } else {
        Limit::Maximum
    })
}

fn bounds(policy: &Policy, from: u32, to: u32) -> Option<Change> {
    let change = |reason, message| {
        Some(Change {
            reason,
            message,
            inputs: None,
        })
    };
    match from.cmp(&to) {
        std::cmp::Ordering::Less => change(
            Reason::BelowMinimum,
            format!("autoscaling.minReplicas is {}", policy.min),
        ),
        std::cmp::Ordering::Greater => change(
            Reason::AboveMaximum,
            format!("autoscaling.maxReplicas is {}", policy.max),
        ),
        std::cmp::Ordering::Equal => None,
    }
}

fn raise(policy: &Policy, load: &Load, fleet: &Fleet, (to, needed): (u32, u32), queueing: bool) -> Change {
    let by_short = queueing && load.short.in_flight() >= load.steady.in_flight();
    let (usage, window) = if by_short {
        (load.short, policy.short)
    } else {
        (load.steady, policy.window)
    };
    let target = policy.target(load.slots);
    let waiting = if usage.queued >= 0.05 {
        format!(", {} of them waiting", number(usage.queued))
    } else {
        String::new()
    };
    let why = if let Some(units) = fleet.units_allow.filter(|&units| units < to) {
        format!("; there are units of the accelerator for {units}, so the last one waits for some")
    } else if to == needed {
        String::new()
    } else if to == policy.max {
        "; maxReplicas allows no more".to_owned()
    } else {
        "; whether that is enough is seen when they answer".to_owned()
    };
    Change {
        reason: if queueing {
            Reason::Queueing
        } else {
            Reason::AboveTarget
        },
        message: format!(
            "{} requests in flight over {} s{waiting}, on {} that {}: {needed} replicas take {} each, {to} are asked for{why}",
            number(usage.in_flight()),
            window.as_secs(),
            replicas(fleet.ready),
            if fleet.ready == 1 { "answers" } else { "answer" },
            number(target),
        ),
        inputs: Some(Inputs {
            in_flight: usage.in_flight(),
            queued: usage.queued,
            target,
            window,
        }),
    }
}

fn lower(policy: &Policy, load: &Load, highest: f64, to: u32) -> Change {
    let target = policy.target(load.slots);
    Change {
        reason: Reason::BelowTarget,
        message: format!(
            "at most {} requests in flight within the last {} s: {} at {} each {} enough",
            number(highest),
            policy.scale_down_delay.as_secs(),
            replicas(to),
            number(target),
            if to == 1 { "is" } else { "are" },
        ),
        inputs: Some(Inputs {
            in_flight: highest,
            queued: load.short.queued,
            target,
            window: policy.scale_down_delay,
        }),
    }
}

fn replicas(count: u32) -> String {
    format!("{count} replica{}", if count == 1 { "" } else { "s" })
}

/// A mean, to hundredths.
pub(super) fn number(mean: f64) -> f64 {
    (mean * 100.0).round() / 100.0
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
