//! TensorBoard reads the curves of a run, and Python what its model card says.

use sconce_contract::Report;
use sconce_tests::frameworks::CURVES;
use sconce_tests::learners::Workshop;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Epochs, of 4 steps each.
const EPOCHS: u32 = 200;

fn points(answer: &Value, tag: &str) -> Outcome<Vec<(u64, f64)>> {
    let points = serde_json::from_value(answer["scalars"][tag].clone());
    Ok(points.map_err(|error| format!("{tag}: {error} in {}", answer["scalars"]))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn tensorboard_reads_each_step_once_of_a_run_that_was_stopped_and_killed() -> Outcome {
    let workshop = Workshop::open("tumour", EPOCHS)?;
    for (signal, step) in [("-TERM", 100), ("-KILL", 400)] {
        let learner = workshop.start(&[])?;
        workshop.saved(step).await?;
        learner.signal(signal)?;
        let (code, _) = learner.end().await?;
        assert!(
            code.is_none_or(|code| code == 75),
            "it was over before the signal: {code:?}"
        );
    }
    let (code, report) = workshop.start(&[])?.end().await?;
    let Some(Report::Trained {
        artifact,
        metrics,
        steps,
        loss,
        ..
    }) = report
    else {
        return Err(format!("{code:?}: {report:?}").into());
    };
    let question = json!({
        "events": workshop.path("models/tensorboard/tumour/5ca1ab1e00"), "artifact": workshop.path(&artifact.uri),
    });
    let answer = tokio::task::spawn_blocking(move || CURVES.ask("curves.py", &question)).await??;

    let expected: Vec<u64> = (1..=u64::from(EPOCHS)).map(|epoch| 4 * epoch).collect();
    for tag in [
        "loss/train",
        "loss/validation",
        "accuracy/validation",
        "learning_rate",
    ] {
        let steps: Vec<u64> = points(&answer, tag)?.iter().map(|point| point.0).collect();
        assert_eq!(steps, expected, "{tag}");
    }
    let close = |one: f64, other: f64| (one - other).abs() < 1e-6;
    let last = points(&answer, "loss/train")?
        .last()
        .map_or(f64::NAN, |point| point.1);
    assert!(close(last, loss.unwrap_or_default()), "{last} and {loss:?}");
    for metric in &metrics {
        let found = points(&answer, &format!("{}/test", metric.name))?;
        assert!(
            matches!(found[..], [(step, value)] if step == steps && close(value, metric.value)),
            "{found:?} and {metric:?}"
        );
    }
    let text = answer["text"][0].as_str().unwrap_or_default();
    assert!(
        text.contains("tumour, run 5ca1ab1e00") && text.contains("| batchSize | 100 |"),
        "{text}"
    );

    // Two columns into 32 units, as the card's own lines of Python find it.
    let weights = json!({
        "layers.0.weight": [2, 32], "layers.0.bias": [32], "layers.1.weight": [32, 1], "layers.1.bias": [1],
    });
    assert_eq!(answer["weights"], weights);
    assert_eq!((&answer["layers"], &answer["columns"]), (&json!(2), &json!(2)));
    Ok(())
}
