//! What every scheme can do.

use std::collections::BTreeMap;
use std::time::Duration;

use sconce_contract::Mount;

use crate::{Credentials, StoreError};

/// One way to reach bytes.
pub(crate) trait Scheme: Sync {
    /// All bytes, at most `limit`.
    fn read(&self, target: &Target<'_>, limit: u64) -> Result<Vec<u8>, StoreError>;

    /// Whether there is something.
    fn exists(&self, target: &Target<'_>) -> Result<bool, StoreError>;

    /// Writes a folder under the target, whole or not at all. A scheme that only reads says so.
    fn write_folder(
        &self,
        target: &Target<'_>,
        _name: &str,
        _files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly { uri: target.shown() })
    }

    /// Names of the folders in the target that are not hidden; none where the target does not exist.
    fn folders(&self, target: &Target<'_>) -> Result<Vec<String>, StoreError> {
        Err(StoreError::ReadOnly { uri: target.shown() })
    }

    /// Removes the folder `name` in the target, in one step for whoever lists it.
    fn remove_folder(&self, target: &Target<'_>, _name: &str) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly { uri: target.shown() })
    }

    /// Removes what crashed writers left in the target longer than `age` ago, and the target where that leaves it
    /// empty.
    fn tidy(&self, target: &Target<'_>, _age: Duration) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly { uri: target.shown() })
    }
}

/// A URI, split, with what is known about this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The URI as it was written.
    pub(crate) uri: &'a str,
    /// What follows `://`.
    pub(crate) rest: &'a str,
    /// Folders on this machine.
    pub(crate) mounts: &'a [Mount],
    /// What web servers are shown.
    pub(crate) credentials: Option<&'a Credentials>,
}

impl Target<'_> {
    /// The URI for messages: messages end up in the status of an object, where a password or the signature
    /// in a query must not.
    pub(crate) fn shown(&self) -> String {
        let (before, query) = match self.uri.split_once('?') {
            Some((before, _)) => (before, "?…"),
            None => (self.uri, ""),
        };
        let Some((scheme, rest)) = before.split_once("://") else {
            return before.to_owned();
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        format!("{scheme}://{host}{path}{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_neither_a_password_nor_a_signature() {
        for (uri, shown) in [
            (
                "https://me:secret@host/path@2/x?sig=secret",
                "https://host/path@2/x?…",
            ),
            ("pvc://claim/a/b", "pvc://claim/a/b"),
            ("http://host", "http://host"),
        ] {
            assert_eq!(
                Target {
                    uri,
                    rest: "",
                    mounts: &[],
                    credentials: None,
                }
                .shown(),
                shown
            );
        }
    }
}
