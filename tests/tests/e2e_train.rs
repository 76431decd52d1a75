//! Trainings in real pods: where tables come from, where artifacts go, and how a run ends.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use kube::ResourceExt;
use sconce_contract::{MetricName, Report, TrainingPlan};
use sconce_crds::ModelTraining;
use sconce_crds::training::{Phase, TrainingProgress};
use sconce_tests::objects::{plan, with};
use sconce_tests::room::{conditions, told};
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::web::Web;
use sconce_tests::workload::{FLOWERS, claim, endless, fill, of_flowers, table, training};
use serde_json::json;

/// How the container of a pod ended.
fn ending(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    container.state.as_ref()?.terminated.as_ref()
}

/// The report in a pod's termination message.
fn report(pod: &Pod) -> Option<Report> {
    serde_json::from_str(ending(pod)?.message.as_deref()?).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_a_claim_is_learned_from_and_the_artifact_is_where_the_user_wants_it() -> Outcome {
    in_a_namespace("train-claim", async |site| {
        site.apply_all([table("flowers", FLOWERS), claim("tables"), claim("models")]).await?;
        fill(site, "tables", "flowers").await?;
        let output = json!({"spec": {"output": {"uri": "pvc://models/iris"}, "evaluation": {"gates": [{"metric": "accuracy", "min": 0.85}]}}});
        site.apply(with(training("iris", "pvc://tables/table.csv"), &output)).await?;
        let done = site.phase("iris", Phase::Succeeded).await?;
        let status = done.status.clone().unwrap_or_default();
        let artifact = status.artifact.clone().ok_or("no artifact")?;
        let folder = artifact.digest.strip_prefix("sha256:").ok_or("not a digest")?;
        assert_eq!(artifact.uri, format!("pvc://models/iris/{folder}"));

        let job: Job = site.get(status.job.as_deref().unwrap_or_default()).await?;
        let plan: TrainingPlan = plan(job.spec.as_ref().map(|spec| &spec.template))?;
        assert_eq!((plan.dataset.uri.as_str(), plan.output.as_str()), ("pvc://tables/table.csv", "pvc://models/iris"));
        assert_eq!(Some(plan.run.as_str()), status.run.as_deref());
        let mounts: Vec<&str> = plan.mounts.iter().map(|mount| mount.uri.as_str()).collect();
        assert_eq!(mounts, ["pvc://models", "pvc://tables"]);

        let pods = site.trainers("iris").await?;
        assert_eq!((pods.len(), ending(&pods[0]).map(|ending| ending.exit_code)), (1, Some(0)));
        let Some(Report::Trained { run, metrics, artifact: reported, epochs, .. }) = report(&pods[0]) else {
            return Err(format!("not the contract's report: {:?}", ending(&pods[0])).into());
        };
        assert_eq!((run, reported, epochs), (plan.run, artifact, 60));
        assert_eq!(metrics, status.metrics);
        let accuracy = metrics.iter().find(|metric| metric.name == MetricName::Accuracy).map(|metric| metric.value);
        assert!(accuracy >= Some(0.85), "{metrics:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_on_the_web_is_learned_from_and_a_uri_that_does_not_answer_is_named() -> Outcome {
    in_a_namespace("train-web", async |site| {
        let web = Web::start(site, &[("/flowers.csv", FLOWERS)]).await?;
        let nobody = "http://127.0.0.1:9/flowers.csv";
        site.apply_all([
            training("there", &web.uri("/flowers.csv")),
            training("missing", &web.uri("/nothing.csv")),
            with(
                training("dead", nobody),
                &json!({"spec": {"failurePolicy": {"backoffLimit": 1}}}),
            ),
        ])
        .await?;
        site.phase("there", Phase::Succeeded).await?;
        assert_eq!(web.times("/flowers.csv"), 1);

        // A 404 would be one again.
        let missing = site.phase("missing", Phase::Failed).await?;
        let uri = web.uri("/nothing.csv");
        let says = told(conditions(&missing), "Failed");
        assert!(
            says.starts_with(&format!(
                "True: BadInput: spec.dataset.uri: there is nothing at {uri}"
            )),
            "{says}"
        );
        assert_eq!(
            (web.times("/nothing.csv"), site.trainers("missing").await?.len()),
            (1, 1)
        );

        // A server that is down may come up: the pod tries, then the Job does.
        let dead = site.phase("dead", Phase::Failed).await?;
        let says = told(conditions(&dead), "Failed");
        assert!(
            says.starts_with(&format!(
                "True: Storage: spec.dataset.uri: {nobody} could not be read in 4 tries"
            )),
            "{says}"
        );
        assert!(says.ends_with("(tried 2 times)"), "{says}");
        let pods = site.trainers("dead").await?;
        assert_eq!(
            pods.iter()
                .map(|pod| ending(pod).map(|ending| ending.exit_code))
                .collect::<Vec<_>>(),
            [Some(1), Some(1)]
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_learned_fails_at_once_and_names_the_field() -> Outcome {
    in_a_namespace("train-bad", async |site| {
        let mut lines: Vec<&str> = FLOWERS.lines().collect();
        lines[7] = "wide,3.4,1.4,0.3,setosa";
        let one_species: Vec<&str> = FLOWERS.lines().filter(|line| !line.contains('v') || line.starts_with("sepal")).collect();
        let cell = lines.join("\n");
        let (header, _) = FLOWERS.split_once('\n').ok_or("the table is one line")?;
        let class = [header].into_iter().chain(one_species.into_iter().skip(1)).collect::<Vec<_>>().join("\n");
        site.apply_all([
            table("flowers", FLOWERS), table("cell", &cell), table("empty", ""), table("header", header), table("class", &class),
        ])
        .await?;
        let layers = json!({"spec": {"model": {"network": {"layers": [{"dense": {"units": 5, "activation": "Softmax"}}]}}}});
        let numbers = json!({"spec": {
            "dataset": {"target": "petal_width", "features": ["sepal_length", "petal_length"]},
            "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
            "hyperparameters": {"optimizer": {"type": "SGD", "learningRate": 1000.0, "momentum": null}},
        }});
        let on = |table: &str| training(table, &format!("configmap://{table}/table.csv"));
        let cases = [
            (with(of_flowers("column"), &json!({"spec": {"dataset": {"target": "specie"}}})),
             "BadInput: spec.dataset.target: ", vec!["no column \"specie\"", "did you mean \"species\"?"]),
            (on("cell"), "BadInput: spec.dataset.features: ", vec!["line 8, column \"sepal_length\"", "\"wide\" is not a number"]),
            (on("empty"), "BadInput: spec.dataset.uri: ", vec!["the table is empty"]),
            (on("header"), "BadInput: spec.dataset.uri: ", vec!["a header but no rows"]),
            (on("class"), "BadInput: spec.dataset.target: ", vec!["target: \"species\" holds \"setosa\" in every row"]),
            (with(of_flowers("layer"), &layers), "BadInput: spec.model.network.layers[0].dense.units: ", vec!["units: the last layer has 5 unit(s)", "3 classes", "set units to 3"]),
            (with(of_flowers("nan"), &numbers), "Diverged: spec.hyperparameters.optimizer.learningRate: ", vec!["the loss became", "it is 1000"]),
        ];
        // Whoever would be tried again would be tried three times.
        let again = json!({"spec": {"failurePolicy": {"backoffLimit": 3}}});
        site.apply_all(cases.iter().map(|(object, ..)| with(object.clone(), &again))).await?;
        for (object, start, parts) in cases {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let failed = site.phase(name, Phase::Failed).await?;
            let says = told(conditions(&failed), "Failed");
            eprintln!("{name}: {says}");
            assert!(says.starts_with(&format!("True: {start}")), "{name}: {says}");
            assert!(parts.iter().all(|part| says.contains(part)), "{name}: {says}");
            assert!(told(conditions(&failed), "Ready").starts_with("False"));
            let pods = site.trainers(name).await?;
            assert_eq!((pods.len(), ending(&pods[0]).map(|ending| ending.exit_code)), (1, Some(65)), "{name}");
            assert!(matches!(report(&pods[0]), Some(Report::Failed(_))), "{name}: {:?}", ending(&pods[0]));
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_memory_and_too_little_time_are_told_with_the_field_to_raise() -> Outcome {
    in_a_namespace("train-limits", async |site| {
        let wide = json!({"dense": {"units": 4096, "activation": "ReLU"}});
        let large = json!({"spec": {
            "model": {"network": {"layers": [wide, wide, {"dense": {"units": 3, "activation": "Softmax"}}]}},
            "resources": {"memory": "48Mi"},
        }});
        site.apply_all([
            table("flowers", FLOWERS),
            with(of_flowers("large"), &large),
            with(
                endless(of_flowers("slow")),
                &json!({"spec": {"activeDeadlineSeconds": 4}}),
            ),
        ])
        .await?;
        let large = site.phase("large", Phase::Failed).await?;
        let says = told(conditions(&large), "Failed");
        assert!(
            says.starts_with("True: OutOfMemory: spec.resources.memory: ") && says.contains("48Mi"),
            "{says}"
        );
        let slow = site.phase("slow", Phase::Failed).await?;
        let says = told(conditions(&slow), "Failed");
        assert!(
            says.starts_with("True: DeadlineExceeded: spec.activeDeadlineSeconds: "),
            "{says}"
        );
        site.none("the pod that had too little time is gone", |pod: &Pod| {
            pod.labels()
                .get("sconce.dev/training")
                .is_some_and(|name| name == "slow")
                && ending(pod).is_none()
        })
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_after_suspend_goes_on_and_ends_with_the_same_digest() -> Outcome {
    in_a_namespace("train-suspend", async |site| {
        let long =
            json!({"spec": {"hyperparameters": {"epochs": 40000}, "checkpoint": {"every": {"steps": 5000}}}});
        site.apply_all([table("flowers", FLOWERS), with(of_flowers("iris"), &long)])
            .await?;
        site.see("iris", "a checkpoint is told", |training: &ModelTraining| {
            saved(training).is_some_and(|step| step > 0)
        })
        .await?;
        site.change::<ModelTraining>("iris", json!({"spec": {"suspend": true}}))
            .await?;
        let held = site.phase("iris", Phase::Suspended).await?;
        assert!(told(conditions(&held), "Suspended").starts_with("True"));
        site.none("no pod of the training runs", |pod: &Pod| ending(pod).is_none())
            .await?;
        let kept = saved(&held).ok_or("no checkpoint is told")?;
        let shown = progress(&held);
        assert_eq!((shown.step, &shown.eta), (kept, &None));
        assert!(
            shown.summary.ends_with(&format!("(saved at step {kept})")),
            "{shown:?}"
        );

        site.change::<ModelTraining>("iris", json!({"spec": {"suspend": false}}))
            .await?;
        let done = site.phase("iris", Phase::Succeeded).await?;
        let shown = progress(&done);
        assert!(shown.resumed_from >= Some(kept), "{shown:?}");
        let (before, after) = (held.status.unwrap_or_default(), done.status.unwrap_or_default());
        assert_eq!(before.run, after.run, "suspending is no reason for another run");
        assert_eq!(
            (
                after.progress.map(|progress| progress.epoch),
                after.last_checkpoint
            ),
            (Some(40000), None)
        );

        // The same spec, left alone.
        site.apply(with(of_flowers("calm"), &long)).await?;
        let calm = site
            .phase("calm", Phase::Succeeded)
            .await?
            .status
            .unwrap_or_default();
        let digest = |artifact: Option<sconce_contract::Artifact>| artifact.map(|artifact| artifact.digest);
        assert_eq!(digest(after.artifact), digest(calm.artifact));
        assert_eq!(after.metrics, calm.metrics);
        Ok(())
    })
    .await
}

/// The step of the checkpoint that the status tells of.
fn saved(training: &ModelTraining) -> Option<u64> {
    let checkpoint = training.status.as_ref()?.last_checkpoint.as_ref()?;
    Some(checkpoint.step)
}

/// How far the status says that it is.
fn progress(training: &ModelTraining) -> TrainingProgress {
    let status = training.status.clone().unwrap_or_default();
    status.progress.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_told_to_stop_says_so_and_is_replaced_without_counting() -> Outcome {
    in_a_namespace("train-stop", async |site| {
        // With no retry allowed, a stop that counted would end the training.
        site.apply_all([
            table("flowers", FLOWERS),
            with(
                of_flowers("iris"),
                &json!({"spec": {"hyperparameters": {"epochs": 60000}}}),
            ),
        ])
        .await?;
        let moved = progress(&moving(site, "iris").await?).step;
        let first = site
            .trainers("iris")
            .await?
            .first()
            .map(ResourceExt::name_any)
            .ok_or("no pod")?;
        site.delete::<Pod>(&first).await?;
        let done = site.phase("iris", Phase::Succeeded).await?;
        let second = site
            .trainers("iris")
            .await?
            .into_iter()
            .find(|pod| pod.name_any() != first)
            .ok_or("no pod took over")?;
        let Some(Report::Trained { work, steps, .. }) = report(&second) else {
            return Err(format!("not the contract's report: {:?}", ending(&second)).into());
        };
        // It may be done before anyone asks it; its last word tells all the same.
        let from = work.resumed_from.ok_or("it began at the beginning")?;
        assert!((moved..steps).contains(&from), "{from} of {steps}, after {moved}");
        let shown = progress(&done);
        assert_eq!(shown.resumed_from, Some(from));
        assert_eq!(
            shown.summary,
            format!("100% (60000 epochs, resumed from step {from})")
        );
        Ok(())
    })
    .await
}

/// Waits until the training tells of steps that it took.
async fn moving(site: &Site, name: &str) -> sconce_tests::Result<ModelTraining> {
    site.see(name, "the training moves", |training: &ModelTraining| {
        let status = training
            .status
            .as_ref()
            .filter(|status| status.phase == Some(Phase::Training));
        status
            .and_then(|status| status.progress.as_ref())
            .is_some_and(|progress| progress.step > 0)
    })
    .await
}
