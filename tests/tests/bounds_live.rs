//! What the API server lets through, the operator can live with: it tells each object what became of it, in words that
//! name a field where a person has to do something, and takes everything back when the object is deleted.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::DeleteParams;
use sconce_crds::condition::{Condition, find};
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::bounds::{Case, cases, draw, places, schema};
use sconce_tests::room::{Kind, Room, conditions, served};
use sconce_tests::wait::until;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Objects that are tried of each kind; some of them are refused.
const OBJECTS: usize = 200;
/// Of the specs: another one tries others.
const SEED: u64 = 20_260_302;
/// Pods are real objects, and a number of them says as much as a thousand.
const MOST_PODS: i64 = 3;

/// Objects of a kind with up to three fields changed, and what was changed.
fn specs(kind: &str, state: &mut u64) -> Outcome<Vec<(Value, String)>> {
    let all: Vec<Value> = serde_norway::from_str(include_str!("../../crds/tests/maximal.yaml"))?;
    let of_kind = all.into_iter().filter(|object| object["kind"] == kind);
    let schema = schema(kind)?;
    let of_fields = |object: Value| {
        let mut all: Vec<Case> = Vec::new();
        for place in places(&schema, &object) {
            all.extend(cases(
                &place,
                object.pointer(&place.pointer).unwrap_or(&Value::Null),
            ));
        }
        (object, all)
    };
    let bases: Vec<(Value, Vec<Case>)> = of_kind.map(of_fields).collect();
    let spec = |at: usize| {
        let (object, cases) = &bases[draw(state, bases.len())];
        let mut chosen: Vec<&Case> = Vec::new();
        for _ in 0..draw(state, 4) {
            let case = &cases[draw(state, cases.len())];
            if chosen.iter().all(|other| other.is_apart(case)) {
                chosen.push(case);
            }
        }
        let mut object = chosen
            .iter()
            .fold(object.clone(), |object, case| case.apply(object));
        object["metadata"] = json!({"name": format!("spec-{at}")});
        // Every other one is at work.
        if kind == "ModelTraining" && at.is_multiple_of(2) && object["spec"]["suspend"] == true {
            object["spec"]["suspend"] = json!(false);
        }
        let what = chosen
            .iter()
            .map(|case| format!("{} {}", case.place.path, case.what));
        (object, what.collect::<Vec<_>>().join(" and "))
    };
    let few = |(object, _): &(Value, String)| {
        let of = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(1);
        of("/spec/replicas") <= MOST_PODS && of("/spec/autoscaling/minReplicas") <= MOST_PODS
    };
    Ok((0..OBJECTS).map(spec).filter(few).collect())
}

/// Whatever the operator says, of this generation: that it goes on, or which field a person has to look at.
fn is_told(generation: Option<i64>, all: &[Condition]) -> Result<(), String> {
    let ready = find(all, "Ready").ok_or("it has no condition Ready")?;
    if all
        .iter()
        .any(|condition| condition.observed_generation != generation)
    {
        return Err("its conditions speak of another generation".to_owned());
    }
    let holds = |kind: &str| find(all, kind).is_some_and(|condition| condition.status == "True");
    let names_a_field = ["spec.", "annotation", "metadata."]
        .iter()
        .any(|word| ready.message.contains(word));
    let settled =
        holds("Ready") || holds("Progressing") || holds("Suspended") || ready.reason == "ScaledToZero";
    if settled || names_a_field {
        return Ok(());
    }
    Err(format!(
        "no progress, and no field in {}: {}",
        ready.reason, ready.message
    ))
}

/// Creates what is let through, and waits until the operator has told each what became of it.
async fn live<K: Kind>(
    room: &Room,
    specs: &[(Value, String)],
    told: impl Fn(&K) -> Result<(), String>,
) -> Outcome<Vec<String>> {
    let mut admitted = 0;
    let mut problems = Vec::new();
    for (object, _) in specs {
        admitted += usize::from(room.apply(object.clone()).await.is_ok());
    }
    assert!(
        admitted > OBJECTS / 4,
        "only {admitted} of {} were let through",
        specs.len()
    );
    let mut last = Vec::new();
    let all = until("every object is told what became of it", async || {
        let objects = room.api::<K>().list(&Default::default()).await.ok()?.items;
        let said = |object: &K| {
            let name = object.meta().name.clone().unwrap_or_default();
            told(object).err().map(|why| (name, why))
        };
        last = objects.iter().filter_map(said).collect::<Vec<_>>();
        last.is_empty().then_some(())
    })
    .await;
    if all.is_err() {
        for (name, why) in last {
            let what = specs
                .iter()
                .find(|(object, _)| object["metadata"]["name"] == name.as_str());
            problems.push(format!(
                "{} {name} ({}): {why}",
                K::kind(&()),
                what.map_or("", |(_, what)| what.as_str())
            ));
        }
    }
    Ok(problems)
}

async fn nothing_left(room: &Room) -> Outcome {
    let mut last = Vec::new();
    let empty = until("nothing is left", async || {
        last = room.ours::<Job>().await.ok()?;
        last.extend(room.ours::<Deployment>().await.ok()?);
        last.extend(room.ours::<Pod>().await.ok()?);
        last.extend(room.ours::<ConfigMap>().await.ok()?);
        last.extend(room.ours::<PersistentVolumeClaim>().await.ok()?);
        last.extend(room.ours::<Service>().await.ok()?);
        last.extend(room.ours::<NetworkPolicy>().await.ok()?);
        last.extend(room.ours::<PodDisruptionBudget>().await.ok()?);
        last.is_empty().then_some(())
    })
    .await;
    Ok(empty.map_err(|error| format!("{error}: {last:?}"))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_let_through_is_told_what_became_of_it_and_leaves_nothing() -> Outcome {
    let room = Room::open().await?;
    for kind in ["a ConfigMap", "a PersistentVolumeClaim"] {
        let there = match kind {
            "a ConfigMap" => {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}})
            }
            _ => json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
                "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
            }),
        };
        room.apply(there).await?;
    }
    room.apply(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "tables"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await?;
    room.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "data-reader"}}))
        .await?;
    room.apply_cluster(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "cpu"}, "spec": {"device": "CPU"},
    }))
    .await?;
    let mut state = SEED;
    let trainings = specs("ModelTraining", &mut state)?;
    let deployments = specs("ModelDeployment", &mut state)?;
    let mut problems = live(&room, &trainings, |training: &ModelTraining| {
        is_told(training.metadata.generation, conditions(training))
    })
    .await?;
    problems.extend(
        live(&room, &deployments, |deployment: &ModelDeployment| {
            is_told(deployment.metadata.generation, served(deployment))
        })
        .await?,
    );
    let log = room.world.log();
    let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
    assert!(panics.is_empty(), "{panics:#?}");
    assert!(
        problems.is_empty(),
        "{}:\n{}",
        problems.len(),
        problems.join("\n")
    );

    let (all, background) = (Default::default(), DeleteParams::background());
    room.api::<ModelTraining>()
        .delete_collection(&background, &all)
        .await?;
    room.api::<ModelDeployment>()
        .delete_collection(&background, &all)
        .await?;
    nothing_left(&room).await?;
    Ok(room.close()?)
}
