//! A revision that does not come up in time is rolled back, the status says so, and a person can go back by hand. What
//! the version before has made is taken over.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use sconce_contract::FailureClass;
use sconce_crds::ModelDeployment;
use sconce_crds::training::Phase;
use sconce_tests::objects::{deployment, deployment_of_uri, digest, failed, trained, training, with};
use sconce_tests::room::{Room, served, told};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The tests of this file stop and start the one operator that they share.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const GOOD: &str = "https://models.example/iris/1";
const BAD: &str = "https://models.example/iris/2";

async fn serving(room: &Room, name: &str, spec: &Value, count: usize) -> Outcome<String> {
    room.apply(with(deployment_of_uri(name, GOOD), &json!({ "spec": spec })))
        .await?;
    let revision = room.revision(name, None).await?;
    room.answer(name, &revision, count).await?;
    room.deployment_says(name, "Serving").await?;
    Ok(revision)
}

async fn ask(room: &Room, name: &str, spec: Value) -> Outcome {
    room.change::<ModelDeployment>(name, json!({ "spec": spec }))
        .await?;
    Ok(())
}

/// The revision's only pod fails, again and again.
async fn fails(room: &Room, name: &str, revision: &str) -> Outcome {
    let label = format!("sconce.dev/deployment={name},sconce.dev/revision={revision}");
    let pod = room.kubelet.active(&label, 1).await?[0].name_any();
    room.kubelet.takes(&pod).await?;
    let report = failed(
        FailureClass::BadInput,
        Some("model.uri"),
        "the weights do not match the manifest",
    );
    room.kubelet.crashes(&pod, &report).await?;
    Ok(())
}

async fn replicas(room: &Room, name: &str, revision: &str) -> Outcome<i32> {
    let workload: Deployment = room.get(&format!("{name}-{revision}")).await?;
    Ok(workload.spec.and_then(|spec| spec.replicas).unwrap_or(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_is_rolled_back_in_time_across_a_crash_and_stays_so_until_another_is_asked_for() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let room = Room::open().await?;
    let spec = json!({"replicas": 2, "rollout": {"progressDeadline": "6s"}});
    let good = serving(&room, "iris", &spec, 2).await?;
    ask(&room, "iris", json!({"model": {"uri": BAD}})).await?;
    let bad = room.revision("iris", Some(&good)).await?;
    fails(&room, "iris", &bad).await?;
    let seen = room.deployment_says("iris", "BadInput").await?;
    assert!(told(served(&seen), "Available").starts_with("True: EarlierRevision"));
    room.world.crash_operator();
    tokio::time::sleep(Duration::from_secs(3)).await;
    room.world.restart_operator(&room.world.options())?;

    let seen = room
        .see("iris", "it is rolled back", |seen: &ModelDeployment| {
            told(served(seen), "Progressing").starts_with("False: RolledBack")
        })
        .await?;
    let ready = told(served(&seen), "Ready");
    for part in [
        "False: RolledBack: https://models.example/iris/2 did not come up in spec.rollout.progressDeadline",
        "spec.model.uri: the weights do not match the manifest",
        "2 of 2 replicas answer with https://models.example/iris/1",
        "change the spec",
        "sconce.dev/retry",
    ] {
        assert!(ready.contains(part), "{part:?} is not in {ready}");
    }
    for (kind, start) in [
        ("Available", "True: EarlierRevision"),
        ("RolloutComplete", "False: RolledBack"),
        ("Degraded", "True: RolledBack"),
        ("Progressing", "False"),
    ] {
        let told = told(served(&seen), kind);
        assert!(told.starts_with(start), "{kind}: {told}");
    }
    let status = seen.status.clone().unwrap_or_default();
    assert_eq!(status.model.as_deref(), Some(GOOD), "what answers is shown");
    assert_eq!(
        (status.revisions[0].name.as_str(), status.ready_replicas),
        (bad.as_str(), 0)
    );
    assert_eq!(replicas(&room, "iris", &bad).await?, 0);
    assert_eq!(replicas(&room, "iris", &good).await?, 2);

    // It stays so: neither a restart nor another number of replicas tries it again.
    room.world.crash_operator();
    room.world.restart_operator(&room.world.options())?;
    ask(&room, "iris", json!({"replicas": 3})).await?;
    room.kubelet
        .active(&format!("sconce.dev/revision={good}"), 3)
        .await?;
    room.answer("iris", &good, 3).await?;
    let seen = room
        .see("iris", "three answer", |seen: &ModelDeployment| {
            told(served(seen), "Ready").contains("3 of 3 replicas answer")
        })
        .await?;
    assert!(told(served(&seen), "Ready").starts_with("False: RolledBack"));
    assert_eq!(replicas(&room, "iris", &bad).await?, 0);
    room.still::<ModelDeployment>("iris", Duration::from_secs(3))
        .await?;

    // What is asked for is what answers: ready again, and the failed one is forgotten.
    ask(&room, "iris", json!({"model": {"uri": GOOD}})).await?;
    room.deployment_says("iris", "Serving").await?;
    room.gone::<Deployment>(&format!("iris-{bad}")).await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_that_was_rolled_back_is_tried_again_when_a_person_asks() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let room = Room::open().await?;
    let spec = json!({"rollout": {"progressDeadline": "4s"}});
    let good = serving(&room, "iris", &spec, 1).await?;
    ask(&room, "iris", json!({"model": {"uri": BAD}})).await?;
    let bad = room.revision("iris", Some(&good)).await?;
    fails(&room, "iris", &bad).await?;
    room.deployment_says("iris", "RolledBack").await?;
    let before: Deployment = room.get(&format!("iris-{bad}")).await?;

    let again = json!({"metadata": {"annotations": {"sconce.dev/retry": "1"}}, "spec": {"rollout": {"progressDeadline": "10m"}}});
    room.change::<ModelDeployment>("iris", again).await?;
    room.answer("iris", &bad, 1).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert_eq!(seen.status.and_then(|status| status.model).as_deref(), Some(BAD));
    let after: Deployment = room.get(&format!("iris-{bad}")).await?;
    assert_ne!(before.uid(), after.uid(), "it is made of what is right now");
    assert_eq!(replicas(&room, "iris", &good).await?, 0);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_without_one_to_go_back_to_says_what_to_do() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let room = Room::open().await?;
    let first = json!({"spec": {"rollout": {"progressDeadline": "2s"}}});
    room.apply(with(deployment_of_uri("iris", GOOD), &first)).await?;
    let seen = room.deployment_says("iris", "ProgressDeadlineExceeded").await?;
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.contains("0 of 1 replicas answer") && ready.contains("sconce.dev/retry"),
        "{ready}"
    );
    // It may still come.
    let revision = room.revision("iris", None).await?;
    room.answer("iris", &revision, 1).await?;
    room.deployment_says("iris", "Serving").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_history_is_kept_as_long_as_is_asked_and_a_person_goes_back() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let room = Room::open().await?;
    let manual = json!({"spec": {
        "model": {"trainingRef": {"promotion": "Manual"}}, "rollout": {"revisionHistoryLimit": 1},
    }});
    room.apply(training("iris")).await?;
    room.apply(with(deployment("iris", "iris"), &manual)).await?;
    let mut revisions: Vec<String> = Vec::new();
    for (round, digit) in ['a', 'b', 'c'].into_iter().enumerate() {
        if round > 0 {
            let seed = json!({"spec": {"hyperparameters": {"seed": round}}});
            room.change::<sconce_crds::ModelTraining>("iris", seed).await?;
        }
        room.run_to("iris", &trained("iris-artifacts", digit, 0.9))
            .await?;
        room.phase("iris", Phase::Succeeded).await?;
        let promote = json!({"metadata": {"annotations": {"sconce.dev/promote": digest(digit)}}});
        room.change::<ModelDeployment>("iris", promote).await?;
        let revision = room
            .revision("iris", revisions.last().map(String::as_str))
            .await?;
        room.answer("iris", &revision, 1).await?;
        room.deployment_says("iris", "Serving").await?;
        revisions.push(revision);
    }
    room.gone::<Deployment>(&format!("iris-{}", revisions[0])).await?;
    let kept: Deployment = room.get(&format!("iris-{}", revisions[1])).await?;
    let seen = room
        .see(
            "iris",
            "one earlier revision is told of",
            |seen: &ModelDeployment| {
                seen.status
                    .as_ref()
                    .is_some_and(|status| status.revisions.len() == 2)
            },
        )
        .await?;
    let status = seen.status.unwrap_or_default();
    let earlier = &status.revisions[1];
    assert_eq!(
        (earlier.digest.clone(), earlier.ready_replicas),
        (Some(digest('b')), 0)
    );
    assert_eq!(
        earlier.training.as_ref().map(|training| training.name.as_str()),
        Some("iris")
    );

    // Back by hand: the same Deployment, with the template that it had.
    let promote = json!({"metadata": {"annotations": {"sconce.dev/promote": digest('b')}}});
    room.change::<ModelDeployment>("iris", promote).await?;
    room.answer("iris", &revisions[1], 1).await?;
    let seen = room
        .see("iris", "the earlier one is served", |seen: &ModelDeployment| {
            let status = seen.status.clone().unwrap_or_default();
            told(served(seen), "Ready").starts_with("True")
                && status.revisions.first().map(|revision| &revision.name) == Some(&revisions[1])
        })
        .await?;
    assert_eq!(
        seen.status.and_then(|status| status.model).as_deref(),
        Some("iris @ sha256:bbbbbbbbbbbb")
    );
    let back: Deployment = room.get(&format!("iris-{}", revisions[1])).await?;
    assert_eq!(
        (back.uid(), back.spec.map(|spec| spec.template)),
        (kept.uid(), kept.spec.map(|spec| spec.template))
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_takes_over_the_deployment_of_the_version_before_without_a_restart() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let room = Room::open().await?;
    let old = serving(&room, "iris", &json!({}), 1).await?;
    room.world.crash_operator();
    // As version 0.0 left it: one Deployment of the object's own name, whose selector knows no revision.
    let made: Deployment = room.get(&format!("iris-{old}")).await?;
    let mut before = made.clone();
    before.metadata.name = Some("iris".to_owned());
    before.metadata.resource_version = None;
    before.metadata.uid = None;
    before.metadata.managed_fields = None;
    before
        .annotations_mut()
        .retain(|key, _| key.starts_with("sconce.dev/") && key != "sconce.dev/wanted-since");
    let spec = before.spec.as_mut().ok_or("no spec")?;
    spec.selector.match_labels = Some([("sconce.dev/deployment".to_owned(), "iris".to_owned())].into());
    before.status = None;
    let deployments = room.api::<Deployment>();
    let name = made.name_any();
    deployments.delete(&name, &DeleteParams::background()).await?;
    room.gone::<Deployment>(&name).await?;
    room.kubelet.active("sconce.dev/deployment=iris", 0).await?;
    deployments.create(&PostParams::default(), &before).await?;
    room.answer("iris", &old, 1).await?;
    let pod = room.kubelet.active("sconce.dev/deployment=iris", 1).await?[0].name_any();
    room.world.restart_operator(&room.world.options())?;

    room.deployment_says("iris", "Serving").await?;
    assert_eq!(room.ours::<Deployment>().await?, ["iris"]);
    // Scaling goes to the one that there is.
    ask(&room, "iris", json!({"replicas": 2})).await?;
    room.answer("iris", &old, 2).await?;
    room.see("iris", "two answer", |seen: &ModelDeployment| {
        told(served(seen), "Ready").contains("2 replicas answer")
    })
    .await?;
    let pods = room.kubelet.active("sconce.dev/deployment=iris", 2).await?;
    assert!(
        pods.iter().any(|found| found.name_any() == pod),
        "no pod was restarted"
    );

    // The next revision has a Deployment of its own; the old one's pods answer until it does.
    ask(&room, "iris", json!({"model": {"uri": BAD}})).await?;
    let new = room.revision("iris", Some(&old)).await?;
    for answering in 1..=2 {
        let label = format!("sconce.dev/deployment=iris,sconce.dev/revision={new}");
        let starting = room.kubelet.active(&label, answering).await?;
        let seen = room
            .get::<ModelDeployment>("iris")
            .await?
            .status
            .unwrap_or_default();
        let all: i32 = seen
            .revisions
            .iter()
            .map(|revision| revision.ready_replicas)
            .sum();
        assert!(all >= 2, "{seen:?}");
        for pod in starting {
            room.kubelet.takes(&pod.name_any()).await?;
            room.kubelet.runs(&pod.name_any(), "10.244.0.8", true).await?;
        }
    }
    room.deployment_says("iris", "Serving").await?;
    let left: Deployment = room.get("iris").await?;
    assert_eq!(left.spec.and_then(|spec| spec.replicas), Some(0));
    Ok(room.close()?)
}
