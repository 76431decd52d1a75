//! MLflow's own server has one run for each of ours, whoever worked on it and however it ended.

use sconce_contract::Report;
use sconce_tests::learners::Workshop;
use sconce_tests::mlflow::Mlflow;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const EXPERIMENT: &str = "tumours & other \"things\"";
/// Epochs, of 4 steps each.
const EPOCHS: u32 = 200;

fn steps(run: &Value, key: &str) -> Outcome<Vec<u64>> {
    let points: Vec<(u64, f64)> = serde_json::from_value(run["metrics"][key].clone())
        .map_err(|error| format!("{key}: {error} in {}", run["metrics"]))?;
    Ok(points.iter().map(|point| point.0).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn mlflow_has_one_run_of_a_training_that_was_stopped_and_one_of_each_other() -> Outcome {
    let server = Mlflow::start().await?;
    let variables = server.variables(EXPERIMENT);
    let workshop = Workshop::open("tumour", EPOCHS)?;
    let learner = workshop.start(&variables)?;
    workshop.saved(100).await?;
    learner.signal("-TERM")?;
    let (code, _) = learner.end().await?;
    assert_eq!(code, Some(75), "it was over before the signal");
    let stopped = server.runs(EXPERIMENT).await?;
    assert_eq!(stopped.len(), 1, "{stopped:?}");
    assert_eq!(stopped[0]["status"], "KILLED");

    let (_, report) = workshop.start(&variables)?.end().await?;
    let Some(Report::Trained {
        artifact,
        metrics,
        steps: all,
        ..
    }) = report
    else {
        return Err(format!("{report:?}").into());
    };
    let runs = server.runs(EXPERIMENT).await?;
    assert_eq!(runs.len(), 1, "the next pod goes on in the same run: {runs:?}");
    let run = &runs[0];
    assert_eq!(
        (&run["id"], &run["status"]),
        (&stopped[0]["id"], &json!("FINISHED"))
    );
    assert_eq!(run["name"], "tumour");
    let expected: Vec<u64> = (1..=u64::from(EPOCHS)).map(|epoch| 4 * epoch).collect();
    for key in ["loss", "val_loss", "val_accuracy", "learning_rate"] {
        assert_eq!(steps(run, key)?, expected, "{key}");
    }
    for metric in &metrics {
        let found = &run["metrics"][format!("test_{}", metric.name)];
        assert_eq!(found, &json!([[all, metric.value]]), "{}", metric.name);
    }
    for (name, value) in [
        ("sconce.run", "5ca1ab1e00"),
        ("sconce.artifact.digest", &artifact.digest),
        ("sconce.artifact.uri", &artifact.uri),
    ] {
        assert_eq!(run["tags"][name], value, "{name}");
    }
    for (name, value) in [
        ("batchSize", "100"),
        ("optimizer.type", "Adam"),
        ("dataset", "pvc://data/table.csv"),
    ] {
        assert_eq!(run["params"][name], value, "{name}");
    }

    // The same again is another run, and one that fails says why.
    let mut diverging = Workshop::open("diverging", 3)?;
    diverging.plan["hyperparameters"]["optimizer"] = json!({"type": "SGD", "learningRate": 1e30});
    diverging.plan["dataset"]["standardize"] = json!(false);
    let (code, _) = diverging.start(&variables)?.end().await?;
    assert_eq!(code, Some(65));
    let (code, _) = workshop.start(&variables)?.end().await?;
    assert_eq!(code, Some(0));
    let runs = server.runs(EXPERIMENT).await?;
    let told: Vec<_> = runs
        .iter()
        .map(|run| (run["name"].as_str(), run["status"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("tumour"), Some("FINISHED")),
            (Some("diverging"), Some("FAILED")),
            (Some("tumour"), Some("FINISHED")),
        ]
    );
    let sentence = runs[1]["tags"]["sconce.failure"].as_str().unwrap_or_default();
    assert!(sentence.starts_with("the loss became"), "{sentence}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_server_that_goes_away_cost_no_training() -> Outcome {
    let server = Mlflow::start().await?;
    let mut wrong = server.variables(EXPERIMENT);
    for (name, value) in &mut wrong {
        if *name == "MLFLOW_TRACKING_PASSWORD" {
            *value = "wrong".to_owned();
        }
    }
    let workshop = Workshop::open("tumour", EPOCHS)?;
    let (code, _) = workshop.start(&wrong)?.end().await?;
    assert_eq!(code, Some(0));
    assert!(server.runs(EXPERIMENT).await?.is_empty());

    let workshop = Workshop::open("tumour", EPOCHS)?;
    let learner = workshop.start(&server.variables(EXPERIMENT))?;
    workshop.saved(20).await?;
    drop(server);
    let (code, _) = learner.end().await?;
    assert_eq!(code, Some(0));
    Ok(())
}
