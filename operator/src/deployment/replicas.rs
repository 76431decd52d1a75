//! How many pods are wanted in all: the one place that says it.

use sconce_crds::ModelDeployment;

use crate::scaling::policy;

/// Pods that are wanted, of whichever revision.
pub fn wanted(deployment: &ModelDeployment) -> i32 {
    policy::wanted(&deployment.spec, deployment.status.as_ref())
}
