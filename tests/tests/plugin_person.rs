//! `kubectl sconce` as people have it: with a kubeconfig and the cluster's roles, on a real API server.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use sconce_contract::{FailureClass, Progress, TrainingPhase};
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::kubelet_logs::KubeletLogs;
use sconce_tests::objects::{
    deployment, deployment_of_uri, failed, gpu_profile, history, trained, training, with,
};
use sconce_tests::person::{self, Person};
use sconce_tests::room::{Room, served, told};
use sconce_tests::trainer::FakeTrainer;
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn plugin_why_goes_from_the_deployment_to_the_pod_to_the_reason_with_the_rights_of_view() -> Outcome {
    let room = Room::open().await?;
    let viewer = Person::with_role(&room, "view").await?;
    room.apply(training("iris")).await?;
    room.apply(deployment("iris", "iris")).await?;
    let said = failed(
        FailureClass::BadInput,
        Some("dataset.target"),
        "no such column: species",
    );
    room.run_to("iris", &said).await?;
    room.deployment_says("iris", "TrainingFailed").await?;

    let why = viewer.sconce(&["why", "iris"]).await?;
    assert_eq!(why.code, Some(0), "{}", why.err);
    let pod = room.kubelet.all("sconce.dev/training=iris").await?[0].name_any();
    for part in [
        format!("ModelDeployment {}/iris · Degraded", room.namespace),
        "Ready=False TrainingFailed".to_owned(),
        format!("└─ ModelTraining {}/iris · Failed", room.namespace),
        "Ready=False BadInput: spec.dataset.target: no such column: species".to_owned(),
        "└─ Job iris-".to_owned(),
        format!("└─ Pod {pod} · on node worker · Failed"),
        "ended with exit code 65: BadInput".to_owned(),
        "Events, newest first".to_owned(),
        "Next: correct the field that the sentence names".to_owned(),
    ] {
        assert!(why.out.contains(&part), "{part} is not in\n{}", why.out);
    }
    assert!(why.out.lines().count() <= 40, "more than a screen:\n{}", why.out);
    assert!(!why.out.contains("not shown"), "{}", why.out);

    let alone = viewer.sconce(&["why", "mtrain/iris"]).await?;
    assert!(
        alone.out.starts_with("ModelTraining ") && !alone.out.contains("ModelDeployment"),
        "{}",
        alone.out
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_what_cannot_be_done_is_one_sentence_and_exit_code_1() -> Outcome {
    let room = Room::open().await?;
    let viewer = Person::with_role(&room, "view").await?;
    room.apply(training("iris")).await?;
    room.phase("iris", Phase::Pending).await?;
    let namespace = room.namespace.as_str();
    for (arguments, code, says) in [
        (
            vec!["why", "nobody"],
            1,
            format!("no ModelDeployment or ModelTraining named \"nobody\" in the namespace {namespace:?}"),
        ),
        (
            vec!["logs", "mdep/iris"],
            1,
            "no ModelDeployment named \"iris\"".to_owned(),
        ),
        (
            vec!["why", "pod/iris"],
            2,
            "write mtrain/NAME, mdep/NAME or NAME alone".to_owned(),
        ),
        (vec!["plot", "iris"], 1, "it has taken no step".to_owned()),
        (
            vec!["top", "-A"],
            1,
            "you may not list modeltrainings in all namespaces".to_owned(),
        ),
        (
            vec!["why", "iris", "-n", "kube-system"],
            1,
            "you may not read modeldeployments iris".to_owned(),
        ),
        (
            vec!["why", "iris", "--context", "none"],
            1,
            "the kubeconfig cannot be used".to_owned(),
        ),
        (vec!["frobnicate"], 2, "unrecognized subcommand".to_owned()),
    ] {
        let ended = viewer.sconce(&arguments).await?;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(&says), "{arguments:?}: {}", ended.err);
        assert!(ended.out.is_empty(), "{arguments:?}: {}", ended.out);
    }
    let nowhere = person::run("/nowhere/kubeconfig".as_ref(), &["why", "iris"]).await?;
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.err.contains("kubeconfig"), "{}", nowhere.err);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_top_tells_who_holds_what_to_whoever_may_look() -> Outcome {
    let room = Room::open().await?;
    room.apply_cluster(gpu_profile("plugin-l4")).await?;
    let viewer = Person::with_role(&room, "view").await?;
    let auditor = Person::who_sees_everything(&room).await?;
    let asks = json!({"spec": {"accelerator": {"profile": "plugin-l4", "count": 2}}});
    room.apply(with(training("iris"), &asks)).await?;
    let pod = room.kubelet.trainer("iris").await?;
    let free = viewer.sconce(&["top"]).await?;
    assert!(
        free.out.contains("Nobody holds a unit"),
        "{}{}",
        free.out,
        free.err
    );

    room.kubelet.takes(&pod).await?;
    let holder = format!("{}/mtrain/iris", room.namespace);
    for (person, arguments) in [
        (&viewer, vec!["top"]),
        (&auditor, vec!["top"]),
        (&auditor, vec!["top", "-A"]),
    ] {
        let top = person.sconce(&arguments).await?;
        assert_eq!(top.code, Some(0), "{}", top.err);
        let line = top
            .out
            .lines()
            .find(|line| line.starts_with(&holder))
            .ok_or(top.out.clone())?;
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells[1..4], ["plugin-l4", "2", "1"], "{}", top.out);
    }
    let seen = auditor.sconce(&["top"]).await?.out;
    assert!(
        seen.lines()
            .any(|line| line.starts_with("plugin-l4") && line.contains("nvidia.com/gpu")),
        "{seen}"
    );
    let limited = viewer.sconce(&["top"]).await?.out;
    assert!(limited.contains("ClusterRoleBinding"), "{limited}");

    // A pod that has ended gives its units back.
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.kubelet.ends(&pod, &trained("models", 'a', 0.9)).await?;
    let free = viewer.sconce(&["top"]).await?;
    assert!(free.out.contains("Nobody holds a unit"), "{}", free.out);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_promote_serves_what_passed_and_what_did_not_only_by_force() -> Outcome {
    let room = Room::open().await?;
    let (editor, viewer) = (
        Person::with_role(&room, "edit").await?,
        Person::with_role(&room, "view").await?,
    );
    let gated = json!({"spec": {"evaluation": {"gates": [{"metric": "accuracy", "min": 0.95}]}}});
    room.apply(with(training("iris"), &gated)).await?;
    let manual = json!({"spec": {"model": {"trainingRef": {"promotion": "Manual"}}}});
    room.apply(with(deployment("iris", "iris"), &manual)).await?;
    let early = editor.sconce(&["promote", "iris"]).await?;
    assert!(
        early.code == Some(1) && early.err.contains("has left no artifact yet"),
        "{}",
        early.err
    );

    room.run_to("iris", &trained("models", 'a', 0.9)).await?;
    room.phase("iris", Phase::Rejected).await?;
    let refused = editor.sconce(&["promote", "iris"]).await?;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("missed its gates: accuracy") && refused.err.contains("--force"),
        "{}",
        refused.err
    );
    assert!(
        room.get::<ModelDeployment>("iris")
            .await?
            .annotations()
            .is_empty()
    );

    let forbidden = viewer.sconce(&["promote", "iris", "--force"]).await?;
    assert!(
        forbidden.code == Some(1) && forbidden.err.contains("you may not set an annotation"),
        "{}",
        forbidden.err
    );

    let forced = editor
        .sconce(&["promote", "mdep/iris", "aaaaaaaaaaaa", "--force"])
        .await?;
    assert_eq!(forced.code, Some(0), "{}", forced.err);
    room.see(
        "iris",
        "what was promoted is resolved",
        |seen: &ModelDeployment| {
            told(served(seen), "ModelResolved").starts_with("True: Promoted: sha256:aaaaaaaaaaaa")
        },
    )
    .await?;

    room.apply(deployment("automatic", "iris")).await?;
    let pointless = editor.sconce(&["promote", "automatic"]).await?;
    assert!(pointless.err.contains("promotion to Manual"), "{}", pointless.err);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_plot_draws_a_run_at_work_and_one_whose_pod_is_gone() -> Outcome {
    let room = Room::open().await?;
    let (editor, viewer) = (
        Person::with_role(&room, "edit").await?,
        Person::with_role(&room, "view").await?,
    );
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    let progress = Progress {
        phase: TrainingPhase::Training,
        epoch: 1,
        epochs: 10,
        step: 8,
        total_steps: 40,
        loss: Some(0.9),
        ..Progress::default()
    };
    let trainer = FakeTrainer::start_beyond_loopback(progress).await?;
    let mut so_far = history();
    so_far.loss.values.truncate(2);
    so_far.loss.last = 8;
    so_far.validation_loss = Default::default();
    trainer.gathered(so_far);
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    room.phase("iris", Phase::Training).await?;
    let live = editor.sconce(&["plot", "iris"]).await?;
    assert_eq!(live.code, Some(0), "{}", live.err);
    assert!(
        live.out.contains("loss over steps, so far") && live.out.contains("⣀ loss 0.9"),
        "{}",
        live.out
    );
    let limited = viewer.sconce(&["plot", "iris"]).await?;
    assert!(
        limited.code == Some(1) && limited.err.contains("pods/proxy, which the role edit has"),
        "{}",
        limited.err
    );

    room.kubelet.ends(&pod, &trained("models", 'a', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    room.delete::<Pod>(&pod).await?;
    room.gone::<Pod>(&pod).await?;
    let picture = room.world.options().log.with_file_name("loss.png");
    let path = picture.display().to_string();
    let ended = viewer.sconce(&["plot", "mtrain/iris", "--png", &path]).await?;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(
        ended.out.contains("of the last finished run") && ended.out.contains("○ validation loss 0.42"),
        "{}",
        ended.out
    );
    let bytes = std::fs::read(&picture)?;
    assert!(
        bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() > 5_000,
        "{} bytes",
        bytes.len()
    );
    let stored = room
        .get::<ModelTraining>("iris")
        .await?
        .status
        .and_then(|status| status.history);
    assert_eq!(stored, Some(history()));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_logs_say_why_there_are_none() -> Outcome {
    let room = Room::open().await?;
    let viewer = Person::with_role(&room, "view").await?;
    room.apply(deployment("iris", "nobody")).await?;
    room.deployment_says("iris", "TrainingNotFound").await?;
    let none = viewer.sconce(&["logs", "iris"]).await?;
    assert!(
        none.code == Some(1) && none.err.contains("mdep/iris has no log: it has no pod"),
        "{}",
        none.err
    );

    room.apply(training("flowers")).await?;
    let pod = room.kubelet.trainer("flowers").await?;
    let homeless = viewer.sconce(&["logs", "flowers"]).await?;
    assert!(
        homeless.code == Some(1) && homeless.err.contains("has no log: it has no node yet"),
        "{}",
        homeless.err
    );
    room.kubelet.takes(&pod).await?;
    room.kubelet
        .waits(&pod, "ErrImagePull", Some("no such host"))
        .await?;
    let waiting = viewer.sconce(&["logs", "flowers"]).await?;
    assert_eq!(waiting.code, Some(1));
    assert!(
        waiting.err.contains("has said nothing yet: ImagePullFailed"),
        "{}",
        waiting.err
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_logs_are_those_of_the_current_run_and_say_which_pod_where_there_are_several() -> Outcome {
    let room = Room::open().await?;
    let viewer = Person::with_role(&room, "view").await?;
    let logs = KubeletLogs::start(&room).await?;
    room.apply(training("iris")).await?;
    let first = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&first).await?;
    room.kubelet.runs(&first, "10.244.0.9", true).await?;
    logs.said(&first, "reading the table\nepoch finished\n");
    let alone = viewer.sconce(&["logs", "iris"]).await?;
    assert_eq!(
        (alone.code, alone.out.as_str()),
        (Some(0), "reading the table\nepoch finished\n"),
        "{}",
        alone.err
    );
    let tail = viewer
        .sconce(&["logs", "mtrain/iris", "--tail", "1", "--follow"])
        .await?;
    assert_eq!(tail.out, "epoch finished\n", "{}", tail.err);

    // A second run: the first one's pod is no longer asked.
    room.kubelet.ends(&first, &trained("models", 'a', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    let again = json!({"metadata": {"annotations": {"sconce.dev/rerun": "2"}}});
    room.change::<ModelTraining>("iris", again).await?;
    let second = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&second).await?;
    room.kubelet.runs(&second, "10.244.0.9", true).await?;
    room.phase("iris", Phase::Training).await?;
    logs.said(&second, "once more\n");
    let current = viewer.sconce(&["logs", "iris"]).await?;
    assert_eq!(current.out, "once more\n", "{}", current.err);

    let two = json!({"spec": {"replicas": 2}});
    room.apply(with(
        deployment_of_uri("served", "https://models.example/iris"),
        &two,
    ))
    .await?;
    let pods = room.kubelet.active("sconce.dev/deployment=served", 2).await?;
    for pod in &pods {
        room.kubelet.takes(&pod.name_any()).await?;
        room.kubelet.runs(&pod.name_any(), "10.244.0.7", true).await?;
    }
    let silent = pods[0].name_any();
    let speaks = pods[1].name_any();
    logs.said(&speaks, "ready\n");
    let several = viewer.sconce(&["logs", "served"]).await?;
    assert_eq!(
        (several.code, several.out),
        (Some(0), format!("[{speaks}] ready\n"))
    );
    assert!(several.err.contains(&silent), "{}", several.err);
    Ok(room.close()?)
}
