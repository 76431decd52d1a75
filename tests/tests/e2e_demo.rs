//! `make demo`'s own script, in a namespace of its own: from data to predictions.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use sconce_contract::MetricName;
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use sconce_tests::site::{Outcome, in_a_namespace};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_trains_serves_and_predicts() -> Outcome {
    in_a_namespace("demo", async |site| {
        let watched = tokio::spawn(steps(site.api()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/demo.sh");
        let mut demo = Command::new("bash");
        demo.arg(script).env("NAMESPACE", &site.namespace);
        let started = Instant::now();
        let run = tokio::task::spawn_blocking(move || demo.output()).await??;
        let (said, errors) = (
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr),
        );
        eprintln!("{said}{errors}");
        assert!(run.status.success(), "{}", run.status);

        let row = |start: &str| {
            said.lines()
                .rfind(|line| line.starts_with(start))
                .unwrap_or_default()
                .to_owned()
        };
        assert!(
            row("modeltraining.sconce.dev/tumour").contains("Succeeded"),
            "{said}"
        );
        assert!(
            row("modeldeployment.sconce.dev/tumour").contains("True"),
            "{said}"
        );
        let predictions: Vec<(&str, f64)> = said.lines().filter_map(prediction).collect();
        assert!(predictions.len() >= 3, "{predictions:?}");
        // The probability of malignant. Of tumours like these, the model may be wrong about one.
        let right = predictions
            .iter()
            .filter(|(label, malignant)| (*label == "malignant") == (*malignant > 0.5))
            .count();
        assert!(right + 1 >= predictions.len(), "{predictions:?}");

        let status = site
            .get::<ModelTraining>("tumour")
            .await?
            .status
            .unwrap_or_default();
        let accuracy = status
            .metrics
            .iter()
            .find(|metric| metric.name == MetricName::Accuracy)
            .map(|metric| metric.value);
        assert!(accuracy >= Some(0.95), "{:?}", status.metrics);
        let seen = watched.await??;
        eprintln!("steps seen while it trained: {seen:?}");
        assert!(seen.len() >= 2, "`kubectl get -w` showed no progress: {seen:?}");
        let most = usize::try_from(2 * started.elapsed().as_secs())?;
        assert!(
            seen.len() <= most,
            "{} writes of progress, which nobody can read",
            seen.len()
        );
        Ok(())
    })
    .await
}

/// The steps that somebody sees who watches the training until it has ended.
async fn steps(trainings: Api<ModelTraining>) -> Result<BTreeSet<u64>, watcher::Error> {
    let events = watcher(
        trainings,
        watcher::Config::default().fields("metadata.name=tumour"),
    )
    .applied_objects();
    let mut ended = false;
    let until_it_ends = events.try_take_while(move |training| {
        let go_on = !ended;
        ended = training.status.as_ref().and_then(|status| status.phase) == Some(Phase::Succeeded);
        futures::future::ready(Ok(go_on && !ended))
    });
    let seen = until_it_ends.try_filter_map(|training| async move {
        let name = training.name_any();
        let status = training
            .status
            .filter(|status| status.phase == Some(Phase::Training) && name == "tumour");
        Ok(status
            .and_then(|status| status.progress)
            .map(|progress| progress.step))
    });
    seen.boxed().try_collect().await
}

/// `row  20 is malignant  answer: {"predictions":[[0.98]]}`
fn prediction(line: &str) -> Option<(&str, f64)> {
    let (label, answer) = line
        .strip_prefix("row ")?
        .split_once(" is ")?
        .1
        .split_once("answer: ")?;
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    Some((label.trim(), answer["predictions"][0][0].as_f64()?))
}
