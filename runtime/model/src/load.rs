//! Reading an artifact that may be damaged, hostile or another one than it should be.

use std::collections::BTreeMap;

use candle_core::Device;
use sconce_contract::artifact::{
    MANIFEST_FILE, MANIFEST_SCHEMA, NETWORK_FILE, PREPROCESS_FILE, WEIGHTS_FILE,
};
use sconce_contract::{FileDigest, Manifest, Network, Preprocess};
use sconce_engine::Sequential;
use sconce_store::{Store, StoreError, shown};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::signature::Signature;
use crate::{Model, ModelError, weights};

/// Most bytes of a manifest.
const MANIFEST_LIMIT: u64 = 1 << 20;
/// Most bytes of all other files: far above what fits a network of 64 layers on one machine.
const FILES_LIMIT: u64 = 64 << 30;
/// Most files in an artifact.
const FILES: usize = 64;

impl Model {
    /// Reads the artifact at `uri`, a folder, and checks it; against `digest` too where one is asked for.
    pub fn load(store: &Store, uri: &str, digest: Option<&str>) -> Result<Model, ModelError> {
        let (manifest, mut files) = files(store, uri, digest)?;
        let network: Network = parse(uri, NETWORK_FILE, &take(&mut files, uri, NETWORK_FILE)?)?;
        let preprocess: Preprocess = parse(uri, PREPROCESS_FILE, &take(&mut files, uri, PREPROCESS_FILE)?)?;
        let signature = Signature::of(&network, &preprocess)?;
        let bytes = take(&mut files, uri, WEIGHTS_FILE)?;
        let weights = weights::read(&bytes).map_err(|reason| damaged(uri, WEIGHTS_FILE, reason))?;
        drop(bytes);
        let network = Sequential::from_weights(&network, signature.inputs, &weights, &Device::Cpu).map_err(
            |error| ModelError::Unfit {
                reason: error.to_string(),
            },
        )?;
        Ok(Model::new(manifest, preprocess, signature, network))
    }
}

/// Files that a model is made of.
const READ: [&str; 3] = [NETWORK_FILE, PREPROCESS_FILE, WEIGHTS_FILE];

/// The manifest and the bytes of the files that a model is made of. Of every file that it lists, size and SHA-256 are what it
/// states.
pub(crate) fn files(
    store: &Store,
    uri: &str,
    digest: Option<&str>,
) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), ModelError> {
    let uri = uri.trim_end_matches('/');
    let (manifest, _) = contents(store, uri, digest)?;
    let mut files = BTreeMap::new();
    for (name, listed) in &manifest.files {
        let bytes = file(store, uri, name, listed)?;
        // What is written for others is as large as the weights.
        if READ.contains(&name.as_str()) {
            files.insert(name.clone(), bytes);
        }
    }
    Ok((manifest, files))
}

/// The manifest, of that digest where one is asked for, and its bytes.
pub(crate) fn contents(
    store: &Store,
    uri: &str,
    digest: Option<&str>,
) -> Result<(Manifest, Vec<u8>), ModelError> {
    let bytes = match store.read(&format!("{uri}/{MANIFEST_FILE}"), MANIFEST_LIMIT) {
        Err(StoreError::NotFound { .. }) => return Err(ModelError::Missing { uri: shown(uri) }),
        read => read?,
    };
    let manifest = manifest(uri, &bytes)?;
    let found = manifest.digest();
    if let Some(asked) = digest.filter(|asked| *asked != found) {
        return Err(ModelError::Digest {
            uri: shown(uri),
            found,
            asked: asked.to_owned(),
        });
    }
    Ok((manifest, bytes))
}

/// The bytes of a file, with the size and SHA-256 that the manifest states.
pub(crate) fn file(store: &Store, uri: &str, name: &str, listed: &FileDigest) -> Result<Vec<u8>, ModelError> {
    let bytes = match store.read(&format!("{uri}/{name}"), listed.size) {
        Err(StoreError::NotFound { .. }) => return Err(damaged(uri, name, "is missing")),
        Err(StoreError::TooLarge { .. }) => {
            return Err(damaged(
                uri,
                name,
                format!("is larger than the {} bytes in the manifest", listed.size),
            ));
        }
        read => read?,
    };
    if bytes.len() as u64 != listed.size {
        let reason = format!(
            "has {} bytes instead of the {} in the manifest",
            bytes.len(),
            listed.size
        );
        return Err(damaged(uri, name, reason));
    }
    if FileDigest::of(&bytes) != *listed {
        return Err(damaged(uri, name, "has another SHA-256 than the manifest says"));
    }
    Ok(bytes)
}

/// Parses a manifest and refuses one that could lead astray.
fn manifest(uri: &str, bytes: &[u8]) -> Result<Manifest, ModelError> {
    #[derive(Deserialize)]
    struct Layout {
        schema: u64,
    }
    let Layout { schema } = parse(uri, MANIFEST_FILE, bytes)?;
    if schema != u64::from(MANIFEST_SCHEMA) {
        return Err(ModelError::Schema {
            uri: shown(uri),
            found: schema,
            known: MANIFEST_SCHEMA,
        });
    }
    let manifest: Manifest = parse(uri, MANIFEST_FILE, bytes)?;
    if manifest.files.len() > FILES {
        return Err(damaged(
            uri,
            MANIFEST_FILE,
            format!("lists more than {FILES} files"),
        ));
    }
    for name in manifest.files.keys() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name == MANIFEST_FILE || name.starts_with('.') || !name.chars().all(plain) {
            return Err(damaged(
                uri,
                MANIFEST_FILE,
                format!("lists a file {name:?}, which is not a usable name"),
            ));
        }
    }
    let total = manifest
        .files
        .values()
        .try_fold(0_u64, |total, file| total.checked_add(file.size));
    if total.is_none_or(|total| total > FILES_LIMIT) {
        return Err(damaged(
            uri,
            MANIFEST_FILE,
            format!("lists more than {FILES_LIMIT} bytes"),
        ));
    }
    Ok(manifest)
}

fn take(files: &mut BTreeMap<String, Vec<u8>>, uri: &str, name: &str) -> Result<Vec<u8>, ModelError> {
    files
        .remove(name)
        .ok_or_else(|| damaged(uri, MANIFEST_FILE, format!("does not list {name}")))
}

fn parse<T: DeserializeOwned>(uri: &str, file: &str, bytes: &[u8]) -> Result<T, ModelError> {
    serde_json::from_slice(bytes)
        .map_err(|error| damaged(uri, file, format!("cannot be understood ({error})")))
}

fn damaged(uri: &str, file: &str, reason: impl Into<String>) -> ModelError {
    ModelError::Damaged {
        uri: shown(uri),
        file: file.to_owned(),
        reason: reason.into(),
    }
}
