//! `kubectl sconce plot NAME`: how the loss of a training went, in the terminal or as a picture.
//!
//! A pod that runs is asked by way of the API server; what has ended is in the status.

mod picture;
mod terminal;

use std::path::PathBuf;

use kube::ResourceExt;
use sconce_contract::History;
use sconce_contract::history::HISTORY_PATH;
use sconce_contract::progress::OBSERVABILITY_PORT;
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;

use super::cluster::{Asked, Cluster, Kind, Subject};
use super::{PluginError, table};
use crate::observed;
use crate::seen::Pod;

/// What is drawn, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Name of the ModelTraining, with or without mtrain/.
    pub object: Asked,
    /// Write a picture of 1200 × 640 pixels to this file, too.
    #[arg(long)]
    pub png: Option<PathBuf>,
}

/// Draws.
///
/// # Errors
/// When there is no curve, and why.
pub async fn run(cluster: &Cluster, options: &Options) -> Result<(), PluginError> {
    let asked = Asked {
        kind: Some(Kind::Training),
        name: options.object.name.clone(),
    };
    if options.object.kind == Some(Kind::Deployment) {
        return Err(PluginError::Refused(
            "it is a ModelTraining that has a loss: give mtrain/NAME".to_owned(),
        ));
    }
    let training = cluster.find::<ModelTraining>(&asked.name).await?;
    let training = training.ok_or_else(|| cluster.not_found(&asked))?;
    let (history, of) = history(cluster, training).await?;
    let title = format!("{}/{}: loss over steps, {of}", cluster.namespace, asked.name);
    print!("{}", terminal::chart(&history, &title, table::terminal_width()));
    if let Some(path) = &options.png {
        picture::write(&history, &title, path)?;
        println!("\n{} is written", path.display());
    }
    Ok(())
}

async fn history(cluster: &Cluster, training: ModelTraining) -> Result<(History, &'static str), PluginError> {
    let name = training.name_any();
    let status = training.status.clone().unwrap_or_default();
    let at_work = matches!(status.phase, Some(Phase::Training | Phase::Evaluating));
    let mut unheard = None;
    if at_work {
        match of_pod(cluster, training).await {
            Ok(Some(history)) => return Ok((history, "so far")),
            Ok(None) => {}
            Err(error) => unheard = Some(error),
        }
    }
    match (status.history, unheard) {
        (Some(history), None) if at_work => Ok((
            history,
            "of the run before: this one has taken no step yet, or its trainer tells none",
        )),
        (Some(history), Some(error)) => {
            eprintln!("{error}");
            Ok((history, "of the run before"))
        }
        (Some(history), None) => Ok((history, "of the last finished run")),
        (None, Some(error)) => Err(error),
        (None, None) => Err(PluginError::Nothing(format!(
            "mtrain/{name} has no curve yet: {}",
            why_none(status.phase)
        ))),
    }
}

/// Why neither the pod nor the status has a curve.
fn why_none(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Failed) => "it failed, and `kubectl sconce logs` has the losses until then",
        Some(Phase::Succeeded | Phase::Rejected) => "its trainer is of a version that did not gather one",
        Some(Phase::Training | Phase::Evaluating) => {
            "it has taken no step, or its trainer tells none, as one of your own need not; `kubectl sconce why` tells how \
             far it is, and `kubectl sconce logs` what it says"
        }
        _ => "it has taken no step; `kubectl sconce why` tells what it waits for",
    }
}

/// What the running pod has gathered; nothing where none runs, it has taken no step, or its trainer tells none.
async fn of_pod(cluster: &Cluster, training: ModelTraining) -> Result<Option<History>, PluginError> {
    let pods = cluster.pods(&Subject::Training(Box::new(training))).await?;
    let works = |pod: &&Pod| observed::leads(pod) && observed::is_running(pod);
    let Some(pod) = pods.iter().find(works) else {
        return Ok(None);
    };
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}:{OBSERVABILITY_PORT}/proxy{HISTORY_PATH}",
        cluster.namespace,
        pod.name_any()
    );
    let what = format!(
        "ask pod {} how its loss went (pods/proxy, which the role edit has)",
        pod.name_any()
    );
    let request = hyper::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| PluginError::Nothing(error.to_string()))?;
    match cluster.client.request::<History>(request).await {
        Ok(history) => Ok(Some(history).filter(|history| !history.is_empty())),
        Err(error) if has_no_page(&error) => Ok(None),
        Err(error) => Err(PluginError::api(what)(error)),
    }
}

/// Whether the answer is that there is no such page, which a trainer of one's own need not have. What such a trainer says
/// in JSON is read as a status without a code: the API server's own always have one.
fn has_no_page(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 0 | 404))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trainer_without_the_page_tells_none_and_a_refusal_is_one() {
        let plain = Status::failure("404 page not found", "Failed to parse error data").with_code(404);
        let in_json: Status = serde_json::from_value(json!({"detail": "Not Found"})).unwrap();
        let forbidden = Status::failure("pods \"iris\" is forbidden", "Forbidden").with_code(403);
        let unreachable = Status::failure("error trying to reach service", "").with_code(503);
        for (status, none) in [
            (plain, true),
            (in_json, true),
            (forbidden, false),
            (unreachable, false),
        ] {
            let error = kube::Error::Api(status.boxed());
            assert_eq!(has_no_page(&error), none, "{error}");
        }
    }

    #[test]
    fn only_of_a_run_at_work_the_trainer_may_be_why_there_is_no_curve() {
        for (phase, may_be) in [
            (Some(Phase::Training), true),
            (Some(Phase::Evaluating), true),
            (Some(Phase::Pending), false),
            (None, false),
        ] {
            let why = why_none(phase);
            assert!(why.starts_with("it has taken no step"), "{why}");
            assert_eq!(why.contains("its trainer tells none"), may_be, "{phase:?}: {why}");
        }
    }
}
