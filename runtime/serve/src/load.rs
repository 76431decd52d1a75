//! From the plan to a model that has answered its warm-up; every failure names what to change.

use std::path::Path;

use sconce_contract::credentials::MODEL_CREDENTIALS;
use sconce_contract::{CacheReport, Device, Failure, FailureClass, ServingPlan};
use sconce_engine::{EngineError, device::is_built_for};
use sconce_model::{Cached, Model, ModelError};
use sconce_store::cache::Cache;
use sconce_store::{Credentials, Store};

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
    if plan.cache.is_some() && plan.digest.is_none() {
        return Err(Failure::bad_input(
            "model.digest",
            "a cache finds a model by its digest: give it, or leave the cache out",
        ));
    }
    if !is_built_for(plan.device) {
        let here = if is_built_for(Device::Cuda) {
            "the CPU and CUDA"
        } else {
            "the CPU"
        };
        return Err(Failure::bad_input(
            "accelerator.profile",
            format!(
                "this server computes on {here}, not on {:?}: choose a profile of that device, or an image built \
                 for yours",
                plan.device
            ),
        ));
    }
    Ok(plan)
}

/// Loads the model and warms it up; also what became of the look into the cache, where the plan has one. Blocks.
pub fn load(plan: &ServingPlan) -> Result<(Served, Option<CacheReport>), Failure> {
    let mut store = Store::new(plan.mounts.clone());
    if plan.credentials_ref.is_some() {
        store = store.with_credentials(Credentials::from_environment(MODEL_CREDENTIALS));
    }
    let read = read(plan, &store).map_err(|error| {
        let field = match error {
            ModelError::Digest { .. } => "model.digest",
            // Whoever showed credentials in vain has to look at them first.
            ModelError::Store(ref said) if plan.credentials_ref.is_some() && said.is_about_credentials() => {
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
    let on_device = |model: Model| {
        let failed = |error: EngineError| Failure::bad_input("accelerator.profile", error.to_string());
        model.on(plan.device).map_err(failed)
    };
    let (served, report) = match read {
        Read::Plainly(model) => (Served::new(names, on_device(model)?), None),
        Read::ByCache(Cached { model, entry, report }) => {
            let mut served = Served::new(names, on_device(model)?);
            served.entry = entry;
            (served, Some(report))
        }
    };
    served.warm_up(plan.warmup.as_ref())?;
    Ok((served, report))
}

enum Read {
    Plainly(Model),
    ByCache(Cached),
}

fn read(plan: &ServingPlan, store: &Store) -> Result<Read, ModelError> {
    let by_cache = plan.cache.as_ref().zip(plan.digest.as_deref());
    let Some((asked, digest)) = by_cache else {
        return Model::load(store, &plan.model, plan.digest.as_deref()).map(Read::Plainly);
    };
    let cache = match Cache::new(asked.path.clone(), &asked.scope, asked.size_limit) {
        Ok(cache) => cache,
        Err(error) => {
            tracing::warn!(%error, "the model is served without a cache");
            return Model::load(store, &plan.model, Some(digest)).map(Read::Plainly);
        }
    };
    Model::load_cached(store, &plan.model, digest, &cache).map(Read::ByCache)
}
