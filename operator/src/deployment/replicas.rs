//! How many pods are wanted in all: the one place that says it.

use kube::Client;
use sconce_crds::ModelDeployment;

use crate::error::Error;
use crate::fresh;
use crate::scaling::policy;

/// Pods that are wanted, of whichever revision.
pub fn wanted(deployment: &ModelDeployment) -> i32 {
    policy::wanted(&deployment.spec, deployment.status.as_ref())
}

/// Makes sure that this is what people ask for, and as many pods as are wanted, before anything is taken away.
///
/// # Errors
/// As [`fresh::confirm`].
pub async fn confirm(client: &Client, deployment: &ModelDeployment) -> Result<(), Error> {
    fresh::confirm(client, deployment, |live| wanted(live) == wanted(deployment)).await
}
