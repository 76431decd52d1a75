//! A table, checkpoints and a model in a cloud: real trainers and a real server, as pods would run them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sconce_contract::{Artifact, FailureClass, Report};
use sconce_tests::clouds::{Cloud, gcs_keys, s3_keys, store_by};
use sconce_tests::wait::until;
use sconce_tests::{binaries, ports};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It fails only when the program has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn plan(scheme: &str, output: &str, mounts: &Value) -> Value {
    json!({
        "name": "model", "run": "r", "output": output, "mounts": mounts,
        "network": {"layers": [{"dense": {"units": 8, "activation": "Tanh"}}, {"dense": {"units": 1, "activation": "Linear"}}]},
        "dataset": {"uri": table_uri(scheme), "target": "y", "credentialsRef": {"name": "reader"}},
        "hyperparameters": {"epochs": 4000},
        "checkpoint": {"uri": format!("{output}/checkpoints/model"), "every": {"steps": 400}, "keep": 2},
    })
}

fn table_uri(scheme: &str) -> String {
    format!("{scheme}://models/tables/table.csv")
}

fn table() -> String {
    let rows = (0..60).map(|row| format!("{}.5,{},{}\n", row % 17, row % 5, row % 3));
    format!("a,b,y\n{}", rows.collect::<String>())
}

struct Trainer {
    program: Program,
    report: PathBuf,
    log: PathBuf,
}

/// A trainer with the variables that a pod would have: the table's credentials under a prefix, and all else as the
/// pod's own environment.
fn train(folder: &Path, name: &str, plan: &Value, keys: &[(&str, String)]) -> Outcome<Trainer> {
    let place = |end: &str| folder.join(format!("{name}.{end}"));
    std::fs::write(place("plan.json"), plan.to_string())?;
    let (report, log) = (place("report.json"), place("log"));
    let prefixed = keys
        .iter()
        .map(|(key, value)| (format!("SCONCE_DATASET_{key}"), value));
    let mut command = Command::new(binaries::path("sconce-trainer")?);
    command
        .arg("--plan")
        .arg(place("plan.json"))
        .arg("--report")
        .arg(&report)
        .args(["--listen", "127.0.0.1:0"])
        .env("RAYON_NUM_THREADS", "1")
        .env("CANDLE_NUM_THREADS", "1")
        .envs(keys.iter().map(|(key, value)| (*key, value)))
        .envs(prefixed)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log)?);
    Ok(Trainer {
        program: Program(command.spawn()?),
        report,
        log,
    })
}

impl Trainer {
    async fn end(mut self) -> Outcome<(Option<i32>, Report, String)> {
        let status = spawn_blocking(move || {
            let status = self.program.0.wait();
            (status, self.report.clone(), self.log.clone())
        });
        let (status, report, log) = status.await?;
        let text = std::fs::read_to_string(report)?;
        Ok((
            status?.code(),
            serde_json::from_str(&text)?,
            std::fs::read_to_string(log)?,
        ))
    }

    async fn artifact(self) -> Outcome<(Artifact, String)> {
        match self.end().await? {
            (Some(0), Report::Trained { artifact, .. }, log) => Ok((artifact, log)),
            other => Err(format!("no artifact: {other:?}").into()),
        }
    }
}

async fn ask(address: SocketAddr, head: &str, body: &str) -> Option<String> {
    let request = format!(
        "{head} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    answer.await.ok()?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_a_training_stopped_goes_on_from_s3_and_a_server_answers_from_there() -> Outcome {
    let cloud = Cloud::s3().await?;
    goes_on_and_answers("s3", &s3_keys(&cloud.address)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn store_a_training_stopped_goes_on_from_gs_and_a_server_answers_from_there() -> Outcome {
    let cloud = Cloud::gcs_to_write().await?;
    goes_on_and_answers("gs", &gcs_keys(&cloud.address)).await
}

async fn goes_on_and_answers(scheme: &'static str, keys: &[(&'static str, String)]) -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = store_by(keys, &[]);
    let writing = spawn_blocking(move || store.grow_file(&table_uri(scheme), table().as_bytes(), 0));
    writing.await??;

    // Nobody stops this one, and it knows the cloud only for its table.
    let mounts = json!([{"uri": "pvc://local", "path": folder.path()}]);
    let undisturbed = train(
        folder.path(),
        "undisturbed",
        &plan(scheme, "pvc://local/out", &mounts),
        keys,
    )?;
    let (expected, _) = undisturbed.artifact().await?;

    let in_cloud = plan(scheme, &format!("{scheme}://models/out"), &json!([]));
    let stopped = train(folder.path(), "stopped", &in_cloud, keys)?;
    let checkpoints = || {
        let store = store_by(keys, &[]);
        async move {
            let uri = format!("{scheme}://models/out/checkpoints/model/r");
            let folders = spawn_blocking(move || store.folders(&uri));
            folders.await.ok()?.ok()
        }
    };
    until("a checkpoint is in the cloud", async || {
        checkpoints().await.filter(|names| !names.is_empty())
    })
    .await?;
    let id = stopped.program.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status()?.success());
    let (code, report, _) = stopped.end().await?;
    assert_eq!(code, Some(75), "{report:?}");

    let (artifact, log) = train(folder.path(), "resumed", &in_cloud, keys)?
        .artifact()
        .await?;
    assert!(log.contains("going on from a checkpoint"), "{log}");
    assert_eq!(artifact.digest, expected.digest, "the same to the bit");
    assert_eq!(
        artifact.uri,
        format!(
            "{scheme}://models/out/{}",
            expected.digest.trim_start_matches("sha256:")
        )
    );
    assert_eq!(
        checkpoints().await,
        Some(Vec::new()),
        "nobody goes on from them any more"
    );

    let serving = json!({
        "name": "model", "revision": "1", "model": artifact.uri, "digest": artifact.digest,
        "credentialsRef": {"name": "reader"},
    });
    let file = folder.path().join("serving.json");
    std::fs::write(&file, serving.to_string())?;
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
    let prefixed = keys
        .iter()
        .map(|(key, value)| (format!("SCONCE_MODEL_{key}"), value));
    let _server = Program(
        Command::new(binaries::path("sconce-server")?)
            .arg("--plan")
            .arg(file)
            .arg("--report")
            .arg(folder.path().join("server.report.json"))
            .args(["--listen", &address.to_string(), "--observe", "127.0.0.1:0"])
            .envs(prefixed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let answer = until("the server answers", async || {
        let answer = ask(
            address,
            "POST /v1/models/model:predict",
            "{\"instances\": [[1.5, 2]]}",
        )
        .await?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    })
    .await?;
    assert!(answer.contains("\"predictions\""), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn store_credentials_that_are_refused_are_told_by_their_field_and_tried_no_more() -> Outcome {
    let cloud = Cloud::s3().await?;
    let folder = tempfile::tempdir()?;
    let mut keys = s3_keys(&cloud.address);
    for (key, value) in &mut keys {
        if *key == "AWS_SECRET_ACCESS_KEY" {
            *value = "stale".to_owned();
        }
    }
    let mounts = json!([{"uri": "pvc://local", "path": folder.path()}]);
    for (plan, field) in [
        (plan("s3", "pvc://local/out", &mounts), "dataset.credentialsRef"),
        // It has no credentialsRef: it is asked with the pod's own environment.
        (plan("s3", "s3://models/out", &json!([])), "output.uri"),
    ] {
        let (code, report, _) = train(folder.path(), "refused", &plan, &keys)?.end().await?;
        let Report::Failed(failure) = report else {
            return Err(format!("{field}: {report:?}").into());
        };
        assert_eq!(
            (code, failure.class),
            (Some(65), FailureClass::BadInput),
            "{failure:?}"
        );
        assert_eq!(failure.field.as_deref(), Some(field), "{failure:?}");
        assert!(
            failure.message.contains("403 SignatureDoesNotMatch"),
            "{failure:?}"
        );
        assert!(!failure.message.contains("stale"), "{failure:?}");
    }
    Ok(())
}
