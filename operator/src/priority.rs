//! The PriorityClass that a spec names, which must be there before a pod that names it is admitted.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::{Api, Client};

use crate::error::{Doing, Error};
use crate::problem::Problem;
use crate::reason::Reason;

/// Whether a spec names a class that does not exist.
pub async fn is_missing(client: &Client, class: Option<&str>) -> Result<bool, Error> {
    let Some(class) = class else { return Ok(false) };
    let api: Api<PriorityClass> = Api::all(client.clone());
    let read = api.get_metadata_opt(class).await;
    Ok(read.doing(|| format!("get PriorityClass {class}"))?.is_none())
}

/// The sentence for it.
pub fn not_found(class: &str) -> Problem {
    Problem::new(
        Reason::PriorityClassNotFound,
        "spec.scheduling.priorityClassName",
        format!(
            "there is no PriorityClass named {class:?}; `kubectl get priorityclasses` lists those that there are"
        ),
    )
}
