use proptest::prelude::*;

use super::*;

fn policy(min: u32, max: u32, target: f64) -> Policy {
    Policy {
        min,
        max,
        target: Some(target),
        window: Duration::from_secs(30),
        short: Duration::from_secs(3),
        scale_down_delay: Duration::from_secs(120),
    }
}

fn usage(computed: f64, queued: f64) -> Usage {
    Usage { computed, queued }
}

/// The same load for long, of servers that compute one request at a time.
fn constant(usage: Usage) -> Load {
    Load {
        steady: usage,
        short: usage,
        highest: usage.in_flight(),
        slots: 1.0,
        seen_for: Duration::from_secs(1000),
        known_for: Duration::from_secs(1000),
        complete: true,
    }
}

fn fleet(desired: u32, ready: u32) -> Fleet {
    Fleet {
        desired,
        ready,
        units_allow: None,
    }
}

fn reason(verdict: &Verdict) -> Option<Reason> {
    verdict.change.as_ref().map(|change| change.reason)
}

#[test]
fn the_number_follows_the_load() {
    use Reason::{AboveTarget, BelowTarget, Queueing};
    let policy = policy(1, 8, 1.0);
    for (name, load, before, to, why) in [
        ("idle", usage(0.0, 0.0), fleet(1, 1), 1, None),
        ("busy", usage(0.8, 0.0), fleet(1, 1), 1, None),
        ("just above", usage(1.0, 0.09), fleet(1, 1), 1, None),
        ("one waits", usage(1.0, 0.5), fleet(1, 1), 2, Some(Queueing)),
        ("three wait", usage(1.0, 2.9), fleet(1, 1), 4, Some(Queueing)),
        (
            "all slots taken",
            usage(1.95, 0.0),
            fleet(1, 2),
            2,
            Some(Queueing),
        ),
        ("enough are on their way", usage(1.0, 3.0), fleet(4, 1), 4, None),
        ("gone", usage(0.0, 0.0), fleet(4, 4), 1, Some(BelowTarget)),
        ("less", usage(1.7, 0.0), fleet(4, 4), 2, Some(BelowTarget)),
        ("as much as before", usage(3.2, 0.0), fleet(4, 4), 4, None),
    ] {
        let verdict = decide(&policy, Some(&constant(load)), &before);
        assert_eq!((verdict.to, reason(&verdict)), (to, why), "{name}: {verdict:?}");
    }
    // A target below what a server computes at a time is passed without a queue.
    let roomy = Load {
        slots: 4.0,
        ..constant(usage(3.0, 0.0))
    };
    let verdict = decide(&policy, Some(&roomy), &fleet(1, 1));
    assert_eq!((verdict.to, reason(&verdict)), (3, Some(AboveTarget)));
}

#[test]
fn a_short_peak_counts_only_where_requests_wait() {
    let policy = policy(1, 8, 1.0);
    let peak = |short| Load {
        short,
        slots: 8.0,
        ..constant(usage(0.5, 0.0))
    };
    assert_eq!(decide(&policy, Some(&peak(usage(5.0, 0.0))), &fleet(1, 1)).to, 1);
    let verdict = decide(&policy, Some(&peak(usage(5.0, 0.1))), &fleet(1, 1));
    assert_eq!((verdict.to, reason(&verdict)), (5, Some(Reason::Queueing)));
    // The queue is gone, the mean of the window is not.
    let over = Load {
        steady: usage(3.0, 0.0),
        ..peak(usage(0.0, 0.1))
    };
    assert_eq!(decide(&policy, Some(&over), &fleet(1, 1)).to, 3);
}

#[test]
fn without_data_nothing_moves_but_into_the_bounds() {
    let policy = policy(2, 4, 1.0);
    for (before, to, sight, why) in [
        (fleet(3, 3), 3, Sight::Unknown, None),
        (fleet(3, 0), 3, Sight::NoReplica, None),
        (fleet(1, 1), 2, Sight::Unknown, Some(Reason::BelowMinimum)),
        (fleet(9, 0), 4, Sight::NoReplica, Some(Reason::AboveMaximum)),
    ] {
        let verdict = decide(&policy, None, &before);
        assert_eq!(
            (verdict.to, verdict.sight, reason(&verdict)),
            (to, sight, why),
            "{before:?}"
        );
    }
    // What was measured of pods that are gone does not count.
    let verdict = decide(&policy, Some(&constant(usage(9.0, 9.0))), &fleet(3, 0));
    assert_eq!((verdict.to, verdict.sight), (3, Sight::NoReplica));
}

#[test]
fn what_is_partly_known_asks_for_more_and_never_for_fewer() {
    let policy = policy(1, 8, 1.0);
    let partly = |usage| Load {
        complete: false,
        ..constant(usage)
    };
    let verdict = decide(&policy, Some(&partly(usage(1.0, 0.0))), &fleet(4, 4));
    assert_eq!((verdict.to, verdict.sight), (4, Sight::Partly));
    assert_eq!(
        decide(&policy, Some(&partly(usage(4.0, 3.0))), &fleet(4, 4)).to,
        7
    );
}

#[test]
fn fewer_only_after_the_delay_and_only_as_few_as_were_enough_throughout() {
    let policy = policy(1, 8, 1.0);
    let calm = constant(usage(0.5, 0.0));
    let known = |seconds| Load {
        known_for: Duration::from_secs(seconds),
        ..calm.clone()
    };
    assert_eq!(decide(&policy, Some(&known(119)), &fleet(4, 4)).to, 4);
    assert_eq!(decide(&policy, Some(&known(120)), &fleet(4, 4)).to, 1);
    let earlier = Load {
        highest: 2.5,
        ..known(120)
    };
    let verdict = decide(&policy, Some(&earlier), &fleet(4, 4));
    assert_eq!((verdict.to, reason(&verdict)), (3, Some(Reason::BelowTarget)));
    assert_eq!(
        verdict.change.unwrap().message,
        "at most 2.5 requests in flight within the last 120 s: 3 replicas at 1 each are enough"
    );
}

#[test]
fn limits_hold_and_are_told() {
    let policy = policy(1, 4, 1.0);
    let verdict = decide(&policy, Some(&constant(usage(1.0, 8.0))), &fleet(1, 1));
    assert_eq!((verdict.to, verdict.limit), (4, Some(Limit::Maximum)));
    assert_eq!(
        verdict.change.unwrap().message,
        "9 requests in flight over 3 s, 8 of them waiting, on 1 replica that answers: 9 replicas take 1 each, \
         4 are asked for; maxReplicas allows no more"
    );
    let scarce = Fleet {
        units_allow: Some(2),
        ..fleet(1, 1)
    };
    let verdict = decide(&policy, Some(&constant(usage(1.0, 3.0))), &scarce);
    assert_eq!((verdict.to, verdict.limit), (3, Some(Limit::Units)));
    assert!(verdict.change.unwrap().message.ends_with(
        "3 are asked for; there are units of the accelerator for 2, so the last one waits for some"
    ));
    // While it waits, no further one joins it.
    let waiting = Fleet { desired: 3, ..scarce };
    let verdict = decide(&policy, Some(&constant(usage(1.0, 3.0))), &waiting);
    assert_eq!((verdict.to, verdict.limit), (3, Some(Limit::Units)));
    // Units that went away take no replica that is there.
    let fewer = Fleet {
        units_allow: Some(1),
        ..fleet(3, 3)
    };
    let verdict = decide(&policy, Some(&constant(usage(3.0, 2.0))), &fewer);
    assert_eq!((verdict.to, verdict.limit), (3, Some(Limit::Units)));
}

#[test]
fn a_queue_that_grows_while_pods_start_does_not_bring_up_hundreds() {
    let policy = policy(1, 1000, 1.0);
    let flood = constant(usage(1.0, 511.0));
    let verdict = decide(&policy, Some(&flood), &fleet(1, 1));
    assert_eq!((verdict.to, verdict.limit), (5, None));
    assert_eq!(decide(&policy, Some(&flood), &fleet(5, 1)).to, 5);
    assert_eq!(decide(&policy, Some(&flood), &fleet(5, 5)).to, 10);
    assert_eq!(decide(&policy, Some(&flood), &fleet(10, 10)).to, 20);
}

#[test]
fn what_was_seen_for_an_instant_asks_for_nothing() {
    let policy = policy(1, 8, 1.0);
    let seen = |seconds, usage| Load {
        seen_for: Duration::from_secs(seconds),
        ..constant(usage)
    };
    let (queue, many) = (usage(1.0, 2.0), usage(3.0, 0.0));
    for (seconds, load, slots, to) in [
        (0, queue, 1.0, 1),
        (2, queue, 1.0, 1),
        (3, queue, 1.0, 3),
        (3, many, 8.0, 1),
        (29, many, 8.0, 1),
        (30, many, 8.0, 3),
    ] {
        let load = Load {
            slots,
            ..seen(seconds, load)
        };
        assert_eq!(
            decide(&policy, Some(&load), &fleet(1, 1)).to,
            to,
            "{seconds} s: {load:?}"
        );
    }
}

#[test]
fn the_default_target_is_a_share_of_what_a_server_computes_at_a_time() {
    let policy = Policy {
        target: None,
        ..policy(1, 8, 1.0)
    };
    let load = Load {
        slots: 4.0,
        ..constant(usage(5.0, 0.0))
    };
    assert_eq!(decide(&policy, Some(&load), &fleet(1, 1)).to, 2);
}

#[test]
fn the_example_of_the_documentation_is_what_happens() {
    let policy = Policy {
        target: None,
        ..policy(1, 8, 1.0)
    };
    let docs = include_str!("../../../docs/scale.md");
    let docs = docs.split_whitespace().collect::<Vec<_>>().join(" ");
    let calm = Load {
        highest: 0.4,
        ..constant(usage(0.4, 0.0))
    };
    for (load, before, to, shown) in [
        (constant(usage(1.0, 5.0)), fleet(1, 1), 5, "1 to 5 Queueing"),
        (constant(usage(5.0, 1.0)), fleet(5, 5), 8, "8 are asked for"),
        (calm, fleet(8, 8), 1, "8 to 1 BelowTarget"),
    ] {
        let verdict = decide(&policy, Some(&load), &before);
        assert_eq!(verdict.to, to);
        let change = verdict.change.unwrap();
        let told = format!(
            "{} to {to} {} {}",
            before.desired,
            change.reason.name(),
            change.message
        );
        let from = told.find(shown).unwrap();
        assert!(docs.contains(&told[from..]), "docs/scale.md does not show {told}");
    }
}

prop_compose! {
    fn policies()(min in 1_u32..20, more in 0_u32..40, target in 0.1..20.0_f64) -> Policy {
        policy(min, min + more, target)
    }
}

prop_compose! {
    fn loads()(
        computed in 0.0..40.0_f64, queued in prop_oneof![Just(0.0), 0.0..60.0_f64],
        short in 0.0..40.0_f64, waiting in prop_oneof![Just(0.0), 0.0..60.0_f64],
        highest in 0.0..100.0_f64, slots in 0.0..9.0_f64, seen in 0_u64..60, known in 0_u64..300,
        complete: bool,
    ) -> Load {
        Load {
            steady: usage(computed, queued), short: usage(short, waiting), highest, slots,
            seen_for: Duration::from_secs(seen), known_for: Duration::from_secs(known), complete,
        }
    }
}

prop_compose! {
    fn fleets()(desired in 0_u32..80, ready in 0_u32..80, units in prop::option::of(0_u32..80)) -> Fleet {
        Fleet { desired, ready, units_allow: units }
    }
}

proptest! {
    #[test]
    fn always_within_the_bounds(policy in policies(), load in prop::option::of(loads()), fleet in fleets()) {
        let verdict = decide(&policy, load.as_ref(), &fleet);
        prop_assert!((policy.min..=policy.max).contains(&verdict.to));
        prop_assert_eq!(verdict.change.is_some(), verdict.to != fleet.desired);
    }

    #[test]
    fn more_load_never_means_fewer(
        policy in policies(), load in loads(), fleet in fleets(), by in 1.0..5.0_f64,
    ) {
        let scale = |u: Usage| usage(u.computed * by, u.queued * by);
        let more = Load {
            steady: scale(load.steady), short: scale(load.short), highest: load.highest * by, ..load.clone()
        };
        let (less, more) = (decide(&policy, Some(&load), &fleet), decide(&policy, Some(&more), &fleet));
        prop_assert!(more.to >= less.to, "{less:?} {more:?}");
    }

    #[test]
    fn no_data_no_change(policy in policies(), fleet in fleets()) {
        let verdict = decide(&policy, None, &fleet);
        prop_assert_eq!(verdict.to, fleet.desired.clamp(policy.min, policy.max));
    }

    #[test]
    fn never_below_what_the_load_needs_now(policy in policies(), load in loads(), fleet in fleets()) {
        let verdict = decide(&policy, Some(&load), &fleet);
        let (now, _) = demand(load.steady, load.short, load.slots, fleet.ready);
        if verdict.to < fleet.desired.min(policy.max) {
            prop_assert!(f64::from(verdict.to) * policy.target(load.slots) >= now * (1.0 - 1e-9));
        }
    }

    #[test]
    fn at_most_one_waits_for_a_unit(policy in policies(), load in loads(), fleet in fleets()) {
        let verdict = decide(&policy, Some(&load), &fleet);
        if let (Some(units), true) = (fleet.units_allow, verdict.to > fleet.desired.max(policy.min)) {
            prop_assert!(verdict.to <= units.saturating_add(WAITING));
        }
    }

    /// Under a constant load, whatever the number was: up at once as far as what answers allows, down after the delay,
    /// and then no further change, ever.
    #[test]
    fn a_constant_load_is_settled_and_stays_so(
        policy in policies(), computed in 0.0..40.0_f64, queued in prop_oneof![Just(0.0), 0.0..60.0_f64], start in 1_u32..80,
    ) {
        let load = constant(usage(computed, queued));
        let mut desired = start;
        let mut changes = 0;
        for _ in 0..20 {
            let verdict = decide(&policy, Some(&load), &fleet(desired, desired));
            changes += u32::from(verdict.to != desired);
            desired = verdict.to;
        }
        // Into the bounds, then doublings, or one way down.
        prop_assert!(changes <= 8, "{changes} changes");
        let last = decide(&policy, Some(&load), &fleet(desired, desired));
        prop_assert_eq!(last.to, desired);
        let enough = f64::from(desired) * policy.target(1.0) * (1.0 + TOLERANCE) >= load.highest;
        prop_assert!(enough || desired == policy.max);
    }

    /// A load that wavers by less than the tolerance never brings the number back up, even without any delay.
    #[test]
    fn a_load_that_wavers_a_little_does_not_flap(
        base in 0.5..60.0_f64, wavers in prop::collection::vec(0.96..1.04_f64, 50),
    ) {
        let policy = Policy { scale_down_delay: Duration::ZERO, ..policy(1, 200, 1.0) };
        let mut desired = needed(base, 1.0).max(1);
        for waver in wavers {
            let load = constant(usage(base * waver, 0.0));
            let verdict = decide(&policy, Some(&load), &fleet(desired, desired));
            prop_assert!(verdict.to <= desired, "{desired} to {}", verdict.to);
            desired = verdict.to;
        }
    }
}
