//! Each way in which an artifact is chosen, or is not.

use super::*;
use crate::deployment::fixtures::{
    artifact, condition, deployment, digest, live, model, of_training, training,
};
use serde_json::{Value, json};

fn manual(annotation: Option<&str>) -> ModelDeployment {
    let mut manual = deployment(&json!({"model": {"trainingRef": {"name": "iris", "promotion": "Manual"}}}));
    if let Some(annotation) = annotation {
        manual
            .annotations_mut()
            .insert(PROMOTE_ANNOTATION.to_owned(), annotation.to_owned());
    }
    manual
}

fn served(byte: &str) -> Served {
    Served::read(&live(&Served::of(model(byte), &of_training().spec))).unwrap()
}

/// The reason, the beginning of the digest where one is known, and the sentence.
fn outcome(resolution: &Resolution) -> (&str, Option<&str>, String) {
    match resolution {
        Resolution::Known {
            model,
            reason,
            message,
        } => (
            reason.as_str(),
            Some(&model.digest.as_deref().unwrap_or("no digest")[..9]),
            message.clone(),
        ),
        Resolution::Awaited(problem) | Resolution::Unknown(problem) => {
            (problem.reason.as_str(), None, problem.sentence())
        }
    }
}

#[test]
fn a_uri_is_served_as_given() {
    let given = deployment(&json!({"model": {"uri": "pvc://a/b/", "digest": digest("ab")}}));
    let Resolution::Known { model, .. } = resolve(&given, None, None) else {
        panic!()
    };
    assert_eq!(
        model,
        Model {
            uri: "pvc://a/b".to_owned(),
            digest: Some(digest("ab")),
            training: None
        }
    );
}

#[test]
fn on_gates_passed_the_last_that_passed_is_served_whatever_a_later_run_does() {
    let passed = condition("GatesPassed", "True", "all hold");
    let missed = condition(
        "GatesPassed",
        "False",
        "accuracy is 0.9, 0.05 below the required 0.95",
    );
    let failed = condition("Failed", "True", "spec.dataset.target: there is no column \"z\"");
    let unknown = condition("GatesPassed", "Unknown", "the run has not ended");
    let cases: [(Value, &str, Option<&str>, &str); 10] = [
        (
            json!({}),
            "NoArtifactYet",
            None,
            "has left no artifact yet; this goes on by itself",
        ),
        (
            json!({"conditions": [condition("Degraded", "True", ""), condition("Ready", "False", "no node can take the pod")]}),
            "NoArtifactYet",
            None,
            "something is in its way: no node can take the pod",
        ),
        (
            json!({"conditions": [failed]}),
            "TrainingFailed",
            None,
            "failed and left no artifact: spec.dataset.target",
        ),
        (
            json!({"conditions": [missed], "candidate": artifact("bb")}),
            "TrainingRejected",
            None,
            "0.05 below the required",
        ),
        (
            json!({"artifact": artifact("aa"), "conditions": [passed]}),
            "GatesPassed",
            Some("sha256:aa"),
            "the last artifact",
        ),
        (
            json!({"artifact": artifact("aa"), "conditions": [unknown]}),
            "GatesPassed",
            Some("sha256:aa"),
            "the last artifact",
        ),
        (
            json!({"artifact": artifact("aa"), "candidate": artifact("bb"), "conditions": [missed]}),
            "LaterRunRejected",
            Some("sha256:aa"),
            "was rejected: accuracy is 0.9",
        ),
        (
            json!({"artifact": artifact("aa"), "candidate": artifact("aa"), "conditions": [missed]}),
            "GatesRaised",
            Some("sha256:aa"),
            "would not pass those of now: accuracy is 0.9",
        ),
        (
            json!({"artifact": artifact("aa"), "conditions": [failed]}),
            "LaterRunFailed",
            Some("sha256:aa"),
            "failed: spec.dataset.target",
        ),
        (
            json!({"artifact": artifact("bb"), "candidate": artifact("bb"), "conditions": [passed]}),
            "GatesPassed",
            Some("sha256:bb"),
            "",
        ),
    ];
    for (status, reason, digest, sentence) in cases {
        for served in [None, Some(served("aa"))] {
            let resolution = resolve(&of_training(), Some(&training(&status)), served.as_ref());
            let (found, which, message) = outcome(&resolution);
            assert_eq!((found, which), (reason, digest), "{status}");
            assert!(message.contains(sentence), "{message}");
        }
    }
}

#[test]
fn the_message_does_not_follow_the_steps_of_a_training() {
    let at = |message: &str| {
        let status = json!({"conditions": [condition("Degraded", "False", message), condition("Ready", "False", message)]});
        resolve(&of_training(), Some(&training(&status)), None)
    };
    assert_eq!(at("step 1"), at("step 2"));
}

#[test]
fn a_training_that_is_missing_is_awaited_until_something_is_served() {
    let missing = resolve(&of_training(), None, None);
    assert!(
        matches!(missing, Resolution::Awaited(ref problem) if problem.reason == "TrainingNotFound"),
        "{missing:?}"
    );
    let deleted = resolve(&of_training(), None, Some(&served("aa")));
    assert!(
        matches!(deleted, Resolution::Unknown(ref problem) if problem.sentence().contains("\"iris\"")),
        "{deleted:?}"
    );
}

#[test]
fn a_person_promotes_by_a_digest() {
    type Case<'a> = (Option<&'a str>, Option<Served>, &'a str, Option<&'a str>, &'a str);
    let both = json!({"artifact": artifact("aa"), "candidate": artifact("bb"), "conditions": [condition("GatesPassed", "False", "loss is 2")]});
    let whole = digest("bb");
    let command = "kubectl annotate mdep/flowers -n ml --overwrite sconce.dev/promote=sha256:bbbb";
    let cases: [Case<'_>; 8] = [
        (None, None, "AwaitingPromotion", None, command),
        (
            None,
            None,
            "AwaitingPromotion",
            None,
            "(it was rejected: loss is 2)",
        ),
        (Some(""), None, "AwaitingPromotion", None, command),
        (None, Some(served("aa")), "Kept", Some("sha256:aa"), command),
        (
            Some(&whole),
            Some(served("aa")),
            "Promoted",
            Some("sha256:bb"),
            "is promoted by",
        ),
        (
            Some("aaaaaaaaaaaa"),
            Some(served("aa")),
            "Promoted",
            Some("sha256:aa"),
            command,
        ),
        (
            Some("cccccccccccc"),
            Some(served("aa")),
            "PromotionUnknown",
            None,
            "known are sha256:aaaaaaaaaaaa, sha256:bbbbbbbbbbbb",
        ),
        (
            Some("yes"),
            Some(served("aa")),
            "PromotionInvalid",
            None,
            "metadata.annotations[sconce.dev/promote]",
        ),
    ];
    for (annotation, served, reason, digest, sentence) in cases {
        let resolution = resolve(&manual(annotation), Some(&training(&both)), served.as_ref());
        let (found, which, message) = outcome(&resolution);
        assert_eq!((found, which), (reason, digest), "{annotation:?}");
        assert!(message.contains(sentence), "{annotation:?}: {message}");
    }
    assert_eq!(
        outcome(&resolve(&manual(None), Some(&training(&json!({}))), None)).0,
        "NoArtifactYet"
    );
}

#[test]
fn what_was_rejected_is_offered_as_such_also_while_another_run_is_at_work() {
    let gates = json!([
        {"metric": "accuracy", "required": ">= 0.95", "observed": 0.9, "passed": false},
        {"metric": "loss", "required": "<= 1", "observed": 0.5, "passed": true},
        {"metric": "auroc", "required": ">= 0.9", "passed": false},
    ]);
    // A run at work tells that nothing is measured yet, and one that waits tells nothing of gates.
    let at_work = json!([condition("GatesPassed", "Unknown", "the run has not ended")]);
    for conditions in [at_work, json!([])] {
        let status = json!({"candidate": artifact("bb"), "gates": gates, "conditions": conditions});
        let resolution = resolve(&manual(None), Some(&training(&status)), None);
        let (reason, _, message) = outcome(&resolution);
        assert_eq!(reason, "AwaitingPromotion");
        let but = "(it was rejected: accuracy is 0.9, and >= 0.95 is required; auroc is not known, and >= 0.9 is required)";
        assert!(message.contains(but), "{message}");
        // What follows the gates by itself waits for that run, which is no fault.
        let resolution = resolve(&of_training(), Some(&training(&status)), None);
        assert_eq!(outcome(&resolution).0, "NoArtifactYet");
    }
}

#[test]
fn what_a_person_promoted_stays_promoted_when_the_training_has_moved_on() {
    let later = training(&json!({"artifact": artifact("cc"), "candidate": artifact("cc")}));
    let whole = digest("aa");
    // Served now.
    let (reason, which, message) = {
        let resolution = resolve(&manual(Some(&whole)), Some(&later), Some(&served("aa")));
        let (reason, which, message) = outcome(&resolution);
        (reason.to_owned(), which.map(str::to_owned), message)
    };
    assert_eq!(
        (reason.as_str(), which.as_deref()),
        ("Promoted", Some("sha256:aa"))
    );
    assert!(
        message.contains("sha256:cccc") && message.contains("awaits promotion"),
        "{message}"
    );
    // Its Deployment was deleted: the status still knows where it is.
    let mut remembered = manual(Some(&whole));
    remembered
        .status
        .get_or_insert_default()
        .revisions
        .push(served("aa").told(0, None));
    assert_eq!(
        outcome(&resolve(&remembered, Some(&later), None)).1,
        Some("sha256:aa")
    );
}

#[test]
fn a_training_of_the_same_name_is_another_source() {
    let mut other = training(&json!({}));
    other.metadata.uid = Some("t2".to_owned());
    let whole = digest("aa");
    assert_eq!(
        outcome(&resolve(&of_training(), Some(&other), Some(&served("aa")))).0,
        "NoArtifactYet"
    );
    assert_eq!(
        outcome(&resolve(&manual(None), Some(&other), Some(&served("aa")))).0,
        "NoArtifactYet"
    );
    assert_eq!(
        outcome(&resolve(&manual(Some(&whole)), Some(&other), Some(&served("aa")))).0,
        "PromotionUnknown"
    );

    other.status.get_or_insert_default().artifact = Some(serde_json::from_value(artifact("aa")).unwrap());
    let Resolution::Known { model, .. } = resolve(&of_training(), Some(&other), Some(&served("aa"))) else {
        panic!()
    };
    assert_eq!(model.training.unwrap().uid, "t2");
}
