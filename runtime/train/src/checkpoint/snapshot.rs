//! A checkpoint that is handed from one process to another.

use sconce_store::StoreError;

use super::place::Files;
use super::state::{self, RECORD_FILE, RECORD_LIMIT, STATE_FILE};
use super::{Checkpoints, Unusable, at_uri};
use crate::TrainError;

/// A checkpoint as it lies in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Name of its folder.
    pub name: String,
    /// Its files.
    pub files: Files,
}

impl Snapshot {
    /// Of the bytes that [`Self::parts`] gave.
    pub fn of(name: String, record: Vec<u8>, state: Vec<u8>) -> Self {
        Snapshot {
            name,
            files: [(RECORD_FILE.to_owned(), record), (STATE_FILE.to_owned(), state)].into(),
        }
    }

    /// What the record and the state are; of files that are not there nothing.
    pub fn parts(files: &Files) -> [&[u8]; 2] {
        [RECORD_FILE, STATE_FILE].map(|file| files.get(file).map_or(&[][..], Vec::as_slice))
    }

    /// A file, of at most so many bytes.
    ///
    /// # Errors
    /// It is not there, or longer.
    pub fn file(&self, file: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        let uri = || format!("{}/{file}", self.name);
        let bytes = self
            .files
            .get(file)
            .ok_or_else(|| StoreError::NotFound { uri: uri() })?;
        match bytes.len() as u64 <= limit {
            true => Ok(bytes.clone()),
            false => Err(StoreError::TooLarge { uri: uri(), limit }),
        }
    }
}

impl Checkpoints {
    /// The newest checkpoint that is whole, of this run and of the same data, to be handed on; nothing where there is none.
    ///
    /// # Errors
    /// The place cannot be looked at.
    pub fn hand_on(&mut self) -> Result<Option<Snapshot>, TrainError> {
        let found = self.resume(|_| Ok(()))?;
        let Some(mark) = found.and(self.newest.as_ref()) else {
            return Ok(None);
        };
        let name = mark.uri.rsplit('/').next().unwrap_or_default().to_owned();
        let read = |file, limit| self.place.read(&name, file, limit).map_err(at_uri);
        let (record, state) = (read(RECORD_FILE, RECORD_LIMIT)?, read(STATE_FILE, u64::MAX)?);
        Ok(Some(Snapshot::of(name, record, state)))
    }

    /// Keeps a checkpoint that another process made of this run, and removes what is no longer kept.
    ///
    /// # Errors
    /// It is none of this run, or could not be written.
    pub fn take_in(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let read = |file: &str, limit| snapshot.file(file, limit);
        let saved = state::read(read, &snapshot.name, &self.subject);
        let saved = saved.map_err(|unusable| StoreError::Malformed {
            uri: format!("{}/{}", self.place.uri(), snapshot.name),
            reason: match unusable {
                Unusable::Damaged(reason) | Unusable::Unfit(reason) => reason,
                Unusable::Unseen(error) => error.to_string(),
            },
        })?;
        let uri = self.place.write(&snapshot.name, &snapshot.files)?;
        self.newest = Some(saved.mark(uri));
        self.prune();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sconce_contract::FileDigest;
    use sconce_contract::digest::sha256_hex;
    use sconce_store::Store;
    use serde_json::json;

    use super::*;
    use crate::checkpoint::Subject;

    #[test]
    fn what_is_no_checkpoint_of_the_run_is_not_taken_in() {
        let folder = tempfile::tempdir().unwrap();
        let mount = json!({"uri": "pvc://data", "path": folder.path()});
        let store = Store::new(vec![serde_json::from_value(mount).unwrap()]);
        let plan = serde_json::from_value(json!({"uri": "pvc://data/saved"})).unwrap();
        let subject = Subject {
            name: "a".to_owned(),
            run: "b".to_owned(),
            asked: "c".to_owned(),
            data: FileDigest::of(b"table"),
            trainer: "t".to_owned(),
        };
        let mut checkpoints = Checkpoints::new(&store, &plan, subject);
        let named = |record: &[u8]| format!("step-{:012}-{}", 1, &sha256_hex(record)[..16]);
        for (name, record, says) in [
            (named(b"other"), &b"{}"[..], "is not what its folder's name says"),
            (
                "../../elsewhere".to_owned(),
                b"{}",
                "is not what its folder's name says",
            ),
            (String::new(), b"{}", "is not what its folder's name says"),
            (named(b"{}"), b"{}", "another layout"),
            (named(b"\xff"), b"\xff", "another layout"),
        ] {
            let snapshot = Snapshot::of(name, record.to_vec(), Vec::new());
            let error = checkpoints.take_in(&snapshot).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(
            folder.path().read_dir().unwrap().count(),
            0,
            "something was written"
        );
        assert_eq!(checkpoints.hand_on().unwrap(), None);
    }
}
