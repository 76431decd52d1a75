//! What is deleted leaves nothing behind.

use k8s_openapi::api::core::v1::Pod;
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::workload::{FLOWERS, endless, of_flowers, ours, serve_flowers, table};

async fn nothing_left(site: &Site) -> sconce_tests::Result<()> {
    let emptied = async {
        while !ours(site).await?.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        Ok(())
    };
    let outcome = site
        .within(
            std::time::Duration::from_secs(60),
            "nothing of ours is left",
            emptied,
        )
        .await;
    let left = ours(site).await?;
    outcome.inspect_err(|_| eprintln!("left: {left:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_is_deleted_at_work_leaves_nothing() -> Outcome {
    in_a_namespace("delete-training", async |site| {
        site.apply_all([table("flowers", FLOWERS), endless(of_flowers("iris"))])
            .await?;
        site.phase("iris", Phase::Training).await?;
        let made = ours(site).await?;
        let kinds: Vec<&str> = made.iter().filter_map(|name| name.split('/').next()).collect();
        assert_eq!(kinds, ["Job", "PersistentVolumeClaim", "Pod"], "{made:?}");
        site.delete::<ModelTraining>("iris").await?;
        site.gone::<ModelTraining>("iris").await?;
        Ok(nothing_left(site).await?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_model_that_is_deleted_leaves_nothing_and_its_training_stays() -> Outcome {
    in_a_namespace("delete-served", async |site| {
        serve_flowers(site).await?;
        site.delete::<ModelDeployment>("iris").await?;
        site.gone::<ModelDeployment>("iris").await?;
        site.none("no pod serves", |pod: &Pod| {
            pod.metadata
                .labels
                .iter()
                .flatten()
                .any(|(key, _)| key == "sconce.dev/deployment")
        })
        .await?;
        let trained = site.phase("iris", Phase::Succeeded).await?;
        assert!(trained.status.is_some_and(|status| status.artifact.is_some()));
        let left = ours(site).await?;
        let is_trainings = |name: &String| {
            ["Job/", "PersistentVolumeClaim/", "Pod/"]
                .iter()
                .any(|kind| name.starts_with(kind))
        };
        assert!(left.len() == 3 && left.iter().all(is_trainings), "{left:?}");
        site.delete::<ModelTraining>("iris").await?;
        Ok(nothing_left(site).await?)
    })
    .await
}
