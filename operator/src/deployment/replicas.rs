//! How many pods are wanted in all: the one place that says it.

use sconce_crds::ModelDeployment;

/// Pods that are wanted, of whichever revision.
pub fn wanted(deployment: &ModelDeployment) -> i32 {
    deployment.spec.replicas
}
