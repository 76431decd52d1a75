//! What a spec needs, and the sentence for each thing that is missing.

use super::*;
use crate::deployment::fixtures::{artifact, deployment, digest, found, live, model, of_training, training};
use crate::reason::Reason;
use crate::volumes::Source;
use sconce_crds::{AcceleratorProfile, ModelDeployment};
use serde_json::json;

fn on_gpu() -> ModelDeployment {
    deployment(&json!({"model": {"uri": "pvc://models/iris"}, "accelerator": {"profile": "l4"}}))
}

fn profile(images: &serde_json::Value) -> Option<Arc<AcceleratorProfile>> {
    Some(Arc::new(
        serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "l4"},
            "spec": {"device": "CUDA", "resources": {"nvidia.com/gpu": 1}, "runtimeClassName": "nvidia", "images": images}
        }))
        .unwrap(),
    ))
}

fn problem(deployment: &ModelDeployment, found: &Found) -> Problem {
    match validate(deployment, found) {
        Err(Hold::Refused(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_thing_that_is_missing_names_its_field() {
    let asked = on_gpu();
    let nothing = found(&asked, None, None, vec![]);
    let no_image = Found {
        profile: profile(&json!({})),
        ..nothing.clone()
    };
    let with_image = Found {
        profile: profile(&json!({"server": "s:cuda"})),
        ..nothing.clone()
    };
    let no_class = Found {
        missing_runtime_class: Some("nvidia".to_owned()),
        ..with_image.clone()
    };
    let no_claim = Found {
        missing: Some(Source::Claim("models".to_owned())),
        ..with_image.clone()
    };
    for (found, reason, field, word) in [
        (&nothing, "ProfileNotFound", "spec.accelerator.profile", "\"l4\""),
        (
            &no_image,
            "NoImageForDevice",
            "spec.accelerator.profile",
            "spec.images.server",
        ),
        (
            &no_class,
            "RuntimeClassNotFound",
            "spec.accelerator.profile",
            "\"nvidia\"",
        ),
        (&no_claim, "ClaimNotFound", "spec.model.uri", "\"models\""),
    ] {
        let problem = problem(&asked, found);
        assert_eq!((problem.reason.as_str(), problem.field.as_str()), (reason, field));
        assert!(problem.message.contains(word), "{}", problem.message);
    }
    assert!(validate(&asked, &with_image).is_ok());
}

#[test]
fn a_claim_that_held_a_trainings_artifact_asks_for_another_run() {
    let asked = of_training();
    let trained = training(&json!({"artifact": artifact("aa")}));
    let gone = Found {
        missing: Some(Source::Claim("iris-artifacts".to_owned())),
        ..found(&asked, Some(&trained), None, vec![])
    };
    let problem = problem(&asked, &gone);
    assert_eq!(
        (problem.reason.as_str(), problem.field.as_str()),
        ("ClaimNotFound", "spec.model.trainingRef")
    );
    assert!(
        problem.message.contains("sconce.dev/rerun"),
        "{}",
        problem.message
    );
}

#[test]
fn a_live_revision_keeps_its_pods_even_where_its_profile_is_gone() {
    let asked = on_gpu();
    let uri = Model {
        uri: "pvc://models/iris".to_owned(),
        digest: None,
        training: None,
    };
    let served = Served::of(uri, &asked.spec);
    let found = found(&asked, None, Some(live(&served)), vec![]);
    let serving = validate(&asked, &found).unwrap();
    assert!(
        matches!(
            serving.change,
            Change::Keep {
                pods: None,
                again: false,
                ..
            }
        ),
        "{:?}",
        serving.change
    );
}

#[test]
fn another_artifact_rolls_and_the_plan_says_which() {
    let asked = of_training();
    let trained = training(&json!({"artifact": artifact("bb")}));
    let served = Served::of(model("aa"), &asked.spec);
    let found = found(&asked, Some(&trained), Some(live(&served)), vec![]);
    let serving = validate(&asked, &found).unwrap();
    let Change::Roll(pods) = serving.change else {
        panic!()
    };
    assert_ne!(serving.wanted.revision, served.revision);
    assert_eq!(pods.plan.digest, Some(digest("bb")));
    assert_eq!(pods.plan.revision, serving.wanted.revision);
    assert_eq!(pods.plan.mounts[0].uri, "pvc://iris-artifacts");
}

#[test]
fn a_plan_longer_than_a_pod_can_carry_is_told_by_what_makes_it_long() {
    let mut asked = of_training();
    let long = "x".repeat(200 * 1024);
    asked.spec.warmup = serde_json::from_value(json!({"rows": [[long]]})).unwrap();
    let trained = training(&json!({"artifact": artifact("aa")}));
    let found = found(&asked, Some(&trained), None, vec![]);
    let Err(Hold::Refused(problem)) = validate(&asked, &found) else {
        panic!()
    };
    assert_eq!(
        (problem.reason, &*problem.field),
        (Reason::PlanTooLarge, "spec.warmup.rows")
    );
    assert!(problem.message.contains("201 KiB long"), "{}", problem.message);
}

#[test]
fn what_is_awaited_is_no_refusal() {
    let asked = of_training();
    let found = found(&asked, None, None, vec![]);
    assert!(matches!(validate(&asked, &found), Err(Hold::Awaited(_))));
}
