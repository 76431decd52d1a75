//! The operator may be killed at any moment, and be one of several: what it began is completed once, by one.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use sconce_crds::training::Phase;
use sconce_tests::objects::{deployment, trained, training, with};
use sconce_tests::operator::Operator;
use sconce_tests::room::Room;
use sconce_tests::wait::until;
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The tests of this file stop and start the one operator that they share.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_goes_on_where_it_was_with_one_job() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let room = Room::open().await?;
    // Between the writes of the first reconciles: each round kills it a little later.
    for (round, delay) in [0_u64, 5, 10, 20, 40, 80, 160].into_iter().enumerate() {
        let name = format!("killed-{round}");
        room.apply(training(&name)).await?;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        room.world.crash_operator();
        room.world.restart_operator(&room.world.options())?;
        room.kubelet.trainer(&name).await?;
        room.training_says(&name, "Pending").await?;
        let mut jobs = room.ours::<Job>().await?;
        jobs.retain(|job| job.starts_with(&format!("{name}-")));
        assert_eq!(jobs.len(), 1, "{jobs:?}");
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_there_is_none_is_seen_by_the_next() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let room = Room::open().await?;
    room.apply(training("iris")).await?;
    room.apply(deployment("iris", "iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.phase("iris", Phase::Training).await?;
    room.world.crash_operator();
    room.kubelet
        .ends(&pod, &trained("iris-artifacts", 'a', 0.9))
        .await?;
    room.world.restart_operator(&room.world.options())?;
    room.phase("iris", Phase::Succeeded).await?;
    assert_eq!(room.ours::<Job>().await?.len(), 1);

    let revision = room.revision("iris", None).await?;
    room.world.crash_operator();
    room.answer("iris", &revision, 1).await?;
    let generation = room.workload("iris").await?.metadata.generation;
    room.world.restart_operator(&room.world.options())?;
    room.deployment_says("iris", "Serving").await?;
    assert_eq!(room.workload("iris").await?.metadata.generation, generation);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_hands_over_when_it_is_asked_to_end() -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let room = Room::open().await?;
    room.world.crash_operator();
    let leases: Api<Lease> = Api::namespaced(room.client.clone(), "sconce-system");
    let holder = async || leases.get("sconce-operator").await.ok()?.spec?.holder_identity;
    let held_by = async |name: &str| {
        until(&format!("{name} leads"), async || {
            (holder().await.as_deref() == Some(name)).then_some(())
        })
        .await
    };
    let mut options = room.world.options();
    let first = Operator::start(&options)?;
    held_by(&options.identity.clone()).await?;
    options.identity = "sconce-1".to_owned();
    let second = Operator::start(&options)?;
    for (operator, leads) in [(&first, 1), (&second, 0)] {
        let says = async |path: &str, what: &str| {
            operator
                .get(path)
                .ok()
                .filter(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains(what))
                .map(drop)
        };
        until("it is live", async || says("/livez", "ok").await).await?;
        until("it is ready", async || says("/readyz", "ok").await).await?;
        until("its metrics tell whether it leads", async || {
            says("/metrics", &format!("sconce_operator_leader {leads}\n")).await
        })
        .await?;
    }
    // One works, the other only waits.
    room.apply(with(training("iris"), &json!({"spec": {"suspend": true}})))
        .await?;
    room.phase("iris", Phase::Suspended).await?;
    let reconciled = "sconce_operator_reconciles_total{kind=\"ModelTraining\"}";
    until("the leader has counted its reconcile", async || {
        first.get("/metrics").ok()?.contains(reconciled).then_some(())
    })
    .await?;
    assert!(
        !second
            .get("/metrics")?
            .contains("sconce_operator_reconciles_total{")
    );

    let (status, _) = tokio::task::spawn_blocking(move || first.terminate()).await??;
    assert!(status.success(), "{status}");
    let log = std::fs::read_to_string(&options.log)?;
    assert!(!log.contains("are dropped"), "it did not wait for its reconciles");
    // It has emptied the lease, so the second one need not wait until that runs out.
    let left = leases.get("sconce-operator").await?.spec;
    let left = left.and_then(|spec| spec.holder_identity);
    assert!(
        left.is_none() || left.as_deref() == Some("sconce-1"),
        "{left:?} is gone"
    );
    held_by("sconce-1").await?;
    room.change::<sconce_crds::ModelTraining>("iris", json!({"spec": {"suspend": false}}))
        .await?;
    room.kubelet.trainer("iris").await?;
    let (status, _) = tokio::task::spawn_blocking(move || second.terminate()).await??;
    assert!(status.success(), "{status}");
    room.world.restart_operator(&room.world.options())?;
    Ok(room.close()?)
}
