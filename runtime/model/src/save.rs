//! Writing an artifact.

use std::collections::BTreeMap;

use candle_core::Tensor;
use sconce_contract::artifact::{
    KERAS_FILE, MANIFEST_FILE, MANIFEST_SCHEMA, ModelFormat, NETWORK_FILE, PREPROCESS_FILE, WEIGHTS_FILE,
};
use sconce_contract::{
    Artifact, Facts, FileDigest, Hyperparameters, Manifest, Metric, Network, Preprocess, SearchRecord,
};
use sconce_store::{Store, StoreError};
use serde::Serialize;

use crate::signature::Signature;
use crate::{ModelError, keras, load, weights};

/// A trained model, before it is written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Name of the training.
    pub name: String,
    /// The run, see [`sconce_contract::TrainingPlan::run`].
    pub run: String,
    /// The network.
    pub network: Network,
    /// What was learned and measured: `layers.<index>.<name>`, F32.
    pub weights: BTreeMap<String, Tensor>,
    /// How a row becomes the input of the network.
    pub preprocess: Preprocess,
    /// In which formats it is written beside our own.
    pub formats: Vec<ModelFormat>,
    /// What the model reached on the held-out rows.
    pub metrics: Vec<Metric>,
    /// The bytes that it learned from.
    pub data: FileDigest,
    /// Rows of the table.
    pub rows: u64,
    /// What is in the table, and what the model confused.
    pub facts: Facts,
    /// Seed of the run.
    pub seed: u64,
    /// How it learned.
    pub hyperparameters: Option<Hyperparameters>,
    /// The search that it came out of.
    pub search: Option<SearchRecord>,
    /// Version of the trainer.
    pub trainer: String,
}

/// Writes the draft under the URI `output`, into a folder named by its digest, whole or not at all.
///
/// The same draft gives the same bytes. Where the folder exists because another run learned the same bits, its
/// files are checked and left as they are, and the manifest that is returned is this run's.
pub fn save(store: &Store, output: &str, draft: Draft) -> Result<(Manifest, Artifact), ModelError> {
    save_with(store, output, draft, |_, _| BTreeMap::new())
}

/// The same with files for people beside those of the model: the manifest does not list them, so they change no digest,
/// and no server reads them.
pub fn save_with(
    store: &Store,
    output: &str,
    draft: Draft,
    describe: impl FnOnce(&Manifest, &Artifact) -> BTreeMap<String, Vec<u8>>,
) -> Result<(Manifest, Artifact), ModelError> {
    Signature::of(&draft.network, &draft.preprocess)?;
    let mut files = BTreeMap::from([
        (NETWORK_FILE.to_owned(), json(&draft.network)?),
        (PREPROCESS_FILE.to_owned(), json(&draft.preprocess)?),
        (
            WEIGHTS_FILE.to_owned(),
            weights::write(&draft.weights).map_err(|reason| ModelError::Unfit { reason })?,
        ),
    ]);
    if draft.formats.contains(&ModelFormat::KerasH5) {
        let file = keras::write(&draft.network, &draft.preprocess, &draft.weights)?;
        files.insert(KERAS_FILE.to_owned(), file);
    }
    let manifest = Manifest {
        schema: MANIFEST_SCHEMA,
        name: draft.name,
        run: draft.run,
        files: files
            .iter()
            .map(|(name, bytes)| (name.clone(), FileDigest::of(bytes)))
            .collect(),
        metrics: draft.metrics,
        data: draft.data,
        rows: draft.rows,
        facts: draft.facts,
        seed: draft.seed,
        hyperparameters: draft.hyperparameters,
        search: draft.search,
        trainer: draft.trainer,
    };
    files.insert(MANIFEST_FILE.to_owned(), json(&manifest)?);
    let digest = manifest.digest();
    let name = digest.trim_start_matches("sha256:");
    let artifact = Artifact {
        uri: format!("{}/{name}", output.trim_end_matches('/')),
        size_bytes: manifest.size_bytes(),
        weights_bytes: manifest.weights_bytes(),
        digest: digest.clone(),
    };
    for (name, bytes) in describe(&manifest, &artifact) {
        files.entry(name).or_insert(bytes);
    }
    match store.write_folder(output, name, &files, MANIFEST_FILE) {
        Err(StoreError::Conflict { .. }) => drop(load::files(store, &artifact.uri, Some(&digest))?),
        written => drop(written?),
    }
    Ok((manifest, artifact))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ModelError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| ModelError::Unfit {
        reason: format!("a part cannot be written as JSON: {error}"),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}
