//! No field of a ModelTraining or an AcceleratorProfile is taken and ignored.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sconce_contract::{Metric, MetricName, MetricSplit};
use sconce_crds::training::Watchdog;
use serde_json::{Value, json};

use super::situation::{Finding, Situation};
use super::*;
use crate::context::Images;
use crate::fields::{changed, maximal};
use crate::fit::{Need, Offer, Question, Room};

fn now() -> Timestamp {
    "2026-01-01T00:15:30Z".parse().unwrap()
}

fn profile(spec: &Value) -> AcceleratorProfile {
    let object = json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "cpu"}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// The training as it is read, on a profile: of its name, or another.
fn products(object: &Value, offered: &AcceleratorProfile) -> String {
    let mut training: ModelTraining = serde_json::from_value(object.clone()).unwrap();
    let asked = training.spec.accelerator.clone();
    let names_it = asked
        .as_ref()
        .is_some_and(|asked| asked.profile == offered.name_any());
    let room = Room::of(asked.as_ref(), [Offer::from(offered)]);
    let network = training.spec.model.network.as_ref();
    let need = network.map(|network| {
        Need::of_training(
            network,
            &training.spec.hyperparameters,
            training.spec.nodes.least(),
            Some(2),
        )
    });
    let found = Found {
        profile: names_it.then(|| Arc::new(offered.clone())),
        fit: Question { room, need },
        ..Found::default()
    };
    let identity = Identity::of(&training);
    let carried_out = validate::validate(&training, &identity, &found).map(|run| {
        let images = Images {
            trainer: "t".into(),
            server: "s".into(),
            pull_policy: "Always".into(),
        };
        (run.is_withdrawn(), build::build(&run, &images))
    });
    let made = format!("{carried_out:?}");
    training.status = Some(ModelTrainingStatus {
        job: Some(identity.job.clone()),
        completion_time: Some(Time("2026-01-01T00:10:00Z".parse().unwrap())),
        watchdog: Some(stands_still()),
        ..ModelTrainingStatus::default()
    });
    let status = training.status.clone().unwrap();
    let mut awake = training.clone();
    awake.spec.suspend = false;
    let told = (
        identity.clone(),
        found.fit.verdict(),
        gates::judge(&training.spec.evaluation.gates, &measured(), None),
        time_left(&training, &status, now()),
        contention::shared(&awake),
        watched(&training, &identity),
    );
    format!("{made}\n{told:?}")
}

fn measured() -> Vec<Metric> {
    let of = |name| Metric {
        name,
        value: 0.7,
        split: MetricSplit::Test,
    };
    [MetricName::Accuracy, MetricName::Loss].map(of).into()
}

/// A pod that has said the same for a quarter of an hour.
fn stands_still() -> Watchdog {
    Watchdog {
        pod: "a".to_owned(),
        moved: Some(Time("2026-01-01T00:00:00Z".parse().unwrap())),
        looked: Some(Time("2026-01-01T00:15:20Z".parse().unwrap())),
        ..Watchdog::default()
    }
}

fn watched(training: &ModelTraining, identity: &Identity) -> (watchdog::Look, Finding) {
    let pod = json!({
        "metadata": {"name": "a", "uid": "a"}, "spec": {"nodeName": "n", "containers": []},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "sconce", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}},
        ]},
    });
    let pods = [Arc::new(serde_json::from_value::<Pod>(pod).unwrap())];
    let mut finding = Finding {
        situation: Situation::Training {
            message: String::new(),
        },
        trained: None,
        again: None,
    };
    let look = watchdog::look(training, identity, &pods, None, &mut finding, now());
    (look, finding)
}

/// What of the objects changes nothing, each once.
fn ignored(objects: Vec<Value>, products: impl Fn(&Value) -> String) -> BTreeSet<String> {
    let without_effect = |object: Value| {
        let before = products(&object);
        let all = changed(&object).into_iter();
        all.filter(|(_, other)| products(other) == before)
            .map(|(pointer, _)| pointer)
            .collect::<Vec<_>>()
    };
    objects.into_iter().flat_map(without_effect).collect()
}

#[test]
fn every_field_of_a_training_changes_what_is_done() {
    let offered = profile(&json!({"device": "CPU", "resources": {"a.example/unit": 1}}));
    let ignored = ignored(maximal("ModelTraining"), |object| products(object, &offered));
    assert_eq!(ignored, BTreeSet::new());
}

#[test]
fn every_field_of_a_profile_changes_what_is_done_but_the_price() {
    let object = with_accelerator(&maximal("ModelTraining")[0]);
    let ignored = ignored(maximal("AcceleratorProfile"), |offered| {
        let offered = profile(&offered["spec"]);
        let resolved = crate::accelerator::resolve(Some(&asked()), Some(&offered));
        format!("{}\n{resolved:?}", products(&object, &offered))
    });
    // Told to people by a column of `kubectl get`, and to nobody else.
    assert_eq!(ignored, BTreeSet::from(["/spec/costPerHour".to_owned()]));
}

fn asked() -> sconce_crds::resources::Accelerator {
    serde_json::from_value(json!({"profile": "cpu", "count": 2})).unwrap()
}

/// A training that takes any profile as it is.
fn with_accelerator(object: &Value) -> Value {
    let mut object = object.clone();
    object["spec"]["podOverrides"] = json!({});
    object["spec"]["accelerator"] = json!({"profile": "cpu", "count": 2});
    object
}

/// What a change of a field makes of a training at work (docs/adr/0003-what-makes-a-training-run-again.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Makes {
    /// Another run, from the beginning.
    Run,
    /// Another Job, which goes on from the run's last checkpoint.
    Job,
    /// Neither: it is patched into the live Job, or holds from now on.
    Neither,
}

/// The longest beginning of a field's path decides.
const MAKES: &[(&str, Makes)] = &[
    ("/spec/model", Makes::Run),
    ("/spec/dataset", Makes::Run),
    ("/spec/dataset/credentialsRef", Makes::Job),
    ("/spec/hyperparameters", Makes::Run),
    ("/spec/search", Makes::Run),
    ("/spec/evaluation/metrics", Makes::Run),
    ("/spec/evaluation/gates", Makes::Neither),
    ("/spec/output/uri", Makes::Run),
    ("/spec/output/formats", Makes::Run),
    ("/spec/output/credentialsRef", Makes::Job),
    ("/spec/output/size", Makes::Neither),
    ("/spec/output/storageClassName", Makes::Neither),
    ("/spec/output/accessMode", Makes::Neither),
    ("/spec/accelerator", Makes::Job),
    ("/spec/nodes", Makes::Job),
    ("/spec/resources", Makes::Job),
    ("/spec/scheduling", Makes::Job),
    ("/spec/scheduling/yieldTo", Makes::Neither),
    ("/spec/podOverrides", Makes::Job),
    ("/spec/checkpoint", Makes::Job),
    ("/spec/suspend", Makes::Neither),
    ("/spec/activeDeadlineSeconds", Makes::Neither),
    ("/spec/ttlSecondsAfterFinished", Makes::Neither),
    ("/spec/failurePolicy", Makes::Neither),
];

#[test]
fn each_field_makes_another_run_another_job_or_neither_as_is_decided() {
    let identity = |object: &Value| Identity::of(&serde_json::from_value(object.clone()).unwrap());
    for object in maximal("ModelTraining") {
        let before = identity(&object);
        for (pointer, other) in changed(&object) {
            let after = identity(&other);
            let makes = match (after.run != before.run, after.job != before.job) {
                (true, _) => Makes::Run,
                (false, true) => Makes::Job,
                (false, false) => Makes::Neither,
            };
            let decided = MAKES.iter().filter(|(path, _)| pointer.starts_with(path));
            let decided = decided
                .max_by_key(|(path, _)| path.len())
                .map(|(_, makes)| *makes);
            assert_eq!(Some(makes), decided, "{pointer}");
        }
    }
}

#[test]
fn a_format_that_a_trainer_of_ones_own_or_a_layer_does_not_give_is_refused_by_its_field() {
    let with = |layers: Value, custom: Value| {
        let mut object = maximal("ModelTraining").remove(0);
        object["spec"]["model"] = match custom {
            Value::Null => json!({"network": {"layers": layers}}),
            custom => json!({"custom": custom}),
        };
        object["spec"]["output"] = json!({"formats": ["KerasH5"]});
        let training: ModelTraining = serde_json::from_value(object).unwrap();
        validate::layers_fit(&training.spec).map_err(|problem| format!("{problem:?}"))
    };
    let dense = json!({"dense": {"units": 2}});
    assert_eq!(with(json!([dense]), Value::Null), Ok(()));
    let own = with(json!([]), json!({"image": "i:1"})).unwrap_err();
    assert!(own.contains("spec.output.formats"), "{own}");
    let residual = with(json!([dense, {"residual": {"over": 1}}, dense]), Value::Null).unwrap_err();
    assert!(residual.contains("spec.model.network.layers[1]"), "{residual}");
}
