//! Clients that were made for earlier URIs.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;

/// Clients of one kind by the beginning of the URIs that they are for. Each keeps its connections, and the credentials
/// that it was lent.
#[derive(Clone)]
pub(crate) struct Clients<C>(Arc<Mutex<HashMap<String, C>>>);

impl<C> Default for Clients<C> {
    fn default() -> Self {
        Clients(Arc::default())
    }
}

impl<C: Clone> Clients<C> {
    /// The client for a place, made where there is none yet.
    pub(crate) fn get<E>(&self, place: &str, make: impl FnOnce() -> Result<C, E>) -> Result<C, E> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(place) {
            return Ok(client.clone());
        }
        let client = make()?;
        known.insert(place.to_owned(), client.clone());
        Ok(client)
    }
}

/// All of them.
#[derive(Clone, Default)]
pub(crate) struct Connections {
    /// Of clouds, by bucket.
    pub(crate) buckets: Clients<Arc<dyn ObjectStore>>,
    /// Of Hadoop, by cluster.
    pub(crate) clusters: Clients<hdfs_native::Client>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections(…)")
    }
}
