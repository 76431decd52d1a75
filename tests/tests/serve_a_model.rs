//! A deployment serves what a training left or a URI names, and is Ready when its pods answer with it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use sconce_contract::ServingPlan;
use sconce_crds::ModelDeployment;
use sconce_crds::deployment::ColdStartPhaseName;
use sconce_crds::training::Phase;
use sconce_tests::objects::{
    deployment, deployment_of_uri, digest, gpu_profile, plan, trained, training, with,
};
use sconce_tests::operator::SERVER_IMAGE;
use sconce_tests::room::{Room, served, told};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const ELSEWHERE: &str = "https://models.example/iris/1";

async fn serving(room: &Room, object: Value, count: usize) -> Outcome<ModelDeployment> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    room.apply(object).await?;
    let revision = room.revision(&name, None).await?;
    room.answer(&name, &revision, count).await?;
    Ok(room.deployment_says(&name, "Serving").await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_its_training_says_so_and_then_serves_what_passed() -> Outcome {
    let room = Room::open().await?;
    room.apply(deployment("iris", "flowers")).await?;
    let seen = room.deployment_says("iris", "TrainingNotFound").await?;
    let ready = told(served(&seen), "Ready");
    assert!(ready.starts_with("False: TrainingNotFound: spec.model.trainingRef.name: there is no ModelTraining named \"flowers\""), "{ready}");
    assert!(
        told(served(&seen), "Progressing").starts_with("True")
            && told(served(&seen), "Degraded").starts_with("False")
    );

    room.apply(training("flowers")).await?;
    room.deployment_says("iris", "NoArtifactYet").await?;
    assert!(room.ours::<Deployment>().await?.is_empty());
    room.run_to("flowers", &trained("flowers-artifacts", 'a', 0.9))
        .await?;
    let trained_by = room.phase("flowers", Phase::Succeeded).await?;

    let revision = room.revision("iris", None).await?;
    let workload: Deployment = room.get(&format!("iris-{revision}")).await?;
    let plan: ServingPlan = plan(workload.spec.as_ref().map(|spec| &spec.template))?;
    assert_eq!(
        (plan.name.as_str(), plan.revision.as_str()),
        ("iris", revision.as_str())
    );
    assert_eq!(
        (plan.model, plan.digest),
        (
            format!("pvc://flowers-artifacts/{}", "a".repeat(64)),
            Some(digest('a'))
        )
    );
    room.answer("iris", &revision, 1).await?;

    let seen = room.deployment_says("iris", "Serving").await?;
    let status = seen.status.clone().unwrap_or_default();
    assert_eq!(status.model.as_deref(), Some("flowers @ sha256:aaaaaaaaaaaa"));
    assert_eq!(status.url, Some(format!("http://iris.{}.svc", room.namespace)));
    assert_eq!(status.selector.as_deref(), Some("sconce.dev/deployment=iris"));
    assert_eq!(
        (status.replicas, status.updated_replicas, status.ready_replicas),
        (1, 1, 1)
    );
    let cold = status.cold_start.ok_or("no cold start")?;
    let pod: Pod = room.get(&cold.pod).await?;
    assert_eq!(Some(cold.created), pod.creation_timestamp());
    let phases: Vec<_> = cold.phases.iter().map(|phase| phase.name).collect();
    use ColdStartPhaseName::{Loaded, Scheduled, Started};
    assert_eq!(phases, [Scheduled, Started, Loaded]);
    let sum: std::time::Duration = cold.phases.iter().map(|phase| phase.took.get()).sum();
    assert_eq!(cold.total.get(), sum);
    assert_eq!(status.revisions.len(), 1);
    let from = status.revisions[0].training.clone().ok_or("no source")?;
    assert_eq!(
        (from.name.as_str(), Some(from.uid)),
        ("flowers", trained_by.uid())
    );
    for (kind, start) in [
        ("Ready", "True"),
        ("Available", "True: CurrentRevision"),
        ("RolloutComplete", "True"),
        ("ModelResolved", "True: GatesPassed"),
        ("Progressing", "False"),
        ("Degraded", "False"),
    ] {
        assert!(
            told(served(&seen), kind).starts_with(start),
            "{kind}: {}",
            told(served(&seen), kind)
        );
    }
    let service: Service = room.get("iris").await?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    assert_eq!(ports[0].port, 80);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_means_every_replica_answers() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        deployment_of_uri("iris", ELSEWHERE),
        &json!({"spec": {"replicas": 2}}),
    ))
    .await?;
    let revision = room.revision("iris", None).await?;
    let pods = room.kubelet.active("sconce.dev/deployment=iris", 2).await?;
    for pod in &pods {
        room.kubelet.takes(&pod.name_any()).await?;
        room.kubelet.runs(&pod.name_any(), "10.244.0.7", false).await?;
    }
    // Running is not answering.
    let seen = room
        .see("iris", "both pods are counted", |seen: &ModelDeployment| {
            seen.status.as_ref().is_some_and(|status| status.replicas == 2)
        })
        .await?;
    assert!(
        told(served(&seen), "Ready").starts_with("False")
            && told(served(&seen), "Available").starts_with("False: NoPodAnswers")
    );
    room.kubelet.runs(&pods[0].name_any(), "10.244.0.7", true).await?;
    let seen = room
        .see("iris", "one answers", |seen: &ModelDeployment| {
            seen.status
                .as_ref()
                .is_some_and(|status| status.ready_replicas == 1)
        })
        .await?;
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.starts_with("False") && ready.contains("1 of 2 replicas answer"),
        "{ready}"
    );
    assert!(told(served(&seen), "Available").starts_with("True"));
    room.answer("iris", &revision, 2).await?;
    room.deployment_says("iris", "Serving").await?;
    // And it is taken back when one stops to answer.
    room.kubelet
        .runs(&pods[0].name_any(), "10.244.0.7", false)
        .await?;
    let seen = room
        .see("iris", "one has stopped to answer", |seen: &ModelDeployment| {
            told(served(seen), "Ready").starts_with("False")
        })
        .await?;
    assert_eq!(seen.status.unwrap_or_default().ready_replicas, 1);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_changes_the_number_and_restarts_nothing() -> Outcome {
    let room = Room::open().await?;
    serving(&room, deployment_of_uri("iris", ELSEWHERE), 1).await?;
    let before = room.workload("iris").await?;
    let first = room.kubelet.active("sconce.dev/deployment=iris", 1).await?[0].name_any();

    let three = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let scaled = room
        .api::<ModelDeployment>()
        .patch_scale("iris", &PatchParams::default(), &three)
        .await?;
    assert_eq!(scaled.spec.and_then(|spec| spec.replicas), Some(3));
    let revision = room.revision("iris", None).await?;
    room.answer("iris", &revision, 3).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    let after = room.workload("iris").await?;
    let template = |deployment: &Deployment| deployment.spec.as_ref().map(|spec| spec.template.clone());
    assert_eq!(template(&after), template(&before));
    room.get::<Pod>(&first).await?;
    let scale = room.api::<ModelDeployment>().get_scale("iris").await?;
    let status = scale.status.unwrap_or_default();
    assert_eq!(
        (status.replicas, status.selector.as_deref()),
        (3, Some("sconce.dev/deployment=iris"))
    );
    assert_eq!(seen.status.unwrap_or_default().ready_replicas, 3);

    room.change::<ModelDeployment>("iris", json!({"spec": {"replicas": 0}}))
        .await?;
    let seen = room.deployment_says("iris", "ScaledToZero").await?;
    assert!(
        told(served(&seen), "Ready").starts_with("False")
            && told(served(&seen), "Degraded").starts_with("False")
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_somebody_else_is_left_alone_and_told() -> Outcome {
    let room = Room::open().await?;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}, "spec": {"ports": [{"port": 5432}]}});
    room.apply(service).await?;
    // The name of a revision's Deployment is known once it was there.
    room.apply(deployment_of_uri("two", ELSEWHERE)).await?;
    let taken = room.workload("two").await?.name_any();
    room.delete::<ModelDeployment>("two").await?;
    room.gone::<Deployment>(&taken).await?;
    let pod =
        json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}});
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": taken},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": pod},
    });
    room.apply(workload).await?;
    let foreign_service = room.get::<Service>("one").await?;
    let foreign_workload = room.get::<Deployment>(&taken).await?;
    for (name, kind, taken) in [("one", "Service", "one"), ("two", "Deployment", &taken)] {
        room.apply(deployment_of_uri(name, ELSEWHERE)).await?;
        let seen = room.deployment_says(name, "NameTaken").await?;
        let ready = told(served(&seen), "Ready");
        assert!(
            ready.contains(&format!(
                "metadata.name: a {kind} named \"{taken}\" is already there and belongs to somebody else"
            )),
            "{ready}"
        );
        assert!(told(served(&seen), "Degraded").starts_with("True"));
    }
    assert_eq!(room.get::<Service>("one").await?.spec, foreign_service.spec);
    assert!(room.get::<Service>("one").await?.owner_references().is_empty());
    assert_eq!(
        room.get::<Deployment>(&taken).await?.metadata.generation,
        foreign_workload.metadata.generation
    );
    // It goes on by itself once the name is free.
    room.delete::<Service>("one").await?;
    room.deployment_says("one", "RollingOut").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_the_operator_and_the_edit_of_a_profile_restart_no_pod() -> Outcome {
    let room = Room::open().await?;
    room.apply_cluster(gpu_profile("serve-l4")).await?;
    serving(&room, deployment_of_uri("plain", ELSEWHERE), 1).await?;
    let accelerated = json!({"spec": {"accelerator": {"profile": "serve-l4"}}});
    serving(&room, with(deployment_of_uri("fast", ELSEWHERE), &accelerated), 1).await?;
    let (plain, fast) = (room.workload("plain").await?, room.workload("fast").await?);
    assert_eq!(image(&plain), Some(SERVER_IMAGE.to_owned()));
    assert_eq!(image(&fast).as_deref(), Some("registry.example/server:cuda"));

    let edit = json!({"spec": {"images": {"server": "registry.example/server:newer"}}});
    room.apply_cluster(with(gpu_profile("serve-l4"), &edit)).await?;
    let mut newer = room.world.options();
    newer.server_image = "registry.example/sconce-server:newer".to_owned();
    room.world.restart_operator(&newer)?;
    // A change that the new operator acts on shows that it has seen both.
    for name in ["plain", "fast"] {
        room.change::<ModelDeployment>(name, json!({"spec": {"replicas": 2}}))
            .await?;
        let revision = room.revision(name, None).await?;
        room.answer(name, &revision, 2).await?;
        room.deployment_says(name, "Serving").await?;
    }
    let template = |deployment: Deployment| deployment.spec.map(|spec| spec.template);
    assert_eq!(template(room.workload("plain").await?), template(plain));
    assert_eq!(template(room.workload("fast").await?), template(fast));
    room.world.restart_operator(&room.world.options())?;
    Ok(room.close()?)
}

fn image(deployment: &Deployment) -> Option<String> {
    deployment.spec.as_ref()?.template.spec.as_ref()?.containers[0]
        .image
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_manual_promotion_a_person_decides() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    let manual = json!({"spec": {"model": {"trainingRef": {"promotion": "Manual"}}}});
    room.apply(with(deployment("iris", "iris"), &manual)).await?;
    let seen = room.deployment_says("iris", "AwaitingPromotion").await?;
    let ready = told(served(&seen), "Ready");
    let command = format!(
        "kubectl annotate mdep/iris -n {} --overwrite sconce.dev/promote={}",
        room.namespace,
        digest('a')
    );
    assert!(ready.contains(&command), "{ready}");
    assert!(room.ours::<Deployment>().await?.is_empty());

    let wrong = json!({"metadata": {"annotations": {"sconce.dev/promote": digest('f')}}});
    room.change::<ModelDeployment>("iris", wrong).await?;
    room.deployment_says("iris", "PromotionUnknown").await?;
    let right = json!({"metadata": {"annotations": {"sconce.dev/promote": digest('a')}}});
    room.change::<ModelDeployment>("iris", right).await?;
    let revision = room.revision("iris", None).await?;
    room.answer("iris", &revision, 1).await?;
    let seen = room.deployment_says("iris", "Serving").await?;
    assert!(told(served(&seen), "ModelResolved").starts_with("True: Promoted"));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_not_there_is_named() -> Outcome {
    let room = Room::open().await?;
    room.apply(deployment_of_uri("iris", "pvc://models/iris")).await?;
    let seen = room.deployment_says("iris", "ClaimNotFound").await?;
    let ready = told(served(&seen), "Ready");
    assert!(
        ready.contains("spec.model.uri: there is no PersistentVolumeClaim named \"models\""),
        "{ready}"
    );
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    room.apply(claim).await?;
    room.get::<PersistentVolumeClaim>("models").await?;
    room.deployment_says("iris", "RollingOut").await?;
    Ok(room.close()?)
}
