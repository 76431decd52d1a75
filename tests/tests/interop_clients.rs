//! Clients of other inference servers, unchanged and from the registry, with our server.

use sconce_contract::{Mount, ServingPlan};
use sconce_tests::frameworks::PYTORCH;
use sconce_tests::models::{RunningServer, trained};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// What `clients.py` was told of a model of two classes by two columns, and the rows that it asked for.
async fn told() -> Outcome<(Value, Value)> {
    let folder = tempfile::tempdir()?;
    let row = |row: u32| {
        let (radius, texture) = (row * 37 % 101, row * 53 % 97);
        let class = if radius > texture { "malignant" } else { "benign" };
        format!("{radius},{texture},{class}\n")
    };
    let table: String = (0..200).map(row).collect();
    let layer = json!({"dense": {"units": 1, "activation": "Sigmoid"}});
    let artifact = trained(
        folder.path(),
        &format!("radius,texture,y\n{table}"),
        &json!({"layers": [layer]}),
        &json!({"epochs": 20, "optimizer": {"learningRate": 0.05}}),
    )?;
    let mount = Mount {
        uri: "pvc://data".to_owned(),
        path: folder.path().to_owned(),
    };
    let plan: ServingPlan = serde_json::from_value(json!({
        "name": "tumour", "revision": "7", "model": artifact.uri, "mounts": [mount],
    }))?;
    let server = RunningServer::start(&plan, &[])?;
    server.ready().await?;
    let rows = json!([[90.0, 10.0], [10.0, 90.0], [50.5, 50.25]]);
    let question = json!({
        "address": server.http(), "model": "tumour", "rows": rows, "columns": ["radius", "texture"],
    });
    let answer = tokio::task::spawn_blocking(move || PYTORCH.ask("clients.py", &question)).await??;
    Ok((answer, rows))
}

fn numbers(value: &Value) -> Outcome<Vec<f64>> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone())?;
    Ok(rows.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn tritons_client_and_tensorflow_servings_paths_find_what_they_expect() -> Outcome {
    let (told, rows) = told().await?;

    let triton = &told["triton"];
    assert_eq!((&triton["live"], &triton["ready"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&triton["modelReady"], &triton["otherReady"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(triton["server"]["name"], "sconce");
    let metadata = &triton["metadata"];
    assert_eq!(
        (&metadata["name"], &metadata["versions"]),
        (&json!("tumour"), &json!(["7"]))
    );
    assert_eq!(metadata["inputs"][0]["shape"], json!([-1, 2]));
    assert_eq!(triton["id"], "seven");
    assert_eq!(
        triton["labels"],
        json!(["malignant", "benign", triton["labels"][2]])
    );
    let outputs = numbers(&triton["outputs"])?;
    assert!(
        outputs.len() == 3 && outputs[0] > 0.9 && outputs[1] < 0.1,
        "{outputs:?}"
    );
    assert_eq!(triton["later"], triton["outputs"]);
    assert_eq!(triton["plain"], triton["outputs"]);
    assert_eq!(triton["ofColumns"], triton["outputs"]);
    assert_eq!(triton["wrongWidth"]["status"], "400", "{}", triton["wrongWidth"]);
    let message = triton["wrongWidth"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("the model takes [-1, 2]"), "{message}");
    // Tensors in binary are answered, or it is said what to do instead.
    let binary = &triton["binary"];
    let refused = binary["message"]
        .as_str()
        .is_some_and(|message| message.contains("send and receive JSON"));
    assert!(
        refused || binary["answered"]["outputs"][0]["name"] == "output",
        "{binary}"
    );

    let serving = &told["tensorflowServing"];
    let state = &serving["status"]["model_version_status"][0];
    assert_eq!(
        (&state["version"], &state["state"]),
        (&json!("7"), &json!("AVAILABLE"))
    );
    let signature = &serving["metadata"]["metadata"]["signature_def"]["signature_def"]["serving_default"];
    assert_eq!(
        signature["inputs"]["input"]["tensor_shape"]["dim"][1]["size"], "2",
        "{serving}"
    );
    for (how, key) in [
        ("rows", "predictions"),
        ("named", "predictions"),
        ("inputs", "outputs"),
        ("columns", "outputs"),
    ] {
        assert_eq!(serving[how]["status"], 200, "{how}: {}", serving[how]);
        let found = numbers(&serving[how]["body"][key])?;
        let close = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-6;
        assert!(
            found.len() == outputs.len() && found.iter().zip(&outputs).all(close),
            "{how}: {found:?}"
        );
    }
    assert_eq!(serving["signature"]["status"], 400);
    assert_eq!(serving["missing"], 404);
    assert_eq!(rows.as_array().map(Vec::len), Some(outputs.len()));
    Ok(())
}
