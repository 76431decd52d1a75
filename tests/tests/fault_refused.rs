//! Writes that fail, for a while or always, make nothing twice and slow nobody. The operator is the unmodified program
//! behind a proxy ([`sconce_tests::fault`]).
//!
//! `FAULT_ALL=1` has the storm last five minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use sconce_crds::ModelTraining;
use sconce_tests::fault::{Fault, Write};
use sconce_tests::room::{conditions, told};
use sconce_tests::scene::Scene;
use sconce_tests::wait::within;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Each test uses the whole machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// What the operator may send, reads included.
const PER_SECOND: usize = 20;

const KINDS: [Fault; 5] = [
    Fault::Answer(429),
    Fault::Answer(409),
    Fault::Answer(500),
    Fault::Answer(503),
    // Carried out all the same.
    Fault::AnswerAfter(504),
];

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_third_of_the_writes_fail_for_a_while_and_nothing_is_made_twice() -> Outcome {
    const COUNT: usize = 10;
    let _turn = ONE_AT_A_TIME.lock().await;
    let storm = Duration::from_secs(if std::env::var_os("FAULT_ALL").is_some() {
        300
    } else {
        10
    });
    let scene = Scene::set().await?;
    let start = Instant::now();
    let met = Arc::new(Mutex::new(BTreeMap::new()));
    let meeting = Arc::clone(&met);
    scene.proxy.rule(move |write: &Write| {
        // Seven and ten have no common divisor, so that every third of ten fails, in no simple order.
        match (write.number * 7) % 10 {
            0..3 if start.elapsed() < storm => {
                let fault = KINDS[write.number / 10 % KINDS.len()];
                let mut met = meeting.lock().unwrap_or_else(PoisonError::into_inner);
                *met.entry(format!("{fault:?}")).or_insert(0) += 1;
                fault
            }
            _ => Fault::None,
        }
    });
    scene.start()?;
    for number in 0..COUNT {
        scene.train_and_serve(&format!("iris-{number}")).await?;
    }
    // Something to write for as long as it lasts.
    let mut seconds = 1;
    while start.elapsed() < storm {
        scene.rescale("iris-0", 1 + seconds % 2).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        seconds += 1;
    }
    let (took, requests) = (start.elapsed(), scene.proxy.requests());
    scene.are_ready("iris-", 2 * COUNT).await?;
    let room = &scene.room;
    assert_eq!(room.ours::<Job>().await?.len(), COUNT);
    assert_eq!(room.ours::<Deployment>().await?.len(), COUNT);
    assert_eq!(room.ours::<Service>().await?.len(), COUNT);
    let met = met.lock().unwrap_or_else(PoisonError::into_inner).clone();
    println!("{requests} requests in {took:?}: {met:?}");
    let kinds: BTreeSet<String> = KINDS.iter().map(|kind| format!("{kind:?}")).collect();
    assert_eq!(
        met.into_keys().collect::<BTreeSet<_>>(),
        kinds,
        "a kind was not met"
    );
    // And what the watches and the objects take anyway: a dozen requests each, tried once more.
    let allowed = PER_SECOND * took.as_secs() as usize + 2 * COUNT * 12 * 2 + 20;
    assert!(
        requests <= allowed,
        "{requests} requests in {took:?}: refusals are answered by hammering"
    );
    Ok(scene.strike().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_objects_that_always_fail_are_tried_ever_less_and_slow_nobody() -> Outcome {
    const BAD: usize = 10;
    const GOOD: usize = 30;
    let _turn = ONE_AT_A_TIME.lock().await;
    let scene = Scene::set().await?;
    scene.proxy.rule(|write: &Write| {
        if write.name.starts_with("never-") {
            Fault::Answer(500)
        } else {
            Fault::None
        }
    });
    scene.start()?;
    let start = Instant::now();
    for number in 0..BAD {
        scene.train_and_serve(&format!("never-{number}")).await?;
    }
    for number in 0..GOOD {
        scene.train_and_serve(&format!("good-{number}")).await?;
    }
    scene.are_ready("good-", 2 * GOOD).await?;
    // Pauses of 1, 2, 4, … s: in the time that passed, an object is tried about as often as the time has binary digits.
    let tries = (start.elapsed().as_secs() + 2).ilog2() as usize + 3;
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let writes = scene.proxy.writes();
    for write in writes.iter().filter(|write| write.name.starts_with("never-")) {
        *counts
            .entry((write.path.clone(), write.name.clone()))
            .or_default() += 1;
    }
    assert!(counts.len() >= 2 * BAD, "{counts:?}");
    for ((path, name), count) in &counts {
        assert!(
            *count <= tries,
            "{name} at {path} was tried {count} times in {:?}",
            start.elapsed()
        );
    }
    let jobs = scene.room.ours::<Job>().await?;
    assert!(jobs.iter().all(|job| !job.starts_with("never-")));
    Ok(scene.strike().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_is_never_answered_is_told_slows_nobody_and_passes_by_itself() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let scene = Scene::set().await?;
    // As by a webhook that hangs: of the API server's other work, nothing is slower.
    scene.proxy.rule(|write: &Write| {
        let is_child = write.path.contains("/apis/batch/") || write.path.contains("/apis/apps/");
        match is_child && write.name.starts_with("hangs") {
            true => Fault::Silence,
            false => Fault::None,
        }
    });
    scene.start()?;
    scene.train_and_serve("hangs").await?;
    scene.train_and_serve("good").await?;
    scene.are_ready("good", 2).await?;
    let room = &scene.room;
    // Three times thirty seconds, and the pauses between them.
    let says = within(Duration::from_secs(240), "it is told that it hangs", async || {
        let training = room.get::<ModelTraining>("hangs").await.ok()?;
        let says = told(conditions(&training), "Ready");
        says.contains("ReconcileFails").then_some(says)
    })
    .await?;
    assert!(
        says.contains("did not end within 30 s") && says.contains("webhook"),
        "{says}"
    );
    scene.proxy.rule(|_: &Write| Fault::None);
    scene.are_ready("hangs", 2).await?;
    Ok(scene.strike().await?)
}
