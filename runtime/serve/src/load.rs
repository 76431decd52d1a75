//! From the plan to a model that has answered its warm-up; every failure names what to change.

use std::path::Path;

use sconce_contract::credentials::MODEL_CREDENTIALS;
use sconce_contract::{Device, Failure, FailureClass, ServingPlan};
use sconce_model::{Model, ModelError};
use sconce_store::{Credentials, NoCredentials, Store, StoreError};

use crate::served::{Names, Served};

/// Reads the plan.
pub fn plan(path: &Path) -> Result<ServingPlan, Failure> {
    let bad = |sentence: String| Failure::new(FailureClass::BadInput, sentence);
    let text = std::fs::read(path).map_err(|error| {
        bad(format!(
            "the plan {} cannot be read ({error}): name the file by --plan",
            path.display()
        ))
    })?;
    let plan: ServingPlan = serde_json::from_slice(&text).map_err(|error| {
        bad(format!(
            "the plan {} cannot be understood: {error}",
            path.display()
        ))
    })?;
    if plan.name.is_empty() || plan.name.contains(['/', ':']) {
        return Err(bad(format!(
            "{:?} cannot be the name of a model: it is part of a path",
            plan.name
        )));
    }
    if plan.device != Device::Cpu {
        return Err(Failure::bad_input(
            "accelerator.profile",
            format!(
                "this server computes on the CPU, not on {:?}: choose a profile of that device, or an image built \
                 for yours",
                plan.device
            ),
        ));
    }
    Ok(plan)
}

/// Loads the model and warms it up. Blocks.
pub fn load(plan: &ServingPlan) -> Result<Served, Failure> {
    let mut store = Store::new(plan.mounts.clone());
    if plan.credentials_ref.is_some() {
        let read = Credentials::from_variables(MODEL_CREDENTIALS, |name| std::env::var(name).ok());
        let missing = |error: NoCredentials| Failure::bad_input("model.credentialsRef", error.to_string());
        store = store.with_credentials(read.map_err(missing)?);
    }
    let model = Model::load(&store, &plan.model, plan.digest.as_deref()).map_err(|error| {
        let field = match error {
            ModelError::Digest { .. } => "model.digest",
            // Whoever showed credentials in vain has to look at them first.
            ModelError::Store(StoreError::Forbidden { .. }) if plan.credentials_ref.is_some() => {
                "model.credentialsRef"
            }
            _ => "model.uri",
        };
        Failure {
            class: error.class(),
            message: error.to_string(),
            field: Some(field.to_owned()),
            work: None,
        }
    })?;
    let names = Names {
        name: plan.name.clone(),
        revision: plan.revision.clone(),
    };
    let served = Served::new(names, model);
    served.warm_up(plan.warmup.as_ref())?;
    Ok(served)
}
