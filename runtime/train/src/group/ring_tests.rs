//! Tests of `ring` and `meet`: workers in threads, over real connections on loopback.

use std::{net::TcpListener, thread, time::Duration};

use super::*;
use crate::group::{
    Purpose, Seat,
    hello::{Answer, Hello},
    meet,
    meet::ask,
};

fn purpose(count: u32) -> Purpose {
    Purpose {
        trainer: "t".to_owned(),
        token: "s".to_owned(),
        run: "r".to_owned(),
        subject: "q".to_owned(),
        count,
    }
}

/// A port that nothing listens on.
fn leader() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn seat(worker: u32, leader: &str) -> Seat {
    let listen = if worker == 0 { leader } else { "127.0.0.1:0" };
    Seat {
        worker,
        leader: leader.to_owned(),
        listen: listen.parse().unwrap(),
        token: "s".to_owned(),
        least: 9,
        settle: Duration::ZERO,
        wait: Duration::from_secs(60),
    }
}

/// What each worker of a group comes to.
fn each<T: Send>(count: u32, work: impl Fn(Group) -> T + Sync) -> Vec<T> {
    let leader = leader();
    let work = |worker| {
        let group = meet(&seat(worker, &leader), &purpose(count), &Stop::default());
        work(group.unwrap())
    };
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count)
            .map(|worker| scope.spawn(move || work(worker)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn all_workers_have_the_same_bits_of_the_sum() {
    // Fewer numbers than workers, one piece, and chunks of several pieces of which one is longer.
    for (count, numbers) in [(2, 1), (3, 2), (3, 1000), (2, 4 * MOST_NUMBERS + 1), (4, 0)] {
        let number = |worker: usize, at: usize| ((worker * 31 + at * 7) % 101) as f32 / 7.0 - 3.0;
        let sums = each(count, |mut group| {
            let mut sums = Vec::new();
            for round in 1..=3u8 {
                let mut gradient: Vec<f32> = (0..numbers).map(|at| number(group.place, at)).collect();
                let mut loss = f64::from(round) * (group.place + 1) as f64;
                group.all_reduce(&mut gradient, &mut loss).unwrap();
                assert_eq!(loss, f64::from(round) * f64::from(count * (count + 1) / 2));
                sums.push(gradient);
            }
            assert!(!group.stops());
            sums
        });
        for (worker, found) in sums.iter().enumerate() {
            assert_eq!(found, &sums[0], "worker {worker} of {count}");
        }
        for (at, found) in sums[0][2].iter().enumerate() {
            let expected: f32 = (0..count as usize).map(|worker| number(worker, at)).sum();
            assert!((found - expected).abs() < 1e-4, "{at}: {found} is not {expected}");
        }
    }
}

#[test]
fn what_the_first_worker_says_and_has_reaches_all() {
    let start = Word::Start {
        step: 7,
        epoch: 2,
        batch: 1,
    };
    let found = each(3, |mut group| {
        let mut numbers = vec![if group.leads() { 1.5 } else { 0.0 }; MOST_NUMBERS + 5];
        match group.leads() {
            true => group.tell(start).unwrap(),
            false => assert_eq!(group.hear().unwrap(), start),
        }
        group.broadcast(&mut numbers).unwrap();
        numbers.iter().all(|&number| number == 1.5)
    });
    assert_eq!(found, [true; 3]);
}

#[test]
fn all_learn_in_the_same_step_that_one_was_told_to_stop() {
    let found = each(3, |mut group| {
        let mut steps = 0;
        while !group.stops() {
            steps += 1;
            if group.place == 1 && steps == 5 {
                group.stop.ask();
            }
            group.all_reduce(&mut [1.0; 8], &mut 0.0).unwrap();
        }
        steps
    });
    assert_eq!(found, [5; 3]);
}

#[test]
fn the_reason_of_whoever_leaves_reaches_all_and_an_end_without_one_is_a_loss() {
    for says in [true, false] {
        let found = each(4, |mut group| {
            if group.place == 2 {
                if says {
                    group.leave("worker 2 was told to stop");
                }
                return None;
            }
            let error = group.all_reduce(&mut [1.0; 100], &mut 0.0).unwrap_err();
            group.leave(&error);
            Some(error)
        });
        for error in found.into_iter().flatten() {
            match says {
                true => assert_eq!(error, "worker 2 was told to stop"),
                false => assert!(error.starts_with("worker 2 was lost: "), "{error}"),
            }
        }
    }
}

#[test]
fn the_first_worker_begins_with_fewer_once_it_has_waited_and_sees_who_comes_late() {
    let leader = leader();
    let seat = |worker| Seat {
        least: 2,
        settle: Duration::from_millis(300),
        ..seat(worker, &leader)
    };
    let join = |worker| {
        let seat = seat(worker);
        thread::spawn(move || meet(&seat, &purpose(3), &Stop::default()))
    };
    let (first, second) = (join(0), join(2));
    let (mut first, second) = (first.join().unwrap().unwrap(), second.join().unwrap().unwrap());
    assert_eq!((first.workers(), second.workers(), second.place), (2, 2, 1));
    assert!(!first.is_joined_late());
    let stop = Stop::default();
    let late = {
        let (seat, stop) = (seat(1), stop.clone());
        thread::spawn(move || meet(&seat, &purpose(3), &stop))
    };
    while !first.is_joined_late() {
        thread::yield_now();
    }
    stop.ask();
    let error = late.join().unwrap().unwrap_err();
    assert_eq!(error, GroupError::Stopped { worker: 1 });
    first.tell(Word::Done).unwrap();
    drop(second);
}

#[test]
fn a_group_that_is_not_whole_is_given_up_with_how_many_came() {
    let leader = leader();
    let seat = Seat {
        wait: Duration::ZERO,
        ..seat(0, &leader)
    };
    let error = meet(&seat, &purpose(2), &Stop::default())
        .unwrap_err()
        .to_string();
    assert_eq!(error, "1 of 2 workers came within 0 s, and at least 9 are needed");
}

#[test]
fn a_stranger_is_not_taken_in_and_disturbs_nobody() {
    use std::io::Write;
    let leader = leader();
    let first = {
        let seat = seat(0, &leader);
        thread::spawn(move || meet(&seat, &purpose(2), &Stop::default()))
    };
    let mut stranger = loop {
        if let Ok(stream) = std::net::TcpStream::connect(&leader) {
            break stream;
        }
    };
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let old = Hello {
        purpose: Purpose {
            run: "older".to_owned(),
            ..purpose(2)
        },
        worker: 1,
        port: 1,
    };
    let patience = Instant::now() + Duration::from_secs(60);
    let refused = ask(&seat(1, &leader), &old, patience, &Stop::default())
        .unwrap()
        .0;
    assert_eq!(refused, Answer::Refused("worker 1 is of another run".to_owned()));
    let second = meet(&seat(1, &leader), &purpose(2), &Stop::default()).unwrap();
    assert_eq!(first.join().unwrap().unwrap().workers(), second.workers());
}

#[test]
fn who_is_refused_for_what_it_learns_until_its_time_is_over_is_refused_for_good() {
    let leader = leader();
    let alone = Seat {
        least: 1,
        ..seat(0, &leader)
    };
    // It is at work already, and waits for nobody.
    let first = meet(&alone, &purpose(2), &Stop::default()).unwrap();
    let refused = |change: fn(&mut Purpose)| {
        let mut other = purpose(2);
        change(&mut other);
        let seat = Seat {
            wait: Duration::from_secs(2),
            ..seat(1, &leader)
        };
        meet(&seat, &other, &Stop::default()).unwrap_err()
    };
    let error = refused(|purpose| purpose.subject.push('x'));
    assert!(matches!(error, GroupError::Refused { .. }), "{error}");
    let says = "worker 1 was told to learn something else";
    assert!(error.to_string().contains(says), "{error}");
    // The name of the first worker may lead to one of another Job for a while.
    let error = refused(|purpose| purpose.token.push('x'));
    assert!(matches!(error, GroupError::NoLeader { .. }), "{error}");
    assert!(!first.is_joined_late());
}

#[test]
fn who_is_refused_is_taken_in_by_a_first_worker_that_comes_later_and_learns_the_same() {
    let leader = leader();
    let second = {
        let seat = seat(1, &leader);
        thread::spawn(move || meet(&seat, &purpose(2), &Stop::default()))
    };
    let impatient = Seat {
        wait: Duration::from_secs(2),
        ..seat(0, &leader)
    };
    let older = Purpose {
        subject: "older".to_owned(),
        ..purpose(2)
    };
    let error = meet(&impatient, &older, &Stop::default()).unwrap_err();
    assert!(matches!(error, GroupError::TooFew { came: 1, .. }), "{error}");
    let first = meet(&seat(0, &leader), &purpose(2), &Stop::default()).unwrap();
    assert_eq!(first.workers(), second.join().unwrap().unwrap().workers());
}
