//! An operator that starts behind the times takes nothing away that it does not yet know to be wanted. It is the
//! unmodified program behind a proxy ([`sconce_tests::fault`]) that has its watches begin with an older list.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::hollow::CLAIM;
use sconce_tests::objects::{deployment_of_uri, with};
use sconce_tests::operator::Operator;
use sconce_tests::reference::State;
use sconce_tests::room::{Kind, Room};
use sconce_tests::scenario::Scenario;
use sconce_tests::scene::Scene;
use sconce_tests::wait::until;
use serde_json::json;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const OURS: [&str; 2] = [
    "apis/sconce.dev/v1alpha1 modeltrainings",
    "apis/sconce.dev/v1alpha1 modeldeployments",
];
const CHILDREN: [&str; 4] = [
    "apis/batch/v1 jobs",
    "apis/apps/v1 deployments",
    "api/v1 services",
    "api/v1 pods",
];

fn paths(room: &Room, kinds: &[&str]) -> Vec<String> {
    let of = |kind: &&str| kind.replace(' ', &format!("/namespaces/{}/", room.namespace));
    kinds.iter().map(|kind| format!("/{}", of(kind))).collect()
}

/// What can be taken away: each object of ours by its identity, and how many pods it asks for or whether it may run.
async fn holdings(room: &Room) -> Outcome<BTreeMap<String, i32>> {
    let mut all = BTreeMap::new();
    for job in list::<Job>(room).await? {
        let spec = job.spec.clone().unwrap_or_default();
        let runs = spec.suspend != Some(true) && spec.active_deadline_seconds.is_none();
        all.insert(identity(&job), i32::from(runs));
    }
    for live in list::<Deployment>(room).await? {
        let replicas = live.spec.as_ref().and_then(|spec| spec.replicas);
        all.insert(identity(&live), replicas.unwrap_or(1));
    }
    for service in list::<Service>(room).await? {
        all.insert(identity(&service), 1);
    }
    for pod in list::<Pod>(room).await? {
        let stays = pod.metadata.deletion_timestamp.is_none();
        all.insert(identity(&pod), i32::from(stays));
    }
    Ok(all)
}

fn identity<K: Kind>(object: &K) -> String {
    let uid = object.uid().unwrap_or_default();
    format!("{} {} {uid}", K::kind(&()), object.name_any())
}

async fn list<K: Kind>(room: &Room) -> Outcome<Vec<K>> {
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=sconce");
    Ok(room.api::<K>().list(&ours).await?.items)
}

/// An operator dies after people have changed everything; the next one is shown these kinds as they were before.
async fn restarts_behind(kinds: &[&str]) -> Outcome {
    let scene = Scene::set().await?;
    let room = &scene.room;
    scene.start()?;
    Scenario::Update.prepare(&scene).await?;
    scene.train_and_serve("long-iris").await?;
    let held = json!({"spec": {"suspend": true}});
    room.change::<ModelTraining>("long-iris", held).await?;
    let suspended = async || Scenario::Suspend.is_done(room).await;
    scene
        .rest("one is served, and one is suspended", suspended)
        .await?;
    scene
        .proxy
        .stop_the_clock(&room.client, &paths(room, kinds))
        .await?;

    let seed = json!({"spec": {"hyperparameters": {"seed": 7}}});
    room.change::<ModelTraining>("iris", seed).await?;
    let more = json!({"spec": {"replicas": 3}});
    room.change::<ModelDeployment>("iris", more).await?;
    let goes_on = json!({"spec": {"suspend": false}});
    room.change::<ModelTraining>("long-iris", goes_on).await?;
    let done = async || {
        let update = Scenario::ScaleUp.is_done(room).await && one_job_of_iris(room).await;
        update && Scenario::Suspend.is_prepared(room).await.unwrap_or(false)
    };
    let reference = scene.rest("all that people changed is done", done).await?;
    let before = holdings(room).await?;

    scene.crash();
    let writes = scene.proxy.writes().len();
    scene.start()?;
    until("every object was looked at, and again", async || {
        let looks = scene.metric("sconce_operator_reconciles_total");
        (looks >= 4.0).then_some(())
    })
    .await?;
    let looks = scene.metric("sconce_operator_reconciles_total");
    scene.rest("it rests, or tries again", async || true).await?;
    let behind = scene.proxy.writes().len() - writes;
    let found = holdings(room).await?;
    for (what, count) in &before {
        let left = found.get(what).copied().unwrap_or(-1);
        assert!(
            left >= *count,
            "{kinds:?} behind: {what} had {count} and has {left}; -1: it is gone"
        );
    }
    scene.proxy.catch_up();
    let took = scene
        .ends_as(&reference, &format!("{kinds:?} behind, then not"))
        .await?;
    println!("{kinds:?} behind: {looks} looks, {behind} writes meanwhile; caught up in {took:?}");
    Ok(scene.strike().await?)
}

/// Whether so many pods of `iris` answer, as was decided.
async fn serves(room: &Room, count: i32) -> bool {
    let seen = room.get::<ModelDeployment>("iris").await.ok();
    let status = seen.and_then(|seen| seen.status);
    status.is_some_and(|status| (status.desired_replicas, status.ready_replicas) == (Some(count), count))
}

async fn one_job_of_iris(room: &Room) -> bool {
    let jobs = room.ours::<Job>().await.unwrap_or_default();
    jobs.iter().filter(|job| job.starts_with("iris-")).count() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_operator_behind_on_what_people_ask_takes_nothing_away() -> Outcome {
    restarts_behind(&OURS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_operator_behind_on_what_it_made_takes_nothing_away() -> Outcome {
    restarts_behind(&CHILDREN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_operator_behind_on_everything_takes_nothing_away() -> Outcome {
    restarts_behind(&[&OURS[..], &CHILDREN[..]].concat()).await
}

/// What an operator has decided by a load that nobody sees any more stands, though the next one is first shown what was
/// before it.
#[tokio::test(flavor = "multi_thread")]
async fn fault_an_operator_behind_on_a_decision_to_scale_takes_nothing_away() -> Outcome {
    let scene = Scene::set().await?;
    let room = &scene.room;
    scene.start()?;
    let asked = json!({"spec": {
        "resources": {"cpu": "100m", "memory": "64Mi"},
        "autoscaling": {"mode": "Managed", "minReplicas": 1, "maxReplicas": 4},
    }});
    room.apply(with(
        deployment_of_uri("iris", &format!("pvc://{CLAIM}/1")),
        &asked,
    ))
    .await?;
    scene
        .rest("one pod serves", async || serves(room, 1).await)
        .await?;
    scene
        .proxy
        .stop_the_clock(&room.client, &paths(room, &OURS))
        .await?;

    scene.crash();
    let decided = json!({"status": {"desiredReplicas": 3}});
    room.api::<ModelDeployment>()
        .patch_status("iris", &PatchParams::default(), &Patch::Merge(&decided))
        .await?;
    let mut direct = scene.options.clone();
    direct.kubeconfig = room.world.options().kubeconfig;
    let other = Operator::start(&direct)?;
    // What this one writes, the proxy does not see.
    let mut last = None;
    let reference = scene
        .rest("the other operator goes on from there, and rests", async || {
            let now = State::of(room).await.ok();
            let same = now.is_some() && now == last;
            last = now;
            same && serves(room, 3).await
        })
        .await?;
    let before = holdings(room).await?;

    drop(other);
    let writes = scene.proxy.writes().len();
    scene.start()?;
    until("the deployment was looked at", async || {
        (scene.metric("sconce_operator_reconciles_total") >= 2.0).then_some(())
    })
    .await?;
    scene.rest("it rests, or tries again", async || true).await?;
    assert_eq!(holdings(room).await?, before, "behind");
    scene.proxy.catch_up();
    scene
        .ends_as(&reference, "behind on a decision, then not")
        .await?;
    // Each look at the load, one of each of the three pods, could tell the old number.
    let looks = scene.metric("sconce_operator_load_polls_total");
    until("the load was asked for again", async || {
        (scene.metric("sconce_operator_load_polls_total") >= looks + 9.0).then_some(())
    })
    .await?;
    scene.ends_as(&reference, "some looks later").await?;
    assert_eq!(holdings(room).await?, before, "caught up");
    let writes = scene.proxy.writes().len() - writes;
    println!("behind on a decision to scale: {writes} writes");
    Ok(scene.strike().await?)
}
