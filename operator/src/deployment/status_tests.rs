//! The status in many situations, and what it must never say.

use super::*;
use crate::deployment::fixtures::{
    artifact, condition, crashed, digest, found, live, loading, model, of_training, ready, training,
    unschedulable, with_replicas,
};
use crate::deployment::validate::validate;
use crate::problem::Problem;
use crate::seen::Pod;
use proptest::prelude::*;
use sconce_crds::condition::{
    AVAILABLE, DEGRADED, MODEL_RESOLVED, PROGRESSING, READY, ROLLOUT_COMPLETE, find, is_true,
};
use sconce_crds::deployment::DeploymentPhase;
use serde_json::json;
use std::sync::Arc;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn served(byte: &str) -> Served {
    Served::of(model(byte), &of_training().spec)
}

fn name(byte: &str) -> String {
    served(byte).revision
}

fn trained(byte: &str) -> sconce_crds::ModelTraining {
    training(&json!({"artifact": artifact(byte), "candidate": artifact(byte)}))
}

/// What the controller would tell, had it applied what it found.
fn outlook(deployment: &ModelDeployment, found: &Found) -> Outlook {
    match validate(deployment, found) {
        Ok(serving) => {
            let live = live(&serving.wanted);
            let rollout = rollout::plan(deployment, &serving, found, now());
            of_live(deployment, found, &serving.wanted, &rollout, &live, now())
        }
        Err(hold) => held(deployment, found, &hold, now()),
    }
}

fn tells(status: &ModelDeploymentStatus) -> [bool; 6] {
    [
        MODEL_RESOLVED,
        AVAILABLE,
        ROLLOUT_COMPLETE,
        READY,
        PROGRESSING,
        DEGRADED,
    ]
    .map(|kind| is_true(&status.conditions, kind))
}

fn ready_words(status: &ModelDeploymentStatus) -> (&str, &str) {
    let ready = find(&status.conditions, READY).unwrap();
    (&ready.reason, &ready.message)
}

#[test]
fn all_replicas_answer() {
    let asked = with_replicas(2);
    let pods = vec![ready("a", &name("aa")), ready("b", &name("aa"))];
    let status = outlook(
        &asked,
        &found(&asked, Some(&trained("aa")), Some(live(&served("aa"))), pods),
    )
    .status;
    assert_eq!(tells(&status), [true, true, true, true, false, false]);
    assert_eq!(status.phase, Some(DeploymentPhase::Ready));
    assert_eq!(
        (status.replicas, status.updated_replicas, status.ready_replicas),
        (2, 2, 2)
    );
    assert_eq!(status.model.as_deref(), Some("iris @ sha256:aaaaaaaaaaaa"));
    assert_eq!(status.url.as_deref(), Some("http://flowers.ml.svc"));
    assert_eq!(status.selector.as_deref(), Some("sconce.dev/deployment=flowers"));
    assert_eq!(status.observed_generation, Some(3));
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(3))
    );
    assert_eq!(status.revisions, [served("aa").told(2, Some(Time(now())))]);
    assert_eq!(
        ready_words(&status),
        ("Serving", "2 replicas answer with iris @ sha256:aaaaaaaaaaaa")
    );
}

#[test]
fn a_new_artifact_rolls_out_while_the_earlier_answers() {
    let asked = of_training();
    let pods = vec![ready("a", &name("aa")), loading("b", &name("bb"))];
    let outlook = outlook(
        &asked,
        &found(&asked, Some(&trained("bb")), Some(live(&served("aa"))), pods),
    );
    let status = outlook.status;
    assert_eq!(tells(&status), [true, true, false, false, true, false]);
    assert_eq!(
        (status.replicas, status.updated_replicas, status.ready_replicas),
        (2, 1, 0)
    );
    assert_eq!(
        status.revisions,
        [served("bb").told(0, None), served("aa").told(1, None)]
    );
    assert_eq!(ready_words(&status).0, "RollingOut");
    assert!(outlook.obsolete.is_empty());
}

#[test]
fn what_is_left_of_the_version_before_goes_when_its_last_pod_has() {
    // One Deployment for all revisions in turn: the status alone knows the earlier one.
    let mut asked = of_training();
    asked.status.get_or_insert_default().revisions =
        vec![served("bb").told(0, None), served("aa").told(1, None)];
    let look = |asked: &ModelDeployment, pods| {
        outlook(
            asked,
            &found(asked, Some(&trained("bb")), Some(live(&served("bb"))), pods),
        )
    };
    let between = look(&asked, vec![ready("a", &name("aa")), ready("b", &name("bb"))]);
    assert_eq!((between.obsolete.len(), between.status.revisions.len()), (0, 2));
    let starting = look(&asked, vec![loading("b", &name("bb"))]);
    assert_eq!(
        (starting.obsolete.len(), starting.status.revisions.len()),
        (0, 2),
        "a pod that is replaced needs its plan"
    );
    let done = look(&asked, vec![ready("b", &name("bb"))]);
    let gone = Obsolete {
        revision: name("aa"),
        workload: None,
    };
    assert_eq!(done.obsolete, [gone]);
    assert_eq!(done.status.revisions, [served("bb").told(1, Some(Time(now())))]);
    // And then there is nothing left to delete.
    asked.status = Some(done.status);
    let after = look(&asked, vec![ready("b", &name("bb"))]);
    assert!(after.obsolete.is_empty());
}

#[test]
fn a_damaged_artifact_leaves_the_earlier_revision_answering() {
    let asked = of_training();
    let report = r#"{"outcome":"failed","class":"BadInput","message":"the artifact is damaged"}"#;
    let pods = vec![
        ready("a", &name("aa")),
        crashed(
            "b",
            &name("bb"),
            &json!({"waiting": {"reason": "CrashLoopBackOff"}}),
            report,
        ),
    ];
    let status = outlook(
        &asked,
        &found(&asked, Some(&trained("bb")), Some(live(&served("aa"))), pods),
    )
    .status;
    assert_eq!(tells(&status), [true, true, false, false, true, true]);
    assert_eq!(status.phase, Some(DeploymentPhase::Degraded));
    assert_eq!(ready_words(&status), ("BadInput", "the artifact is damaged"));
}

#[test]
fn a_rejected_run_leaves_everything_ready_and_says_so() {
    let asked = of_training();
    let rejected = training(&json!({
        "artifact": artifact("aa"), "candidate": artifact("bb"),
        "conditions": [condition("GatesPassed", "False", "accuracy is 0.9, 0.05 below the required 0.95")]
    }));
    let status = outlook(
        &asked,
        &found(
            &asked,
            Some(&rejected),
            Some(live(&served("aa"))),
            vec![ready("a", &name("aa"))],
        ),
    )
    .status;
    assert_eq!(tells(&status), [true, true, true, true, false, false]);
    let resolved = find(&status.conditions, MODEL_RESOLVED).unwrap();
    assert_eq!(resolved.reason, "LaterRunRejected");
    assert!(
        resolved.message.contains("0.05 below the required 0.95"),
        "{}",
        resolved.message
    );
}

#[test]
fn a_refused_spec_is_never_ready_and_counts_what_is_live() {
    let mut asked = of_training();
    asked.spec.accelerator = Some(sconce_crds::resources::Accelerator {
        profile: "none".to_owned(),
        count: 1,
    });
    let refused = outlook(
        &asked,
        &found(
            &asked,
            Some(&trained("aa")),
            Some(live(&served("aa"))),
            vec![ready("a", &name("aa"))],
        ),
    );
    assert_eq!(tells(&refused.status), [true, true, false, false, false, true]);
    assert_eq!((refused.status.replicas, refused.status.ready_replicas), (1, 1));
    let (reason, message) = ready_words(&refused.status);
    assert_eq!(reason, "ProfileNotFound");
    assert!(
        message.starts_with("spec.accelerator.profile: ")
            && message.ends_with("until then iris @ sha256:aaaaaaaaaaaa is served"),
        "{message}"
    );
    assert_eq!(refused.again, crate::problem::LOOK_AGAIN);
}

#[test]
fn in_the_middle_of_a_rollout_the_model_that_answers_is_the_one_that_is_named() {
    let mut asked = with_replicas(2);
    let earlier = live(&served("aa"));
    let mut newer = live(&served("bb"));
    newer.metadata.creation_timestamp = Some(Time(now()));
    asked.spec.accelerator = Some(sconce_crds::resources::Accelerator {
        profile: "none".to_owned(),
        count: 1,
    });
    for (byte, pods) in [
        ("aa", vec![ready("a", &name("aa")), loading("b", &name("bb"))]),
        ("bb", vec![ready("a", &name("aa")), ready("b", &name("bb"))]),
    ] {
        let live = [newer.clone(), earlier.clone()];
        let status = outlook(&asked, &found(&asked, Some(&trained("bb")), live, pods)).status;
        let (_, message) = ready_words(&status);
        let title = model(byte).title();
        assert!(
            message.ends_with(&format!("until then {title} is served")),
            "{message}"
        );
        assert_eq!(status.model, Some(title));
    }
}

#[test]
fn nothing_to_serve_yet_is_pending_and_not_degraded() {
    let asked = of_training();
    for training in [None, Some(training(&json!({})))] {
        let status = outlook(&asked, &found(&asked, training.as_ref(), None, vec![])).status;
        assert_eq!(tells(&status), [false, false, false, false, true, false]);
        assert_eq!(
            (status.phase, status.model.as_deref()),
            (Some(DeploymentPhase::Pending), None)
        );
        assert!(status.revisions.is_empty() && status.url.is_none());
    }
}

#[test]
fn a_deleted_training_leaves_its_model_answering_but_not_ready() {
    let asked = of_training();
    let status = outlook(
        &asked,
        &found(
            &asked,
            None,
            Some(live(&served("aa"))),
            vec![ready("a", &name("aa"))],
        ),
    )
    .status;
    assert_eq!(tells(&status), [false, true, false, false, false, true]);
    assert_eq!(status.revisions, [served("aa").told(1, None)]);
    assert_eq!(status.model.as_deref(), Some("iris @ sha256:aaaaaaaaaaaa"));
}

#[test]
fn no_replica_wanted_is_neither_ready_nor_degraded() {
    let asked = with_replicas(0);
    let status = outlook(
        &asked,
        &found(&asked, Some(&trained("aa")), Some(live(&served("aa"))), vec![]),
    )
    .status;
    assert_eq!(tells(&status), [true, false, true, false, false, false]);
    assert_eq!(ready_words(&status).0, "ScaledToZero");
}

#[test]
fn the_same_inputs_give_the_same_status_and_no_time_moves() {
    let mut asked = of_training();
    let seen = found(
        &asked,
        Some(&trained("bb")),
        Some(live(&served("aa"))),
        vec![ready("a", &name("aa")), unschedulable("b", &name("bb"))],
    );
    let first = outlook(&asked, &seen).status;
    asked.status = Some(first.clone());
    let later = of_live(
        &asked,
        &seen,
        &served("bb"),
        &rollout::plan(&asked, &validate(&asked, &seen).unwrap(), &seen, now()),
        &live(&served("bb")),
        Timestamp::from_second(1_900_000_000).unwrap(),
    )
    .status;
    assert_eq!(
        serde_json::to_string(&later).unwrap(),
        serde_json::to_string(&first).unwrap()
    );
}

#[test]
fn a_thousand_revisions_do_not_fill_the_object() {
    let mut asked = of_training();
    asked.status.get_or_insert_default().revisions = (0..1000)
        .map(|i| Revision {
            name: i.to_string(),
            ..Revision::default()
        })
        .collect();
    let status = outlook(&asked, &found(&asked, Some(&trained("aa")), None, vec![])).status;
    assert_eq!(status.revisions.len(), MOST_REVISIONS);
    assert_eq!(status.revisions[0], served("aa").told(0, None));
}

fn any_pod() -> impl Strategy<Value = Arc<Pod>> {
    (0..4usize, 0..3usize, 0..9u8).prop_map(|(kind, revision, i)| {
        let revision = [name("aa"), name("bb"), "0000000000".to_owned()][revision].clone();
        let pod_name = format!("p{i}");
        match kind {
            0 => ready(&pod_name, &revision),
            1 => loading(&pod_name, &revision),
            2 => unschedulable(&pod_name, &revision),
            _ => crashed(&pod_name, &revision, &json!({"running": {}}), "{}"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// Whatever is found, applied and seen.
    #[test]
    fn ready_is_never_a_lie(
        replicas in 0..4i32,
        pods in proptest::collection::vec(any_pod(), 0..6),
        newest in proptest::option::of(0..2usize),
        is_live in proptest::option::of(0..2usize),
        seen in any::<bool>(),
        problem in any::<bool>(),
    ) {
        let asked = with_replicas(replicas);
        let byte = |which: usize| ["aa", "bb"][which];
        let training = newest.map(|which| trained(byte(which)));
        let found = found(&asked, training.as_ref(), is_live.map(|which| live(&served(byte(which)))), pods);
        let (told, wanted) = match validate(&asked, &found) {
            Ok(serving) if !problem => {
                let mut written = live(&serving.wanted);
                written.metadata.generation = Some(if seen { 2 } else { 3 });
                let rollout = rollout::plan(&asked, &serving, &found, now());
                (of_live(&asked, &found, &serving.wanted, &rollout, &written, now()), Some(serving.wanted.revision))
            }
            Ok(_) => {
                let hold = Hold::Refused(Problem::new(crate::reason::Reason::ChildRefused, "spec", "quota"));
                (held(&asked, &found, &hold, now()), None)
            }
            Err(hold) => (held(&asked, &found, &hold, now()), None),
        };
        let status = &told.status;
        let [_, available, rolled_out, ready, progressing, degraded] = tells(status);
        let answering = |revision: &str| i32::try_from(
            found.pods.iter().filter(|pod| crate::observed::is_ready(pod) && situation::revision(pod) == Some(revision)).count(),
        ).unwrap();

        prop_assert_eq!(available, found.pods.iter().any(|pod| crate::observed::is_ready(pod)));
        prop_assert_eq!(status.replicas as usize, found.pods.len());
        prop_assert!(status.ready_replicas <= status.updated_replicas && status.updated_replicas <= status.replicas);
        if ready {
            let wanted = wanted.clone().expect("ready although nothing was applied");
            prop_assert!(seen && available && rolled_out && !progressing && !degraded);
            prop_assert!(replicas > 0 && answering(&wanted) == replicas);
            prop_assert_eq!(status.replicas, replicas);
            prop_assert_eq!(&status.revisions[0].name, &wanted);
        }
        prop_assert_eq!(ready, status.phase == Some(DeploymentPhase::Ready));
        for revision in &status.revisions {
            prop_assert_eq!(revision.ready_replicas, answering(&revision.name));
        }
        for obsolete in &told.obsolete {
            let name = &obsolete.revision;
            prop_assert!(found.pods.iter().all(|pod| situation::revision(pod) != Some(name)));
            prop_assert!(Some(name) != wanted.as_ref());
        }
        if let Some(revision) = status.revisions.first() {
            prop_assert!(revision.digest == Some(digest("aa")) || revision.digest == Some(digest("bb")));
        }
    }
}
