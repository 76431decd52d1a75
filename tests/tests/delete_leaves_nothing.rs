//! Deleting an object takes everything with it that was made for it, whatever it was doing, and needs nobody's help
//! but the cluster's own garbage collector.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use sconce_contract::FailureClass;
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::kueue;
use sconce_tests::objects::{deployment, deployment_of_uri, failed, trained, training, with};
use sconce_tests::room::{Kind, Room};
use sconce_tests::wait::{until, within};
use serde_json::json;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Kubernetes looks at a namespace again after half of its pods' grace period, and another test stops the operator.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until nothing that carries our label, or that the cluster made for it, is left.
async fn nothing_left(room: &Room) -> Outcome {
    let names = async || -> sconce_tests::Result<Vec<String>> {
        let mut all = room.ours::<Job>().await?;
        for more in [
            room.ours::<Pod>().await?,
            room.ours::<ConfigMap>().await?,
            claims(room).await?,
            room.ours::<Deployment>().await?,
            room.ours::<ReplicaSet>().await?,
            room.ours::<Service>().await?,
            room.ours::<NetworkPolicy>().await?,
            room.ours::<PodDisruptionBudget>().await?,
        ] {
            all.extend(more);
        }
        Ok(all)
    };
    let mut last = Vec::new();
    let empty = until("nothing is left", async || {
        last = names().await.ok()?;
        last.is_empty().then_some(())
    })
    .await;
    empty.map_err(|error| format!("{error}: {last:?}"))?;
    Ok(())
}

/// The protection of claims ends with the last pod that uses them; whoever waits for the finalizer waits for that.
async fn claims(room: &Room) -> sconce_tests::Result<Vec<String>> {
    room.ours::<PersistentVolumeClaim>().await
}

async fn deleted<K: Kind>(room: &Room, name: &str) -> Outcome {
    assert!(
        room.get::<K>(name).await?.finalizers().is_empty(),
        "a finalizer could keep it for ever"
    );
    room.delete::<K>(name).await?;
    room.gone::<K>(name).await?;
    nothing_left(room).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_in_each_phase() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(training("suspended"), &json!({"spec": {"suspend": true}})))
        .await?;
    room.phase("suspended", Phase::Suspended).await?;
    deleted::<ModelTraining>(&room, "suspended").await?;

    room.apply(training("pending")).await?;
    room.kubelet.trainer("pending").await?;
    deleted::<ModelTraining>(&room, "pending").await?;

    room.apply(training("running")).await?;
    let pod = room.kubelet.trainer("running").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.phase("running", Phase::Training).await?;
    deleted::<ModelTraining>(&room, "running").await?;

    room.apply(training("succeeded")).await?;
    room.run_to("succeeded", &trained("succeeded-artifacts", 'a', 0.9))
        .await?;
    room.phase("succeeded", Phase::Succeeded).await?;
    deleted::<ModelTraining>(&room, "succeeded").await?;

    room.apply(training("failed")).await?;
    room.run_to("failed", &failed(FailureClass::BadInput, None, "an empty file"))
        .await?;
    room.phase("failed", Phase::Failed).await?;
    deleted::<ModelTraining>(&room, "failed").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_is_refused_retries_ends_or_was_rejected() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("refused"),
        &json!({"spec": {"dataset": {"uri": "configmap://nothing/iris.csv"}}}),
    ))
    .await?;
    room.training_says("refused", "ConfigMapNotFound").await?;
    deleted::<ModelTraining>(&room, "refused").await?;

    room.apply(training("retrying")).await?;
    room.run_to(
        "retrying",
        &failed(FailureClass::Storage, None, "the volume is full"),
    )
    .await?;
    room.training_says("retrying", "Retrying").await?;
    deleted::<ModelTraining>(&room, "retrying").await?;

    room.apply(training("evaluating")).await?;
    let pod = room.kubelet.trainer("evaluating").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet
        .waits_after_its_end(&pod, &trained("evaluating-artifacts", 'a', 0.9))
        .await?;
    room.phase("evaluating", Phase::Evaluating).await?;
    deleted::<ModelTraining>(&room, "evaluating").await?;

    let gate = json!({"spec": {"evaluation": {"gates": [{"metric": "accuracy", "min": 0.99}]}}});
    room.apply(with(training("rejected"), &gate)).await?;
    room.run_to("rejected", &trained("rejected-artifacts", 'a', 0.9))
        .await?;
    room.phase("rejected", Phase::Rejected).await?;
    deleted::<ModelTraining>(&room, "rejected").await?;

    room.apply(training("rerun")).await?;
    room.run_to("rerun", &trained("rerun-artifacts", 'a', 0.9))
        .await?;
    room.phase("rerun", Phase::Succeeded).await?;
    room.change::<ModelTraining>(
        "rerun",
        json!({"metadata": {"annotations": {"sconce.dev/rerun": "2"}}}),
    )
    .await?;
    room.kubelet.trainer("rerun").await?;
    deleted::<ModelTraining>(&room, "rerun").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_is_queued_is_put_back_or_is_held_in_its_queue() -> Outcome {
    let room = Room::open().await?;
    kueue::queue_in(&room, "team-a").await?;
    let queued = |name: &str| kueue::queued(name, "team-a");
    room.apply(queued("queued")).await?;
    room.phase("queued", Phase::Queued).await?;
    deleted::<ModelTraining>(&room, "queued").await?;

    room.apply(with(queued("held"), &json!({"spec": {"suspend": true}})))
        .await?;
    room.phase("held", Phase::Suspended).await?;
    deleted::<ModelTraining>(&room, "held").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_waits_is_refused_is_degraded_or_has_no_pods() -> Outcome {
    let room = Room::open().await?;
    let uri = "https://models.example/iris";
    room.apply(deployment("awaiting", "nothing")).await?;
    room.deployment_says("awaiting", "TrainingNotFound").await?;
    deleted::<ModelDeployment>(&room, "awaiting").await?;

    let profile = json!({"spec": {"accelerator": {"profile": "none"}}});
    room.apply(with(deployment_of_uri("refused", uri), &profile))
        .await?;
    room.deployment_says("refused", "ProfileNotFound").await?;
    deleted::<ModelDeployment>(&room, "refused").await?;

    room.apply(deployment_of_uri("degraded", uri)).await?;
    let revision = room.revision("degraded", None).await?;
    room.answer("degraded", &revision, 1).await?;
    room.deployment_says("degraded", "Serving").await?;
    room.change::<ModelDeployment>("degraded", profile).await?;
    room.deployment_says("degraded", "ProfileNotFound").await?;
    deleted::<ModelDeployment>(&room, "degraded").await?;

    room.apply(with(
        deployment_of_uri("none", uri),
        &json!({"spec": {"replicas": 0}}),
    ))
    .await?;
    room.deployment_says("none", "ScaledToZero").await?;
    deleted::<ModelDeployment>(&room, "none").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_in_the_midst_of_a_rollout() -> Outcome {
    let room = Room::open().await?;
    room.apply(deployment_of_uri("rolling", "https://models.example/iris"))
        .await?;
    let first = room.revision("rolling", None).await?;
    room.answer("rolling", &first, 1).await?;
    room.deployment_says("rolling", "Serving").await?;
    room.change::<ModelDeployment>(
        "rolling",
        json!({"spec": {"model": {"uri": "https://models.example/iris-2"}}}),
    )
    .await?;
    room.revision("rolling", Some(&first)).await?;
    room.kubelet.active("sconce.dev/deployment=rolling", 2).await?;
    deleted::<ModelDeployment>(&room, "rolling").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_while_it_starts_and_while_it_serves() -> Outcome {
    let room = Room::open().await?;
    let uri = "https://models.example/iris";
    room.apply(deployment_of_uri("starting", uri)).await?;
    room.revision("starting", None).await?;
    room.kubelet.active("sconce.dev/deployment=starting", 1).await?;
    deleted::<ModelDeployment>(&room, "starting").await?;

    room.apply(with(
        deployment_of_uri("serving", uri),
        &json!({"spec": {"replicas": 2, "network": {"allowFrom": []}}}),
    ))
    .await?;
    let revision = room.revision("serving", None).await?;
    room.answer("serving", &revision, 2).await?;
    room.deployment_says("serving", "Serving").await?;
    deleted::<ModelDeployment>(&room, "serving").await?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_the_spec_names_is_not_taken_along() -> Outcome {
    let room = Room::open().await?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    room.apply(claim).await?;
    room.apply(with(
        training("iris"),
        &json!({"spec": {"output": {"uri": "pvc://models/iris"}}}),
    ))
    .await?;
    room.run_to("iris", &trained("models", 'a', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    deleted::<ModelTraining>(&room, "iris").await?;
    let kept: PersistentVolumeClaim = room.get("models").await?;
    assert!(kept.metadata.deletion_timestamp.is_none());
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_pods_that_learn_together_goes_whole() -> Outcome {
    let room = Room::open().await?;
    let of_three = json!({"spec": {"nodes": {"count": 3}, "output": {"uri": "s3://models/iris"}}});
    room.apply(with(training("iris"), &of_three)).await?;
    let pods = room.kubelet.active("sconce.dev/training=iris", 3).await?;
    for pod in &pods {
        room.kubelet.takes(&pod.name_any()).await?;
        room.kubelet.runs(&pod.name_any(), "10.244.0.9", false).await?;
    }
    // Of each number, Kubernetes keeps the pod that ended until there is another one, which cannot be made any more.
    let namespaces: Api<Namespace> = Api::all(room.client.clone());
    namespaces
        .delete(&room.namespace, &DeleteParams::default())
        .await?;
    let mut last = None;
    let gone = within(PATIENCE, "the namespace is gone", async || {
        last = namespaces.get_opt(&room.namespace).await.ok()?;
        last.is_none().then_some(())
    })
    .await;
    let says = |namespace: Namespace| namespace.status.and_then(|status| status.conditions);
    gone.map_err(|error| format!("{error}: {:?}", last.and_then(says)))?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_operator_too() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.apply(deployment_of_uri("served", "https://models.example/iris"))
        .await?;
    room.kubelet.active("sconce.dev/deployment=served", 1).await?;
    room.world.crash_operator();
    room.delete::<ModelDeployment>("served").await?;
    let outcome = deleted::<ModelTraining>(&room, "iris").await;
    room.world.restart_operator(&room.world.options())?;
    outcome?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_the_same_name_begins_afresh() -> Outcome {
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    room.run_to("iris", &trained("iris-artifacts", 'a', 0.9)).await?;
    let first = room.phase("iris", Phase::Succeeded).await?;
    room.delete::<ModelTraining>("iris").await?;
    room.gone::<ModelTraining>("iris").await?;
    // At once: what the first one left may still be on its way out.
    room.apply(training("iris")).await?;
    let fresh = room.get::<ModelTraining>("iris").await?;
    let job_of = fresh.uid();
    let pod = until("a pod of the new one is there", async || {
        let jobs = room.api::<Job>().list(&Default::default()).await.ok()?.items;
        let job = jobs.into_iter().find(|job| {
            job.owner_references()
                .iter()
                .any(|owner| Some(&owner.uid) == job_of.as_ref())
        })?;
        let label = format!("batch.kubernetes.io/controller-uid={}", job.uid()?);
        room.kubelet.all(&label).await.ok()?.into_iter().next()
    })
    .await?;
    let pod = pod.name_any();
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.kubelet
        .ends(&pod, &trained("iris-artifacts", 'b', 0.9))
        .await?;
    let second = room.phase("iris", Phase::Succeeded).await?;
    assert_ne!(second.uid(), first.uid());
    let artifact = second
        .status
        .and_then(|status| status.artifact)
        .ok_or("no artifact")?;
    assert_eq!(artifact.digest, sconce_tests::objects::digest('b'));
    Ok(room.close()?)
}
