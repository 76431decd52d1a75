//! A retrained model rolls forward by itself, without a lost request; one that misses its gate does not.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};
use sconce_crds::condition::{READY, is_true};
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::room::{conditions, served, told};
use sconce_tests::site::{Outcome, in_a_namespace};
use sconce_tests::traffic::Traffic;
use sconce_tests::workload::serve_flowers;
use serde_json::json;
use tokio::task::JoinHandle;

/// Looks at every state of the deployment that the API server tells, until it is aborted: what is wrong with one.
fn lies(deployments: Api<ModelDeployment>) -> JoinHandle<Result<Vec<String>, watcher::Error>> {
    let states = watcher(deployments, watcher::Config::default()).applied_objects();
    let until_deleted = states.try_take_while(|deployment| {
        let goes_on = deployment
            .metadata
            .annotations
            .as_ref()
            .is_none_or(|all| !all.contains_key("e2e.sconce.dev/seen"));
        futures::future::ready(Ok(goes_on))
    });
    let wrong = until_deleted.try_filter_map(|deployment| futures::future::ready(Ok(lie(&deployment))));
    tokio::spawn(wrong.boxed().try_collect())
}

/// Ready means that every wanted pod is of the revision that is wanted, and answers.
fn lie(deployment: &ModelDeployment) -> Option<String> {
    let status = deployment.status.as_ref()?;
    let wanted = deployment.spec.replicas;
    let answers = (status.replicas, status.updated_replicas, status.ready_replicas)
        == (wanted, wanted, wanted)
        && status
            .revisions
            .first()
            .is_some_and(|revision| revision.ready_replicas == wanted);
    (is_true(&status.conditions, READY) && !answers).then(|| format!("{status:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retrained_model_replaces_the_old_one_without_a_lost_request() -> Outcome {
    in_a_namespace("roll", async |site| {
        let first = serve_flowers(site)
            .await?
            .status
            .and_then(|status| status.artifact)
            .ok_or("no artifact")?;
        let traffic = Traffic::start(site, "iris").await?;
        let lies = lies(site.api());

        site.change::<ModelTraining>("iris", json!({"spec": {"hyperparameters": {"seed": 1}}}))
            .await?;
        let second = site
            .phase("iris", Phase::Succeeded)
            .await?
            .status
            .and_then(|status| status.artifact)
            .ok_or("no artifact")?;
        assert_ne!(first.digest, second.digest);
        let rolled = site
            .see(
                "iris",
                "the retrained model is served",
                |deployment: &ModelDeployment| {
                    let current = deployment
                        .status
                        .as_ref()
                        .and_then(|status| status.revisions.first());
                    is_true(served(deployment), READY)
                        && current.is_some_and(|current| current.digest.as_ref() == Some(&second.digest))
                },
            )
            .await?;
        // Ready is true at the moment at which it is told.
        let current = rolled
            .status
            .and_then(|status| status.revisions.first().cloned())
            .ok_or("no revision")?;
        assert_eq!(
            site.ask("iris", "/v2/models/iris").await?["versions"],
            json!([current.name])
        );

        // The old pod answers on until every proxy has forgotten it.
        site.none("only pods of the retrained model are there", |pod: &Pod| {
            pod.labels()
                .get("sconce.dev/revision")
                .is_some_and(|name| *name != current.name)
        })
        .await?;
        let tally = traffic.end().await?;
        site.change::<ModelDeployment>(
            "iris",
            json!({"metadata": {"annotations": {"e2e.sconce.dev/seen": "all"}}}),
        )
        .await?;
        let lies = lies.await??;
        assert!(lies.is_empty(), "Ready was told too early: {lies:#?}");
        assert!(tally.lost.is_empty(), "lost: {:#?}", tally.lost);
        assert!(
            tally.answered.len() == 2 && tally.answered.contains_key(&current.name),
            "both models answered: {tally:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retrained_model_that_misses_its_gate_is_not_served() -> Outcome {
    in_a_namespace("roll-gate", async |site| {
        let first = serve_flowers(site)
            .await?
            .status
            .and_then(|status| status.artifact)
            .ok_or("no artifact")?;
        let before = site
            .get::<ModelDeployment>("iris")
            .await?
            .status
            .unwrap_or_default()
            .revisions;
        // One small step, and a loss that only a good model has.
        let worse = json!({"spec": {
            "hyperparameters": {"epochs": 1, "optimizer": {"learningRate": 0.0001}},
            "evaluation": {"gates": [{"metric": "loss", "max": 0.3}]},
        }});
        site.change::<ModelTraining>("iris", worse).await?;
        let rejected = site.phase("iris", Phase::Rejected).await?;
        let says = told(conditions(&rejected), "GatesPassed");
        let status = rejected.status.clone().unwrap_or_default();
        let observed = status.gates[0].observed.ok_or("the gate was not measured")?;
        eprintln!("{says}");
        let loss = says
            .strip_prefix("False: GateMissed: loss is ")
            .and_then(|rest| rest.strip_suffix(" above the allowed 0.3"));
        let numbers: Vec<f64> = loss
            .unwrap_or_default()
            .split(", ")
            .filter_map(|number| number.parse().ok())
            .collect();
        assert!(
            numbers.len() == 2
                && (numbers[0] - observed).abs() < 1e-3
                && (numbers[0] - numbers[1] - 0.3).abs() < 1e-3,
            "{says}"
        );
        assert_eq!(
            (status.artifact.as_ref(), status.gates[0].passed),
            (Some(&first), false)
        );
        assert_ne!(
            status.candidate.map(|candidate| candidate.digest).as_ref(),
            Some(&first.digest)
        );

        let kept = site
            .see(
                "iris",
                "the deployment tells of the rejection",
                |deployment: &ModelDeployment| {
                    told(served(deployment), "ModelResolved").starts_with("True: LaterRunRejected")
                },
            )
            .await?;
        assert!(
            told(served(&kept), "Ready").starts_with("True"),
            "{}",
            told(served(&kept), "Ready")
        );
        assert_eq!(kept.status.clone().unwrap_or_default().revisions, before);
        let resolved = told(served(&kept), "ModelResolved");
        assert!(resolved.contains("above the allowed 0.3"), "{resolved}");
        assert_eq!(
            site.ask("iris", "/v2/models/iris").await?["versions"],
            json!([before[0].name])
        );
        Ok(())
    })
    .await
}
