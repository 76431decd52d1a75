//! The RuntimeClass that a profile names, which must be there before a pod that names it is admitted.

use k8s_openapi::api::node::v1::RuntimeClass;
use kube::{Api, Client};
use sconce_crds::AcceleratorProfile;

use crate::error::{Doing, Error};
use crate::problem::Problem;
use crate::reason::Reason;

/// The class that the profile names and that does not exist.
pub async fn missing(client: &Client, profile: Option<&AcceleratorProfile>) -> Result<Option<String>, Error> {
    let Some(class) = profile.and_then(|profile| profile.spec.runtime_class_name.as_ref()) else {
        return Ok(None);
    };
    let api: Api<RuntimeClass> = Api::all(client.clone());
    let read = api.get_metadata_opt(class).await;
    let read = read.doing(|| format!("get RuntimeClass {class}"))?;
    Ok(read.is_none().then(|| class.clone()))
}

/// The sentence for it.
pub fn not_found(class: &str) -> Problem {
    Problem::new(
        Reason::RuntimeClassNotFound,
        "spec.accelerator.profile",
        format!(
            "the profile asks for the RuntimeClass {class:?}, which does not exist; create it, or remove it from the \
             profile"
        ),
    )
}
