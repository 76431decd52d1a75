//! A spec that is wrong for a while leaves no trace: refused, or told by a condition that names the field, and once it is
//! right again, the same children are there as before.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::objects::{deployment_of_uri, trained, training, with};
use sconce_tests::room::{Kind, Room, conditions, served, told};
use sconce_tests::wait::until;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How a wrong value is told: by the API server, in this sentence, or by the object's condition with this reason and
/// sentence.
enum Told {
    Refused(&'static str),
    Reason(&'static str, &'static str),
}
use Told::{Reason, Refused};

/// For each class of fields: a change that is wrong, and how it is told.
fn of_both() -> Vec<(Value, Told)> {
    let profile = "spec.accelerator.profile: there is no AcceleratorProfile named \"none\"";
    let class = "spec.scheduling.priorityClassName: ";
    let volume = json!({"volumes": [{"name": "data", "mountPath": "/data", "configMap": {"name": "none"}}]});
    let absent = "spec.podOverrides.volumes[data]: there is no ConfigMap named \"none\"";
    vec![
        (
            json!({"resources": {"memory": "lots"}}),
            Refused("spec.resources.memory"),
        ),
        (json!({"resources": {"cpu": 0}}), Refused("spec.resources.cpu")),
        (
            json!({"accelerator": {"profile": "cpu", "count": 65}}),
            Refused("spec.accelerator.count"),
        ),
        (
            json!({"accelerator": {"profile": "none"}}),
            Reason("ProfileNotFound", profile),
        ),
        (
            json!({"scheduling": {"priorityClassName": "none"}}),
            Reason("PriorityClassNotFound", class),
        ),
        (
            json!({"podOverrides": {"labels": {"team": "no blanks"}}}),
            Refused("spec.podOverrides.labels"),
        ),
        (
            json!({"podOverrides": {"env": [{"name": "SCONCE_RUN", "value": "1"}]}}),
            Refused("podOverrides.env"),
        ),
        (
            json!({"podOverrides": volume}),
            Reason("ConfigMapNotFound", absent),
        ),
    ]
}

fn of_trainings() -> Vec<(Value, Told)> {
    let map = "spec.dataset.uri: there is no ConfigMap named \"none\"";
    let claim = "there is no PersistentVolumeClaim named \"none\"";
    let mut all = of_both();
    all.extend([
        (
            json!({"model": {"custom": {"image": "a"}}}),
            Refused("model has exactly one of: network, custom"),
        ),
        (
            json!({"hyperparameters": {"epochs": 0}}),
            Refused("spec.hyperparameters.epochs"),
        ),
        (
            json!({"dataset": {"uri": "ftp://host/a.csv"}}),
            Refused("spec.dataset.uri"),
        ),
        (
            json!({"dataset": {"uri": "configmap://none/a.csv"}}),
            Reason("ConfigMapNotFound", map),
        ),
        (
            json!({"output": {"uri": "pvc://none/a"}}),
            Reason("ClaimNotFound", claim),
        ),
        (
            json!({"checkpoint": {"uri": "pvc://none/a"}}),
            Reason("ClaimNotFound", claim),
        ),
        (
            json!({"checkpoint": {"keep": 0}}),
            Refused("spec.checkpoint.keep"),
        ),
        (
            json!({"evaluation": {"metrics": ["speed"]}}),
            Refused("spec.evaluation.metrics"),
        ),
        (
            json!({"failurePolicy": {"backoffLimit": -1}}),
            Refused("spec.failurePolicy.backoffLimit"),
        ),
        (
            json!({"activeDeadlineSeconds": 0}),
            Refused("spec.activeDeadlineSeconds"),
        ),
        (
            json!({"ttlSecondsAfterFinished": -1}),
            Refused("spec.ttlSecondsAfterFinished"),
        ),
        (json!({"suspend": "yes"}), Refused("spec.suspend")),
        (
            json!({"scheduling": {"queueName": "none"}}),
            Reason("QueueNotAvailable", "spec.scheduling.queueName: "),
        ),
    ]);
    all
}

fn of_deployments() -> Vec<(Value, Told)> {
    let claim = "spec.model.uri: there is no PersistentVolumeClaim named \"none\"";
    let source = json!({"uri": null, "trainingRef": {"name": "none"}});
    let mut all = of_both();
    all.extend([
        (
            json!({"model": {"trainingRef": {"name": "a"}}}),
            Refused("model has exactly one of: trainingRef, uri"),
        ),
        (
            json!({"model": {"uri": "pvc://none/a"}}),
            Reason("ClaimNotFound", claim),
        ),
        (
            json!({"model": source}),
            Reason("TrainingNotFound", "spec.model.trainingRef.name: "),
        ),
        (json!({"replicas": 1001}), Refused("spec.replicas")),
        (
            json!({"network": {"allowFrom": [{"cidr": "10.0.0.0/33"}]}}),
            Refused("spec.network.allowFrom[0].cidr"),
        ),
        (
            json!({"autoscaling": {"mode": "Managed"}}),
            Refused("autoscaling.mode Managed needs maxReplicas"),
        ),
        (
            json!({"rollout": {"strategy": "Blue"}}),
            Refused("spec.rollout.strategy"),
        ),
        (json!({"warmup": {"rows": []}}), Refused("spec.warmup.rows")),
        (
            json!({"server": {"custom": {"image": "a"}}}),
            Refused("spec.server.custom.readinessPath"),
        ),
    ]);
    all
}

/// What differs between two objects that were made alike.
const OWN: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "status",
    "selfLink",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "clusterIP",
    "clusterIPs",
    "volumeName",
    "deployment.kubernetes.io/revision",
    "sconce.dev/wanted-since",
    "sconce.dev/fewer-since",
    "sconce.dev/more-since",
];

fn without_own(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let rest = fields.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
            rest.map(|(name, value)| (name.clone(), without_own(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(without_own).collect(),
        other => other.clone(),
    }
}

/// A child: its UID, and what it is.
type Child = (String, Value);

async fn children_of<K: Kind>(room: &Room, into: &mut BTreeMap<String, Child>) -> Outcome {
    let list = room.api::<K>().list(&Default::default()).await?;
    for object in list.items {
        let meta = object.meta();
        if meta
            .owner_references
            .iter()
            .flatten()
            .all(|owner| !owner.api_version.starts_with("sconce.dev/"))
        {
            continue;
        }
        let (name, uid) = (
            meta.name.clone().unwrap_or_default(),
            meta.uid.clone().unwrap_or_default(),
        );
        let key = format!("{} {name}", K::kind(&()));
        into.insert(key, (uid, without_own(&serde_json::to_value(&object)?)));
    }
    Ok(())
}

async fn children(room: &Room) -> Outcome<BTreeMap<String, Child>> {
    let mut all = BTreeMap::new();
    children_of::<Job>(room, &mut all).await?;
    children_of::<ConfigMap>(room, &mut all).await?;
    children_of::<PersistentVolumeClaim>(room, &mut all).await?;
    children_of::<Deployment>(room, &mut all).await?;
    children_of::<Service>(room, &mut all).await?;
    children_of::<NetworkPolicy>(room, &mut all).await?;
    children_of::<PodDisruptionBudget>(room, &mut all).await?;
    Ok(all)
}

/// Waits until the children are those of before. `same` tells whether they must be the very same objects.
async fn restored(room: &Room, before: &BTreeMap<String, Child>, same: bool) -> Outcome {
    let mut last = BTreeMap::new();
    let alike = until("the children are as before", async || {
        last = children(room).await.ok()?;
        let alike = |(one, other): ((&String, &Child), (&String, &Child))| {
            one.0 == other.0 && one.1.1 == other.1.1 && (!same || one.1.0 == other.1.0)
        };
        (last.len() == before.len() && before.iter().zip(&last).all(alike)).then_some(())
    })
    .await;
    Ok(alike.map_err(|error| format!("{error}: before {before:#?}, at last {last:#?}"))?)
}

/// The change that takes another one back: what `good` says in its place, or nothing.
fn back(bad: &Value, good: &Value) -> Value {
    match (bad, good) {
        (Value::Object(bad), Value::Object(good)) => bad
            .iter()
            .map(|(name, value)| {
                let before = good.get(name).unwrap_or(&Value::Null);
                (name.clone(), back(value, before))
            })
            .collect(),
        (_, good) => good.clone(),
    }
}

/// Whether the API server refused the change as is expected; otherwise a condition will tell.
async fn change<K: Kind>(room: &Room, name: &str, bad: &Value, told: &Told) -> Outcome {
    let changed = room.change::<K>(name, json!({ "spec": bad })).await;
    match (told, changed) {
        (Reason(..), Ok(_)) => Ok(()),
        (Refused(sentence), Err(error)) if error.to_string().contains(sentence) => Ok(()),
        (_, outcome) => Err(format!("{bad}: {outcome:?}").into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_was_wrong_for_a_while_serves_with_the_very_same_children() -> Outcome {
    let room = Room::open().await?;
    let network = json!({"allowFrom": [{"podLabels": {"app": "shop"}}]});
    let good = with(
        deployment_of_uri("served", "https://models.example/iris"),
        &json!({"spec": {"replicas": 2, "network": network}}),
    );
    room.apply(good.clone()).await?;
    let revision = room.revision("served", None).await?;
    room.answer("served", &revision, 2).await?;
    room.deployment_says("served", "Serving").await?;
    let before = children(&room).await?;
    assert_eq!(before.len(), 4, "{:?}", before.keys());
    for (bad, told_by) in of_deployments() {
        change::<ModelDeployment>(&room, "served", &bad, &told_by).await?;
        if let Reason(reason, sentence) = told_by {
            let seen = room.deployment_says("served", reason).await?;
            let said = told(served(&seen), "Ready");
            assert!(said.contains(sentence), "{bad}: {said}");
            assert!(
                told(served(&seen), "Available").starts_with("True"),
                "{bad}: what is served goes on"
            );
            let back = back(&bad, &good["spec"]);
            room.change::<ModelDeployment>("served", json!({ "spec": back }))
                .await?;
        }
        room.deployment_says("served", "Serving").await?;
        restored(&room, &before, true)
            .await
            .map_err(|error| format!("{bad}: {error}"))?;
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_was_wrong_for_a_while_goes_on_with_children_like_those_of_before() -> Outcome {
    let room = Room::open().await?;
    let good = training("iris");
    room.apply(good.clone()).await?;
    room.kubelet.trainer("iris").await?;
    room.phase("iris", Phase::Pending).await?;
    let mut before = children(&room).await?;
    assert_eq!(before.len(), 2, "{:?}", before.keys());
    for (bad, told_by) in of_trainings() {
        change::<ModelTraining>(&room, "iris", &bad, &told_by).await?;
        let mut same = true;
        if let Reason(reason, sentence) = told_by {
            let seen = room.training_says("iris", reason).await?;
            let said = told(conditions(&seen), "Ready");
            assert!(said.contains(sentence), "{bad}: {said}");
            let back = back(&bad, &good["spec"]);
            room.change::<ModelTraining>("iris", json!({ "spec": back }))
                .await?;
            // What an earlier spec asked for does not go on: its Job is another one now, of the same name.
            same = false;
        }
        room.kubelet.trainer("iris").await?;
        restored(&room, &before, same)
            .await
            .map_err(|error| format!("{bad}: {error}"))?;
        if !same {
            before = children(&room).await?;
            continue;
        }
        room.see("iris", "it is accepted again", |seen: &ModelTraining| {
            told(conditions(seen), "Accepted").starts_with("True")
        })
        .await?;
    }
    // A run that ended is not repeated for a while of another spec.
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let ended = room.phase("iris", Phase::Succeeded).await?;
    let bad = json!({"dataset": {"uri": "configmap://none/a.csv"}});
    room.change::<ModelTraining>("iris", json!({ "spec": bad }))
        .await?;
    room.training_says("iris", "ConfigMapNotFound").await?;
    let back = back(&bad, &good["spec"]);
    room.change::<ModelTraining>("iris", json!({ "spec": back }))
        .await?;
    let again = room.phase("iris", Phase::Succeeded).await?;
    let artifact = |training: &ModelTraining| {
        training
            .status
            .as_ref()
            .and_then(|status| status.artifact.clone())
    };
    assert_eq!(artifact(&again), artifact(&ended));
    Ok(room.close()?)
}
