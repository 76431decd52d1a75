//! Models served from real pods: both protocols, artifacts by their URI, and nothing lost while pods come and go.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use sconce_contract::ServingPlan;
use sconce_crds::ModelDeployment;
use sconce_crds::training::Phase;
use sconce_tests::objects::{plan, with};
use sconce_tests::room::{served, told};
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::traffic::Traffic;
use sconce_tests::workload::{FLOWERS, SPECIES, THREE, claim, deployment, of_flowers, serve_flowers, table};
use serde_json::{Value, json};

/// What the server says of the three flowers, by TensorFlow Serving's protocol.
async fn predictions(site: &Site, name: &str, instances: Value) -> sconce_tests::Result<Value> {
    let answer = site
        .post(
            name,
            &format!("/v1/models/{name}:predict"),
            &json!({"instances": instances}),
        )
        .await?;
    Ok(answer["predictions"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_answer_through_the_service() -> Outcome {
    in_a_namespace("serve-protocols", async |site| {
        serve_flowers(site).await?;
        let object = site.get::<ModelDeployment>("iris").await?;
        let status = object.status.clone().unwrap_or_default();
        let revision = status.revisions.first().ok_or("no revision")?.name.clone();
        assert_eq!(status.url, Some(format!("http://iris.{}.svc", site.namespace)));

        let about = site.ask("iris", "/v2/models/iris").await?;
        assert_eq!((&about["name"], &about["versions"]), (&json!("iris"), &json!([revision])));
        assert_eq!(about["inputs"], json!([{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]));
        assert_eq!(site.ask("iris", "/v2/models/iris/ready").await?["ready"], json!(true));
        assert_eq!(site.ask("iris", "/v1/models/iris").await?["model_version_status"][0]["state"], json!("AVAILABLE"));

        let flat: Vec<f64> = THREE.concat();
        let input = json!({"name": "input", "shape": [3, 4], "datatype": "FP64", "data": flat});
        let inferred = site.post("iris", "/v2/models/iris/infer", &json!({"id": "7", "inputs": [input]})).await?;
        assert_eq!((&inferred["id"], &inferred["model_version"]), (&json!("7"), &json!(revision)));
        assert_eq!(inferred["outputs"][1]["data"], json!(SPECIES));

        let lists = predictions(site, "iris", json!(THREE)).await?;
        let names = ["petal_width", "sepal_length", "petal_length", "sepal_width"];
        let rows = THREE.map(|[length, width, petal, petals]| json!({names[0]: petals, names[1]: length, names[2]: petal, names[3]: width}));
        assert_eq!(predictions(site, "iris", json!(rows)).await?, lists, "a row by name is the row in order");
        let flattened: Vec<&Value> = lists.as_array().into_iter().flatten().flat_map(|row| row.as_array().into_iter().flatten()).collect();
        let same: Vec<&Value> = inferred["outputs"][0]["data"].as_array().into_iter().flatten().collect();
        assert_eq!((flattened.len(), flattened), (9, same), "both protocols give the same numbers");

        let refused = predictions(site, "iris", json!([[1, 2, 3]])).await.err().ok_or("three columns were taken for four")?.to_string();
        assert!(refused.contains("400 Bad Request: {\"error\":") && refused.contains("petal_width"), "{refused}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_served_by_its_uri_and_a_wrong_digest_leaves_it_serving() -> Outcome {
    in_a_namespace("serve-uri", async |site| {
        let output = json!({"spec": {"output": {"uri": "pvc://models/iris"}}});
        site.apply_all([
            table("flowers", FLOWERS),
            claim("models"),
            with(of_flowers("iris"), &output),
        ])
        .await?;
        let artifact = site
            .phase("iris", Phase::Succeeded)
            .await?
            .status
            .and_then(|status| status.artifact)
            .ok_or("no artifact")?;
        let model = json!({"trainingRef": null, "uri": artifact.uri, "digest": artifact.digest});
        site.apply(with(
            deployment("flowers", "none"),
            &json!({"spec": {"model": model}}),
        ))
        .await?;
        let good = site.deployment_says("flowers", "Serving").await?;
        let revision = good
            .status
            .as_ref()
            .and_then(|status| status.revisions.first())
            .ok_or("no revision")?
            .clone();
        assert_eq!(
            (revision.uri.as_str(), revision.digest.as_ref()),
            (artifact.uri.as_str(), Some(&artifact.digest))
        );
        let workload: Deployment = site.get(&format!("flowers-{}", revision.name)).await?;
        let plan: ServingPlan = plan(workload.spec.as_ref().map(|spec| &spec.template))?;
        assert_eq!(
            (plan.model, plan.digest, plan.revision),
            (artifact.uri, Some(artifact.digest), revision.name.clone())
        );

        let other = format!("sha256:{}", "0".repeat(64));
        site.change::<ModelDeployment>("flowers", json!({"spec": {"model": {"digest": other}}}))
            .await?;
        let degraded = site.deployment_says("flowers", "BadInput").await?;
        let says = told(served(&degraded), "Degraded");
        eprintln!("{says}");
        assert!(says.starts_with("True: BadInput: spec.model.digest: "), "{says}");
        assert!(told(served(&degraded), "Ready").starts_with("False"));
        assert_eq!(
            told(served(&degraded), "Available"),
            "True: EarlierRevision: an earlier revision answers"
        );
        let about = site.ask("flowers", "/v2/models/flowers").await?;
        assert_eq!(
            about["versions"],
            json!([revision.name]),
            "the earlier revision answers"
        );
        predictions(site, "flowers", json!(THREE)).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_warm_up_fails_is_never_ready_and_one_whose_succeeds_is() -> Outcome {
    in_a_namespace("serve-warmup", async |site| {
        let warm = |row: Value| json!({"spec": {"warmup": {"rows": [row]}}});
        site.apply_all([
            table("flowers", FLOWERS),
            of_flowers("iris"),
            with(deployment("bad", "iris"), &warm(json!({"petal_length": 1.4}))),
            with(deployment("good", "iris"), &warm(json!(THREE[0]))),
        ])
        .await?;
        site.deployment_says("good", "Serving").await?;
        let bad = site.deployment_says("bad", "BadInput").await?;
        let says = told(served(&bad), "Degraded");
        eprintln!("{says}");
        assert!(says.starts_with("True: BadInput: spec.warmup"), "{says}");
        assert_eq!(
            told(served(&bad), "Available"),
            "False: NoPodAnswers: no pod answers"
        );
        let pods: Vec<Pod> = site.labelled("sconce.dev/deployment=bad").await?;
        let ever_ready = |pod: &Pod| {
            pod.status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten())
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        assert!(!pods.is_empty() && !pods.iter().any(ever_ready), "{pods:?}");

        site.change::<ModelDeployment>("bad", warm(json!(THREE[1])))
            .await?;
        site.deployment_says("bad", "Serving").await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_pods_come_and_go() -> Outcome {
    in_a_namespace("serve-traffic", async |site| {
        serve_flowers(site).await?;
        let traffic = Traffic::start(site, "iris").await?;
        let replicas = async |count: i32| {
            let scale = Patch::Merge(json!({"spec": {"replicas": count}}));
            site.api::<ModelDeployment>()
                .patch_scale("iris", &PatchParams::default(), &scale)
                .await?;
            let what = format!("{count} replicas answer and no others are there");
            site.see("iris", &what, |deployment: &ModelDeployment| {
                let status = deployment
                    .status
                    .as_ref()
                    .filter(|status| status.observed_generation == deployment.metadata.generation);
                status.is_some_and(|status| (status.ready_replicas, status.replicas) == (count, count))
            })
            .await?;
            Ok::<(), Box<dyn std::error::Error>>(())
        };
        replicas(2).await?;
        let scale = site.api::<ModelDeployment>().get_scale("iris").await?;
        let (spec, status) = (scale.spec.unwrap_or_default(), scale.status.unwrap_or_default());
        assert_eq!(
            (spec.replicas, status.replicas, status.selector.as_deref()),
            (Some(2), 2, Some("sconce.dev/deployment=iris"))
        );
        replicas(1).await?;

        // Another shape of pod is another revision, which replaces the first.
        let before = revision(&site.get::<ModelDeployment>("iris").await?);
        site.change::<ModelDeployment>("iris", json!({"spec": {"resources": {"memory": "80Mi"}}}))
            .await?;
        let rolled = site.deployment_says("iris", "Serving").await?;
        assert_ne!(revision(&rolled), before);
        // The last pod of the first revision ends after its drain.
        site.none("the earlier pods are gone", |pod: &Pod| {
            pod.labels().get("sconce.dev/revision") == before.as_ref()
        })
        .await?;

        tokio::time::sleep(Duration::from_millis(500)).await;
        let tally = traffic.end().await?;
        assert!(
            tally.lost.is_empty(),
            "{} of {} requests were lost, such as {:#?}",
            tally.lost.len(),
            tally.answers(),
            &tally.lost[..tally.lost.len().min(5)]
        );
        assert!(tally.answers() > 500, "too little traffic to tell: {tally:?}");
        assert_eq!(tally.answered.len(), 2, "both revisions answered: {tally:?}");
        Ok(())
    })
    .await
}

fn revision(deployment: &ModelDeployment) -> Option<String> {
    Some(deployment.status.as_ref()?.revisions.first()?.name.clone())
}
