//! Whatever keeps a pod from running is one sentence on the object, and gone when it is mended.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use sconce_crds::training::Phase;
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use sconce_tests::objects::with;
use sconce_tests::room::{conditions, served, told};
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::workload::{FLOWERS, claim, deployment, fill, of_flowers, table, training};
use sconce_tests::world;
use serde_json::{Value, json};

fn profile(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": name}, "spec": spec})
}

/// Profiles belong to the cluster; this one goes with the test.
async fn with_profile(site: &Site, name: &str, spec: Value, test: impl AsyncFnOnce() -> Outcome) -> Outcome {
    world::apply(&site.client, profile(name, &spec)).await?;
    let outcome = test().await;
    let profiles: Api<AcceleratorProfile> = Api::all(site.client.clone());
    profiles.delete(name, &DeleteParams::default()).await?;
    outcome
}

/// The image that trainers run where no profile says otherwise.
async fn trainer_image(site: &Site) -> Result<String, Box<dyn std::error::Error>> {
    site.apply(with(of_flowers("plain"), &json!({}))).await?;
    site.phase("plain", Phase::Succeeded).await?;
    let pods = site.trainers("plain").await?;
    let image = pods
        .first()
        .and_then(|pod| pod.spec.as_ref()?.containers.first()?.image.clone());
    Ok(image.ok_or("a pod without an image")?)
}

/// Units of the resource on the node; none with `null`.
async fn units(site: &Site, resource: &str, count: Value) -> Outcome {
    let nodes: Api<Node> = Api::all(site.client.clone());
    let (name, _) = site.node().await?;
    let change = json!({"status": {"capacity": {resource: count}, "allocatable": {resource: count}}});
    nodes
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(&change))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_the_cluster_lacks_is_told_and_the_training_runs_when_there_is_one() -> Outcome {
    in_a_namespace("status-gpu", async |site| {
        let resource = "nvidia.com/gpu";
        site.apply(table("flowers", FLOWERS)).await?;
        // The device is a processor's, so that our own trainer computes on it; the resource is what is scheduled.
        let image = trainer_image(site).await?;
        let spec = json!({"device": "CPU", "resources": {resource: "1"}, "images": {"trainer": image, "server": image}});
        with_profile(site, "e2e-gpu", spec, async || {
            let accelerated = json!({"spec": {"accelerator": {"profile": "e2e-gpu"}}});
            site.apply(with(of_flowers("iris"), &accelerated)).await?;
            let waiting = site.training_says("iris", "Unschedulable").await?;
            let says = told(conditions(&waiting), "Scheduled");
            eprintln!("{says}");
            assert!(says.starts_with("False: Unschedulable: ") && says.contains("Insufficient nvidia.com/gpu"), "{says}");
            assert!(says.contains("spec.accelerator"), "the field to change: {says}");
            assert_eq!(waiting.status.as_ref().and_then(|status| status.phase), Some(Phase::Pending));

            units(site, resource, json!("1")).await?;
            let done = site.phase("iris", Phase::Succeeded).await;
            units(site, resource, Value::Null).await?;
            let done = done?;
            assert!(told(conditions(&done), "Degraded").starts_with("False"), "{}", told(conditions(&done), "Degraded"));
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_named() -> Outcome {
    in_a_namespace("status-image", async |site| {
        let image = "127.0.0.1:9/nothing:1";
        let spec = json!({"device": "CPU", "images": {"trainer": image, "server": image}});
        with_profile(site, "e2e-image", spec, async || {
            let elsewhere = json!({"spec": {"accelerator": {"profile": "e2e-image"}}});
            let own = json!({"spec": {"output": {"uri": "pvc://models/iris"}}});
            let model = json!({"spec": {"model": {"trainingRef": null, "uri": "pvc://models/iris"}}});
            site.apply_all([
                table("flowers", FLOWERS),
                claim("models"),
                with(with(of_flowers("iris"), &elsewhere), &own),
                with(with(deployment("iris", "none"), &elsewhere), &model),
            ])
            .await?;
            let training = site.training_says("iris", "ImagePullFailed").await?;
            let deployment = site.deployment_says("iris", "ImagePullFailed").await?;
            for says in [
                told(conditions(&training), "Degraded"),
                told(served(&deployment), "Degraded"),
            ] {
                eprintln!("{says}");
                assert!(
                    says.starts_with("True: ImagePullFailed: ")
                        && says.contains(image)
                        && says.contains("profile"),
                    "{says}"
                );
            }
            assert!(told(served(&deployment), "Ready").starts_with("False"));
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_spec_names_and_is_not_there_is_told_and_awaited() -> Outcome {
    in_a_namespace("status-missing", async |site| {
        let unknown = json!({"spec": {"accelerator": {"profile": "e2e-nothing"}}});
        site.apply_all([
            of_flowers("map"),
            training("claim", "pvc://tables/table.csv"),
            with(of_flowers("profile"), &unknown),
            with(deployment("profile", "map"), &unknown),
            deployment("training", "nobody"),
        ])
        .await?;
        let cases = [
            ("map", "ConfigMapNotFound", "spec.dataset.uri", "\"flowers\""),
            ("claim", "ClaimNotFound", "spec.dataset.uri", "\"tables\""),
            (
                "profile",
                "ProfileNotFound",
                "spec.accelerator.profile",
                "\"e2e-nothing\"",
            ),
        ];
        for (name, reason, field, missing) in cases {
            let training = site.training_says(name, reason).await?;
            let says = told(conditions(&training), "Accepted");
            eprintln!("{says}");
            assert!(
                says.starts_with(&format!("False: {reason}: {field}: ")) && says.contains(missing),
                "{name}: {says}"
            );
            assert!(
                told(conditions(&training), "Ready").starts_with("False")
                    && site.trainers(name).await?.is_empty()
            );
        }
        let waiting = site.deployment_says("training", "TrainingNotFound").await?;
        let says = told(served(&waiting), "ModelResolved");
        assert!(
            says.contains("spec.model.trainingRef.name") && says.contains("\"nobody\""),
            "{says}"
        );

        // What is missing may come: nobody has to touch the object.
        site.apply_all([table("flowers", FLOWERS), claim("tables")])
            .await?;
        fill(site, "tables", "flowers").await?;
        site.phase("map", Phase::Succeeded).await?;
        site.phase("claim", Phase::Succeeded).await?;
        let refused = site.deployment_says("profile", "ProfileNotFound").await?;
        let says = told(served(&refused), "Degraded");
        assert!(
            says.starts_with("True: ProfileNotFound: spec.accelerator.profile: "),
            "{says}"
        );
        site.change::<ModelDeployment>("profile", json!({"spec": {"accelerator": null}}))
            .await?;
        site.deployment_says("profile", "Serving").await?;
        site.change::<ModelTraining>("profile", json!({"spec": {"accelerator": null}}))
            .await?;
        site.phase("profile", Phase::Succeeded).await?;
        Ok(())
    })
    .await
}
