//! Tests of the schedule and of the algorithms by it.

use std::cell::Cell;

use sconce_contract::{Failure, FailureClass};
use serde_json::json;

use super::*;

fn search(change: &Value) -> Search {
    let mut value = json!({
        "objective": {"metric": "rmse"}, "maxTrials": 40,
        "space": [{"path": "x", "uniform": {"min": 0.0, "max": 1.0}}, {"path": "y", "logUniform": {"min": 0.001, "max": 1.0}}],
    });
    for (name, new) in change.as_object().unwrap() {
        value[name] = new.clone();
    }
    serde_json::from_value(value).unwrap()
}

fn seeded(seed: u64, epochs: u32) -> Hyperparameters {
    Hyperparameters {
        seed,
        epochs,
        ..Hyperparameters::default()
    }
}

/// All slots, of jobs that end in the order in which `last_first` says.
fn carried_out(schedule: &Schedule<'_>, last_first: bool, outcome: impl Fn(&Job) -> Outcome) -> Vec<Slot> {
    let mut slots: Vec<Slot> = Vec::new();
    loop {
        while let Some(known) = schedule.known(&slots).map(<[Slot]>::len) {
            if schedule.is_over(&slots) {
                return slots;
            }
            let job = schedule.next(&slots, known);
            slots.push(Slot { job, outcome: None });
        }
        let waits = |slot: &Slot| slot.job.is_some() && slot.outcome.is_none();
        let found = match last_first {
            true => slots.iter().rposition(waits),
            false => slots.iter().position(waits),
        };
        let slot = &mut slots[found.unwrap()];
        slot.outcome = slot.job.as_ref().map(&outcome);
    }
}

fn coordinate(job: &Job, index: usize) -> f64 {
    job.point[index].as_f64().unwrap()
}

/// Lowest, 0, at x = 0.3 and y = 0.02.
fn valley(job: &Job) -> Outcome {
    let (x, y) = (coordinate(job, 0) - 0.3, (coordinate(job, 1) / 0.02).log10());
    Outcome::Reached(x * x + 0.2 * y * y)
}

fn failed(_: &Job) -> Outcome {
    Outcome::Failed(Failure::new(FailureClass::Diverged, "NaN"))
}

fn reached(goal: Goal, slots: &[Slot]) -> f64 {
    best(goal, slots)
        .unwrap()
        .outcome
        .as_ref()
        .unwrap()
        .value()
        .unwrap()
}

#[test]
fn the_same_search_makes_the_same_trials_in_whatever_order_they_end() {
    for algorithm in ["Random", "TPE", "ASHA"] {
        for parallel in [1, 4, 7] {
            let search = search(&json!({"algorithm": algorithm, "parallelTrials": parallel}));
            let hyperparameters = seeded(5, 27);
            let schedule = Schedule::new(&search, &hyperparameters);
            let (one, other) = (
                carried_out(&schedule, false, valley),
                carried_out(&schedule, true, valley),
            );
            assert_eq!(one, other, "{algorithm} {parallel}");
            assert_eq!(begun(&one), 40);
            let hyperparameters = seeded(6, 27);
            let another = carried_out(&Schedule::new(&search, &hyperparameters), false, valley);
            assert_ne!(one, another, "{algorithm}: another seed");
        }
    }
}

#[test]
fn a_search_whose_trials_all_fail_ends() {
    for algorithm in ["Random", "TPE", "ASHA"] {
        let search = search(&json!({"algorithm": algorithm, "parallelTrials": 3}));
        let hyperparameters = seeded(5, 9);
        let slots = carried_out(&Schedule::new(&search, &hyperparameters), false, failed);
        assert_eq!(begun(&slots), 40, "{algorithm}");
        assert_eq!(best(Goal::Minimize, &slots), None);
    }
}

#[test]
fn a_grid_is_tried_whole() {
    let space = json!([{"path": "x", "choice": [0.1, 0.3, 0.5]}, {"path": "y", "choice": [0.02, 0.2]}]);
    let search = search(&json!({"algorithm": "Grid", "space": space, "parallelTrials": 2}));
    let hyperparameters = seeded(0, 10);
    let slots = carried_out(&Schedule::new(&search, &hyperparameters), false, valley);
    assert_eq!(begun(&slots), 6);
    let best = best(Goal::Minimize, &slots).unwrap().job.as_ref().unwrap();
    assert_eq!(best.point, [json!(0.3), json!(0.02)]);
}

#[test]
fn tpe_finds_a_lower_place_than_random_on_most_seeds() {
    let [random, tpe] = ["Random", "TPE"].map(|algorithm| {
        let search = search(&json!({"algorithm": algorithm}));
        let reach = |seed| {
            let hyperparameters = seeded(seed, 10);
            let slots = carried_out(&Schedule::new(&search, &hyperparameters), false, valley);
            reached(Goal::Minimize, &slots)
        };
        (0..60).map(reach).collect::<Vec<f64>>()
    });
    let wins = random
        .iter()
        .zip(&tpe)
        .filter(|(random, tpe)| tpe < random)
        .count();
    let median = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    assert!(wins >= 42, "{wins} of 60");
    let (random, tpe) = (median(&random), median(&tpe));
    assert!(tpe < random / 2.0, "TPE {tpe}, random {random}");
}

#[test]
fn tpe_prefers_the_choice_that_was_good() {
    let space = json!([{"path": "x", "choice": ["a", "b", "c", "d", "e", "f"]}]);
    let search = search(&json!({"space": space, "maxTrials": 60}));
    let outcome = |job: &Job| Outcome::Reached(if job.point[0] == "d" { 0.0 } else { 1.0 });
    let hyperparameters = seeded(1, 10);
    let slots = carried_out(&Schedule::new(&search, &hyperparameters), false, outcome);
    let late = slots[30..].iter().filter_map(|slot| slot.job.as_ref());
    let good = late.filter(|job| job.point[0] == "d").count();
    assert!(good > 15, "{good} of 30");
}

#[test]
fn asha_promotes_exactly_the_best_third() {
    let search = search(&json!({"algorithm": "ASHA", "maxTrials": 27}));
    let hyperparameters = seeded(3, 9);
    let schedule = Schedule::new(&search, &hyperparameters);
    // The nine that are known have the values 8, 7, … 0: the later the better.
    let slot = |trial: u32, value: f64| Slot {
        job: Some(Job {
            trial,
            rung: 0,
            epochs: 1,
            point: vec![],
        }),
        outcome: Some(Outcome::Reached(value)),
    };
    let mut slots: Vec<Slot> = (0..9).map(|trial| slot(trial, 8.0 - f64::from(trial))).collect();
    let mut promoted = Vec::new();
    while let Some(job) = asha::promoted(&schedule.rungs, 3, schedule.goal, &slots, 9) {
        assert_eq!((job.rung, job.epochs), (1, 3));
        promoted.push(job.trial);
        slots.push(Slot {
            job: Some(job),
            outcome: None,
        });
    }
    assert_eq!(promoted, [8, 7, 6], "and the next is a new trial");
    let next = schedule.next(&slots, 9).unwrap();
    assert_eq!((next.trial, next.rung), (9, 0));
}

#[test]
fn asha_lets_few_learn_to_the_end_and_at_least_one() {
    for (trials, least, most) in [(27, 1, 6), (2, 1, 1)] {
        let search = search(&json!({"algorithm": "ASHA", "maxTrials": trials, "parallelTrials": 2}));
        let hyperparameters = seeded(3, 9);
        let slots = carried_out(&Schedule::new(&search, &hyperparameters), false, valley);
        let jobs: Vec<&Job> = slots.iter().filter_map(|slot| slot.job.as_ref()).collect();
        let of = |rung: usize| jobs.iter().filter(|job| job.rung == rung).count();
        assert_eq!(of(0), trials);
        assert!((least..=most).contains(&of(2)), "{} of {trials}", of(2));
        let best = best(Goal::Minimize, &slots).unwrap().job.as_ref().unwrap();
        assert_eq!(best.epochs, 9, "the best is one that learned to the end");
    }
}

/// The trial and the rung of each job.
type Jobs = Vec<(u32, usize)>;

/// Nine trials by ASHA, of which the earlier is the better one: the trial and rung of each job, and the trial and epochs of
/// the best. Those that `fails` names fail in the last rung.
fn halved(parallel: u32, last_first: bool, fails: impl Fn(u32) -> bool) -> (Jobs, Option<(u32, u32)>) {
    let search = search(&json!({"algorithm": "ASHA", "maxTrials": 9, "parallelTrials": parallel}));
    let hyperparameters = seeded(3, 9);
    let schedule = Schedule::new(&search, &hyperparameters);
    assert_eq!(schedule.rungs, [1, 3, 9]);
    let count = Cell::new(0);
    let slots = carried_out(&schedule, last_first, |job| {
        count.set(count.get() + 1);
        assert!(
            count.get() <= 9 * 3,
            "a trial is given the same rung again: {job:?}"
        );
        match job.rung == 2 && fails(job.trial) {
            true => failed(job),
            false => Outcome::Reached(f64::from(job.trial)),
        }
    });
    let jobs = slots.iter().filter_map(|slot| slot.job.as_ref());
    let best = best(schedule.goal, &slots).and_then(|slot| slot.job.as_ref());
    (
        jobs.map(|job| (job.trial, job.rung)).collect(),
        best.map(|job| (job.trial, job.epochs)),
    )
}

fn of_the_last_rung(jobs: &[(u32, usize)]) -> Vec<u32> {
    let last = jobs.iter().filter(|(_, rung)| *rung == 2);
    last.map(|(trial, _)| *trial).collect()
}

#[test]
fn asha_lets_the_next_best_learn_to_the_end_where_the_only_finalist_fails() {
    for (parallel, last_first) in [(1, false), (3, false), (3, true)] {
        let (jobs, best) = halved(parallel, last_first, |_| false);
        assert_eq!((of_the_last_rung(&jobs), best), (vec![0], Some((0, 9))));
        let (jobs, best) = halved(parallel, last_first, |trial| trial == 0);
        assert_eq!((of_the_last_rung(&jobs), best), (vec![0, 1], Some((1, 9))));
        assert_eq!(jobs.len(), 9 + 3 + 2, "{parallel}: {jobs:?}");
    }
}

#[test]
fn asha_ends_without_a_best_where_every_trial_fails_in_the_last_rung() {
    for (parallel, last_first) in [(1, false), (3, false), (3, true)] {
        let (jobs, best) = halved(parallel, last_first, |_| true);
        let different: BTreeSet<(u32, usize)> = jobs.iter().copied().collect();
        assert_eq!((jobs.len(), different.len()), (9 * 3, 9 * 3), "{parallel}");
        let in_turn: Vec<u32> = (0..9).collect();
        assert_eq!(of_the_last_rung(&jobs), in_turn, "the better ones first");
        assert_eq!(best, None, "what failed later is no model");
    }
}

#[test]
fn of_equals_the_earliest_is_the_best() {
    let search = search(&json!({"algorithm": "Random", "maxTrials": 5}));
    let hyperparameters = seeded(3, 9);
    let slots = carried_out(&Schedule::new(&search, &hyperparameters), true, |_| {
        Outcome::Reached(1.0)
    });
    assert_eq!(
        best(Goal::Maximize, &slots).unwrap().job.as_ref().unwrap().trial,
        0
    );
}
