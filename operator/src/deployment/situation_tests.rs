//! What is going on, told from the Deployment and its pods.

use super::*;
use crate::deployment::fixtures::{
    crashed, live, loading, model, of_training, pod, ready, rollout, unschedulable,
};
use serde_json::json;

fn wanted() -> Served {
    Served::of(model("bb"), &of_training().spec)
}

fn told(live: &Deployment, replicas: i32, pods: &[Arc<Pod>]) -> Situation {
    look(live, replicas, false, pods).0
}

/// What is told, and whether the rollout is.
fn look(live: &Deployment, replicas: i32, was_complete: bool, pods: &[Arc<Pod>]) -> (Situation, bool) {
    let (wanted, rollout) = (wanted(), rollout(replicas));
    let sight = Sight {
        live,
        wanted: &wanted,
        custom: None,
        replicas,
        rollout: &rollout,
        was_complete,
        promised: None,
        pods,
    };
    (situation(&sight), sight.is_rolled_out())
}

fn reason(situation: &Situation) -> &str {
    match situation {
        Situation::Awaited(problem) | Situation::Refused(problem) => problem.reason.as_str(),
        Situation::Hindered(hindrance) => hindrance.reason.as_str(),
        Situation::RolledBack { .. } => "RolledBack",
        Situation::Moving { reason, .. } | Situation::Scaling { reason, .. } => reason.as_str(),
        Situation::ScaledToZero => "ScaledToZero",
        Situation::Ready { .. } => "Ready",
    }
}

fn with_condition(kind: &str, status: &str, reason: &str, message: &str) -> Deployment {
    let mut deployment = live(&wanted());
    deployment.status.as_mut().unwrap().conditions = Some(vec![
        serde_json::from_value(json!({"type": kind, "status": status, "reason": reason, "message": message}))
            .unwrap(),
    ]);
    deployment
}

#[test]
fn pods_say_whether_it_is_ready() {
    let new = wanted().revision;
    let (new, old) = (new.as_str(), "0000000000");
    let cases: Vec<(i32, Vec<Arc<Pod>>, &str)> = vec![
        (1, vec![], "RollingOut"),
        (1, vec![loading("a", new)], "RollingOut"),
        (1, vec![ready("a", new)], "Ready"),
        (2, vec![ready("a", new)], "RollingOut"),
        (2, vec![ready("a", new), ready("b", new)], "Ready"),
        (1, vec![ready("a", old)], "RollingOut"),
        (1, vec![ready("a", old), loading("b", new)], "RollingOut"),
        (1, vec![ready("a", old), ready("b", new)], "RollingOut"),
        (1, vec![loading("a", old), ready("b", new)], "RollingOut"),
        (0, vec![], "ScaledToZero"),
        (0, vec![ready("a", new)], "RollingOut"),
        (1, vec![unschedulable("a", new)], "Unschedulable"),
        (1, vec![ready("b", old), unschedulable("a", new)], "Unschedulable"),
        (1, vec![unschedulable("b", old), ready("a", new)], "RollingOut"),
    ];
    for (replicas, pods, expected) in cases {
        let situation = told(&live(&wanted()), replicas, &pods);
        assert_eq!(reason(&situation), expected, "{replicas} {situation:?}");
    }
}

#[test]
fn a_server_of_ones_own_that_runs_and_does_not_answer_is_told_by_its_path() {
    let new = wanted().revision;
    let custom = json!({"image": "a", "port": 8000, "readinessPath": "/healthy"});
    let custom: CustomServer = serde_json::from_value(custom).unwrap();
    let waiting = pod("a", &new, &json!({"phase": "Pending"}));
    for (server, pods, told_by_path) in [
        (Some(&custom), vec![loading("a", &new)], true),
        // Before its container runs, there is nobody who could answer.
        (Some(&custom), vec![waiting], false),
        (Some(&custom), vec![loading("a", "0000000000")], false),
        (None, vec![loading("a", &new)], false),
    ] {
        let (live, wanted, rollout) = (live(&wanted()), wanted(), rollout(1));
        let sight = Sight {
            live: &live,
            wanted: &wanted,
            custom: server,
            replicas: 1,
            rollout: &rollout,
            was_complete: false,
            promised: None,
            pods: &pods,
        };
        let Situation::Moving { message, .. } = situation(&sight) else {
            panic!("it is on its way")
        };
        let path = "GET :8000/healthy (spec.server.custom.readinessPath) does not answer with 200 to 399";
        assert_eq!(message.contains(path), told_by_path, "{message}");
    }
}

#[test]
fn a_deployment_that_has_not_been_seen_yet_is_not_ready() {
    let pods = [ready("a", &wanted().revision)];
    let mut written = live(&wanted());
    written.metadata.generation = Some(3);
    assert_eq!(reason(&told(&written, 1, &pods)), "RollingOut");
    assert!(!look(&written, 1, true, &pods).1);
    written.status = None;
    assert_eq!(reason(&told(&written, 1, &pods)), "RollingOut");
}

#[test]
fn a_pod_that_fails_later_does_not_undo_the_rollout() {
    let new = wanted().revision;
    let done = live(&wanted());
    let pods = [loading("a", &new)];
    let (situation, complete) = look(&done, 1, true, &pods);
    assert_eq!((reason(&situation), complete), ("ReplicasStarting", true));
    assert!(!look(&done, 1, false, &pods).1);
    assert!(!look(&done, 1, true, &[ready("b", "0000000000"), ready("a", &new)]).1);
    let (situation, _) = look(&done, 1, true, &[ready("a", &new), ready("b", &new)]);
    assert_eq!(reason(&situation), "ScalingDown");
}

#[test]
fn a_crash_is_told_in_the_servers_own_words_during_each_attempt() {
    let report = r#"{"outcome":"failed","class":"BadInput","message":"the artifact is damaged: model.safetensors","field":"model.uri"}"#;
    let revision = wanted().revision;
    for state in [
        json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        json!({"running": {}}),
        json!({"waiting": {"reason": "ContainerCreating"}}),
    ] {
        let Situation::Hindered(hindrance) =
            told(&live(&wanted()), 1, &[crashed("a", &revision, &state, report)])
        else {
            panic!("{state}")
        };
        assert_eq!(hindrance.reason, "BadInput");
        assert_eq!(
            hindrance.message,
            "spec.model.uri: the artifact is damaged: model.safetensors"
        );
    }
}

#[test]
fn a_crash_of_long_ago_is_not_what_makes_a_pod_unready_now() {
    let revision = wanted().revision;
    let state = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    for (changed, expected) in [
        ("2026-01-01T00:00:01Z", "Internal"),
        ("2026-01-01T01:00:00Z", "RollingOut"),
    ] {
        let mut pod = (*crashed("a", &revision, &state, "")).clone();
        let unready = json!([{"type": "Ready", "status": "False", "lastTransitionTime": changed}]);
        pod.status.as_mut().unwrap().conditions = Some(serde_json::from_value(unready).unwrap());
        assert_eq!(
            reason(&told(&live(&wanted()), 1, &[Arc::new(pod)])),
            expected,
            "{changed}"
        );
    }
}

#[test]
fn an_image_that_cannot_be_pulled_is_told() {
    let stuck = pod(
        "a",
        &wanted().revision,
        &json!({
            "phase": "Pending",
            "containerStatuses": [{"name": "sconce", "image": "server:9", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]
        }),
    );
    let Situation::Hindered(hindrance) = told(&live(&wanted()), 1, &[stuck]) else {
        panic!()
    };
    assert!(
        hindrance.message.contains("server:9") && hindrance.message.contains("not found"),
        "{}",
        hindrance.message
    );
}

#[test]
fn what_the_deployment_itself_suffers_is_told() {
    let quota = with_condition(
        "ReplicaFailure",
        "True",
        "FailedCreate",
        "pods \"x\" is forbidden: exceeded quota: small",
    );
    let Situation::Hindered(hindrance) = told(&quota, 1, &[]) else {
        panic!()
    };
    assert_eq!(hindrance.reason, "FailedCreate");
    assert!(
        hindrance.message.contains("exceeded quota"),
        "{}",
        hindrance.message
    );

    // Of an earlier spec.
    let mut stale = quota;
    stale.metadata.generation = Some(9);
    assert_eq!(reason(&told(&stale, 1, &[])), "RollingOut");
}

#[test]
fn a_pod_that_finds_no_room_says_why_no_earlier_one_makes_room() {
    let (live, wanted) = (live(&wanted()), wanted());
    let pods = [ready("a", "0000000000"), unschedulable("b", &wanted.revision)];
    for (manner, words) in [
        (Manner::SurgeAsked, "spec.rollout.strategy is Surge"),
        (
            Manner::SurgeTooLarge,
            "asks for more than an earlier one gives back",
        ),
    ] {
        let rollout = Rollout { manner, ..rollout(1) };
        let sight = Sight {
            live: &live,
            wanted: &wanted,
            custom: None,
            replicas: 1,
            rollout: &rollout,
            was_complete: false,
            promised: None,
            pods: &pods,
        };
        let Situation::Hindered(hindrance) = situation(&sight) else {
            panic!()
        };
        assert!(hindrance.message.contains(words), "{}", hindrance.message);
    }
}

#[test]
fn an_autoscaler_may_change_the_number_of_pods_while_those_that_were_promised_answer() {
    let new = wanted().revision;
    let (new, old) = (new.as_str(), "0000000000");
    let told = |promised, replicas, was_complete, pods: &[Arc<Pod>]| {
        let (wanted, rollout) = (wanted(), rollout(replicas));
        let sight = Sight {
            live: &live(&wanted),
            wanted: &wanted,
            custom: None,
            replicas,
            rollout: &rollout,
            was_complete,
            promised,
            pods,
        };
        let found = situation(&sight);
        (reason(&found).to_owned(), sight.is_rolled_out())
    };
    let (a, b, up) = (ready("a", new), ready("b", new), loading("c", new));
    type Case<'a> = (Option<i32>, i32, Vec<Arc<Pod>>, &'a str, bool);
    let cases: Vec<Case<'_>> = vec![
        (Some(1), 3, vec![a.clone()], "ScalingUp", true),
        (
            Some(1),
            3,
            vec![a.clone(), up.clone(), loading("d", new)],
            "ScalingUp",
            true,
        ),
        (
            Some(1),
            2,
            vec![a.clone(), unschedulable("c", new)],
            "ScalingUp",
            true,
        ),
        (Some(1), 2, vec![a.clone(), b.clone()], "Ready", true),
        (Some(1), 1, vec![a.clone(), b.clone()], "ScalingDown", true),
        // One that was promised is gone, or nobody answers.
        (
            Some(2),
            3,
            vec![a.clone(), up.clone(), loading("d", new)],
            "ReplicasStarting",
            true,
        ),
        (Some(1), 1, vec![up.clone()], "ReplicasStarting", true),
        // A person asks for three.
        (None, 3, vec![a.clone()], "ReplicasStarting", false),
        // An earlier revision is there still.
        (
            Some(1),
            2,
            vec![a.clone(), up.clone(), ready("o", old)],
            "RollingOut",
            false,
        ),
        (Some(1), 0, vec![a.clone()], "ScalingDown", false),
    ];
    for (promised, replicas, pods, expected, rolled_out) in cases {
        assert_eq!(
            told(promised, replicas, true, &pods),
            (expected.to_owned(), rolled_out),
            "{replicas} {pods:?}"
        );
    }
    // A new revision is there once those that were promised answer and the others find no room; not before.
    let homeless = unschedulable("c", new);
    for (promised, replicas, pods, rolled_out) in [
        (Some(2), 3, vec![a.clone(), b.clone(), homeless.clone()], true),
        (Some(2), 3, vec![a.clone(), up.clone(), homeless.clone()], false),
        (Some(2), 3, vec![a.clone(), b.clone()], false),
        (Some(1), 2, vec![a.clone(), up.clone()], false),
        (
            Some(1),
            2,
            vec![a.clone(), homeless.clone(), ready("o", old)],
            false,
        ),
        (None, 2, vec![a, homeless], false),
    ] {
        assert_eq!(
            told(promised, replicas, false, &pods).1,
            rolled_out,
            "{replicas} {pods:?}"
        );
    }
}

#[test]
fn an_image_that_was_rolled_back_is_told_with_one_way_to_try_again() {
    let back = |message: &str| Back {
        failed: Failed {
            time: jiff::Timestamp::UNIX_EPOCH,
            reason: Reason::ImagePullFailed,
            message: message.to_owned(),
        },
        new: false,
        to: Served::of(model("aa"), &of_training().spec),
    };
    for said in [
        "the image s cannot be pulled; with a new value of the annotation sconce.dev/retry the mended image is taken",
        "spec.model.uri: damaged",
    ] {
        let mut rollout = rollout(1);
        rollout.back = Some(back(said));
        let wanted = wanted();
        let sight = Sight {
            live: &live(&wanted),
            wanted: &wanted,
            custom: None,
            replicas: 1,
            rollout: &rollout,
            was_complete: false,
            promised: None,
            pods: &[],
        };
        let Situation::RolledBack { message, .. } = situation(&sight) else {
            panic!("not rolled back")
        };
        assert_eq!(message.matches("sconce.dev/retry").count(), 1, "{message}");
    }
}
