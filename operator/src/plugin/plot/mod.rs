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
        (Some(history), None) if at_work => {
            Ok((history, "of the run before: this one has taken no step yet"))
        }
        (Some(history), Some(error)) => {
            eprintln!("{error}");
            Ok((history, "of the run before"))
        }
        (Some(history), None) => Ok((history, "of the last finished run")),
        (None, Some(error)) => Err(error),
        (None, None) => Err(PluginError::Nothing(format!(
            "mtrain/{name} has no curve yet: {}",
            match status.phase {
                Some(Phase::Failed) => "it failed, and `kubectl sconce logs` has the losses until then",
                Some(Phase::Succeeded | Phase::Rejected) =>
                    "its trainer is of a version that did not gather one",
                _ => "it has taken no step; `kubectl sconce why` tells what it waits for",
            }
        ))),
    }
}

/// What the running pod has gathered; nothing where none runs or it has taken no step.
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
    let history: History = cluster
        .client
        .request(request)
        .await
        .map_err(PluginError::api(what))?;
    Ok(Some(history).filter(|history| !history.is_empty()))
}
