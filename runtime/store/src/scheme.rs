//! What every scheme can do.

use std::collections::BTreeMap;
use std::time::Duration;

use sconce_contract::Mount;

use crate::connections::Connections;
use crate::content::Content;
use crate::credentials::{self, Variables};
use crate::{Credentials, StoreError};

/// Most bytes that are read whole because there is no other way.
const WHOLE: u64 = 4 << 30;

/// One way to reach bytes.
pub(crate) trait Scheme: Sync {
    /// All bytes, at most `limit`.
    fn read(&self, target: &Target<'_>, limit: u64) -> Result<Vec<u8>, StoreError>;

    /// The same to be read from its beginning to its end. A scheme that knows no better has all of it in memory.
    fn open<'a>(&self, target: &Target<'a>, limit: u64) -> Result<Content<'a>, StoreError> {
        self.read(target, limit.min(WHOLE)).map(Content::bytes)
    }

    /// Whether there is something.
    fn exists(&self, target: &Target<'_>) -> Result<bool, StoreError>;

    /// Writes a folder under the target, whole or not at all; where that takes several steps, the file `record` last.
    /// A scheme that only reads says so.
    fn write_folder(
        &self,
        target: &Target<'_>,
        _name: &str,
        _files: &BTreeMap<String, Vec<u8>>,
        _record: &str,
    ) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly { uri: target.shown() })
    }

    /// Makes the target a file of these bytes, of which it has the first `known` already.
    fn grow_file(&self, target: &Target<'_>, _bytes: &[u8], _known: usize) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly { uri: target.shown() })
    }

    /// Names of the folders in the target that are not hidden; none where the target does not exist.
    fn folders(&self, target: &Target<'_>) -> Result<Vec<String>, StoreError> {
        Err(StoreError::ReadOnly { uri: target.shown() })
    }

    /// Paths of all files below the target, in order; nothing where it is no folder, or nobody can list it.
    fn files(&self, _target: &Target<'_>) -> Result<Option<Vec<String>>, StoreError> {
        Ok(None)
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
    /// What servers are shown.
    pub(crate) credentials: Option<&'a Credentials>,
    /// Clients that were made for earlier targets.
    pub(crate) connections: &'a Connections,
}

impl Target<'_> {
    /// What a client of a cloud goes by: the credentials, with these of the environment's variables that are none; or
    /// the whole environment where no credentials are given. Of names for the same thing, which stand together, what the
    /// credentials say of one counts for all.
    pub(crate) fn variables(&self, settings: &[&[&str]]) -> Variables {
        let all = credentials::environment();
        // Where no Secret was given, as in a rehearsal, a person's own environment has what it would have had.
        match self.credentials.map(Credentials::variables) {
            Some(given) if !given.is_empty() => merged(all, given, settings),
            _ => all,
        }
    }

    /// The URI for messages.
    pub(crate) fn shown(&self) -> String {
        shown(self.uri)
    }
}

fn merged(mut all: Variables, given: &Variables, settings: &[&[&str]]) -> Variables {
    let is_open = |names: &&&[&str]| !names.iter().any(|name| given.contains_key(*name));
    let open: Vec<&str> = settings
        .iter()
        .filter(is_open)
        .flat_map(|names| names.iter().copied())
        .collect();
    all.retain(|name, _| open.contains(&name.as_str()));
    all.extend(given.clone());
    all
}

/// A URI for messages: messages end up in logs and in the status of an object, where a password or the signature in a
/// query must not.
pub fn shown(uri: &str) -> String {
    let (before, rest) = match uri.find(['?', '#']) {
        Some(end) => (&uri[..end], &uri[end..=end]),
        None => (uri, ""),
    };
    let hidden = if rest.is_empty() { "" } else { "…" };
    let Some((scheme, location)) = before.split_once("://") else {
        return format!("{before}{rest}{hidden}");
    };
    let (authority, path) = split_authority(location);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}{rest}{hidden}")
}

/// Whether a URI has a user's name or password in it, given what follows `://`.
pub(crate) fn has_userinfo(location: &str) -> bool {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    split_authority(&location[..end]).0.contains('@')
}

fn split_authority(location: &str) -> (&str, &str) {
    location.split_at(location.find('/').unwrap_or(location.len()))
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
            ("https://host/x#token=secret?a", "https://host/x#…"),
            ("s3://key:secret@bucket/x", "s3://bucket/x"),
            ("x?sig=secret", "x?…"),
        ] {
            assert_eq!(super::shown(uri), shown);
        }
    }

    #[test]
    fn what_the_secret_says_is_not_outdone_by_another_name_for_the_same() {
        let variables = |all: &[(&str, &str)]| -> Variables {
            all.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let pod = variables(&[
            ("AWS_ENDPOINT_URL_S3", "http://a"),
            ("AWS_REGION", "r"),
            ("AWS_ACCESS_KEY_ID", "pod"),
        ]);
        let secret = variables(&[("AWS_ENDPOINT_URL", "https://b"), ("AWS_ACCESS_KEY_ID", "secret")]);
        let settings: &[&[&str]] = &[
            &["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"],
            &["AWS_REGION", "AWS_DEFAULT_REGION"],
        ];
        let expected = variables(&[
            ("AWS_ENDPOINT_URL", "https://b"),
            ("AWS_REGION", "r"),
            ("AWS_ACCESS_KEY_ID", "secret"),
        ]);
        assert_eq!(merged(pod, &secret, settings), expected);
    }

    #[test]
    fn a_name_or_password_is_found_before_the_path_only() {
        for (location, there) in [
            ("me:secret@host/x", true),
            ("me@host?x", true),
            ("host/a@b", false),
            ("host?mail=a@b", false),
            ("host#a@b", false),
        ] {
            assert_eq!(has_userinfo(location), there, "{location}");
        }
    }
}
