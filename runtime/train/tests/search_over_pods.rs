//! A search whose trials are taken by several trainers ends as that of one, whoever of them is lost.
#![allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rehearsal::{
    Rehearsal, codes, failure, free, kill_at_any_moment, report,
    searches::{Outcome, manifest, records, reported, search, searching},
    signal,
};
use sconce_contract::{FailureClass, Report};
use serde_json::{Value, json};

/// Six trials at a time, each long enough for others to come meanwhile.
fn long(algorithm: &str) -> Rehearsal {
    let mut search = search(algorithm, 24);
    search["parallelTrials"] = json!(6);
    searching(search).with("hyperparameters.epochs", json!(150))
}

fn divided(rehearsal: Rehearsal, count: u32) -> Rehearsal {
    rehearsal.with("nodes", json!({"count": count}))
}

/// What one trainer finds.
fn alone(rehearsal: Rehearsal) -> (Rehearsal, Outcome) {
    assert_eq!(rehearsal.start().wait().unwrap().code(), Some(0));
    let outcome = reported(&rehearsal, "report");
    (rehearsal, outcome)
}

fn same(found: (&Rehearsal, &Outcome), expected: (&Rehearsal, &Outcome), what: &str) {
    let ((rehearsal, found), (before, expected)) = (found, expected);
    assert_eq!(found.search, expected.search, "{what}");
    let record = |rehearsal, outcome: &Outcome| manifest(rehearsal, &outcome.artifact).search.unwrap();
    assert_eq!(record(rehearsal, found), record(before, expected), "{what}");
    assert_eq!(
        (&found.artifact.digest, &found.metrics, found.epochs),
        (&expected.artifact.digest, &expected.metrics, expected.epochs),
        "{what}"
    );
    assert!(
        !rehearsal.path("saved").exists(),
        "{what}: a search that is done leaves nothing behind"
    );
}

/// Waits until that many records are there; false where the first worker ended before.
fn until_recorded(rehearsal: &Rehearsal, count: usize, first: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(120);
    while records(rehearsal).len() < count {
        if first.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "never {count} records");
        thread::yield_now();
    }
    true
}

/// What a worker has logged since it was started.
fn log(rehearsal: &Rehearsal, worker: u32) -> String {
    fs::read_to_string(rehearsal.path(&format!("worker-{worker}.log"))).unwrap_or_default()
}

/// Waits until another worker is taken in; false where the first worker ended before.
fn until_taken_in(rehearsal: &Rehearsal, worker: u32, first: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !log(rehearsal, worker).contains("taking trials") {
        if first.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "worker {worker} is not taken in");
        thread::sleep(Duration::from_millis(2));
    }
    true
}

fn steps(report: Report) -> u64 {
    match report {
        Report::Helped { steps, work, .. } => {
            assert_eq!(work.busy_milliseconds > 0, steps > 0);
            steps
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn search_over_pods_makes_the_trials_of_one_and_ends_with_its_model() {
    for algorithm in ["Random", "TPE", "ASHA"] {
        let (before, expected) = alone(long(algorithm));
        assert_eq!(expected.search.trials.len(), 24);
        let rehearsal = divided(long(algorithm), 3);
        let leader = free();
        let workers = (0..3).map(|worker| rehearsal.start_worker(worker, &leader));
        assert_eq!(codes(workers.collect()), [Some(0); 3], "{algorithm}");
        let found = reported(&rehearsal, "report-0");
        same((&rehearsal, &found), (&before, &expected), algorithm);
        let helped: Vec<u64> = [1, 2]
            .map(|worker| steps(report(&rehearsal, &format!("report-{worker}"))))
            .into();
        assert!(helped.iter().sum::<u64>() > 0, "{algorithm}: nobody took a trial");
        assert_eq!(rehearsal.models().len(), 1, "the first worker alone writes");
        if algorithm == "ASHA" {
            // They have no storage: what they go on from was handed to them.
            let goes_on = |worker| log(&rehearsal, worker).contains("going on from a checkpoint");
            assert!(
                goes_on(1) || goes_on(2),
                "no trial that was promoted went on in another pod"
            );
        }
    }
}

#[test]
fn search_over_pods_without_checkpoints_ends_with_the_same_model() {
    // Nothing is written meanwhile, so that one is done with fewer epochs before the other has come.
    let longer = || long("ASHA").with("hyperparameters.epochs", json!(900));
    let (before, expected) = alone(longer());
    let mut rehearsal = divided(longer(), 2);
    rehearsal.plan.as_object_mut().unwrap().remove("checkpoint");
    let leader = free();
    let workers = [0, 1].map(|worker| rehearsal.start_worker(worker, &leader));
    assert_eq!(codes(workers.into()), [Some(0), Some(0)]);
    assert!(steps(report(&rehearsal, "report-1")) > 0);
    let found = reported(&rehearsal, "report-0");
    same((&rehearsal, &found), (&before, &expected), "without checkpoints");
}

#[test]
fn search_over_pods_begins_without_the_others_and_takes_in_who_comes_late() {
    let (before, expected) = alone(long("ASHA"));
    let rehearsal = divided(long("ASHA"), 3);
    let leader = free();
    let mut first = rehearsal.start_worker(0, &leader);
    // Nobody but the first has come.
    assert!(until_recorded(&rehearsal, 3, &mut first));
    let mut late = rehearsal.start_worker(2, &leader);
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!(late.wait().unwrap().code(), Some(0));
    assert!(steps(report(&rehearsal, "report-2")) > 0);
    let found = reported(&rehearsal, "report-0");
    same((&rehearsal, &found), (&before, &expected), "one late, one never");
}

#[test]
fn search_over_pods_keeps_a_trial_that_diverges_a_failure_of_its_own() {
    let diverging = || {
        let rates =
            json!([{"path": rehearsal::searches::RATE, "choice": [1e-3, 1e30, 1e-2, 1e31, 3e-3, 1e-4]}]);
        let grid = json!({
            "algorithm": "Grid", "objective": {"metric": "rmse"}, "parallelTrials": 2, "space": rates,
        });
        Rehearsal::of(&rehearsal::table(2000, |a, b| format!("{}", 3.0 * a - b)))
            .with(
                "hyperparameters",
                json!({"epochs": 60, "batchSize": 8, "optimizer": {"type": "SGD", "learningRate": 0.01}}),
            )
            .with("checkpoint", json!({"uri": "pvc://data/saved"}))
            .with("search", grid)
    };
    let (before, expected) = alone(diverging());
    assert_eq!(expected.search.best.failed, 2);
    let rehearsal = divided(diverging(), 2);
    let leader = free();
    let workers = [0, 1].map(|worker| rehearsal.start_worker(worker, &leader));
    assert_eq!(codes(workers.into()), [Some(0), Some(0)]);
    assert!(steps(report(&rehearsal, "report-1")) > 0);
    let found = reported(&rehearsal, "report-0");
    // The sentences are in the record.
    same((&rehearsal, &found), (&before, &expected), "diverging");
}

#[test]
fn search_over_pods_gives_the_trials_of_a_killed_worker_to_the_others() {
    for algorithm in ["Random", "ASHA"] {
        let (before, expected) = alone(long(algorithm));
        let rehearsal = divided(long(algorithm), 3);
        let leader = free();
        let mut first = rehearsal.start_worker(0, &leader);
        let mut others = [1, 2].map(|worker| rehearsal.start_worker(worker, &leader));
        let mut kills = 0;
        for (place, count) in [1, 3, 6, 10, 14, 18].into_iter().enumerate() {
            if !until_recorded(&rehearsal, count, &mut first) {
                break;
            }
            if !until_taken_in(&rehearsal, place as u32 % 2 + 1, &mut first) {
                break;
            }
            let other = &mut others[place % 2];
            other.kill().unwrap();
            other.wait().unwrap();
            kills += 1;
            // As a Job does; the last two are not replaced.
            if place < 4 {
                *other = rehearsal.start_worker(place as u32 % 2 + 1, &leader);
            }
        }
        assert_eq!(first.wait().unwrap().code(), Some(0));
        assert!(kills >= 4, "{algorithm}: only {kills} kills");
        for mut other in others {
            // It may have come when nobody was there any more.
            let _ = other.kill();
            other.wait().unwrap();
        }
        let found = reported(&rehearsal, "report-0");
        assert_eq!(found.search.best.failed, 0, "a lost worker is no trial's failure");
        same((&rehearsal, &found), (&before, &expected), algorithm);
    }
}

#[test]
fn search_over_pods_goes_on_after_the_first_worker_was_killed() {
    for algorithm in ["TPE", "ASHA"] {
        let (before, expected) = alone(long(algorithm));
        let rehearsal = divided(long(algorithm), 3);
        let leader = free();
        let mut kills = 0;
        for count in [2, 8, 16] {
            let mut first = rehearsal.start_worker(0, &leader);
            let others = [1, 2].map(|worker| rehearsal.start_worker(worker, &leader));
            let is_at_work = until_recorded(&rehearsal, count, &mut first)
                && [1, 2].map(|worker| until_taken_in(&rehearsal, worker, &mut first)) == [true; 2];
            assert!(is_at_work, "{algorithm}: it was over before all had come");
            first.kill().unwrap();
            first.wait().unwrap();
            kills += 1;
            let seen = records(&rehearsal);
            // They leave with it.
            for (mut other, worker) in others.into_iter().zip(1..) {
                let name = format!("report-{worker}");
                let deadline = Instant::now() + Duration::from_secs(60);
                let code = loop {
                    if let Some(status) = other.try_wait().unwrap() {
                        break status.code();
                    }
                    assert!(Instant::now() < deadline, "worker {worker} does not leave");
                    thread::sleep(Duration::from_millis(5));
                };
                assert_eq!(code, Some(75), "worker {worker} after {count} records");
                let failure = failure(&rehearsal, &name);
                assert_eq!(failure.class, FailureClass::Interrupted);
                assert!(
                    failure.message.starts_with("worker 0 was lost: "),
                    "{}",
                    failure.message
                );
            }
            for (name, written) in &seen {
                assert_eq!(records(&rehearsal).get(name), Some(written), "{name}");
            }
        }
        assert_eq!(kills, 3);
        let workers = (0..3).map(|worker| rehearsal.start_worker(worker, &leader));
        let mut workers: Vec<Child> = workers.collect();
        assert_eq!(workers[0].wait().unwrap().code(), Some(0));
        for mut other in workers.split_off(1) {
            let _ = other.kill();
            other.wait().unwrap();
        }
        let found = reported(&rehearsal, "report-0");
        same((&rehearsal, &found), (&before, &expected), algorithm);
    }
}

#[test]
fn search_over_pods_ends_the_same_after_kills_at_any_moment() {
    // Long enough for some kills, however fast the machine.
    let search = || long("ASHA").with("hyperparameters.epochs", json!(600));
    let (before, expected) = alone(search());
    let rehearsal = divided(search(), 3);
    let kills = kill_at_any_moment(&rehearsal, 3);
    assert!(kills > 5);
    let found = reported(&rehearsal, "report-0");
    same(
        (&rehearsal, &found),
        (&before, &expected),
        &format!("after {kills} kills"),
    );
}

/// Stands between the others and the first worker, and does something to what goes to the latter after so many bytes.
fn between(leader: String, after: usize, does: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, done) = (
        listener.local_addr().unwrap().to_string(),
        Arc::new(AtomicUsize::new(0)),
    );
    let count = done.clone();
    thread::spawn(move || {
        for there in listener.incoming().map_while(Result::ok) {
            let Ok(first) = TcpStream::connect(&leader) else {
                continue;
            };
            let (mut back, mut forth) = (
                (first.try_clone().unwrap(), there.try_clone().unwrap()),
                (there, first),
            );
            thread::spawn(move || std::io::copy(&mut back.0, &mut back.1));
            let count = count.clone();
            thread::spawn(move || {
                let (mut left, mut buffer) = (after, vec![0; 1 << 16]);
                while let Ok(length) = forth.0.read(&mut buffer)
                    && length > 0
                {
                    let passes = length.min(left);
                    left -= passes;
                    if forth.1.write_all(&buffer[..passes]).is_err() {
                        break;
                    }
                    if left == 0 {
                        count.fetch_add(1, Ordering::Relaxed);
                        let _ = forth.1.write_all(does);
                        break;
                    }
                }
                let _ = forth.0.shutdown(Shutdown::Both);
                let _ = forth.1.shutdown(Shutdown::Write);
            });
        }
    });
    (address, done)
}

#[test]
fn search_over_pods_survives_connections_that_are_cut_or_say_anything() {
    let (before, expected) = alone(long("ASHA"));
    for (after, does) in [
        (900, &b""[..]),
        (5_000, b""),
        (5_000, b"GET / HTTP/1.1\r\n\r\n"),
        (2_000, b"sg1\x02\x1c\x00\x00\x00{\"parts\":[9999999999999999]}"),
        (7_000, b"sg1\x04\xff\xff\xff\xff"),
    ] {
        let rehearsal = divided(long("ASHA"), 2);
        let leader = free();
        let (door, done) = between(leader.clone(), after, does);
        let mut first = rehearsal.start_worker(0, &leader);
        let mut other = rehearsal.start_worker(1, &door);
        let deadline = Instant::now() + Duration::from_secs(120);
        while first.try_wait().unwrap().is_none() {
            // It is let go where it comes as the search ends.
            if let Some(ended) = other.try_wait().unwrap().filter(|ended| !ended.success()) {
                assert_eq!(ended.code(), Some(75), "{:?}", report(&rehearsal, "report-1"));
                other = rehearsal.start_worker(1, &door);
            }
            assert!(Instant::now() < deadline, "it never ends");
            thread::sleep(Duration::from_millis(5));
        }
        let _ = other.kill();
        other.wait().unwrap();
        assert!(done.load(Ordering::Relaxed) > 0, "{after} bytes were never sent");
        let found = reported(&rehearsal, "report-0");
        let what = format!("{:?} after {after} bytes", String::from_utf8_lossy(does));
        same((&rehearsal, &found), (&before, &expected), &what);
    }
}

/// A worker that would not end by itself: it goes with the test.
struct Endless(Child);

impl Drop for Endless {
    fn drop(&mut self) {
        // It may have ended by now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn code(mut worker: Endless) -> Option<i32> {
    worker.0.wait().unwrap().code()
}

/// A state is saved after so many steps.
const SELDOM: u64 = 7_919;

/// Trials that nobody sees the end of.
fn endless() -> Rehearsal {
    long("Random")
        .with("hyperparameters.epochs", json!(100_000))
        .with("checkpoint.every", json!({"steps": SELDOM}))
}

/// Trials that are at work at a time in one of two pods.
fn places() -> usize {
    thread::available_parallelism().unwrap().get().min(3)
}

/// The steps of the newest states of trials.
fn saved(rehearsal: &Rehearsal) -> Vec<u64> {
    let names = |path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    };
    let trials = rehearsal.path("saved/abc/trials");
    let newest = names(trials.clone()).filter_map(|trial| {
        let steps = names(trials.join(trial));
        let steps = steps.filter_map(|name| name.strip_prefix("step-")?.split_once('-')?.0.parse().ok());
        steps.max()
    });
    newest.collect()
}

/// Waits until so many states are there that `holds`; their steps.
fn until_saved(rehearsal: &Rehearsal, count: usize, holds: fn(u64) -> bool) -> Vec<u64> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let found: Vec<u64> = saved(rehearsal).into_iter().filter(|step| holds(*step)).collect();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < deadline, "{:?} are saved", saved(rehearsal));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether it was saved because of a signal.
fn is_between(step: u64) -> bool {
    !step.is_multiple_of(SELDOM)
}

#[test]
fn search_over_pods_refuses_strangers_and_those_with_another_plan() {
    let rehearsal = divided(endless(), 3);
    let leader = free();
    let mut first = Endless(rehearsal.start_worker(0, &leader));
    let stranger = |worker: &str, report: &str, token: &str, plan: &Value| {
        let path = rehearsal.path(&format!("{report}.json"));
        fs::write(&path, plan.to_string()).unwrap();
        Command::new(env!("CARGO_BIN_EXE_sconce-trainer"))
            .arg("--plan")
            .arg(path)
            .arg("--report")
            .arg(rehearsal.path(report))
            .args(["--listen", "127.0.0.1:0", "--group-worker", worker])
            .args(["--group-leader", &leader, "--group-listen", "127.0.0.1:0"])
            .args(["--group-token", token, "--group-wait", "4"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut other = rehearsal.plan.clone();
    other["search"]["maxTrials"] = json!(23);
    let mut run = rehearsal.plan.clone();
    run["run"] = json!("abd");
    let strangers = [
        (
            "a",
            "1",
            "guessed",
            rehearsal.plan.clone(),
            "it is of another group",
            // Whoever guesses may know better the next time.
            FailureClass::Interrupted,
        ),
        (
            "b",
            "1",
            "secret",
            other,
            "worker 1 was told to learn something else",
            FailureClass::Internal,
        ),
        (
            "c",
            "2",
            "secret",
            run,
            "worker 2 is of another run",
            FailureClass::Internal,
        ),
    ];
    let strangers = strangers.map(|(report, worker, token, plan, says, class)| {
        (stranger(worker, report, token, &plan), report, says, class)
    });
    for (mut stranger, report, says, class) in strangers {
        let code = stranger.wait().unwrap().code();
        let failure = failure(&rehearsal, report);
        assert_eq!(failure.class, class, "{}", failure.message);
        assert_eq!(code, Some(i32::from(class.exit_code())));
        assert!(failure.message.contains(says), "{}", failure.message);
    }
    assert!(
        first.0.try_wait().unwrap().is_none(),
        "it is of no concern to the search"
    );
}

#[test]
fn search_over_pods_saves_all_trials_when_the_first_worker_is_told_to_stop() {
    let rehearsal = divided(endless(), 2);
    let leader = free();
    let workers = [0, 1].map(|worker| Endless(rehearsal.start_worker(worker, &leader)));
    // Those of the other worker too, which has no storage.
    until_saved(&rehearsal, 2 * places(), |_| true);
    signal(&workers[0].0, "-TERM");
    assert_eq!(workers.map(code), [Some(75), Some(75)]);
    let first = failure(&rehearsal, "report-0").message;
    assert!(
        first.contains("after 0 of 24 trials: what became of them is kept"),
        "{first}"
    );
    let other = failure(&rehearsal, "report-1").message;
    assert!(
        other.starts_with("worker 0 was told to stop: this worker starts again"),
        "{other}"
    );
    let saved = saved(&rehearsal);
    assert_eq!(saved.len(), 2 * places());
    // Where the signal came as one was saved anyway there is nothing to add; one pod alone does not have so many.
    let because = saved.iter().filter(|step| is_between(**step)).count();
    assert!(because > places(), "{saved:?}");
}

#[test]
fn search_over_pods_hands_a_trial_on_from_its_state_when_a_worker_is_told_to_stop() {
    let rehearsal = divided(endless(), 2);
    let leader = free();
    let mut first = Endless(rehearsal.start_worker(0, &leader));
    let other = Endless(rehearsal.start_worker(1, &leader));
    until_saved(&rehearsal, 2 * places(), |_| true);
    signal(&other.0, "-TERM");
    assert_eq!(code(other), Some(75));
    let message = failure(&rehearsal, "report-1").message;
    assert!(
        message.starts_with("worker 1 was told to stop: this worker starts again"),
        "{message}"
    );
    let left = until_saved(&rehearsal, 1, is_between);
    assert!(first.0.try_wait().unwrap().is_none(), "the search goes on");

    let _other = Endless(rehearsal.start_worker(1, &leader));
    let deadline = Instant::now() + Duration::from_secs(60);
    let goes_on = |step: &u64| {
        let log = log(&rehearsal, 1);
        let mut lines = log.lines();
        lines.any(|line| {
            line.contains("going on from a checkpoint") && line.contains(&format!("\"step\":{step},"))
        })
    };
    while !left.iter().all(goes_on) {
        assert!(Instant::now() < deadline, "{left:?}: {}", log(&rehearsal, 1));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn search_over_more_pods_than_trials_at_a_time_is_refused() {
    for (nodes, field, says) in [
        (
            json!({"count": 7}),
            "nodes.count",
            "search.parallelTrials says that 6",
        ),
        (
            json!({"count": 2, "minCount": 1}),
            "nodes.minCount",
            "whatever pods are there",
        ),
    ] {
        let rehearsal = long("Random").with("nodes", nodes);
        let leader = free();
        let workers = [0, 1].map(|worker| rehearsal.start_worker(worker, &leader));
        assert_eq!(codes(workers.into()), [Some(65), Some(65)]);
        for name in ["report-0", "report-1"] {
            let failure = failure(&rehearsal, name);
            assert_eq!(failure.field.as_deref(), Some(field), "{}", failure.message);
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }
}
