//! Asynchronous successive halving (Li et al. 2020): of the trials that have learned as long as one another, one in
//! `factor` goes on to learn `factor` times as long.

use sconce_contract::Goal;

use super::schedule::{Job, Outcome, Slot};

/// The trial that goes on, the furthest first; nothing where none does yet. The best `1 / factor` of a rung (rounded
/// down) go on: a trial that failed counts, and never goes on.
pub fn promoted(rungs: &[u32], factor: u32, goal: Goal, slots: &[Slot], known: usize) -> Option<Job> {
    (0..rungs.len().saturating_sub(1)).rev().find_map(|rung| {
        let ended = ranked(rung, goal, &slots[..known]);
        let chosen = ended.len() / factor.max(1) as usize;
        next(&ended[..chosen], rungs, slots)
    })
}

/// Where nobody has learned to the end and nothing else is left to do: the best of those that learned longest and have not
/// gone on. Where one that goes on fails, the next best has its turn, until one has learned to the end or all have failed.
pub fn champion(rungs: &[u32], goal: Goal, slots: &[Slot]) -> Option<Job> {
    let last = rungs.len().saturating_sub(1);
    let to_the_end = ranked(last, goal, slots);
    if to_the_end.iter().any(|(_, value)| value.is_some()) {
        return None;
    }
    (0..last)
        .rev()
        .find_map(|rung| next(&ranked(rung, goal, slots), rungs, slots))
}

/// The first of those that ended on a rung that has a value and has not gone on, a rung further.
fn next(ended: &[(&Job, Option<f64>)], rungs: &[u32], slots: &[Slot]) -> Option<Job> {
    let next = ended
        .iter()
        .find(|(job, value)| value.is_some() && !has_gone_on(slots, job));
    next.map(|(job, _)| onwards(job, rungs))
}

fn onwards(job: &Job, rungs: &[u32]) -> Job {
    Job {
        rung: job.rung + 1,
        epochs: rungs[job.rung + 1],
        ..job.clone()
    }
}

fn has_gone_on(slots: &[Slot], job: &Job) -> bool {
    slots
        .iter()
        .filter_map(|slot| slot.job.as_ref())
        .any(|other| other.trial == job.trial && other.rung > job.rung)
}

/// Those that ended on a rung, the best first, of equals the earliest.
fn ranked(rung: usize, goal: Goal, slots: &[Slot]) -> Vec<(&Job, Option<f64>)> {
    let ended = slots.iter().filter_map(|slot| {
        let job = slot.job.as_ref().filter(|job| job.rung == rung)?;
        Some((job, slot.outcome.as_ref()?.value()))
    });
    let mut ended: Vec<_> = ended.collect();
    ended.sort_by(|one, other| goal.compare(one.1, other.1).then(one.0.trial.cmp(&other.0.trial)));
    ended
}

/// Whether a trial that ended so is done with, for the count of those that were stopped.
pub fn is_stopped(job: &Job, outcome: &Outcome, rungs: &[u32]) -> bool {
    job.rung + 1 < rungs.len() && outcome.value().is_some()
}
