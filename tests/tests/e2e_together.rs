//! Several pods that learn one model together, or take the trials of a search, in a cluster: they find each other by name,
//! and one that is killed costs no step that was saved, and no trial.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use sconce_tests::objects::with;
use sconce_tests::room::{conditions, told};
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::workload::{FLOWERS, claim, endless, fill, of_flowers, table};
use serde_json::{Value, json};

/// The claim `models`, which pods of many nodes may mount: the folder that the provisioner made for another one, for a
/// cluster of one node has no other storage of that kind. The volume goes with the namespace's test.
async fn shared(site: &Site) -> Result<String, Box<dyn std::error::Error>> {
    site.apply_all([claim("seed"), table("flowers", FLOWERS)]).await?;
    fill(site, "seed", "flowers").await?;
    let seed: PersistentVolumeClaim = site.get("seed").await?;
    let volume = seed
        .spec
        .and_then(|spec| spec.volume_name)
        .ok_or("the seed has no volume")?;
    let volumes: Api<PersistentVolume> = Api::all(site.client.clone());
    let made = volumes.get(&volume).await?.spec.unwrap_or_default();
    let path = made
        .host_path
        .map(|found| found.path)
        .or(made.local.map(|found| found.path));
    let path = path.ok_or("the provisioner's volume is no folder of the node")?;
    let name = format!("shared-{}", site.namespace);
    let shared = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "64Mi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": path}, "nodeAffinity": made.node_affinity,
            "claimRef": {"namespace": site.namespace, "name": "models"},
        },
    });
    volumes
        .patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&shared))
        .await?;
    site.apply(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {
            "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name,
            "resources": {"requests": {"storage": "64Mi"}},
        },
    }))
    .await?;
    Ok(name)
}

fn together(training: Value, count: u32) -> Value {
    let change = json!({"spec": {
        "nodes": {"count": count}, "output": {"uri": "pvc://models/iris"}, "checkpoint": {"every": {"steps": 50}},
        "failurePolicy": {"backoffLimit": 3},
    }});
    with(training, &change)
}

async fn kill_the_second(site: &Site, training: &str) -> Result<(), Box<dyn std::error::Error>> {
    let pods = site.trainers(training).await?;
    let second = pods.iter().find(|pod| {
        pod.labels()
            .get("batch.kubernetes.io/job-completion-index")
            .map(String::as_str)
            == Some("1")
    });
    let killed = second.ok_or("there is no second pod")?;
    let now = DeleteParams::default().grace_period(0);
    site.api::<Pod>().delete(&killed.name_any(), &now).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pods_find_each_other_and_go_on_after_one_was_killed() -> Outcome {
    in_a_namespace("train-together", async |site| {
        let volume = shared(site).await?;
        site.apply(together(endless(of_flowers("iris")), 2)).await?;
        let seen = site
            .see("iris", "two learn, and have saved", |training: &ModelTraining| {
                let status = training.status.as_ref();
                told(conditions(training), "Ready").contains("with 2 of 2 workers")
                    && status.is_some_and(|status| status.last_checkpoint.is_some())
            })
            .await?;
        let saved = seen
            .status
            .and_then(|status| status.last_checkpoint)
            .map(|saved| saved.step);

        kill_the_second(site, "iris").await?;
        site.see("iris", "all go on from a state", |training: &ModelTraining| {
            let progress = training
                .status
                .as_ref()
                .and_then(|status| status.progress.as_ref());
            progress.is_some_and(|progress| progress.nodes == Some(2) && progress.resumed_from >= saved)
        })
        .await?;

        // Held, it may become one that ends.
        site.change::<ModelTraining>(
            "iris",
            json!({"spec": {"suspend": true, "hyperparameters": {"epochs": 60}}}),
        )
        .await?;
        site.phase("iris", Phase::Suspended).await?;
        site.change::<ModelTraining>("iris", json!({"spec": {"suspend": false}}))
            .await?;
        let done = site.phase("iris", Phase::Succeeded).await?;
        assert!(done.status.and_then(|status| status.artifact).is_some());
        let volumes: Api<PersistentVolume> = Api::all(site.client.clone());
        volumes.delete(&volume, &DeleteParams::default()).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pods_take_the_trials_of_a_search_and_none_is_lost_with_a_pod() -> Outcome {
    in_a_namespace("search-together", async |site| {
        let volume = shared(site).await?;
        let search = json!({"spec": {
            "hyperparameters": {"epochs": 600},
            "search": {
                "algorithm": "Random", "objective": {"metric": "loss"}, "maxTrials": 24, "parallelTrials": 2,
                "space": [{
                    "path": "hyperparameters.optimizer.learningRate", "logUniform": {"min": 0.0001, "max": 0.1},
                }],
            },
        }});
        site.apply(together(with(of_flowers("search"), &search), 2))
            .await?;
        site.see("search", "two take trials", |training: &ModelTraining| {
            told(conditions(training), "Ready").contains("with 2 of 2 workers")
        })
        .await?;
        kill_the_second(site, "search").await?;
        let done = site.phase("search", Phase::Succeeded).await?;
        let status = done.status.unwrap_or_default();
        let best = status.best_trial.ok_or("no trial was the best")?;
        assert_eq!((best.trials, best.failed), (24, 0));
        assert!(status.artifact.is_some());
        let volumes: Api<PersistentVolume> = Api::all(site.client.clone());
        volumes.delete(&volume, &DeleteParams::default()).await?;
        Ok(())
    })
    .await
}
