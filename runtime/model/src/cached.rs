//! A model by way of a cache.
//!
//! A cache is there to be quick, so whatever is wrong with it costs time and nothing else: the model is then read
//! past it, and the report says why. Only what is wrong with the model itself is an error.

use std::collections::BTreeMap;

use sconce_contract::artifact::MANIFEST_FILE;
use sconce_contract::{CacheOutcome, CacheReport};
use sconce_store::cache::{Cache, Entry, FillError, Place};
use sconce_store::{Store, StoreError};

use crate::load::{contents, file};
use crate::{Model, ModelError};

/// A model, and what became of the look into the cache.
#[derive(Debug)]
pub struct Cached {
    /// The model.
    pub model: Model,
    /// Keeps the copy in the cache; nothing where there is none.
    pub entry: Option<Entry>,
    /// What became of the look.
    pub report: CacheReport,
}

impl Model {
    /// As [`Model::load`], from the cache where it is there, and by way of it where it is not.
    pub fn load_cached(store: &Store, uri: &str, digest: &str, cache: &Cache) -> Result<Cached, ModelError> {
        let uri = uri.trim_end_matches('/');
        let mut wrong = None;
        // A copy that is wrong is fetched anew, once: what is wrong again is wrong at its source.
        for _ in 0..2 {
            let (entry, outcome, evicted) = match cache.open(digest) {
                Ok(Place::Held(entry)) => (entry, CacheOutcome::Hit, 0),
                Ok(Place::Empty(slot)) => {
                    let (manifest, bytes) = contents(store, uri, Some(digest))?;
                    let mut sizes: BTreeMap<_, _> = manifest
                        .files
                        .iter()
                        .map(|(name, listed)| (name.clone(), listed.size))
                        .collect();
                    sizes.insert(MANIFEST_FILE.to_owned(), bytes.len() as u64);
                    let filled = slot.fill(&sizes, |name| match manifest.files.get(name) {
                        Some(listed) => file(store, uri, name, listed),
                        None => Ok(bytes.clone()),
                    });
                    match filled {
                        Ok((entry, evicted)) => (entry, CacheOutcome::Fetched, evicted),
                        Err(FillError::Source(error)) => return Err(error),
                        Err(FillError::Cache(error)) => {
                            return past(store, uri, digest, cache, &error.to_string());
                        }
                    }
                }
                Err(error) => return past(store, uri, digest, cache, &error.to_string()),
            };
            let local = format!("file://{}", entry.path().display());
            match Model::load(&Store::default(), &local, Some(digest)) {
                Ok(model) => {
                    let report = CacheReport {
                        outcome,
                        bytes: cache.bytes().unwrap_or_default(),
                        evicted,
                        reason: wrong,
                    };
                    return Ok(Cached {
                        model,
                        entry: Some(entry),
                        report,
                    });
                }
                // Every digest was right: it is so where it comes from.
                Err(error @ ModelError::Unfit { .. }) => return Err(error),
                // Nothing is known to be wrong with the copy, which others may hold.
                Err(error) if !is_of_the_copy(&error) => {
                    return past(store, uri, digest, cache, &error.to_string());
                }
                Err(error) => {
                    let removed = entry.discard();
                    wrong = Some(format!("a copy in the cache was removed: {error}"));
                    if let Err(error) = removed {
                        return past(store, uri, digest, cache, &error.to_string());
                    }
                }
            }
        }
        past(store, uri, digest, cache, &wrong.unwrap_or_default())
    }
}

/// Whether it is the bytes of a copy that are wrong, rather than the way to them.
fn is_of_the_copy(error: &ModelError) -> bool {
    matches!(
        error,
        ModelError::Damaged { .. }
            | ModelError::Digest { .. }
            | ModelError::Missing { .. }
            | ModelError::Schema { .. }
            | ModelError::Store(
                StoreError::TooLarge { .. } | StoreError::NotAFile { .. } | StoreError::Forbidden { .. }
            )
    )
}

fn past(store: &Store, uri: &str, digest: &str, cache: &Cache, reason: &str) -> Result<Cached, ModelError> {
    let model = Model::load(store, uri, Some(digest))?;
    Ok(Cached {
        model,
        entry: None,
        report: CacheReport {
            outcome: CacheOutcome::NotCached,
            bytes: cache.bytes().unwrap_or_default(),
            evicted: 0,
            reason: Some(reason.to_owned()),
        },
    })
}
