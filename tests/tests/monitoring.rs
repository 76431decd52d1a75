//! Every query of the dashboard and of the alerts asks for metrics that the programs have, with labels that they have.

mod chart;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{Patch, PatchParams};
use sconce_contract::Report;
use sconce_tests::judges::{self, Verdict};
use sconce_tests::objects::{training, with};
use sconce_tests::room::Room;
use sconce_tests::wait::until;
use sconce_tests::{binaries, ports};
use serde_json::{Value, json};

use chart::{Outcome, objects, of_kind, rendered};

/// Metric → the labels that its samples have.
type Known = BTreeMap<String, BTreeSet<String>>;

const ON: &str = "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true,\
    metrics.rules.enabled=true,metrics.dashboard.enabled=true";

/// A query, where it stands, and the labels that its legend or its sentences show.
struct Asked {
    place: String,
    query: String,
    shows: BTreeSet<String>,
}

#[test]
fn monitoring_is_off_until_it_is_asked_for_and_needs_no_crd_then() -> Outcome {
    let plain = objects(&rendered(&[])?)?;
    for kind in ["ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"] {
        assert!(of_kind(&plain, kind).is_empty(), "{kind}");
    }
    let all = objects(&rendered(&["--set", ON])?)?;
    for kind in ["ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"] {
        assert_eq!(of_kind(&all, kind).len(), 1, "{kind}");
    }
    assert_eq!(
        of_kind(&all, "ConfigMap")[0]["metadata"]["labels"]["grafana_dashboard"],
        "1"
    );
    Ok(())
}

#[test]
fn monitoring_looks_for_pods_where_the_operator_works() -> Outcome {
    for (namespace, selects) in [
        ("", json!({"any": true})),
        ("team-a", json!({"matchNames": ["team-a"]})),
    ] {
        let watch = format!("watchNamespace={namespace}");
        let all = objects(&rendered(&["--set", ON, "--set", &watch])?)?;
        assert_eq!(
            of_kind(&all, "PodMonitor")[0]["spec"]["namespaceSelector"],
            selects,
            "{namespace:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring_asks_only_for_metrics_that_exist() -> Outcome {
    let room = Room::open().await?;
    let known = known(&room).await?;
    let chart = objects(&rendered(&["--set", ON])?)?;
    let of_target = target_labels(&chart);
    let asked = [dashboard(&chart)?, rules(&chart)].concat_all();
    assert!(asked.len() >= 20, "{} queries", asked.len());
    let queries: Vec<String> = asked.iter().map(|asked| asked.query.clone()).collect();
    let mut used = BTreeSet::new();
    for (asked, verdict) in asked.iter().zip(judges::prometheus(&queries)?) {
        check(asked, &verdict, &known, &of_target);
        used.extend(verdict.selects.into_iter().map(|selector| selector.metric));
    }
    // A metric that nobody looks at is not worth its samples; these tell of an instance and not of a trend.
    let unused: Vec<&String> = known
        .keys()
        .filter(|metric| metric.starts_with("sconce_"))
        .filter(|metric| !used.contains(*metric) && !metric.ends_with("_sum") && !metric.ends_with("_count"))
        .collect();
    println!("not on the dashboard and in no alert: {unused:?}");
    Ok(())
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Asked>;
}

impl ConcatAll for [Vec<Asked>; 2] {
    fn concat_all(self) -> Vec<Asked> {
        self.into_iter().flatten().collect()
    }
}

#[allow(clippy::panic)] // It is what a test does.
fn check(asked: &Asked, verdict: &Verdict, known: &Known, of_target: &BTreeSet<String>) {
    let Asked { place, query, shows } = asked;
    assert!(!verdict.selects.is_empty(), "{place}: {query} asks for no metric");
    let mut all = of_target.clone();
    for selector in &verdict.selects {
        let labels = known.get(&selector.metric);
        let labels =
            labels.unwrap_or_else(|| panic!("{place}: nobody has the metric {} of {query}", selector.metric));
        for label in &selector.labels {
            assert!(
                labels.contains(label) || of_target.contains(label),
                "{place}: {} has no label {label}: {query}",
                selector.metric
            );
        }
        all.extend(labels.iter().cloned());
    }
    for label in &verdict.groups {
        assert!(
            all.contains(label),
            "{place}: nothing has the label {label} that {query} groups by"
        );
    }
    // What is aggregated has only the labels that it is grouped by.
    let left: BTreeSet<&String> = if query.contains("sum") || query.contains("max") {
        verdict.groups.iter().collect()
    } else {
        all.iter().collect()
    };
    for label in shows {
        assert!(
            left.contains(label),
            "{place}: {label} is shown, and {query} leaves only {left:?}"
        );
    }
}

/// What Prometheus adds to each sample of a target, by the Prometheus Operator's defaults and what the chart asks for.
fn target_labels(chart: &[Value]) -> BTreeSet<String> {
    let monitor = &of_kind(chart, "PodMonitor")[0]["spec"];
    let asked = monitor["podTargetLabels"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let name = |label: &str| label.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let always = ["namespace", "pod", "container", "job", "instance", "endpoint"];
    asked.map(name).chain(always.map(str::to_owned)).collect()
}

fn dashboard(chart: &[Value]) -> Outcome<Vec<Asked>> {
    let text = of_kind(chart, "ConfigMap")[0]["data"]["sconce.json"]
        .as_str()
        .unwrap_or_default();
    let dashboard: Value = serde_json::from_str(text)?;
    let mut all = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        assert!(
            ids.insert(panel["id"].to_string()),
            "two panels have the id {}",
            panel["id"]
        );
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |key: &str| target[key].as_str().unwrap_or_default();
            all.push(Asked {
                place: format!("panel {}", panel["title"]),
                // Grafana puts these in before it asks.
                query: text("expr")
                    .replace("$__rate_interval", "5m")
                    .replace("$namespace", "ml"),
                shows: between(text("legendFormat"), "{{", "}}"),
            });
        }
    }
    Ok(all)
}

fn rules(chart: &[Value]) -> Vec<Asked> {
    let groups = of_kind(chart, "PrometheusRule")[0]["spec"]["groups"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let asked = rules.map(|rule| {
        assert!(
            rule["for"].is_string() && rule["labels"]["severity"].is_string(),
            "{rule}"
        );
        assert!(
            rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string(),
            "{rule}"
        );
        let shows = between(&rule["annotations"].to_string(), "$labels.", " ");
        Asked {
            place: format!("alert {}", rule["alert"]),
            query: rule["expr"].as_str().unwrap_or_default().to_owned(),
            shows,
        }
    });
    asked.collect()
}

/// The words between two marks.
fn between(text: &str, open: &str, close: &str) -> BTreeSet<String> {
    let parts = text.split(open).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(close)?.0.trim().to_owned()))
        .collect()
}

/// What the three programs have, while they are at work.
async fn known(room: &Room) -> Outcome<Known> {
    let mut known = Known::new();
    read(&of_programs()?, &mut known);
    room.apply(training("iris")).await?;
    room.kubelet.trainer("iris").await?;
    // An error takes a right that is missing: the metric has no sample before.
    let roles: Api<ClusterRole> = Api::all(room.client.clone());
    let role = roles.get("sconce").await?;
    let mut rules = role.rules.unwrap_or_default();
    rules.retain(|rule| {
        !rule
            .resources
            .iter()
            .flatten()
            .any(|resource| resource == "configmaps")
    });
    let change = Patch::Merge(json!({ "rules": rules }));
    roles.patch("sconce", &PatchParams::default(), &change).await?;
    let late = json!({"spec": {"dataset": {"uri": "configmap://flowers/iris.csv"}}});
    room.apply(with(training("late"), &late)).await?;
    let text = until("the operator has counted an error", async || {
        let text = room.world.ask_operator("/metrics").ok()?;
        text.contains("reconcile_errors_total{").then_some(text)
    })
    .await?;
    read(&text, &mut known);
    Ok(known)
}

fn read(text: &str, known: &mut Known) {
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, _)) = line.rsplit_once(' ') else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split("\",");
        let labels = labels.filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        known.entry(name.to_owned()).or_default().extend(labels);
    }
}

/// A real trainer and a real server, each asked while it works.
fn of_programs() -> Outcome<String> {
    let folder = tempfile::tempdir()?;
    let (table, models) = (folder.path().join("table.csv"), folder.path().join("models"));
    let rows: String = (0..200)
        .map(|row| format!("{}.5,{},{}\n", row % 17, row % 5, row % 3))
        .collect();
    std::fs::write(&table, format!("a,b,y\n{rows}"))?;
    std::fs::create_dir(&models)?;
    let mounts = json!([{"uri": "pvc://data", "path": folder.path()}]);
    let plan = |epochs: u32| {
        json!({
            "name": "model", "run": "r", "output": "pvc://data/models", "mounts": mounts,
            // Wide, so that it is still at work when it is asked, however busy the machine is.
            "network": {"layers": [{"dense": {"units": 512}}, {"dense": {"units": 1, "activation": "Linear"}}]},
            "dataset": {"uri": "pvc://data/table.csv", "target": "y", "split": {"validation": 0.1, "test": 0.1}},
            "hyperparameters": {"epochs": epochs},
        })
    };
    let start = |program: &'static str, plan: &Value, arguments: &[&str]| -> Outcome<Running> {
        let file = folder.path().join(format!("{program}.json"));
        std::fs::write(&file, plan.to_string())?;
        let report = folder.path().join("report.json");
        let mut command = Command::new(binaries::path(program)?);
        command
            .arg("--plan")
            .arg(file)
            .arg("--report")
            .arg(report)
            .args(arguments)
            .stderr(Stdio::null());
        Ok(Running(command.spawn()?))
    };
    let mut short = start("sconce-trainer", &plan(3), &["--listen", "127.0.0.1:0"])?;
    let status = short.0.wait()?;
    let report = std::fs::read_to_string(folder.path().join("report.json"))?;
    let Report::Trained {
        artifact, history, ..
    } = serde_json::from_str(&report)?
    else {
        return Err(format!("{status}: {report}").into());
    };
    assert!(
        !history.loss.is_empty() && !history.validation_loss.is_empty(),
        "{report}"
    );

    let (trainer_port, server_port, http_port) = (ports::free()?, ports::free()?, ports::free()?);
    let at = |port: u16| format!("127.0.0.1:{port}");
    let _trainer = start("sconce-trainer", &plan(100_000), &["--listen", &at(trainer_port)])?;
    let serving = json!({"name": "model", "revision": "0a1b2c3d4e", "model": artifact.uri, "mounts": mounts});
    let options = ["--listen", &at(http_port), "--observe", &at(server_port)];
    let _server = start("sconce-server", &serving, &options)?;
    let trainer = asked(trainer_port, "/metrics", "sconce_training_validation_loss ")?;
    let gathered = asked(trainer_port, "/v1/history", "validationLoss")?;
    assert!(gathered.contains("\"loss\":{\"from\":0"), "{gathered}");
    asked(server_port, "/readyz", "200 OK")?;
    asked(http_port, "/v1/models/model", "AVAILABLE")?;
    let server = asked(server_port, "/metrics", "sconce_requests_total{")?;
    Ok(trainer + &server)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It fails only when the program has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer to a GET, once it has that word in it.
fn asked(port: u16, path: &str, word: &str) -> Outcome<String> {
    let mut last = String::new();
    let started = std::time::Instant::now();
    while started.elapsed().as_secs() < 60 {
        last = get(port, path).unwrap_or_else(|error| error.to_string());
        if last.contains(word) {
            return Ok(last);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(format!("GET {path} did not come to say {word}, but {last}").into())
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn monitoring_rules_are_the_file_that_prometheus_reads_without_the_operator() -> Outcome {
    let chart = objects(&rendered(&["--set", ON])?)?;
    let file = std::fs::read_to_string(Path::new(&chart::file("charts/sconce/monitoring/rules.yaml")))?;
    let plain: Value = serde_norway::from_str(&file)?;
    assert_eq!(of_kind(&chart, "PrometheusRule")[0]["spec"], plain);
    Ok(())
}
