//! Whatever fails between the operator and the API server, and whenever the operator dies, the end is the one that an
//! undisturbed run has, reached once. The operator is the unmodified program behind a proxy ([`sconce_tests::fault`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt;
use kube::api::ListParams;
use sconce_crds::condition::is_true;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::fault::{Fault, FaultProxy, Write};
use sconce_tests::hollow::{CLAIM, Hollow};
use sconce_tests::objects::{deployment, training, with};
use sconce_tests::operator::Operator;
use sconce_tests::room::{Room, conditions, served};
use sconce_tests::wait::{until, within};
use sconce_tests::world::Extent;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The tests of this file stop and start the one operator that they share.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// The machine may be busy with a build, and kube repeats by itself, with growing pauses, what was refused.
const PATIENCE: Duration = Duration::from_secs(150);

/// A room without an operator, pods that run by themselves, and a proxy.
struct Scene {
    room: Room,
    _hollow: Hollow,
    proxy: FaultProxy,
    options: sconce_tests::operator::Options,
}

impl Scene {
    async fn set() -> Outcome<Self> {
        let room = Room::within(Extent::Scheduling).await?;
        room.world.crash_operator();
        Hollow::claim(&room.client, &room.namespace, CLAIM).await?;
        let mut options = room.world.options();
        let proxy = FaultProxy::start(&options.kubeconfig).await?;
        options.kubeconfig = proxy.kubeconfig(&options.kubeconfig)?;
        Ok(Self {
            _hollow: Hollow::start(room.client.clone()),
            room,
            proxy,
            options,
        })
    }

    async fn train_and_serve(&self, name: &str) -> Outcome {
        let output = json!({"spec": {"output": {"uri": format!("pvc://{CLAIM}")}, "resources": {"cpu": "100m", "memory": "64Mi"}}});
        self.room.apply(with(training(name), &output)).await?;
        let small = json!({"spec": {"resources": {"cpu": "100m", "memory": "64Mi"}}});
        self.room.apply(with(deployment(name, name), &small)).await?;
        Ok(())
    }

    /// Does as `doing` says while each write, at its first try, is met by `fault` and the operator killed.
    async fn killed_at_each_write(
        &self,
        fault: Fault,
        doing: impl AsyncFnOnce(&Room) -> Outcome,
    ) -> Outcome<usize> {
        let mut met = BTreeSet::new();
        self.proxy.rule(move |write: &Write| {
            // A status is written more than once, and dying at each word of it would never end: three times will do.
            let tries = if write.path.ends_with("/status") { 3 } else { 1 };
            let fresh = (0..tries).any(|time| {
                met.insert((
                    write.method.to_string(),
                    write.path.clone(),
                    write.name.clone(),
                    time,
                ))
            });
            if fresh { fault } else { Fault::None }
        });
        self.room.world.restart_operator(&self.options)?;
        let (mut kills, mut finished) = (0, Box::pin(doing(&self.room)));
        loop {
            tokio::select! {
                outcome = &mut finished => {
                    outcome?;
                    return Ok(kills);
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    if self.proxy.is_frozen() {
                        self.room.world.crash_operator();
                        self.proxy.thaw();
                        self.room.world.restart_operator(&self.options)?;
                        kills += 1;
                    }
                }
            }
        }
    }
}

/// A training, a deployment of it, a change of both, and the end of both; what was there in between.
async fn story(room: &Room, kept: &mut BTreeMap<String, Value>) -> Outcome {
    let ready = async || {
        within(PATIENCE, "the model is trained and served", async || {
            let trained = room.get::<ModelTraining>("iris").await.ok()?;
            let serves = room.get::<ModelDeployment>("iris").await.ok()?;
            let current = serves.status.as_ref()?.observed_generation == serves.metadata.generation
                && trained.status.as_ref()?.observed_generation == trained.metadata.generation;
            (current && is_true(conditions(&trained), "Ready") && is_true(served(&serves), "Ready"))
                .then_some(())
        })
        .await
    };
    ready().await?;
    let more = json!({"spec": {"replicas": 2}});
    room.change::<ModelDeployment>("iris", more).await?;
    ready().await?;
    let again = json!({"spec": {"hyperparameters": {"seed": 7}}});
    room.change::<ModelTraining>("iris", again).await?;
    ready().await?;
    // What the first run left goes once the second is known to have ended.
    within(PATIENCE, "one Job is left", async || {
        let jobs = room.ours::<Job>().await.ok()?;
        (jobs.len() == 1).then_some(())
    })
    .await?;
    *kept = state(room).await?;
    room.delete::<ModelDeployment>("iris").await?;
    room.delete::<ModelTraining>("iris").await?;
    within(PATIENCE, "nothing is left", async || {
        let left = room.ours::<Job>().await.ok()?.len()
            + room.ours::<Deployment>().await.ok()?.len()
            + room.ours::<Service>().await.ok()?.len()
            + room.ours::<ConfigMap>().await.ok()?.len();
        (left == 0).then_some(())
    })
    .await?;
    Ok(())
}

/// All objects of ours, less what differs between two runs of the same: identities, times, and how often it was tried.
async fn state(room: &Room) -> Outcome<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    let mut uids = Vec::new();
    macro_rules! look {
        ($label:literal, $($kind:ident)*) => {$(
            let list = room.api::<$kind>().list(&ListParams::default().labels($label)).await?;
            for object in list.items {
                uids.push(object.uid().unwrap_or_default());
                all.insert(format!("{}/{}", stringify!($kind), object.name_any()), serde_json::to_value(&object)?);
            }
        )*};
    }
    look!("", ModelTraining ModelDeployment);
    look!("app.kubernetes.io/managed-by=sconce", Job Deployment Service ConfigMap);
    for (name, object) in &mut all {
        // What Kubernetes' own controllers say of a child, in which order, is theirs.
        if !name.starts_with("Model")
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        blank(object, &uids, &room.namespace);
    }
    Ok(all)
}

const VARY: [&str; 21] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "generation",
    "observedGeneration",
    "lastTransitionTime",
    "lastUpdateTime",
    "startTime",
    "completed",
    "completionTime",
    "lastReported",
    "clusterIP",
    "clusterIPs",
    "deployment.kubernetes.io/revision",
    "time",
    "since",
    "acceleratorSeconds",
    "coldStart",
    "lastProbeTime",
    "sconce.dev/wanted-since",
];

fn blank(value: &mut Value, uids: &[String], namespace: &str) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !VARY.contains(&key.as_str()));
            fields
                .values_mut()
                .for_each(|value| blank(value, uids, namespace));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| blank(item, uids, namespace)),
        Value::String(text) => {
            for uid in uids {
                *text = text.replace(uid, "UID");
            }
            *text = text.replace(namespace, "NAMESPACE");
        }
        _ => {}
    }
}

fn compare(reference: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>, what: &str) {
    let names = |state: &BTreeMap<String, Value>| state.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(reference), names(found), "{what}: other objects");
    for (name, object) in reference {
        assert_eq!(
            object, &found[name],
            "{what}: {name} differs from the undisturbed run"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_killed_before_or_after_each_write_it_ends_as_an_undisturbed_run() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut reference = BTreeMap::new();
    for fault in [Fault::None, Fault::FreezeBefore, Fault::FreezeAfter] {
        let scene = Scene::set().await?;
        scene.train_and_serve("iris").await?;
        let mut found = BTreeMap::new();
        let kills = scene
            .killed_at_each_write(fault, async |room| story(room, &mut found).await)
            .await?;
        println!("{fault:?}: {kills} kills, {} writes", scene.proxy.writes().len());
        if fault == Fault::None {
            reference = found;
        } else {
            assert!(kills >= 8, "{fault:?}: only {kills} kills");
            compare(&reference, &found, &format!("{fault:?}"));
        }
        scene.room.close()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_third_of_the_writes_fail_for_a_while_and_nothing_is_made_twice() -> Outcome {
    const COUNT: usize = 10;
    const STORM: Duration = Duration::from_secs(10);
    let _turn = ONE_AT_A_TIME.lock().await;
    let scene = Scene::set().await?;
    let start = Instant::now();
    scene.proxy.rule(move |write: &Write| {
        let kinds = [
            Fault::Answer(429),
            Fault::Answer(409),
            Fault::Answer(500),
            Fault::Answer(503),
            Fault::AnswerAfter(504),
        ];
        // Seven and ten have no common divisor, so that every third of ten fails, in no simple order.
        match (write.number * 7) % 10 {
            0..3 if start.elapsed() < STORM => kinds[write.number / 10 % kinds.len()],
            _ => Fault::None,
        }
    });
    scene.room.world.restart_operator(&scene.options)?;
    for number in 0..COUNT {
        scene.train_and_serve(&format!("iris-{number}")).await?;
    }
    within(PATIENCE, "all are trained and served", async || {
        let trained = scene
            .room
            .api::<ModelTraining>()
            .list(&ListParams::default())
            .await
            .ok()?;
        let serves = scene
            .room
            .api::<ModelDeployment>()
            .list(&ListParams::default())
            .await
            .ok()?;
        let trained = trained
            .iter()
            .filter(|one| is_true(conditions(one), "Ready"))
            .count();
        let serves = serves.iter().filter(|one| is_true(served(one), "Ready")).count();
        (trained + serves == 2 * COUNT).then_some(())
    })
    .await?;
    assert_eq!(scene.room.ours::<Job>().await?.len(), COUNT);
    assert_eq!(scene.room.ours::<Deployment>().await?.len(), COUNT);
    assert_eq!(scene.room.ours::<Service>().await?.len(), COUNT);
    assert_eq!(scene.room.ours::<ConfigMap>().await?.len(), 2 * COUNT);
    let storm = scene.proxy.writes();
    let storm = storm
        .iter()
        .filter(|write| write.at.duration_since(start) < STORM)
        .count();
    // Twenty a second, and what the objects take anyway.
    let allowed = 20 * STORM.as_secs() as usize + 2 * COUNT * 8;
    assert!(
        storm <= allowed,
        "{storm} writes in {STORM:?}: refusals are answered by hammering"
    );
    scene.room.world.crash_operator();
    Ok(scene.room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_objects_that_always_fail_are_tried_ever_less_and_slow_nobody() -> Outcome {
    const BAD: usize = 10;
    const GOOD: usize = 30;
    let _turn = ONE_AT_A_TIME.lock().await;
    let scene = Scene::set().await?;
    scene.proxy.rule(|write: &Write| {
        if write.name.starts_with("bad-") {
            Fault::Answer(500)
        } else {
            Fault::None
        }
    });
    scene.room.world.restart_operator(&scene.options)?;
    let start = Instant::now();
    for number in 0..BAD {
        scene.train_and_serve(&format!("bad-{number}")).await?;
    }
    for number in 0..GOOD {
        scene.train_and_serve(&format!("good-{number}")).await?;
    }
    within(PATIENCE, "all good ones are trained and served", async || {
        let trained = scene
            .room
            .api::<ModelTraining>()
            .list(&ListParams::default())
            .await
            .ok()?;
        let serves = scene
            .room
            .api::<ModelDeployment>()
            .list(&ListParams::default())
            .await
            .ok()?;
        let trained = trained
            .iter()
            .filter(|one| is_true(conditions(one), "Ready"))
            .count();
        let serves = serves.iter().filter(|one| is_true(served(one), "Ready")).count();
        (trained + serves == 2 * GOOD).then_some(())
    })
    .await?;
    // Pauses of 1, 2, 4, … s: in the time that passed, an object is tried about as often as the time has binary digits.
    let tries = (start.elapsed().as_secs() + 2).ilog2() as usize + 3;
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for write in scene
        .proxy
        .writes()
        .iter()
        .filter(|write| write.name.starts_with("bad-"))
    {
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
    assert!(
        scene
            .room
            .ours::<Job>()
            .await?
            .iter()
            .all(|job| !job.starts_with("bad-"))
    );
    scene.room.world.crash_operator();
    Ok(scene.room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_of_two_operators_one_writes_and_the_other_takes_over_within_the_lease() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let scene = Scene::set().await?;
    let original = scene.room.world.options();
    let (mut first, mut second) = (scene.options.clone(), original.clone());
    let other = FaultProxy::start(&original.kubeconfig).await?;
    second.kubeconfig = other.kubeconfig(&original.kubeconfig)?;
    first.identity = "sconce-a".to_owned();
    second.identity = "sconce-b".to_owned();
    let leader = Operator::start(&first)?;
    until("the first leads", async || {
        let said = leader.get("/metrics").ok()?;
        said.contains("sconce_operator_leader 1\n").then_some(())
    })
    .await?;
    let _follower = Operator::start(&second)?;
    scene.train_and_serve("before").await?;
    let job = async |prefix: &str| {
        let jobs = scene.room.ours::<Job>().await.ok()?;
        jobs.iter().any(|job| job.starts_with(prefix)).then_some(())
    };
    until("the first works", async || job("before").await).await?;
    assert!(other.writes().is_empty(), "the second wrote while the first led");
    // SIGKILL: the lease stays held.
    drop(leader);
    let killed = Instant::now();
    scene.train_and_serve("after").await?;
    within(Duration::from_secs(60), "the second works", async || {
        job("after").await
    })
    .await?;
    let took = killed.elapsed();
    let last = scene.proxy.writes().last().map(|write| write.at);
    let next = other.writes().first().map(|write| write.at);
    assert!(last < next, "the two wrote at the same time");
    // The lease lasts 15 s and is looked at each 2 s; the rest is a busy machine's.
    assert!(took < Duration::from_secs(30), "{took:?}");
    Ok(scene.room.close()?)
}
