//! `kubectl sconce why NAME`: the chain from an object to its pods to the reason, and the one next step.

mod pods;
mod step;
mod tree;
mod view;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt;
use kube::api::ListParams;
use sconce_crds::{ModelDeployment, ModelTraining};

use super::cluster::{Asked, Cluster, Subject};
use super::{PluginError, table};
use crate::labels;
use crate::seen::{Deployment, Job, Pod};

pub use view::screen;

/// Events older than the API server keeps them anyway, and more than fit a screen, are left out.
const MOST_EVENTS: usize = 6;
/// Objects whose events are asked for: the newest pods say what the others would.
const MOST_PODS: usize = 4;

/// Everything that was found. A training that only a deployment names is beside it.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// What was asked for, if it is a deployment.
    pub deployment: Option<ModelDeployment>,
    /// What was asked for, or what the deployment names.
    pub training: Option<ModelTraining>,
    /// The deployment's, newest first.
    pub deployments: Vec<Deployment>,
    /// The training's, newest first.
    pub jobs: Vec<Job>,
    /// Of both, newest first.
    pub pods: Vec<Pod>,
    /// About any of these, newest first.
    pub events: Vec<Event>,
    /// What this person may not read, as sentences.
    pub unseen: Vec<String>,
}

/// Gathers and shows.
///
/// # Errors
/// When there is no such object, or the API server does not answer.
pub async fn run(cluster: &Cluster, asked: &Asked) -> Result<(), PluginError> {
    let gathered = gather(cluster, asked).await?;
    print!("{}", screen(&gathered, Timestamp::now(), table::terminal_width()));
    Ok(())
}

async fn gather(cluster: &Cluster, asked: &Asked) -> Result<Gathered, PluginError> {
    let mut found = Gathered::default();
    match cluster.subject(asked).await? {
        Subject::Training(training) => found.training = Some(*training),
        Subject::Deployment(deployment) => {
            if let Some(reference) = &deployment.spec.model.training_ref {
                found.training = cluster.find(&reference.name).await?;
            }
            found.deployment = Some(*deployment);
        }
    }
    if let Some(deployment) = &found.deployment {
        let selector = format!("{}={}", labels::DEPLOYMENT, deployment.name_any());
        found.deployments = seen(cluster.labelled(&selector).await, &mut found.unseen)?;
        found.pods = seen(cluster.labelled(&selector).await, &mut found.unseen)?;
    }
    if let Some(training) = &found.training {
        let selector = format!("{}={}", labels::TRAINING, training.name_any());
        found.jobs = seen(cluster.labelled(&selector).await, &mut found.unseen)?;
        let pods: Vec<Pod> = seen(cluster.labelled(&selector).await, &mut found.unseen)?;
        found.pods.extend(pods);
    }
    found
        .jobs
        .sort_by_key(|job| std::cmp::Reverse(job.creation_timestamp()));
    found
        .deployments
        .sort_by_key(|deployment| std::cmp::Reverse(deployment.creation_timestamp()));
    found
        .pods
        .sort_by_key(|pod| std::cmp::Reverse((pod.creation_timestamp(), pod.name_any())));
    found.events = events(cluster, &found.about(), &mut found.unseen).await?;
    Ok(found)
}

impl Gathered {
    /// What events may be about, as kind and name.
    fn about(&self) -> Vec<(&'static str, String)> {
        fn named<'a, K: ResourceExt + 'a>(
            kind: &'static str,
            objects: impl IntoIterator<Item = &'a K>,
        ) -> Vec<(&'static str, String)> {
            objects
                .into_iter()
                .map(|object| (kind, object.name_any()))
                .collect()
        }
        [
            named("ModelDeployment", &self.deployment),
            named("ModelTraining", &self.training),
            named("Job", self.jobs.iter().take(1)),
            named("Deployment", self.deployments.iter().take(2)),
            named("Pod", self.pods.iter().take(MOST_PODS)),
        ]
        .concat()
    }
}

async fn events(
    cluster: &Cluster,
    about: &[(&str, String)],
    unseen: &mut Vec<String>,
) -> Result<Vec<Event>, PluginError> {
    let api = cluster.api::<Event>();
    let asked = about.iter().map(|(kind, name)| {
        let api = api.clone();
        async move {
            let parameters = ListParams::default()
                .fields(&format!("involvedObject.kind={kind},involvedObject.name={name}"));
            let list = api
                .list(&parameters)
                .await
                .map_err(PluginError::api("list events"));
            list.map(|list| list.items)
        }
    });
    let mut all: Vec<Event> = Vec::new();
    for answer in futures::future::join_all(asked).await {
        all.extend(seen(answer, unseen)?);
    }
    all.sort_by_key(|event| std::cmp::Reverse(view::last_seen(event)));
    all.truncate(MOST_EVENTS);
    Ok(all)
}

/// What a person may not read is told, and the rest is shown all the same.
fn seen<T>(answer: Result<Vec<T>, PluginError>, unseen: &mut Vec<String>) -> Result<Vec<T>, PluginError> {
    match answer {
        Err(error) if error.is_forbidden() => {
            let said = error.to_string();
            if !unseen.contains(&said) {
                unseen.push(said);
            }
            Ok(Vec::new())
        }
        answer => answer,
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
