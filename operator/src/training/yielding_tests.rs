//! Who makes way, for how long, and that it does not flap.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap()
}

fn need(units: u32, since: i64) -> Need {
    Need {
        deployment: "chat".to_owned(),
        units,
        since: at(since),
    }
}

fn peer(name: &str, units: u32, holds_since: Option<i64>) -> Peer {
    Peer {
        name: name.to_owned(),
        of_a_pod: units,
        pods: 1,
        least: 1,
        holds_since: holds_since.map(at),
        yielding: None,
    }
}

fn yields(name: &str, gave: u32, since: i64, quiet_since: Option<i64>) -> Peer {
    Peer {
        yielding: Some(Yielding {
            to: "chat".to_owned(),
            since: at(since),
            gave,
            quiet_since: quiet_since.map(at),
        }),
        ..peer(name, gave.max(1), None)
    }
}

fn free(on_one_node: i64, in_all: i64) -> Free {
    Free { on_one_node, in_all }
}

fn contention(needs: Vec<Need>, peers: Vec<Peer>) -> Contention {
    Contention {
        needs,
        peers,
        free: None,
    }
}

#[test]
fn a_unit_that_is_missed_for_a_moment_stops_nothing() {
    let facts = contention(vec![need(1, 0)], vec![peer("a", 1, Some(-60))]);
    let early = decide("a", &facts, at(1));
    assert_eq!(
        (early.yielding, early.again),
        (None, Some(Duration::from_secs(1)))
    );
    let made = decide("a", &facts, at(2)).yielding.unwrap();
    assert_eq!((made.to.as_str(), made.gave, made.since), ("chat", 1, at(2)));
}

#[test]
fn one_of_several_pods_gives_the_units_of_all_and_goes_on_when_enough_of_them_have_room() {
    let group = Peer {
        pods: 4,
        least: 2,
        ..peer("group", 1, Some(-30))
    };
    let others = [peer("old", 1, Some(-900)), peer("young", 1, Some(-60))];
    let peers: Vec<Peer> = others.into_iter().chain([group.clone()]).collect();
    let facts = contention(vec![need(2, 0)], peers);
    let yields = |name| decide(name, &facts, at(10)).yielding;
    assert_eq!(yields("group").map(|made| made.gave), Some(4));
    assert_eq!((yields("old"), yields("young")), (None, None), "four are enough");

    let resting = Peer {
        pods: 4,
        least: 2,
        ..yields_since_quiet("group")
    };
    let mut facts = contention(vec![], vec![resting]);
    let goes_on = |facts: &Contention| decide("group", facts, at(100)).yielding.is_none();
    facts.free = Some(free(1, 1));
    assert!(!goes_on(&facts), "one of two would hold its unit and wait");
    facts.free = Some(free(1, 2));
    assert!(goes_on(&facts));
}

fn yields_since_quiet(name: &str) -> Peer {
    Peer {
        of_a_pod: 1,
        ..yields(name, 4, 0, Some(20))
    }
}

#[test]
fn no_more_make_way_than_are_needed_and_those_that_lose_the_least() {
    let peers = vec![
        peer("old", 1, Some(-900)),
        peer("young", 1, Some(-60)),
        peer("younger", 1, Some(-30)),
    ];
    let stop = |needs: Vec<Need>| -> Vec<&str> {
        let facts = contention(needs, peers.clone());
        ["old", "young", "younger"]
            .into_iter()
            .filter(|name| decide(name, &facts, at(10)).yielding.is_some())
            .collect()
    };
    assert_eq!(stop(vec![need(1, 0)]), ["younger"]);
    assert_eq!(stop(vec![need(2, 0)]), ["young", "younger"]);
    assert_eq!(stop(vec![need(1, 0), need(4, 1)]), ["old", "young", "younger"]);
    assert!(stop(vec![]).is_empty());
}

#[test]
fn while_units_are_on_their_way_nobody_else_makes_way_and_then_somebody_does() {
    let facts = contention(
        vec![need(1, 0)],
        vec![peer("old", 1, Some(-900)), yields("young", 1, 2, None)],
    );
    assert_eq!(decide("old", &facts, at(20)).yielding, None);
    assert!(decide("old", &facts, at(20)).again.is_some());
    assert!(
        decide("old", &facts, at(62)).yielding.is_some(),
        "what was given up was of no use"
    );
    let later = contention(
        vec![need(1, 10)],
        vec![peer("old", 1, Some(-900)), yields("young", 1, 2, None)],
    );
    assert!(
        decide("old", &later, at(20)).yielding.is_some(),
        "it was given up for another"
    );
}

#[test]
fn one_that_waits_for_a_unit_steps_back_and_gives_none() {
    let facts = contention(
        vec![need(1, 0)],
        vec![peer("waits", 1, None), peer("holds", 1, Some(-60))],
    );
    let stepped = decide("waits", &facts, at(5)).yielding.unwrap();
    assert_eq!(stepped.gave, 0);
    let mut after = facts.clone();
    after.peers[0].yielding = Some(stepped);
    assert!(
        decide("holds", &after, at(6)).yielding.is_some(),
        "nothing was given up for the server yet"
    );
}

#[test]
fn it_goes_on_when_none_was_missed_for_a_while_and_each_need_starts_the_while_anew() {
    let quiet = contention(vec![], vec![yields("a", 1, 0, None)]);
    let first = decide("a", &quiet, at(10));
    assert_eq!(first.yielding.as_ref().unwrap().quiet_since, Some(at(10)));
    assert_eq!(first.again, Some(Duration::from_secs(30)));

    let waits = contention(vec![], vec![yields("a", 1, 0, Some(10))]);
    assert_eq!(decide("a", &waits, at(39)).again, Some(Duration::from_secs(1)));
    assert_eq!(decide("a", &waits, at(40)).yielding, None);

    let again = contention(vec![need(1, 38)], vec![yields("a", 1, 0, Some(10))]);
    let stays = decide("a", &again, at(39)).yielding.unwrap();
    assert_eq!((stays.quiet_since, stays.since), (None, at(0)));
}

#[test]
fn where_it_is_known_that_there_is_no_room_it_waits_for_room() {
    let mut facts = contention(vec![], vec![yields("a", 2, 0, Some(10))]);
    facts.free = Some(free(1, 1));
    let stays = decide("a", &facts, at(100)).yielding.unwrap();
    assert_eq!(stays.quiet_since, None);
    facts.free = Some(free(2, 2));
    assert_eq!(decide("a", &facts, at(100)).yielding, None);
}

#[test]
fn what_was_decided_outlives_the_operator() {
    let Some(before) = yields("a", 1, 0, Some(10)).yielding else {
        unreachable!()
    };
    assert_eq!(Yielding::read(&before.write()), Some(before));
    assert_eq!(Yielding::read("not ours"), None);
}

proptest! {
    #[test]
    fn whatever_comes_enough_make_way_and_nobody_flaps(
        arrivals in prop::collection::vec((0_i64..300, 1_u32..4, 1_i64..40), 0..8),
        sizes in prop::collection::vec(1_u32..3, 1..5),
    ) {
        // Each second: needs that are there, decided by every training in turn. What it holds it gives back at once.
        let mut peers: Vec<Peer> = sizes.iter().enumerate()
            .map(|(index, units)| peer(&format!("t{index}"), *units, Some(-60 - i64::try_from(index).unwrap())))
            .collect();
        let mut stopped_at: Vec<Option<i64>> = vec![None; peers.len()];
        for second in 0..400 {
            let needs: Vec<Need> = arrivals.iter()
                .filter(|(start, _, length)| (*start..start + length).contains(&second))
                .map(|(start, units, _)| need(*units, *start)).collect();
            for index in 0..peers.len() {
                let facts = contention(needs.clone(), peers.clone());
                let decision = decide(&peers[index].name, &facts, at(second));
                let (before, after) = (peers[index].yielding.is_some(), decision.yielding.is_some());
                if before && !after {
                    prop_assert!(needs.is_empty(), "it goes on though a server waits");
                    prop_assert!(second - stopped_at[index].unwrap_or(0) >= QUIET.as_secs(), "it flaps");
                    peers[index].holds_since = Some(at(second));
                }
                if !before && after {
                    prop_assert!(!needs.is_empty(), "it stops for nobody");
                    stopped_at[index] = Some(second);
                    peers[index].holds_since = None;
                }
                peers[index].yielding = decision.yielding;
            }
            // A need that is two seconds old has its units on their way, or everybody makes way.
            let open: u32 = needs.iter().filter(|need| second - need.since.duration_since(at(0)).as_secs() > 2)
                .map(|need| need.units).sum();
            if open > 0 {
                let given: u32 = peers.iter().filter_map(|peer| peer.yielding.as_ref()).map(|y| y.gave).sum();
                let all = peers.iter().all(|peer| peer.yielding.is_some());
                prop_assert!(all || given > 0, "a server waits and nobody makes way");
            }
        }
    }
}
