//! What a watch does not show, shows late, shows twice or breaks off changes nothing in the end. The operator is the
//! unmodified program behind a proxy ([`sconce_tests::fault`]); what people do meanwhile is a table
//! ([`sconce_tests::scenario`]).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use sconce_tests::fault::Events;
use sconce_tests::reference::State;
use sconce_tests::scenario::Scenario;
use sconce_tests::scene::Scene;
use sconce_tests::world::{Extent, Lease};
use tokio::sync::OnceCell;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Each test uses the whole machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// Scenes at a time: each mostly waits.
const SIDE_BY_SIDE: usize = 6;
/// Of what happens to an object within this time, only the last is seen.
const BLINK: Duration = Duration::from_millis(700);

/// Brings the scenario about in a scene of its own, disturbed.
async fn acted(scenario: Scenario, disturb: impl Fn(&Scene)) -> Outcome<Scene> {
    let scene = Scene::set().await?;
    disturb(&scene);
    scene.start()?;
    scenario.prepare(&scene).await?;
    scenario.act(&scene).await?;
    Ok(scene)
}

/// How the scenario ends without a fault.
async fn undisturbed(scenario: Scenario) -> Outcome<State> {
    let _turn = scenario.turn().await;
    let scene = acted(scenario, |_| {}).await?;
    let done = async || scenario.is_done(&scene.room).await;
    let state = scene
        .rest(&format!("{scenario:?} comes to its end"), done)
        .await?;
    scene.strike().await?;
    Ok(state)
}

/// Waits until the scenario has ended as `reference`; how much was not shown as it came. That nothing is written for
/// a while does not say that all is over: a watch that was told to begin again pauses first, each time longer.
async fn ends_as(reference: &State, scenario: Scenario, disturb: impl Fn(&Scene)) -> Outcome<usize> {
    let _turn = scenario.turn().await;
    let scene = acted(scenario, disturb).await?;
    scene.ends_as(reference, &format!("{scenario:?}")).await?;
    let broken = scene.proxy.broken();
    println!("{scenario:?}: {broken} not as they came");
    scene.strike().await?;
    Ok(broken)
}

/// How each scenario ends without a fault.
async fn references() -> Outcome<&'static BTreeMap<Scenario, State>> {
    static ENDS: OnceCell<BTreeMap<Scenario, State>> = OnceCell::const_new();
    let run = async || {
        let ends = Scenario::ALL.map(async |scenario| Outcome::Ok((scenario, undisturbed(scenario).await?)));
        stream::iter(ends)
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect()
            .await
    };
    ENDS.get_or_try_init(run).await
}

/// Each scenario ends under the fault as without it; how much was not shown as it came.
async fn end_alike(scenarios: &[Scenario], disturb: impl Fn(&Scene) + Copy) -> Outcome<usize> {
    let _turn = ONE_AT_A_TIME.lock().await;
    // Where no scene has it for a moment, it would end and be started again.
    let _world = Lease::take(Extent::Scheduling).await?;
    let references = references().await?;
    let runs = scenarios
        .iter()
        .map(|scenario| ends_as(&references[scenario], *scenario, disturb));
    let outcomes: Vec<Outcome<usize>> = stream::iter(runs).buffer_unordered(SIDE_BY_SIDE).collect().await;
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|run| run.as_ref().err().map(ToString::to_string))
        .collect();
    assert!(failed.is_empty(), "they end otherwise:\n{}", failed.join("\n"));
    Ok(outcomes.into_iter().flatten().sum())
}

async fn under(events: Events, scenarios: &[Scenario]) -> Outcome {
    let broken = end_alike(scenarios, |scene| scene.proxy.events(events)).await?;
    assert!(
        broken > scenarios.len(),
        "{events:?}: only {broken} events were met"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_of_what_follows_closely_only_the_last_is_seen_and_all_ends_alike() -> Outcome {
    under(Events::Coalesce(BLINK), &Scenario::lasting()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_events_that_come_once_more_change_nothing() -> Outcome {
    under(Events::Replay(3), &Scenario::ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_events_are_lost_and_the_watch_says_gone_and_all_ends_alike() -> Outcome {
    under(Events::Gone(4), &Scenario::lasting()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_watch_that_ends_in_the_middle_of_an_event_is_taken_up_again() -> Outcome {
    under(Events::Cut(4), &Scenario::ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_lists_that_end_in_the_middle_of_an_object_are_asked_for_again() -> Outcome {
    const CUT: usize = 12;
    let scenarios = [Scenario::Create, Scenario::Rollout];
    let broken = end_alike(&scenarios, |scene| scene.proxy.cut_lists(CUT)).await?;
    assert_eq!(broken, CUT * scenarios.len());
    Ok(())
}
