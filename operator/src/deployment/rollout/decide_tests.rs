//! A cluster of a few lines, in which decisions are carried out until nothing changes.

use super::*;
use proptest::prelude::{Just, ProptestConfig, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

fn well(replicas: i32) -> Pods {
    Pods {
        replicas,
        there: replicas,
        ready: replicas,
        broken: 0,
        homeless: 0,
    }
}

const FREE: Place = Place {
    spare: None,
    units: 0,
    fits_in_exchange: true,
    blocked: false,
    stuck: false,
    given: false,
};

fn view(strategy: Strategy, wanted: i32, target: Pods, others: &[Pods]) -> View {
    View {
        strategy,
        wanted,
        target,
        others: others.to_vec(),
        leaving: 0,
        place: FREE,
    }
}

fn numbers(view: &View) -> (i32, Vec<i32>) {
    let decision = decide(view);
    (decision.target, decision.others)
}

#[test]
fn the_first_revision_comes_at_once() {
    for strategy in [Strategy::Auto, Strategy::Surge, Strategy::DrainFirst] {
        assert_eq!(numbers(&view(strategy, 3, Pods::default(), &[])), (3, vec![]));
        assert_eq!(
            numbers(&view(strategy, 3, Pods::default(), &[well(0)])),
            (3, vec![0])
        );
        assert_eq!(numbers(&view(strategy, 0, well(3), &[well(1)])), (0, vec![0]));
    }
}

#[test]
fn a_surge_brings_one_and_takes_one_when_it_answers() {
    let surge = |target, others| numbers(&view(Strategy::Surge, 2, target, &[others]));
    let starting = |replicas| Pods {
        replicas,
        there: replicas,
        ..Pods::default()
    };
    assert_eq!(surge(Pods::default(), well(2)), (1, vec![2]));
    assert_eq!(surge(starting(1), well(2)), (1, vec![2]));
    assert_eq!(surge(well(1), well(2)), (1, vec![1]));
    assert_eq!(surge(well(1), well(1)), (2, vec![1]));
    // One is told to go and answers still.
    let going = Pods {
        replicas: 1,
        there: 2,
        ready: 2,
        broken: 0,
        homeless: 0,
    };
    assert_eq!(surge(well(1), going), (2, vec![1]));
    assert_eq!(surge(well(2), well(1)), (2, vec![0]));
}

#[test]
fn draining_takes_one_and_brings_one_when_its_place_is_free() {
    let drain = |target, others, leaving| {
        numbers(&View {
            leaving,
            ..view(Strategy::DrainFirst, 2, target, &[others])
        })
    };
    assert_eq!(drain(Pods::default(), well(2), 0), (0, vec![1]));
    let going = Pods {
        replicas: 1,
        there: 2,
        ready: 2,
        broken: 0,
        homeless: 0,
    };
    assert_eq!(drain(Pods::default(), going, 0), (0, vec![1]));
    assert_eq!(drain(Pods::default(), well(1), 1), (0, vec![1]));
    assert_eq!(drain(Pods::default(), well(1), 0), (1, vec![1]));
    let starting = Pods {
        replicas: 1,
        there: 1,
        ..Pods::default()
    };
    assert_eq!(drain(starting, well(1), 0), (1, vec![1]));
    assert_eq!(drain(well(1), well(1), 0), (1, vec![0]));
    // The last place is not taken before it is free, either.
    assert_eq!(drain(well(1), Pods::default(), 1), (1, vec![0]));
    assert_eq!(drain(well(1), Pods::default(), 0), (2, vec![0]));
}

#[test]
fn auto_drains_where_no_unit_is_spare_and_an_exchange_would_do() {
    let place = |spare, fits_in_exchange, blocked| Place {
        spare,
        units: 2,
        fits_in_exchange,
        blocked,
        stuck: false,
        given: false,
    };
    let starting = Pods {
        replicas: 1,
        there: 1,
        ..Pods::default()
    };
    for (place, target, manner) in [
        (FREE, Pods::default(), Manner::SurgeWithoutUnits),
        (
            place(Some(2), true, false),
            Pods::default(),
            Manner::SurgeIntoSpare,
        ),
        (place(Some(1), true, false), Pods::default(), Manner::DrainForUnit),
        (
            place(Some(1), false, false),
            Pods::default(),
            Manner::SurgeTooLarge,
        ),
        (place(None, true, false), Pods::default(), Manner::SurgeIntoSpare),
        // The pod that came has taken the spare unit, or none was spare after all.
        (place(Some(0), true, false), starting, Manner::SurgeIntoSpare),
        (place(Some(2), true, true), starting, Manner::DrainBlocked),
        (place(None, true, true), starting, Manner::DrainBlocked),
        // What would not fit anyway costs no pod that answers.
        (place(None, false, true), starting, Manner::SurgeTooLarge),
    ] {
        let view = View {
            place,
            ..view(Strategy::Auto, 1, target, &[well(1)])
        };
        assert_eq!(decide(&view).manner, manner, "{view:?}");
    }
    let blocked = View {
        place: place(None, true, true),
        ..view(Strategy::Auto, 1, starting, &[well(1)])
    };
    assert_eq!(numbers(&blocked), (1, vec![0]));
}

#[test]
fn what_is_no_loss_goes_at_once_and_what_was_good_is_kept_longest() {
    let failing = Pods {
        replicas: 1,
        there: 1,
        ready: 0,
        broken: 1,
        homeless: 0,
    };
    assert_eq!(
        numbers(&view(Strategy::Surge, 1, Pods::default(), &[failing, well(1)])),
        (0, vec![0, 1])
    );
    // Pods that answer are kept before those that do not, of whichever revision.
    let silent = Pods {
        replicas: 2,
        there: 2,
        ..Pods::default()
    };
    assert_eq!(
        numbers(&view(Strategy::Surge, 2, Pods::default(), &[well(1), silent])),
        (0, vec![1, 1])
    );
    // Everything is broken: nothing is lost.
    let broken = Pods {
        replicas: 2,
        there: 2,
        ready: 0,
        broken: 2,
        homeless: 0,
    };
    assert_eq!(
        numbers(&view(Strategy::Surge, 2, Pods::default(), &[broken])).1,
        vec![0]
    );
}

/// Pods of two revisions on so many places.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    places: i32,
    wanted: i32,
    asked: [i32; 2],
    starting: [i32; 2],
    ready: [i32; 2],
    leaving: i32,
    waits: i32,
    /// Since a pod of the earlier revision that answered was last told to go.
    unchanged: i32,
    given: bool,
    fit: Fit,
}

/// What a new pod asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// What an earlier one gives back.
    Same,
    /// What no place has, and it is known.
    Other,
    /// What no place has, and it is not known.
    Unknown,
}

impl Cluster {
    fn of(places: i32, wanted: i32, fit: Fit) -> Self {
        Cluster {
            fit,
            given: false,
            places,
            wanted,
            asked: [0, wanted],
            starting: [0, 0],
            ready: [0, wanted.min(places)],
            leaving: 0,
            waits: 0,
            unchanged: i32::MAX / 2,
        }
    }

    fn ask(&mut self, asked: [i32; 2]) {
        if asked[1] < self.ready[1].min(self.asked[1]) {
            (self.unchanged, self.given) = (0, true);
        }
        self.asked = asked;
    }

    fn used(&self) -> i32 {
        self.ready.iter().sum::<i32>() + self.starting.iter().sum::<i32>() + self.leaving
    }

    /// Pods that have found no place for a while. Those of the earlier revision were there before.
    fn homeless(&self, of: usize) -> i32 {
        let lacking = self.asked[of] - self.ready[of] - self.starting[of];
        if of == 1 || self.waits > 2 {
            lacking.max(0)
        } else {
            0
        }
    }

    fn view(&self, strategy: Strategy, counted: bool) -> View {
        let pods = |of: usize| Pods {
            replicas: self.asked[of],
            there: self.asked[of].max(self.ready[of] + self.starting[of]),
            ready: self.ready[of],
            broken: 0,
            homeless: self.homeless(of),
        };
        let spare = counted.then(|| i64::from(self.places - self.used()));
        View {
            leaving: self.leaving,
            place: Place {
                units: 1,
                spare,
                fits_in_exchange: self.fit != Fit::Other,
                blocked: self.waits > if spare >= Some(1) { 10 } else { 2 },
                stuck: self.waits.min(self.unchanged) > 20,
                given: self.given,
            },
            ..view(strategy, self.wanted, pods(0), &[pods(1)])
        }
    }

    /// One of the things that go on in a cluster.
    fn happen(&mut self, what: u8) {
        match what % 4 {
            0 => {
                for of in 0..2 {
                    let surplus = self.ready[of] + self.starting[of] - self.asked[of];
                    if surplus > 0 {
                        let unready = surplus.min(self.starting[of]);
                        self.starting[of] -= unready;
                        self.ready[of] -= surplus - unready;
                        self.leaving += surplus;
                    }
                }
            }
            1 => self.leaving = 0,
            2 => {
                for of in 0..2 {
                    self.ready[of] += self.starting[of];
                    self.starting[of] = 0;
                }
            }
            _ => {
                // A pod that is to go is told so, and is gone within its grace period: both together take less than the
                // patience where a unit is spare (60 s).
                if self.waits >= 8 {
                    self.happen(0);
                    self.leaving = 0;
                }
                let mut missing = 0;
                for of in 0..2 {
                    let lacking = (self.asked[of] - self.ready[of] - self.starting[of]).max(0);
                    let free = (self.places - self.used()).max(0);
                    let placed = match self.fit {
                        Fit::Other | Fit::Unknown if of == 0 => 0,
                        _ => lacking.min(free),
                    };
                    self.starting[of] += placed;
                    missing += if of == 0 { lacking - placed } else { 0 };
                }
                self.unchanged += 1;
                self.waits = if missing > 0 { self.waits + 1 } else { 0 };
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    /// Whatever happens in whichever order, a rollout ends, keeps its floor, and takes no more places than it may.
    #[test]
    fn a_rollout_ends_and_keeps_its_floor(
        wanted in 1..6i32,
        spare in -3..3i32,
        strategy in prop_oneof![Just(Strategy::Auto), Just(Strategy::Surge), Just(Strategy::DrainFirst)],
        counted in any::<bool>(),
        fit in prop_oneof![Just(Fit::Same), Just(Fit::Other), Just(Fit::Unknown)],
        events in proptest::collection::vec(0..4u8, 0..60),
    ) {
        let places = (wanted + spare).max(1);
        // More pods may be wanted than there is room for: then it is those that have a place that count.
        let had = wanted.min(places);
        let mut cluster = Cluster::of(places, wanted, fit);
        let rest = (0..300).flat_map(|_| 0..4u8);
        for what in events.into_iter().chain(rest) {
            let view = cluster.view(strategy, counted);
            let decision = decide(&view);
            cluster.ask([decision.target, decision.others[0]]);
            let again = decide(&cluster.view(strategy, counted));
            prop_assert!(again.others[0] <= decision.others[0] || again.manner != decision.manner);
            cluster.happen(what);
            let floor = match strategy {
                Strategy::Surge => had,
                Strategy::DrainFirst => had - 1,
                Strategy::Auto if spare > 0 && counted && fit == Fit::Same => had,
                Strategy::Auto if fit == Fit::Other => had,
                Strategy::Auto => had - 1,
            };
            prop_assert!(cluster.ready.iter().sum::<i32>() >= floor, "{:?}", cluster);
            prop_assert!(cluster.asked.iter().sum::<i32>() <= wanted + 1, "{:?}", cluster);
            if strategy == Strategy::DrainFirst {
                prop_assert!(cluster.asked.iter().sum::<i32>() <= wanted, "{:?}", cluster);
            }
        }
        // What fits nowhere comes to no end; that it costs no more than the floor was seen at each step.
        if fit != Fit::Same {
            return Ok(());
        }
        if strategy != Strategy::Surge || spare > 0 {
            prop_assert_eq!((cluster.asked, cluster.ready), ([wanted, 0], [had, 0]), "{:?}", cluster);
        } else {
            prop_assert_eq!(cluster.ready, [0, had], "a surge needs room and takes nothing away without");
        }
    }
}
