//! A model that misses a gate is not served, and whoever reads the status knows by how much it missed.

use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use sconce_tests::objects::{digest, trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn gated(min: f64) -> Value {
    with(training("iris"), &gate(min))
}

fn gate(min: f64) -> Value {
    json!({"spec": {"evaluation": {"gates": [{"metric": "accuracy", "min": min}]}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_holds_is_told_with_what_was_reached() -> Outcome {
    let room = Room::open().await?;
    room.apply(gated(0.95)).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.97)).await?;
    let seen = room.phase("iris", Phase::Succeeded).await?;
    assert_eq!(
        told(conditions(&seen), "GatesPassed"),
        "True: AllPassed: the gate holds"
    );
    let gates = seen.status.unwrap_or_default().gates;
    assert_eq!(
        serde_json::to_value(gates)?,
        json!([{"metric": "accuracy", "required": ">= 0.95", "observed": 0.97, "passed": true}])
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_gate_rejects_names_the_margin_and_keeps_what_passed_before() -> Outcome {
    let room = Room::open().await?;
    room.apply(gated(0.9)).await?;
    let first = room
        .succeeds("iris", &trained("iris-artifacts", 'a', 0.93))
        .await?;

    room.change::<ModelTraining>("iris", json!({"spec": {"hyperparameters": {"seed": 2}}}))
        .await?;
    room.run_to("iris", &trained("iris-artifacts", 'b', 0.8)).await?;
    let seen = room.phase("iris", Phase::Rejected).await?;
    let margin = "accuracy is 0.8, 0.1 below the required 0.9";
    let sentence = format!("{margin}; nothing new is served");
    assert_eq!(
        told(conditions(&seen), "GatesPassed"),
        format!("False: GateMissed: {margin}")
    );
    assert_eq!(
        told(conditions(&seen), "Ready"),
        format!("False: Rejected: {sentence}")
    );
    assert_eq!(
        told(conditions(&seen), "Degraded"),
        format!("True: Rejected: {sentence}")
    );
    assert!(
        told(conditions(&seen), "Failed").starts_with("False"),
        "the run did not fail"
    );
    let status = seen.status.unwrap_or_default();
    assert_eq!(status.artifact, first.artifact);
    assert_eq!(
        status.candidate.map(|candidate| candidate.digest),
        Some(digest('b'))
    );
    assert!(!status.gates[0].passed && status.gates[0].observed == Some(0.8));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn lowering_the_gate_lets_the_candidate_through_without_another_run() -> Outcome {
    let room = Room::open().await?;
    room.apply(gated(0.95)).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let rejected = room
        .phase("iris", Phase::Rejected)
        .await?
        .status
        .unwrap_or_default();
    assert_eq!(rejected.artifact, None);

    room.change::<ModelTraining>("iris", gate(0.85)).await?;
    let seen = room.phase("iris", Phase::Succeeded).await?;
    let status = seen.status.clone().unwrap_or_default();
    assert_eq!(
        (&status.artifact, &status.candidate),
        (&rejected.candidate, &rejected.candidate)
    );
    assert_eq!(
        (&status.run, &status.job, &status.attempts),
        (&rejected.run, &rejected.job, &rejected.attempts)
    );
    assert!(told(conditions(&seen), "GatesPassed").starts_with("True"));
    assert_eq!(
        room.kubelet.all("sconce.dev/training=iris").await?.len(),
        1,
        "no other pod was started"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn raising_the_gate_withdraws_nothing() -> Outcome {
    let room = Room::open().await?;
    room.apply(gated(0.8)).await?;
    let passed = room
        .succeeds("iris", &trained("iris-artifacts", 'a', 0.9))
        .await?;
    room.change::<ModelTraining>("iris", gate(0.99)).await?;
    let raised = room
        .phase("iris", Phase::Rejected)
        .await?
        .status
        .unwrap_or_default();
    assert_eq!(raised.artifact, passed.artifact);
    assert_eq!(room.kubelet.all("sconce.dev/training=iris").await?.len(), 1);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_on_what_was_not_measured_does_not_hold() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    // A metric that the finished run had not been asked for.
    let gate = json!({"spec": {"evaluation": {"gates": [{"metric": "auroc", "min": 0.5}]}}});
    room.change::<ModelTraining>("iris", gate).await?;
    let seen = room.phase("iris", Phase::Rejected).await?;
    let ready = told(conditions(&seen), "Ready");
    assert!(
        ready.contains(
            "auroc was not measured by this run; a new value of the annotation sconce.dev/rerun runs it again"
        ),
        "{ready}"
    );
    Ok(room.close()?)
}
