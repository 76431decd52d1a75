//! What our trainer writes can be read by others, and says there what our server says.

use std::path::Path;

use sconce_contract::{Artifact, Mount, ServingPlan};
use sconce_tests::frameworks::PYTORCH;
use sconce_tests::models::{RunningServer, trained};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A table of two columns and what follows from them.
fn table(y: impl Fn(f64, f64) -> String) -> String {
    let row = |row: u32| {
        let a = f64::from(row * 37 % 101) / 5.0 + 100.0;
        let b = f64::from(row * 53 % 97) / 480.0 - 0.1;
        format!("{a},{b},{}\n", y(a, b))
    };
    let rows: String = (0..200).map(row).collect();
    format!("a,b,y\n{rows}")
}

fn dense(units: u32, activation: &str) -> Value {
    json!({"dense": {"units": units, "activation": activation}})
}

fn serving(artifact: &Artifact, folder: &Path) -> Outcome<ServingPlan> {
    let mount = Mount {
        uri: "pvc://data".to_owned(),
        path: folder.to_owned(),
    };
    Ok(serde_json::from_value(json!({
        "name": "model", "revision": "1", "model": artifact.uri, "digest": artifact.digest, "mounts": [mount],
    }))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_read_by_pytorch_predicts_what_our_server_predicts() -> Outcome {
    let number = table(|a, b| format!("{}", 3.0 * a - 20.0 * b));
    let two = table(|a, b| if a + 50.0 * b > 110.0 { "yes" } else { "no" }.to_owned());
    let three =
        table(|a, b| ["low", "middle", "high"][((a - 100.0) / 10.0 + 5.0 * b + 0.5) as usize % 3].to_owned());
    let cases = [
        (
            &number,
            vec![dense(16, "ReLU"), dense(8, "Tanh"), dense(1, "Linear")],
            1,
        ),
        (
            &two,
            vec![
                dense(16, "GELU"),
                json!({"dropout": {"rate": 0.2}}),
                dense(1, "Sigmoid"),
            ],
            1,
        ),
        (
            &three,
            vec![
                json!({"dropout": {"rate": 0.1}}),
                dense(12, "Sigmoid"),
                dense(3, "Softmax"),
            ],
            3,
        ),
    ];
    let rows = json!([
        [100.0, 0.0],
        [104.25, 0.07],
        [119.8, -0.1],
        [0.0, 0.0],
        [1e6, -1e3]
    ]);
    let (mut questions, mut kept) = (Vec::new(), Vec::new());
    for (table, layers, _) in &cases {
        let folder = tempfile::tempdir()?;
        let artifact = trained(
            folder.path(),
            table,
            &json!({ "layers": layers }),
            &json!({"epochs": 5}),
        )?;
        let server = RunningServer::start(&serving(&artifact, folder.path())?, &[])?;
        server.ready().await?;
        questions.push(json!({
            "folder": folder.path().join(artifact.uri.trim_start_matches("pvc://data/")),
            "url": format!("http://{}/v1/models/model:predict", server.http()),
            "rows": rows,
        }));
        kept.push((folder, server));
    }
    let answers = tokio::task::spawn_blocking(move || PYTORCH.ask("predict.py", &json!(questions))).await??;
    for (index, (_, layers, outputs)) in cases.iter().enumerate() {
        let read = |who: &str| -> Outcome<Vec<Vec<f64>>> {
            Ok(serde_json::from_value(answers[index][who].clone())?)
        };
        let (theirs, ours) = (read("pytorch")?, read("served")?);
        assert_eq!((theirs.len(), ours.len()), (5, 5), "{answers}");
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!((theirs.len(), ours.len()), (*outputs, *outputs));
            for (theirs, ours) in theirs.iter().zip(ours) {
                let difference = (theirs - ours).abs() / theirs.abs().max(1.0);
                assert!(
                    difference < 1e-5,
                    "{layers:?}: PyTorch says {theirs}, our server {ours}"
                );
            }
        }
        // A model that says the same of all rows would agree by chance.
        assert!(
            ours.windows(2).any(|pair| pair[0] != pair[1]),
            "{layers:?}: {ours:?}"
        );
    }
    drop(kept);
    Ok(())
}
