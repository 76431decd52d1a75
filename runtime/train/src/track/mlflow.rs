//! A run of MLflow's for each run of ours, by the variables that MLflow's own client reads.

use std::collections::BTreeMap;
use std::time::Duration;

use sconce_contract::{MetricSplit, Report};
use serde_json::{Value, json};

use super::mlflow_client::{Client, Refusal};
use super::{Ended, Point, Sink, Told};

/// Most metrics of a request, by MLflow's REST API ("Log Batch").
const METRICS: usize = 1000;
/// Most parameters of a request, likewise.
const PARAMETERS: usize = 100;
/// Longest value of a parameter, likewise (500 before MLflow 2.8).
const VALUE: usize = 500;
/// The experiment of those who name none.
const DEFAULT_EXPERIMENT: &str = "0";
/// The tag by which a run is found again.
const RUN_TAG: &str = "sconce.run";
const NAME_TAG: &str = "sconce.training";
/// What it learns from: a run whose table became another one begins again, and is another run there.
const DATA_TAG: &str = "sconce.dataset.digest";
/// Why an attempt failed.
const FAILURE_TAG: &str = "sconce.failure";

/// Where the server is, and who asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// Without a slash at the end.
    pub url: String,
    /// What is shown to it.
    pub authorization: Option<Authorization>,
    /// The experiment.
    pub experiment: Experiment,
}

/// What is shown to a server.
#[derive(Clone, PartialEq)]
pub(super) enum Authorization {
    Basic(String, String),
    Bearer(String),
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Authorization(…)")
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Experiment {
    Id(String),
    Name(String),
}

impl Settings {
    /// What the environment says; nothing where it names no server.
    pub(super) fn from_environment() -> Result<Option<Self>, String> {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let Some(url) = variable("MLFLOW_TRACKING_URI") else {
            return Ok(None);
        };
        let url = url.trim().trim_end_matches('/').to_owned();
        if !["http://", "https://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(
                "MLFLOW_TRACKING_URI is no http:// or https:// address of a tracking server".to_owned(),
            );
        }
        let user = variable("MLFLOW_TRACKING_USERNAME");
        let password = variable("MLFLOW_TRACKING_PASSWORD");
        // As MLflow's client has it: a name and a password go before a token.
        let authorization = match (user, password, variable("MLFLOW_TRACKING_TOKEN")) {
            (Some(user), Some(password), _) => Some(Authorization::Basic(user, password)),
            (_, _, Some(token)) => Some(Authorization::Bearer(token)),
            _ => None,
        };
        let id = variable("MLFLOW_EXPERIMENT_ID").map(Experiment::Id);
        let name = variable("MLFLOW_EXPERIMENT_NAME").map(Experiment::Name);
        // There, the name goes first.
        let experiment = name.or(id);
        Ok(Some(Settings {
            url,
            authorization,
            experiment: experiment.unwrap_or_else(|| Experiment::Id(DEFAULT_EXPERIMENT.to_owned())),
        }))
    }
}

/// A run on a server.
pub(super) struct Runs {
    client: Client,
    experiment: Experiment,
    told: Told,
    /// Its id, once it is there.
    run: Option<String>,
    has_parameters: bool,
    /// Whether it tells why an earlier attempt failed.
    has_failed: bool,
    /// The last step of each metric that is there.
    there: BTreeMap<String, u64>,
}

impl Runs {
    pub(super) fn new(settings: Settings, told: &Told) -> Self {
        Runs {
            client: Client::new(settings.url, settings.authorization.as_ref()),
            experiment: settings.experiment,
            told: told.clone(),
            run: None,
            has_parameters: false,
            has_failed: false,
            there: BTreeMap::new(),
        }
    }

    /// The run that an earlier pod began, or a new one.
    fn open(&mut self) -> Result<String, Refusal> {
        if let Some(run) = &self.run {
            return Ok(run.clone());
        }
        let experiment = self.experiment()?;
        let run = match self.found(&experiment)? {
            Some(run) => {
                self.client
                    .post("runs/update", &json!({"run_id": run, "status": "RUNNING"}))?;
                run
            }
            None => self.created(&experiment)?,
        };
        self.run = Some(run.clone());
        Ok(run)
    }

    fn experiment(&self) -> Result<String, Refusal> {
        let name = match &self.experiment {
            Experiment::Id(id) => return Ok(id.clone()),
            Experiment::Name(name) => name,
        };
        let by_name = || {
            self.client
                .get("experiments/get-by-name", &[("experiment_name", name)])
        };
        let found = match by_name() {
            Err(refusal) if refusal.is("RESOURCE_DOES_NOT_EXIST") => {
                match self.client.post("experiments/create", &json!({"name": name})) {
                    Ok(created) => return text(&created, &["experiment_id"]),
                    // Another pod was faster.
                    Err(refusal) if refusal.is("RESOURCE_ALREADY_EXISTS") => by_name()?,
                    Err(refusal) => return Err(refusal),
                }
            }
            found => found?,
        };
        text(&found, &["experiment", "experiment_id"])
    }

    fn found(&mut self, experiment: &str) -> Result<Option<String>, Refusal> {
        // Neither a name nor a run has a quote in it; a plan by hand that has one is taken for another run.
        let quoted = |text: &str| text.replace('\'', "");
        let filter = format!(
            "tags.`{RUN_TAG}` = '{}' and tags.`{NAME_TAG}` = '{}' and tags.`{DATA_TAG}` = '{}' and attributes.status != \
             'FINISHED'",
            quoted(&self.told.run),
            quoted(&self.told.name),
            self.data()
        );
        let question = json!({
            "experiment_ids": [experiment], "filter": filter, "max_results": 1,
            "order_by": ["attributes.start_time DESC"],
        });
        let answer = self.client.post("runs/search", &question)?;
        let Some(run) = answer["runs"].get(0) else {
            return Ok(None);
        };
        self.has_parameters = run["data"]["params"]
            .as_array()
            .is_some_and(|params| !params.is_empty());
        let mut tags = run["data"]["tags"].as_array().into_iter().flatten();
        self.has_failed = tags.any(|tag| tag["key"] == FAILURE_TAG);
        for metric in run["data"]["metrics"].as_array().into_iter().flatten() {
            // 64 bits are a text in the JSON of a protocol buffer, and a number in MLflow's.
            let step = &metric["step"];
            let step = step.as_u64().or_else(|| step.as_str()?.parse().ok());
            if let (Some(key), Some(step)) = (metric["key"].as_str(), step) {
                self.there.insert(key.to_owned(), step);
            }
        }
        text(run, &["info", "run_id"]).map(Some)
    }

    fn data(&self) -> String {
        format!("sha256:{}", self.told.data)
    }

    fn created(&mut self, experiment: &str) -> Result<String, Refusal> {
        let tags = [
            (RUN_TAG, &self.told.run),
            (NAME_TAG, &self.told.name),
            (DATA_TAG, &self.data()),
            ("mlflow.source.name", &self.told.trainer),
            ("mlflow.source.type", &"JOB".to_owned()),
        ];
        let tags: Vec<Value> = tags
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        let run = json!({
            "experiment_id": experiment, "run_name": self.told.name, "start_time": Point::now(), "tags": tags,
        });
        text(
            &self.client.post("runs/create", &run)?,
            &["run", "info", "run_id"],
        )
    }

    fn log(&mut self, run: &str, metrics: &[Logged]) -> Result<(), Refusal> {
        if !self.has_parameters {
            for some in self.told.settings.chunks(PARAMETERS) {
                let of = |(key, value): &(String, String)| json!({"key": key, "value": cut(value)});
                let params: Vec<Value> = some.iter().map(of).collect();
                self.client
                    .post("runs/log-batch", &json!({"run_id": run, "params": params}))?;
            }
            self.has_parameters = true;
        }
        let is_new = |logged: &&Logged| {
            logged.value.is_finite() && self.there.get(&logged.key).is_none_or(|last| *last < logged.step)
        };
        let metrics: Vec<&Logged> = metrics.iter().filter(is_new).collect();
        for some in metrics.chunks(METRICS) {
            let all: Vec<Value> = some.iter().map(|logged| logged.json()).collect();
            self.client
                .post("runs/log-batch", &json!({"run_id": run, "metrics": all}))?;
            for logged in some {
                self.there.insert(logged.key.clone(), logged.step);
            }
        }
        Ok(())
    }

    fn tell(&mut self, points: &[Point], ended: Option<&Ended>) -> Result<(), Refusal> {
        let run = self.open()?;
        let mut metrics: Vec<Logged> = points.iter().flat_map(of_point).collect();
        let mut tags = Vec::new();
        let status = match ended {
            None => None,
            Some(Ended::Trained(report)) => {
                if let Report::Trained { artifact, .. } = &**report {
                    tags.push(("sconce.artifact.uri", artifact.uri.clone()));
                    tags.push(("sconce.artifact.digest", artifact.digest.clone()));
                }
                metrics.extend(of_report(report));
                Some("FINISHED")
            }
            Some(Ended::Interrupted) => Some("KILLED"),
            Some(Ended::Failed(sentence)) => {
                tags.push((FAILURE_TAG, sentence.clone()));
                Some("FAILED")
            }
        };
        self.log(&run, &metrics)?;
        if !tags.is_empty() {
            let tags: Vec<Value> = tags
                .iter()
                .map(|(key, value)| json!({"key": key, "value": cut(value)}))
                .collect();
            self.client
                .post("runs/log-batch", &json!({"run_id": run, "tags": tags}))?;
        }
        if self.has_failed && matches!(ended, Some(Ended::Trained(_))) {
            let tag = json!({"run_id": run, "key": FAILURE_TAG});
            self.client.post("runs/delete-tag", &tag)?;
            self.has_failed = false;
        }
        if let Some(status) = status {
            let end = json!({"run_id": run, "status": status, "end_time": Point::now()});
            self.client.post("runs/update", &end)?;
        }
        Ok(())
    }
}

impl Sink for Runs {
    fn name(&self) -> &'static str {
        "MLflow"
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn send(&mut self, points: &[Point], ended: Option<&Ended>) -> Result<(), String> {
        self.tell(points, ended).map_err(|refusal| refusal.to_string())
    }
}

/// A value of a metric.
#[derive(Clone, Debug, PartialEq)]
struct Logged {
    key: String,
    value: f64,
    step: u64,
    time: i64,
}

impl Logged {
    fn json(&self) -> Value {
        json!({"key": self.key, "value": self.value, "timestamp": self.time, "step": self.step})
    }
}

/// The names are those that MLflow's own integrations give.
fn of_point(point: &Point) -> Vec<Logged> {
    let logged = |key: &str, value: f64| Logged {
        key: key.to_owned(),
        value,
        step: point.step,
        time: point.time,
    };
    let mut all = vec![
        logged("loss", point.loss),
        logged("learning_rate", point.learning_rate),
    ];
    all.extend(point.validation_loss.map(|loss| logged("val_loss", loss)));
    let metrics = point.metrics.iter();
    all.extend(metrics.map(|(name, value)| logged(&format!("val_{name}"), *value)));
    all.extend(point.rows_per_second.map(|rows| logged("rows_per_second", rows)));
    all
}

fn of_report(report: &Report) -> Vec<Logged> {
    let Report::Trained { metrics, steps, .. } = report else {
        return Vec::new();
    };
    let time = Point::now();
    let held_out = metrics.iter().map(|metric| Logged {
        key: match metric.split {
            // The curve has it, as it was before the best weights were put back.
            MetricSplit::Validation => format!("final_val_{}", metric.name),
            MetricSplit::Test => format!("test_{}", metric.name),
            MetricSplit::Train => format!("train_{}", metric.name),
        },
        value: metric.value,
        step: *steps,
        time,
    });
    held_out.collect()
}

/// A text as long as a value may be.
fn cut(text: &str) -> String {
    if text.len() <= VALUE {
        return text.to_owned();
    }
    let ends = (0..=VALUE - '…'.len_utf8()).rev();
    let end = ends.into_iter().find(|end| text.is_char_boundary(*end));
    format!("{}…", &text[..end.unwrap_or(0)])
}

/// A text within an answer.
fn text(answer: &Value, path: &[&str]) -> Result<String, Refusal> {
    let found = path.iter().fold(answer, |value, key| &value[*key]);
    let found = found.as_str().map(str::to_owned);
    found.ok_or_else(|| Refusal::answer(format!("its answer lacks {}", path.join("."))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_are_those_of_mlflows_own_client() {
        let read = |pairs: &[(&str, &str)]| {
            Settings::of(|name| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(read(&[("MLFLOW_EXPERIMENT_NAME", "x")]), Ok(None));
        let url = ("MLFLOW_TRACKING_URI", "http://mlflow:5000/");
        let plain = read(&[url]).unwrap().unwrap();
        assert_eq!(
            (plain.url.as_str(), &plain.authorization),
            ("http://mlflow:5000", &None)
        );
        assert_eq!(plain.experiment, Experiment::Id("0".into()));
        let user = [
            ("MLFLOW_TRACKING_USERNAME", "me"),
            ("MLFLOW_TRACKING_PASSWORD", "p"),
        ];
        let token = ("MLFLOW_TRACKING_TOKEN", "t");
        let both = read(&[url, user[0], user[1], token]).unwrap().unwrap();
        assert_eq!(
            both.authorization,
            Some(Authorization::Basic("me".into(), "p".into()))
        );
        let alone = read(&[url, user[0], token]).unwrap().unwrap();
        assert_eq!(alone.authorization, Some(Authorization::Bearer("t".into())));
        let named = [
            url,
            ("MLFLOW_EXPERIMENT_ID", "7"),
            ("MLFLOW_EXPERIMENT_NAME", "tumours"),
        ];
        assert_eq!(
            read(&named).unwrap().unwrap().experiment,
            Experiment::Name("tumours".into())
        );
        assert_eq!(
            read(&named[..2]).unwrap().unwrap().experiment,
            Experiment::Id("7".into())
        );
        for other in ["databricks", "sqlite:///mlflow.db", "mlflow:5000"] {
            let problem = read(&[("MLFLOW_TRACKING_URI", other)]).unwrap_err();
            assert!(problem.starts_with("MLFLOW_TRACKING_URI"), "{problem}");
        }
        assert!(!format!("{both:?} {alone:?}").contains("\"me\""), "{both:?}");
    }

    #[test]
    fn a_value_is_as_long_as_it_may_be() {
        for text in ["", "a", &"a".repeat(VALUE), &"é".repeat(VALUE / 2)] {
            assert_eq!(cut(text), text);
        }
        for text in ["a".repeat(VALUE + 1), "é".repeat(VALUE)] {
            let cut = cut(&text);
            assert!(
                cut.len() <= VALUE && cut.len() > VALUE - 8 && cut.ends_with('…'),
                "{}",
                cut.len()
            );
        }
    }
}
