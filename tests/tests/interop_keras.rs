//! `model.h5` is what Keras loads, and says there what our server says.

use sconce_contract::{Mount, ServingPlan};
use sconce_tests::frameworks::KERAS;
use sconce_tests::models::{RunningServer, trained_with};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A table of so many columns with whole numbers from 0 to 9, and a number or one of three words that follows.
fn table(columns: usize, words: bool) -> String {
    let names: Vec<String> = (0..columns).map(|column| format!("c{column}")).collect();
    let mut text = format!("{},y\n", names.join(","));
    for row in 0..120usize {
        let cells: Vec<usize> = (0..columns)
            .map(|column| (row * (7 + column) + column * column) % 10)
            .collect();
        let sum: usize = cells.iter().sum();
        let y = match words {
            true => ["low", "middle", "high"][sum % 3].to_owned(),
            false => format!("{}", sum as f64 / 3.0),
        };
        let cells: Vec<String> = cells.iter().map(ToString::to_string).collect();
        text.push_str(&format!("{},{y}\n", cells.join(",")));
    }
    text
}

fn dense(units: u32, activation: &str) -> Value {
    json!({"dense": {"units": units, "activation": activation}})
}

/// Networks that hold, together, every layer that a file for Keras may have.
fn cases() -> Vec<(usize, bool, Value)> {
    let image = json!({"height": 4, "width": 6, "channels": 1});
    let sequence = json!({"length": 6, "channels": 2});
    let kernel = |filters: u32, size: u32, stride: u32, padding: &str| json!({"filters": filters, "kernelSize": size, "stride": stride, "padding": padding, "activation": "ReLU"});
    let of = |columns, words, input: &Value, layers: Vec<Value>| {
        let network = match input {
            Value::Null => json!({"layers": layers}),
            input => json!({"input": input, "layers": layers}),
        };
        (columns, words, network)
    };
    vec![
        // The article's own: dense layers, numbers brought to scale.
        of(
            5,
            false,
            &Value::Null,
            vec![
                dense(16, "ReLU"),
                json!({"dropout": {"rate": 0.2}}),
                json!({"layerNorm": {}}),
                dense(8, "GELU"),
                json!({"activation": "Tanh"}),
                json!({"rmsNorm": {}}),
                dense(1, "Linear"),
            ],
        ),
        of(
            24,
            true,
            &image,
            vec![
                json!({"batchNorm": {}}),
                json!({"conv2d": kernel(4, 3, 1, "Same")}),
                json!({"maxPool2d": {"poolSize": 2}}),
                json!({"flatten": {}}),
                dense(3, "Softmax"),
            ],
        ),
        of(
            24,
            true,
            &image,
            vec![
                json!({"conv2d": kernel(3, 2, 2, "Same")}),
                json!({"averagePool2d": {"poolSize": 2, "stride": 1}}),
                json!({"globalAveragePool": {}}),
                dense(3, "Softmax"),
            ],
        ),
        of(
            12,
            false,
            &sequence,
            vec![
                json!({"conv1d": kernel(4, 3, 1, "Valid")}),
                json!({"maxPool1d": {"poolSize": 2}}),
                json!({"gru": {"units": 5, "returnSequences": true}}),
                json!({"lstm": {"units": 4}}),
                json!({"activation": "Sigmoid"}),
                dense(1, "Linear"),
            ],
        ),
        of(
            12,
            false,
            &sequence,
            vec![
                json!({"averagePool1d": {"poolSize": 3}}),
                json!({"globalAveragePool": {}}),
                dense(1, "Linear"),
            ],
        ),
        of(
            6,
            true,
            &Value::Null,
            vec![
                json!({"embedding": {"vocabulary": 10, "dimensions": 4}}),
                json!({"globalAveragePool": {}}),
                dense(3, "Softmax"),
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_loaded_by_keras_predicts_what_our_server_predicts() -> Outcome {
    let (mut questions, mut kept) = (Vec::new(), Vec::new());
    for (columns, words, network) in cases() {
        let folder = tempfile::tempdir()?;
        let of_integers = network["layers"][0].get("embedding").is_some();
        let change = json!({"formats": ["KerasH5"], "dataset": {"standardize": !of_integers}});
        let artifact = trained_with(
            folder.path(),
            &table(columns, words),
            &network,
            &json!({"epochs": 3}),
            &change,
        )?;
        let mount = Mount {
            uri: "pvc://data".to_owned(),
            path: folder.path().to_owned(),
        };
        let plan: ServingPlan = serde_json::from_value(json!({
            "name": "model", "revision": "1", "model": artifact.uri, "digest": artifact.digest, "mounts": [mount],
        }))?;
        let server = RunningServer::start(&plan, &[])?;
        server.ready().await?;
        let rows: Vec<Vec<usize>> = (0..6)
            .map(|row| (0..columns).map(|column| (row * row + 3 * column) % 10).collect())
            .collect();
        questions.push(json!({
            "file": folder.path().join(artifact.uri.trim_start_matches("pvc://data/")).join("model.h5"),
            "url": format!("http://{}/v1/models/model:predict", server.http()),
            "rows": rows,
        }));
        kept.push((folder, server));
    }
    let answers =
        tokio::task::spawn_blocking(move || KERAS.ask("load_keras.py", &json!(questions))).await??;
    for (index, (_, _, network)) in cases().iter().enumerate() {
        let read = |who: &str| -> Outcome<Vec<Vec<f64>>> {
            Ok(serde_json::from_value(answers[index][who].clone())?)
        };
        let (theirs, ours) = (read("keras")?, read("served")?);
        assert_eq!((theirs.len(), ours.len()), (6, 6), "{answers}");
        for (theirs, ours) in theirs.iter().flatten().zip(ours.iter().flatten()) {
            let difference = (theirs - ours).abs() / theirs.abs().max(1.0);
            assert!(
                difference < 1e-4,
                "{network}: Keras says {theirs}, our server {ours}"
            );
        }
        // A model that says the same of all rows would agree by chance.
        assert!(
            ours.windows(2).any(|pair| pair[0] != pair[1]),
            "{network}: {ours:?}"
        );
    }
    drop(kept);
    Ok(())
}

#[test]
fn a_layer_that_keras_has_not_is_refused_before_anything_is_read() -> Outcome {
    let folder = tempfile::tempdir()?;
    let network = json!({"layers": [dense(2, "ReLU"), {"residual": {"over": 1}}, dense(1, "Linear")]});
    let change = json!({"formats": ["KerasH5"], "dataset": {"uri": "pvc://data/absent.csv"}});
    let refused = trained_with(
        folder.path(),
        &table(2, false),
        &network,
        &json!({"epochs": 1}),
        &change,
    );
    let told = std::fs::read_to_string(folder.path().join("report.json"))?;
    assert!(
        refused.is_err() && told.contains("model.network.layers[1]"),
        "{told}"
    );
    assert!(
        told.contains("residual") && told.contains("output.formats"),
        "{told}"
    );
    Ok(())
}
