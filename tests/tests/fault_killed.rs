//! Whenever the operator dies, once or twice, the end is the one that an undisturbed run has. The operator is the
//! unmodified program behind a proxy ([`sconce_tests::fault`]); what people do meanwhile is a table
//! ([`sconce_tests::scenario`]).
//!
//! `FAULT_ALL=1` tries each write, before and after, and 500 pairs; without it a sample, the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::fault::{Fault, Write};
use sconce_tests::reference::State;
use sconce_tests::room::Room;
use sconce_tests::scenario::Scenario;
use sconce_tests::scene::{Kill, PATIENCE, Scene};
use sconce_tests::wait::within;
use sconce_tests::world::{Extent, Lease};
use serde_json::json;
use tokio::sync::OnceCell;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Each test uses the whole machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// Scenes at a time: each mostly waits.
const SIDE_BY_SIDE: usize = 6;

/// An undisturbed run.
struct Reference {
    state: State,
    writes: usize,
}

/// How a disturbed run went.
struct Ran {
    scenario: Scenario,
    kills: Vec<Kill>,
    happened: usize,
    took: Duration,
}

fn all() -> bool {
    std::env::var_os("FAULT_ALL").is_some()
}

async fn undisturbed(scenario: Scenario) -> Outcome<(Scenario, Reference)> {
    let _turn = scenario.turn().await;
    let scene = Scene::set().await?;
    scene.start()?;
    scenario.prepare(&scene).await?;
    let before = scene.proxy.writes().len();
    scenario.act(&scene).await?;
    let done = async || scenario.is_done(&scene.room).await;
    let state = scene
        .rest(&format!("{scenario:?} comes to its end"), done)
        .await?;
    let writes = scene.proxy.writes().len() - before;
    scene.strike().await?;
    Ok((scenario, Reference { state, writes }))
}

async fn disturbed(scenario: Scenario, kills: Vec<Kill>, reference: &Reference) -> Outcome<Ran> {
    let _turn = scenario.turn().await;
    let scene = Scene::set().await?;
    scene.start()?;
    scenario.prepare(&scene).await?;
    let left = scene.disturb(&kills);
    scenario.act(&scene).await?;
    let what = format!("{scenario:?} killed at {kills:?} in {}", scene.room.namespace);
    let took = scene.ends_as(&reference.state, &what).await?;
    let happened = kills.len() - left.lock().map_err(|_| "poisoned")?.len();
    scene.strike().await?;
    Ok(Ran {
        scenario,
        kills,
        happened,
        took,
    })
}

async fn references() -> Outcome<&'static BTreeMap<Scenario, Reference>> {
    static ENDS: OnceCell<BTreeMap<Scenario, Reference>> = OnceCell::const_new();
    let run = async || {
        stream::iter(Scenario::ALL.into_iter().map(undisturbed))
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect()
            .await
    };
    ENDS.get_or_try_init(run).await
}

/// Runs them all, and says how they went: by scenario, which kills happened.
async fn run(
    references: &BTreeMap<Scenario, Reference>,
    table: Vec<(Scenario, Vec<Kill>)>,
) -> Outcome<Vec<Ran>> {
    let begun = Instant::now();
    let runs = table
        .into_iter()
        .map(|(scenario, kills)| disturbed(scenario, kills, &references[&scenario]));
    let outcomes: Vec<Outcome<Ran>> = stream::iter(runs).buffer_unordered(SIDE_BY_SIDE).collect().await;
    let (ran, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let ran: Vec<Ran> = ran.into_iter().flatten().collect();
    let failed: Vec<String> = failed
        .into_iter()
        .filter_map(|run| run.err().map(|error| error.to_string()))
        .collect();
    for (scenario, reference) in references {
        let of_it = ran.iter().filter(|ran| ran.scenario == *scenario);
        let happened: Vec<String> = of_it
            .clone()
            .filter(|ran| ran.happened == ran.kills.len())
            .map(|ran| ran.kills.iter().map(say).collect::<Vec<_>>().join("+"))
            .collect();
        println!(
            "{scenario:?}: {} writes, {} objects; killed {} times: {}",
            reference.writes,
            reference.state.count(),
            happened.len(),
            happened.join(" ")
        );
    }
    let slowest = ran.iter().map(|ran| ran.took).max().unwrap_or_default();
    println!(
        "{} runs in {:?}, the slowest took {slowest:?}",
        ran.len(),
        begun.elapsed()
    );
    assert!(
        failed.is_empty(),
        "{} runs ended otherwise:\n{}",
        failed.len(),
        failed.join("\n\n")
    );
    Ok(ran)
}

fn say(kill: &Kill) -> String {
    format!("{}{}", kill.write, if kill.after { "a" } else { "b" })
}

fn kills(writes: usize) -> Vec<Kill> {
    (1..=writes)
        .flat_map(|write| [false, true].map(|after| Kill { write, after }))
        .collect()
}

/// So many of them, the same each time.
fn sample<T: Clone>(of: &[T], count: usize, random: &mut u64) -> Vec<T> {
    let mut left = of.to_vec();
    let mut taken = Vec::new();
    while taken.len() < count && !left.is_empty() {
        taken.push(left.swap_remove(next(random) % left.len()));
    }
    taken
}

/// Knuth's MMIX, whose low bits are the weak ones.
fn next(random: &mut u64) -> usize {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*random >> 33).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_killed_at_a_write_of_each_scenario_it_ends_as_an_undisturbed_run() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    // Where no scene has it for a moment, it would end and be started again.
    let _world = Lease::take(Extent::Scheduling).await?;
    let references = references().await?;
    let mut random = 1;
    let mut table = Vec::new();
    for (scenario, reference) in references {
        let every = kills(reference.writes);
        let tried = if all() {
            every
        } else {
            sample(&every, 2, &mut random)
        };
        table.extend(tried.into_iter().map(|kill| (*scenario, vec![kill])));
    }
    let asked = table.len();
    let ran = run(references, table).await?;
    let happened = ran.iter().filter(|ran| ran.happened == 1).count();
    // A run may take a write less than the reference did, as two words of a status become one.
    assert!(
        happened * 10 >= asked * 8,
        "only {happened} of {asked} kills happened"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_killed_twice_it_ends_as_an_undisturbed_run() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    // Where no scene has it for a moment, it would end and be started again.
    let _world = Lease::take(Extent::Scheduling).await?;
    let references = references().await?;
    let count = if all() { 500 } else { 12 };
    let mut pairs = Vec::new();
    for (scenario, reference) in references {
        // The second is counted from the restart.
        for first in kills(reference.writes) {
            for second in kills((reference.writes + 1 - first.write).max(1)) {
                pairs.push((*scenario, vec![first, second]));
            }
        }
    }
    let mut random = 2;
    let (mut tried, mut twice) = (0, 0);
    // On a busy machine several words of a status become one, and the second write may never come: more are tried then.
    while twice * 2 < count && tried < 4 * count {
        let mut table = sample(&pairs, count, &mut random);
        while table.len() < count && !pairs.is_empty() {
            // Where there are fewer pairs, the same at another time is another crash.
            table.extend(sample(&pairs, count - table.len(), &mut random));
        }
        let ran = run(references, table).await?;
        tried += ran.len();
        twice += ran.iter().filter(|ran| ran.happened == 2).count();
        println!("{twice} of {tried} double crashes, from {} pairs", pairs.len());
    }
    assert!(
        twice * 2 >= count,
        "of {tried} operators only {twice} were killed twice"
    );
    Ok(())
}

/// A training, a deployment of it, a change of both, and the end of both; what was there in between.
async fn story(scene: &Scene, kept: &mut State) -> Outcome {
    let room = &scene.room;
    let settled = async |what: Scenario| {
        within(PATIENCE, "the model is trained and served", async || {
            what.is_done(room).await.then_some(())
        })
        .await
    };
    scene.train_and_serve("iris").await?;
    settled(Scenario::Create).await?;
    room.change::<ModelDeployment>("iris", json!({"spec": {"replicas": 3}}))
        .await?;
    settled(Scenario::ScaleUp).await?;
    room.change::<ModelDeployment>("iris", json!({"spec": {"replicas": 1}}))
        .await?;
    settled(Scenario::ScaleDown).await?;
    room.change::<ModelTraining>("iris", json!({"spec": {"hyperparameters": {"seed": 7}}}))
        .await?;
    let done = async || Scenario::Update.is_done(room).await;
    *kept = scene.rest("what changed is trained and served", done).await?;
    room.delete::<ModelDeployment>("iris").await?;
    room.delete::<ModelTraining>("iris").await?;
    within(PATIENCE, "nothing is left", async || left(room).await).await?;
    Ok(())
}

async fn left(room: &Room) -> Option<()> {
    let left = room.ours::<Job>().await.ok()?.len()
        + room.ours::<Deployment>().await.ok()?.len()
        + room.ours::<Service>().await.ok()?.len();
    (left == 0).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_killed_before_or_after_each_write_it_ends_as_an_undisturbed_run() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    // Where no scene has it for a moment, it would end and be started again.
    let _world = Lease::take(Extent::Scheduling).await?;
    let mut reference = State::default();
    for fault in [Fault::None, Fault::FreezeBefore, Fault::FreezeAfter] {
        let scene = Scene::set().await?;
        let mut met = BTreeSet::new();
        scene.proxy.rule(move |write: &Write| {
            // A status is written more than once, and dying at each word of it would never end: three times will do.
            let tries = if write.path.ends_with("/status") { 3 } else { 1 };
            let written = (write.method.to_string(), write.path.clone(), write.name.clone());
            let fresh = (0..tries).any(|time| met.insert((written.clone(), time)));
            if fresh { fault } else { Fault::None }
        });
        scene.start()?;
        let (mut kills, mut found) = (0, State::default());
        let mut finished = Box::pin(story(&scene, &mut found));
        loop {
            tokio::select! {
                outcome = &mut finished => break outcome?,
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    kills += usize::from(scene.revive()?);
                }
            }
        }
        drop(finished);
        println!("{fault:?}: {kills} kills, {} writes", scene.proxy.writes().len());
        if fault == Fault::None {
            reference = found;
        } else {
            assert!(kills >= 8, "{fault:?}: only {kills} kills");
            assert_eq!(reference.difference(&found), None, "{fault:?}");
        }
        scene.strike().await?;
    }
    Ok(())
}
