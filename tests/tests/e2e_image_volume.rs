//! A model in an image, which a real kubelet has its runtime mount.

use std::fs;

use sconce_contract::Artifact;
use sconce_crds::ModelDeployment;
use sconce_crds::training::Phase;
use sconce_tests::choice::Choice;
use sconce_tests::kind::Kind;
use sconce_tests::objects::{deployment_of_uri, with};
use sconce_tests::room::{served, told};
use sconce_tests::shelf;
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::workload::{FLOWERS, THREE, claim, of_flowers, table};
use serde_json::{Value, json};

const IMAGE: &str = "docker.io/borrowed/iris-model:dev";
/// The files of an artifact.
const FILES: [&str; 4] = [
    "manifest.json",
    "network.json",
    "preprocess.json",
    "model.safetensors",
];

fn deployment(name: &str, image: &str, digest: &str) -> Value {
    let spec =
        json!({"model": {"digest": digest}, "resources": {"cpu": "50m", "memory": "64Mi"}, "replicas": 1});
    with(
        deployment_of_uri(name, &format!("oci://{image}")),
        &json!({ "spec": spec }),
    )
}

/// Trains a model, and builds the image of docs/serve.md with it into the nodes.
async fn an_image_with_a_model(site: &Site) -> Result<Artifact, Box<dyn std::error::Error>> {
    let kept = json!({"spec": {"output": {"uri": "pvc://models/iris"}}});
    site.apply_all([
        table("flowers", FLOWERS),
        claim("models"),
        with(of_flowers("iris"), &kept),
    ])
    .await?;
    let trained = site.phase("iris", Phase::Succeeded).await?;
    let artifact = trained
        .status
        .and_then(|status| status.artifact)
        .ok_or("no artifact")?;
    shelf::open(site).await?;
    let context = tempfile::tempdir()?;
    for file in FILES {
        let path = format!("/iris/{}/{file}", artifact.digest.trim_start_matches("sha256:"));
        fs::write(context.path().join(file), site.fetch("shelf", &path).await?)?;
    }
    let recipe = format!("FROM scratch\nCOPY {} /\n", FILES.join(" "));
    fs::write(context.path().join("Dockerfile"), recipe)?;
    let cluster = Kind::running()?;
    cluster.docker().build(
        "building an image with a model",
        &["--tag", IMAGE],
        context.path(),
    )?;
    cluster.load(&[IMAGE])?;
    Ok(artifact)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_in_an_image_is_mounted_by_the_kubelet_and_answers() -> Outcome {
    if Choice::from_env()? == Choice::Current {
        eprintln!("left out: an image can be put into the nodes of a cluster of ours only");
        return Ok(());
    }
    in_a_namespace("image-volume", async |site| {
        let artifact = an_image_with_a_model(site).await?;
        site.apply(deployment("flowers", IMAGE, &artifact.digest)).await?;
        site.deployment_says("flowers", "Serving").await?;
        let rows = json!({"instances": THREE});
        let answer = site.post("flowers", "/v1/models/flowers:predict", &rows).await?;
        let predicted = answer["predictions"].as_array().ok_or("no predictions")?;
        let likeliest: Vec<Option<usize>> = predicted.iter().map(likeliest).collect();
        assert_eq!(likeliest, [Some(0), Some(1), Some(2)], "{answer}");

        // An image whose model is another is not served for it.
        let other = format!("sha256:{}", "0".repeat(64));
        site.apply(deployment("other", IMAGE, &other)).await?;
        let seen = site.deployment_says("other", "BadInput").await?;
        let says = told(served(&seen), "Ready");
        assert!(says.contains("spec.model.digest: "), "{says}");
        Ok(())
    })
    .await
}

/// The class that is given the highest probability.
fn likeliest(row: &Value) -> Option<usize> {
    let row: Vec<f64> = serde_json::from_value(row.clone()).ok()?;
    (0..row.len()).max_by(|one, other| row[*one].total_cmp(&row[*other]))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_told_by_the_models_field_and_not_as_the_servers() -> Outcome {
    in_a_namespace("image-absent", async |site| {
        let image = "registry.invalid/models/iris:1";
        let digest = format!("sha256:{}", "0".repeat(64));
        site.apply(deployment("flowers", image, &digest)).await?;
        let what = "the kubelet's words are told";
        let seen = site
            .see("flowers", what, |seen: &ModelDeployment| {
                told(served(seen), "Ready").contains("cannot be pulled")
            })
            .await?;
        let says = told(served(&seen), "Ready");
        eprintln!("{says}");
        let names = format!("spec.model.uri: the image {image} cannot be pulled: ");
        assert!(
            says.contains(&names) && says.contains("imagePullSecrets"),
            "{says}"
        );
        Ok(())
    })
    .await
}
