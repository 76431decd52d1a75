//! Images that know nothing of Sconce: a trainer is judged by its report, a server by its own path.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use sconce_contract::{MetricName, MetricSplit};
use sconce_crds::ModelDeployment;
use sconce_crds::training::Phase;
use sconce_tests::borrowed::{NGINX, PYTHON};
use sconce_tests::objects::with;
use sconce_tests::room::{conditions, served, told};
use sconce_tests::site::{Outcome, in_a_namespace};
use sconce_tests::traffic::Traffic;
use sconce_tests::workload::{FLOWERS, table};
use serde_json::{Value, json};

/// The trainer that docs/custom.md shows.
const TRAINER: &str = include_str!("../../examples/custom/trainer.py");

/// A ConfigMap of one file.
fn file(map: &str, name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map}, "data": {name: text}})
}

/// A training by a script in Python, and that script.
fn training(name: &str, script: &str) -> sconce_tests::Result<[Value; 2]> {
    let object = json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": name},
        "spec": {
            "model": {"custom": {"image": PYTHON.reference()?, "command": ["python3", "/trainer/trainer.py"]}},
            "podOverrides": {"volumes": [{"name": "trainer", "mountPath": "/trainer", "configMap": {"name": name}}]},
            "dataset": {"uri": "configmap://flowers/table.csv", "target": "species", "split": {"test": 0.2}},
            "evaluation": {"gates": [{"metric": "accuracy", "min": 0.85}]},
            "resources": {"cpu": "100m", "memory": "64Mi"},
            "failurePolicy": {"backoffLimit": 0},
        },
    });
    Ok([file(name, "trainer.py", script), object])
}

/// A deployment of a training's artifact, by the web server of Python's standard library.
fn by_python(name: &str, training: &str) -> sconce_tests::Result<Value> {
    Ok(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name},
        "spec": {
            "model": {"trainingRef": {"name": training}},
            "server": {"custom": {
                "image": PYTHON.reference()?, "command": ["python3", "-m", "http.server"],
                "args": ["--directory", "$(SCONCE_MODEL_PATH)", "$(SCONCE_PORT)"], "readinessPath": "/manifest.json",
            }},
            "resources": {"cpu": "100m", "memory": "64Mi"},
        },
    }))
}

/// The same by nginx, on a port of its own, with its configuration in the ConfigMap `nginx`.
fn by_nginx(name: &str, training: &str) -> sconce_tests::Result<Value> {
    let server = json!({
        "image": NGINX.reference()?, "command": ["nginx"], "args": ["-e", "stderr", "-c", "/config/nginx.conf"],
        "port": 8000, "readinessPath": "/healthz",
    });
    let volume = json!({"name": "config", "mountPath": "/config", "configMap": {"name": "nginx"}});
    let spec = json!({"spec": {"server": {"custom": server}, "podOverrides": {"volumes": [volume]}}});
    Ok(with(by_python(name, training)?, &spec))
}

/// nginx as any user may run it, but that it keeps no connection for another request: told to stop, it would cut one on
/// which a client asks just then, whoever runs it. `root` is the folder of the claim that holds the artifact.
fn nginx_serves(root: &str) -> Value {
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path /tmp/{kind};"))
        .join(" ");
    let config = format!(
        "daemon off; pid /tmp/nginx.pid; error_log stderr; worker_processes 1;\nevents {{}}\nhttp {{ access_log off; \
         keepalive_timeout 0; {paths} server {{ listen 8000; root {root}; location = /healthz {{ return 200; }} }} }}\n"
    );
    file("nginx", "nginx.conf", &config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_trainer_is_judged_and_its_artifact_served_by_servers_that_know_nothing_of_it() -> Outcome {
    in_a_namespace("custom", async |site| {
        site.apply(table("flowers", FLOWERS)).await?;
        site.apply_all(training("means", TRAINER)?).await?;
        let done = site.phase("means", Phase::Succeeded).await?;
        let status = done.status.clone().unwrap_or_default();
        let [accuracy] = status.metrics.as_slice() else {
            return Err(format!("one metric was reported: {:?}", status.metrics).into());
        };
        assert_eq!((accuracy.name, accuracy.split), (MetricName::Accuracy, MetricSplit::Test));
        assert_eq!(status.gates[0].observed, Some(accuracy.value));
        assert!(accuracy.value >= 0.85 && status.gates[0].passed, "{:?}", status.gates);
        let artifact = status.artifact.ok_or("no artifact")?;
        let folder = artifact.digest.strip_prefix("sha256:").ok_or("not a digest")?;
        assert_eq!(artifact.uri, format!("pvc://means-artifacts/{folder}"));

        // A server of one's own is ready by its own path, and serves what the trainer wrote.
        site.apply_all([
            nginx_serves(&format!("/mnt/sconce/pvc/means-artifacts/{folder}")),
            by_nginx("means", "means")?,
        ])
        .await?;
        let first = site.deployment_says("means", "Serving").await?;
        let model = site.ask("means", "/model.json").await?;
        assert_eq!(model["features"][0], "sepal_length");
        let names: Vec<&String> = model["classes"].as_object().ok_or("no classes")?.keys().collect();
        assert_eq!(names, ["setosa", "versicolor", "virginica"]);

        // Another image takes over while clients ask.
        let traffic = Traffic::for_file(site, "means", "/model.json", &model).await?;
        site.apply(by_python("means", "means")?).await?;
        let second = site.deployment_says("means", "Serving").await?;
        assert_ne!(revision(&first), revision(&second));
        site.none("nginx is gone", |pod: &Pod| {
            pod.labels().get("sconce.dev/revision") == revision(&first).as_ref()
        })
        .await?;
        let tally = traffic.end().await?;
        assert!(
            tally.lost.is_empty(),
            "{} of {} requests were lost, such as {:#?}",
            tally.lost.len(),
            tally.answers(),
            &tally.lost[..tally.lost.len().min(5)]
        );
        let servers: Vec<&str> = tally.answered.keys().map(String::as_str).collect();
        assert!(
            matches!(servers.as_slice(), [python, nginx] if python.starts_with("SimpleHTTP/") && nginx.starts_with("nginx")),
            "both answered: {servers:?}"
        );
        Ok(())
    })
    .await
}

fn revision(deployment: &ModelDeployment) -> Option<String> {
    Some(deployment.status.as_ref()?.revisions.first()?.name.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_custom_trainer_leaves_out_or_dies_of_is_told_in_its_own_words() -> Outcome {
    in_a_namespace("custom-bad", async |site| {
        site.apply(table("flowers", FLOWERS)).await?;
        let leaves = |report: &str| format!("import os\nopen(os.environ['SCONCE_REPORT'], 'w').write('{report}')\n");
        let trained = r#"{"outcome": "trained", "run": "r", "epochs": 1, "steps": 1, "seconds": 1, "metrics": [],
            "artifact": {"uri": "pvc://elsewhere/x", "digest": "abc", "sizeBytes": 1}}"#;
        let cases = [
            ("silent", "print('done')\n".to_owned(), "NoReport", vec!["/dev/termination-log: it is empty", "spec.model.custom"]),
            ("half", leaves(r#"{"outcome": "trained", "run": "r"}"#), "NoReport", vec!["missing field `metrics`", "docs/custom.md"]),
            ("digest", leaves(&trained.replace('\n', "")), "NoReport", vec!["artifact.digest is \"abc\", not sha256:"]),
            ("library", "import sklearn\n".to_owned(), "Internal", vec!["exit code 1", "ModuleNotFoundError: No module named 'sklearn'"]),
        ];
        for (name, script, ..) in &cases {
            site.apply_all(training(name, script)?).await?;
        }
        // The script of the example, on a table without its column; and a gate on what it does not measure.
        let specie = json!({"spec": {"dataset": {"target": "specie"}}});
        let auroc = json!({"spec": {"evaluation": {"gates": [{"metric": "auroc", "min": 0.5}]}}});
        for (name, change) in [("column", specie), ("gate", auroc)] {
            let [script, object] = training(name, TRAINER)?;
            site.apply_all([script, with(object, &change)]).await?;
        }
        let column = ("column", String::new(), "BadInput", vec!["spec.dataset.target: there is no column \"specie\""]);
        for (name, _, reason, parts) in cases.into_iter().chain([column]) {
            let failed = site.phase(name, Phase::Failed).await?;
            let says = told(conditions(&failed), "Failed");
            eprintln!("{name}: {says}");
            assert!(says.starts_with(&format!("True: {reason}: ")), "{name}: {says}");
            assert!(parts.iter().all(|part| says.contains(part)), "{name}: {says}");
        }
        let rejected = site.phase("gate", Phase::Rejected).await?;
        let says = told(conditions(&rejected), "GatesPassed");
        assert!(
            says.contains("auroc was not measured") && says.contains("a trainer of your own must report it"),
            "{says}"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_readiness_path_that_does_not_exist_is_told_and_what_was_served_goes_on() -> Outcome {
    in_a_namespace("custom-path", async |site| {
        site.apply(table("flowers", FLOWERS)).await?;
        site.apply_all(training("means", TRAINER)?).await?;
        let done = site.phase("means", Phase::Succeeded).await?;
        let artifact = done.status.and_then(|status| status.artifact).ok_or("no artifact")?;
        let folder = artifact.digest.trim_start_matches("sha256:");
        site.apply(nginx_serves(&format!("/mnt/sconce/pvc/means-artifacts/{folder}"))).await?;
        let asks = |path: &str| json!({"spec": {"server": {"custom": {"readinessPath": path}}}});
        let silent =
            "a container runs, and GET :8000/health (spec.server.custom.readinessPath) does not answer with 200 to 399";

        // With nothing before it, it is waited for.
        site.apply(with(by_nginx("web", "means")?, &asks("/health"))).await?;
        site.see("web", "the path is told", |seen: &ModelDeployment| {
            told(served(seen), "Ready").contains(silent)
        })
        .await?;
        site.change::<ModelDeployment>("web", asks("/healthz")).await?;
        site.deployment_says("web", "Serving").await?;

        // With something before it, that goes on until the deadline, and after it alone.
        let hasty = json!({"spec": {"rollout": {"progressDeadline": "10s"}}});
        site.change::<ModelDeployment>("web", with(asks("/health"), &hasty)).await?;
        let back = site.deployment_says("web", "RolledBack").await?;
        let says = told(served(&back), "Ready");
        assert!(says.contains(silent), "{says}");
        let model = site.ask("web", "/model.json").await?;
        assert_eq!(model["features"][0], "sepal_length");
        Ok(())
    })
    .await
}
