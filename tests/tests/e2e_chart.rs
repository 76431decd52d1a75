//! The installed operator: restricted and small, one leader of two, a hand-over that nobody notices, and one that hangs.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::frozen::freeze;
use sconce_tests::objects::with;
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::workload::{of_flowers, serve_flowers};
use sconce_tests::{Error, Result};
use serde_json::{Value, json};

const SYSTEM: &str = "sconce-system";
const OPERATOR: &str = "sconce";
/// Most memory that the operator uses at rest, in MiB.
const MOST_MEMORY: f64 = 64.0;
/// Three probes that nobody answers, the time that a process is given to end, and some.
const HANGS: Duration = Duration::from_secs(150);

fn unmet(error: impl std::fmt::Display) -> Error {
    Error::Unmet(error.to_string())
}

/// The operator's pods that run and are not on their way out.
async fn operators(site: &Site) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), SYSTEM);
    let ours =
        ListParams::default().labels("app.kubernetes.io/name=sconce,app.kubernetes.io/component=operator");
    let mut all = pods.list(&ours).await.map_err(unmet)?.items;
    all.retain(|pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod
                .status
                .as_ref()
                .is_some_and(|status| status.phase.as_deref() == Some("Running"))
    });
    Ok(all)
}

async fn text(site: &Site, path: &str) -> Result<String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(unmet)?;
    site.client.request_text(request).await.map_err(unmet)
}

async fn metrics(site: &Site, pod: &str) -> Result<String> {
    text(
        site,
        &format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics"),
    )
    .await
}

/// The sum of a metric's samples.
fn sum(metrics: &str, name: &str) -> f64 {
    let samples = metrics
        .lines()
        .filter(|line| line.starts_with(name) && !line.starts_with('#'));
    samples
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

async fn holder(site: &Site) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(site.client.clone(), SYSTEM);
    let lease = leases.get("sconce-operator").await.map_err(unmet)?;
    Ok(lease
        .spec
        .and_then(|spec| spec.holder_identity)
        .unwrap_or_default())
}

/// Waits until an operator is gone; it must have given the lease up by then, so that nobody waits until that runs out.
async fn gives_the_lease_up(site: &Site, leader: &str) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), SYSTEM);
    let gone = async {
        while pods.get_opt(leader).await.map_err(unmet)?.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    site.within(Duration::from_secs(60), "the leader's pod is gone", gone)
        .await?;
    assert_ne!(
        holder(site).await?,
        leader,
        "it is gone and still holds the lease"
    );
    Ok(())
}

/// Waits until another operator than `before` holds the lease and says that it leads; its name.
async fn successor(site: &Site, before: &str) -> Result<String> {
    let taken = async {
        loop {
            let now = holder(site).await?;
            // One that was told to stop may lead for another moment.
            let stays = operators(site).await?.iter().any(|pod| pod.name_any() == now);
            if stays && now != before {
                let told = metrics(site, &now).await.unwrap_or_default();
                if sum(&told, "sconce_operator_leader") > 0.5 {
                    return Ok(now);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    site.within(Duration::from_secs(60), "another operator leads", taken)
        .await
}

/// Changes the operator's Deployment and waits until its rollout is complete.
async fn change(site: &Site, change: &Value) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(site.client.clone(), SYSTEM);
    deployments
        .patch(OPERATOR, &PatchParams::default(), &Patch::Merge(change))
        .await
        .map_err(unmet)?;
    let complete = async {
        loop {
            let live = deployments.get(OPERATOR).await.map_err(unmet)?;
            let (spec, status) = (live.spec.unwrap_or_default(), live.status.unwrap_or_default());
            let seen = status.observed_generation == live.metadata.generation;
            if seen
                && [status.replicas, status.updated_replicas, status.ready_replicas]
                    .iter()
                    .all(|count| *count == spec.replicas)
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    site.within(
        Duration::from_secs(60),
        "the operator's Deployment is rolled out",
        complete,
    )
    .await
}

/// The resource versions of everything that the operator writes in the namespace.
async fn versions(site: &Site) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut add = |kind: &str, metadata: ObjectMeta| {
        all.insert(
            format!("{kind}/{}", metadata.name.unwrap_or_default()),
            metadata.resource_version.unwrap_or_default(),
        );
    };
    site.labelled::<ModelTraining>("")
        .await?
        .into_iter()
        .for_each(|object| add("ModelTraining", object.metadata));
    site.labelled::<ModelDeployment>("")
        .await?
        .into_iter()
        .for_each(|object| add("ModelDeployment", object.metadata));
    site.labelled::<Deployment>("")
        .await?
        .into_iter()
        .for_each(|object| add("Deployment", object.metadata));
    site.labelled::<Service>("")
        .await?
        .into_iter()
        .for_each(|object| add("Service", object.metadata));
    site.labelled::<Pod>("")
        .await?
        .into_iter()
        .for_each(|object| add("Pod", object.metadata));
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_pod_is_restricted_and_small() -> Outcome {
    in_a_namespace("chart-pod", async |site| {
        let pod = operators(site)
            .await?
            .into_iter()
            .next()
            .ok_or("no operator runs: `make install`")?;
        let mut spec = serde_json::to_value(pod.spec.as_ref().ok_or("a pod without a spec")?)?;
        // The account is the operator's own; the namespace of the test enforces the restricted standard.
        for field in ["serviceAccount", "serviceAccountName", "nodeName", "priority"] {
            spec[field] = Value::Null;
        }
        let copy = serde_json::from_value(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "copy"}, "spec": spec}),
        )?;
        site.api::<Pod>()
            .create(
                &PostParams {
                    dry_run: true,
                    ..PostParams::default()
                },
                &copy,
            )
            .await?;

        let node = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.clone())
            .ok_or("no node")?;
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        let measured = async {
            loop {
                let summary: Value = serde_json::from_str(&text(site, &path).await?).map_err(unmet)?;
                let mut pods = summary["pods"].as_array().into_iter().flatten();
                let mine = pods.find(|found| found["podRef"]["name"] == pod.name_any());
                let memory = mine.map(|found| &found["containers"][0]["memory"]);
                let mebibytes = |name: &str| Some(memory?[name].as_f64()? / f64::from(1 << 20));
                if let (Some(used), Some(own)) = (mebibytes("workingSetBytes"), mebibytes("rssBytes")) {
                    return Ok((used, own));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let what = "the kubelet measures the operator";
        let (used, own) = site.within(Duration::from_secs(60), what, measured).await?;
        eprintln!("the operator's working set has {used:.1} MiB, {own:.1} MiB of them its own");
        assert!(used < MOST_MEMORY, "{used} MiB");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_leads_and_a_hand_over_writes_nothing() -> Outcome {
    in_a_namespace("chart-leader", async |site| {
        let deployments: Api<Deployment> = Api::namespaced(site.client.clone(), SYSTEM);
        let replicas = deployments
            .get(OPERATOR)
            .await?
            .spec
            .and_then(|spec| spec.replicas);
        serve_flowers(site).await?;
        let outcome = hand_over(site).await;
        change(site, &json!({"spec": {"replicas": replicas}})).await?;
        outcome
    })
    .await
}

async fn hand_over(site: &Site) -> Outcome {
    change(site, &json!({"spec": {"replicas": 2}})).await?;
    let mut leading = Vec::new();
    let pods = operators(site).await?;
    for pod in &pods {
        if sum(&metrics(site, &pod.name_any()).await?, "sconce_operator_leader") > 0.5 {
            leading.push(pod.name_any());
        }
    }
    assert_eq!(
        (pods.len(), &leading),
        (2, &vec![holder(site).await?]),
        "exactly one leads, and it holds the lease"
    );

    let before = versions(site).await?;
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), SYSTEM);
    pods.delete(&leading[0], &Default::default()).await?;
    gives_the_lease_up(site, &leading[0]).await?;
    let second = successor(site, &leading[0]).await?;

    change(site, &json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now()}}}}})).await?;
    gives_the_lease_up(site, &second).await?;
    let third = successor(site, &second).await?;
    // Long enough to look at every object again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told = metrics(site, &third).await?;
    assert!(
        sum(&told, "sconce_operator_reconciles_total") >= 2.0,
        "it has looked at the objects: {told}"
    );
    assert!(
        sum(&told, "sconce_operator_writes_total") < 0.5,
        "a new leader wrote though nothing was to be done: {told}"
    );
    assert_eq!(
        versions(site).await?,
        before,
        "objects or pods were changed by the hand-over"
    );

    // And it works: what is asked of it now is done.
    site.apply(with(of_flowers("later"), &json!({}))).await?;
    site.phase("later", sconce_crds::training::Phase::Succeeded)
        .await?;
    hang(site, &third).await
}

/// The leader stops where it stands. It can give nothing up, so the other one waits until the lease runs out; and the
/// kubelet, whom it does not answer either, starts it again.
async fn hang(site: &Site, leader: &str) -> Outcome {
    site.privileged().await?;
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), SYSTEM);
    let hangs = pods.get(leader).await?;
    freeze(site, &hangs, "sconce-operator").await?;

    let fourth = successor(site, leader).await?;
    site.apply(with(of_flowers("without-it"), &json!({}))).await?;
    site.phase("without-it", sconce_crds::training::Phase::Succeeded)
        .await?;
    let restarted = async {
        loop {
            let pod = pods.get(leader).await.map_err(unmet)?;
            let containers = pod.status.and_then(|status| status.container_statuses);
            let container = containers.unwrap_or_default().into_iter().next();
            if container.is_some_and(|container| container.restart_count > 0 && container.ready) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    site.within(HANGS, "the kubelet has started the operator again", restarted)
        .await?;
    assert_eq!(
        holder(site).await?,
        fourth,
        "who was started again waits for its turn"
    );
    Ok(())
}

fn now() -> String {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    time.map(|time| time.as_secs()).unwrap_or_default().to_string()
}
