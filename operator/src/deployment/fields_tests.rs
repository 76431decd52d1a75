//! No field of a ModelDeployment is taken and ignored.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use sconce_crds::deployment::PROMOTE_ANNOTATION;
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use serde_json::{Value, json};

use super::dereference::Found;
use super::fixtures::{self, artifact, live, model, ready};
use super::revision::Served;
use super::rollout::history::obsolete;
use super::validate::{Serving, validate};
use super::{build, protection, rollout};
use crate::context::Images;
use crate::fields::{changed, maximal};
use crate::labels;
use crate::scaling::policy::Policy;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn profile() -> AcceleratorProfile {
    serde_json::from_value(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "cpu"},
        "spec": {"device": "CPU", "resources": {"a.example/unit": 1}},
    }))
    .unwrap()
}

/// The training of that name, where the deployment asks for it.
fn source(deployment: &ModelDeployment) -> Option<ModelTraining> {
    let asked = deployment.spec.model.training_ref.as_ref()?;
    let mut training = fixtures::training(&json!({"artifact": artifact("aa")}));
    training.metadata.name = Some("maximal".to_owned());
    (asked.name == training.name_any()).then_some(training)
}

fn found(
    deployment: &ModelDeployment,
    live: Vec<crate::seen::Deployment>,
    pods: Vec<Arc<crate::seen::Pod>>,
) -> Found {
    let asked = deployment.spec.accelerator.as_ref();
    let profile = asked
        .filter(|asked| asked.profile == "cpu")
        .map(|_| Arc::new(profile()));
    Found {
        profile,
        ..fixtures::found(deployment, source(deployment).as_ref(), live, pods)
    }
}

/// Revisions of earlier models, which nothing serves, and which were complete one after the other.
fn earlier(count: usize) -> (Vec<crate::seen::Deployment>, Value) {
    let served = |at: usize| {
        let mut served = Served::of(model(&format!("b{at}")), &fixtures::of_training().spec);
        served.revision = format!("earlier-{at}");
        served
    };
    let idle = (0..count).map(|at| {
        let mut idle = live(&served(at));
        idle.metadata.name = Some(format!("flowers-{at}"));
        idle.spec.get_or_insert_default().replicas = Some(0);
        idle
    });
    let told = (0..count).map(|at| {
        json!({"name": format!("earlier-{at}"), "uri": "", "readyReplicas": 0, "completed": format!("2026-01-01T00:0{at}:00Z")})
    });
    (idle.collect(), told.collect())
}

fn products(object: &Value) -> String {
    let mut deployment = fixtures::deployment(&object["spec"]);
    deployment
        .annotations_mut()
        .insert(PROMOTE_ANNOTATION.to_owned(), fixtures::digest("aa"));
    let images = Images {
        trainer: "t".into(),
        server: "s".into(),
        pull_policy: "Always".into(),
    };
    let begins = found(&deployment, vec![], vec![]);
    let serving = validate(&deployment, &begins);
    let made = serving.as_ref().map(|serving| {
        build::build(
            serving,
            &rollout::plan(&deployment, serving, &begins, now()),
            &images,
        )
    });
    let protected = (protection::policy(&deployment), protection::budget(&deployment));
    let scaled = deployment.spec.managed().map(Policy::from);
    let mut text = format!("{:?}\n{made:?}\n{protected:?}\n{scaled:?}", begins.resolution);
    if let Ok(serving) = &serving {
        text += &format!(
            "{:?}\n{:?}",
            beside_an_earlier(&deployment, serving),
            waiting(&deployment, serving)
        );
    }
    let (idle, revisions) = earlier(6);
    deployment.status = serde_json::from_value(json!({
        "conditions": [], "replicas": 0, "updatedReplicas": 0, "readyReplicas": 0, "revisions": revisions,
    }))
    .unwrap();
    let kept = obsolete(&deployment, &found(&deployment, idle, vec![]), "wanted", true);
    format!("{text}\n{kept:?}")
}

/// What a rollout does while two pods of an earlier revision answer.
fn beside_an_earlier(deployment: &ModelDeployment, serving: &Serving<'_>) -> Option<(i32, Vec<i32>)> {
    let mut served = serving.wanted.clone();
    served.revision = "earlier".to_owned();
    let mut old = live(&served);
    old.spec.get_or_insert_default().replicas = Some(2);
    let found = found(
        deployment,
        vec![old],
        vec![ready("a", "earlier"), ready("b", "earlier")],
    );
    let serving = validate(deployment, &found).ok()?;
    let plan = rollout::plan(deployment, &serving, &found, now());
    Some((plan.wanted, plan.others.iter().map(|(_, count)| *count).collect()))
}

/// When a rollout is looked at again that began a minute ago.
fn waiting(deployment: &ModelDeployment, serving: &Serving<'_>) -> Option<std::time::Duration> {
    let mut own = live(&serving.wanted);
    let since = "2026-01-01T00:59:00Z".to_owned();
    own.metadata.annotations.insert(labels::WANTED_SINCE, since);
    let found = found(deployment, vec![own], vec![]);
    let serving = validate(deployment, &found).ok()?;
    rollout::plan(deployment, &serving, &found, now()).again
}

#[test]
fn every_field_of_a_deployment_changes_what_is_done_but_who_else_scales_it() {
    let mut ignored = BTreeSet::new();
    for object in maximal("ModelDeployment") {
        let before = products(&object);
        let without_effect = changed(&object)
            .into_iter()
            .filter(|(_, other)| products(other) == before);
        ignored.extend(without_effect.map(|(pointer, _)| format!("{}{pointer}", object["metadata"]["name"])));
    }
    // External and None differ for people and for the rules of admission: `replicas` holds with both.
    let known = ["\"of-its-own-image\"/spec/autoscaling/mode"].map(str::to_owned);
    assert_eq!(ignored, BTreeSet::from(known));
}
