//! `kubectl sconce top`: accelerators, who holds them, and whether they are busy.

mod count;

use kube::api::{Api, ListParams};
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};

use super::PluginError;
use super::cluster::Cluster;
use crate::labels;
use crate::seen::Pod;

pub use count::{Seen, table};

/// What is looked at.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Holders in all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// Prints the table.
///
/// # Errors
/// When the API server does not answer, or refuses to list trainings, deployments or pods.
pub async fn run(cluster: &Cluster, options: Options) -> Result<(), PluginError> {
    print!("{}", table(&seen(cluster, options).await?));
    Ok(())
}

async fn seen(cluster: &Cluster, options: Options) -> Result<Seen, PluginError> {
    let all = ListParams::default();
    let client = || cluster.client.clone();
    let ours = ListParams::default().labels(labels::SELECTOR);
    let (trainings, deployments, pods): (Api<ModelTraining>, Api<ModelDeployment>, Api<Pod>) =
        if options.all_namespaces {
            (Api::all(client()), Api::all(client()), Api::all(client()))
        } else {
            (cluster.api(), cluster.api(), cluster.api())
        };
    let place = if options.all_namespaces {
        "in all namespaces (leave out -A for one)".to_owned()
    } else {
        format!("in the namespace {:?}", cluster.namespace)
    };
    let list = |what: &str| PluginError::api(format!("list {what} {place}"));
    let profiles: Api<AcceleratorProfile> = Api::all(client());
    let (profiles, trainings, deployments, pods) = futures::join!(
        profiles.list(&all),
        trainings.list(&all),
        deployments.list(&all),
        pods.list(&ours)
    );
    let profiles = match profiles.map_err(PluginError::api("list acceleratorprofiles")) {
        // Profiles are the cluster's; with the rights of a namespace, its own use of them can still be told.
        Err(error) if error.is_forbidden() => None,
        answer => Some(answer?.items),
    };
    Ok(Seen {
        profiles,
        trainings: trainings.map_err(list("modeltrainings"))?.items,
        deployments: deployments.map_err(list("modeldeployments"))?.items,
        pods: pods.map_err(list("pods"))?.items,
        place,
    })
}
