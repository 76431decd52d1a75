//! Where the checkpoints of a run are.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use sconce_store::{Store, StoreError};

use super::state::RECORD_FILE;

/// The files of a checkpoint, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A place for the checkpoints of one run.
pub trait Place: Debug + Send {
    /// What it is called.
    fn uri(&self) -> &str;

    /// Removes what crashed writers left that long ago.
    ///
    /// # Errors
    /// The place cannot be looked at.
    fn tidy(&self, age: Duration) -> Result<(), StoreError>;

    /// Names of the checkpoints that are there whole, in no order, beside other names.
    ///
    /// # Errors
    /// The place cannot be looked at.
    fn names(&self) -> Result<Vec<String>, StoreError>;

    /// A file of a checkpoint, of at most so many bytes.
    ///
    /// # Errors
    /// It is not there, is longer, or cannot be read.
    fn read(&self, name: &str, file: &str, limit: u64) -> Result<Vec<u8>, StoreError>;

    /// Puts a checkpoint there, whole or not at all; its URI.
    ///
    /// # Errors
    /// It could not be written.
    fn write(&self, name: &str, files: &Files) -> Result<String, StoreError>;

    /// Removes a checkpoint.
    ///
    /// # Errors
    /// It could not be removed.
    fn remove(&self, name: &str) -> Result<(), StoreError>;
}

/// A folder of a store.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) store: Store,
    pub(super) uri: String,
}

impl Place for Folder {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn tidy(&self, age: Duration) -> Result<(), StoreError> {
        self.store.tidy(&self.uri, age)
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        self.store.folders(&self.uri)
    }

    fn read(&self, name: &str, file: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        self.store.read(&format!("{}/{name}/{file}", self.uri), limit)
    }

    fn write(&self, name: &str, files: &Files) -> Result<String, StoreError> {
        self.store.write_folder(&self.uri, name, files, RECORD_FILE)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.store.remove_folder(&self.uri, name)
    }
}
