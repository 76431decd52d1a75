//! Who asks for what a plan names: each location may have credentials of its own.

use sconce_contract::credentials::{CHECKPOINT_CREDENTIALS, DATASET_CREDENTIALS, OUTPUT_CREDENTIALS};
use sconce_contract::{CheckpointPlan, TrainingPlan};
use sconce_store::{Credentials, Store, StoreError};

use crate::TrainError;

/// For the table.
pub fn of_dataset(plan: &TrainingPlan) -> Store {
    store(plan, plan.dataset.credentials_ref.is_some(), DATASET_CREDENTIALS)
}

/// For the artifact.
pub fn of_output(plan: &TrainingPlan) -> Store {
    store(plan, plan.output_credentials_ref.is_some(), OUTPUT_CREDENTIALS)
}

/// For the checkpoints, which are beside the artifacts where nothing else is said.
pub fn of_checkpoints(plan: &TrainingPlan, checkpoint: &CheckpointPlan) -> Store {
    let output = plan.output.trim_end_matches('/');
    let beside = checkpoint
        .uri
        .strip_prefix(output)
        .is_some_and(|rest| rest.starts_with('/'));
    match checkpoint.credentials_ref.is_none() && beside {
        true => of_output(plan),
        false => store(plan, checkpoint.credentials_ref.is_some(), CHECKPOINT_CREDENTIALS),
    }
}

/// What the store says of `NAME.uri`, told by the field to change: whoever showed credentials in vain has to look at
/// them first.
pub fn refused(uri: &'static str, credentials: &'static str, given: bool, source: StoreError) -> TrainError {
    let field = match given && source.is_about_credentials() {
        true => credentials,
        false => uri,
    };
    TrainError::Store { field, source }
}

fn store(plan: &TrainingPlan, guarded: bool, prefix: &str) -> Store {
    let store = Store::new(plan.mounts.clone());
    match guarded {
        true => store.with_credentials(Credentials::from_environment(prefix)),
        false => store,
    }
}
