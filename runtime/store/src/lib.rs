//! One way to read and write a URI.
//!
//! ```text
//!                      ┌─ file       file:///PATH          ─┐
//!   Store ── SCHEMES ──┼─ pvc        pvc://CLAIM/PATH       ├── confined (no way out of the mount)
//!   (mounts)           ├─ configmap  configmap://NAME/KEY  ─┘   └── folder (atomic writes)
//!                      ├─ oci        oci://IMAGE/PATH       ── confined, read only
//!                      ├─ http       http(s)://HOST/PATH   ──── retry, download (goes on where it broke off)
//!                      ├─ hf         hf://ORG/NAME/PATH    ──── http, read only
//!                      ├─ cloud      s3://, gs://, az://   ──── read (by parts), folder (the record last)
//!                      └─ hdfs       hdfs://NAMENODE/PATH  ──── read (by parts), folder (atomic writes)
//! ```
//!
//! A URI stays as the user wrote it; [`Mount`] says which are folders on this machine. Bytes are read whole, or from
//! their beginning to their end ([`Content`]), within a limit that the caller sets. A new scheme is one file with a [`Scheme`] in it and one line in
//! [`SCHEMES`]. Read `scheme.rs` first.

pub mod cache;
mod cloud;
mod configmap;
mod confined;
mod connections;
mod content;
mod credentials;
mod download;
mod error;
mod file;
mod folder;
mod hdfs;
mod hf;
mod http;
mod listing;
mod oci;
mod pvc;
mod retry;
mod runtime;
mod scheme;

use std::collections::BTreeMap;
use std::time::Duration;

use sconce_contract::Mount;

use connections::Connections;
pub use content::Content;
pub use credentials::Credentials;
pub use error::StoreError;
pub use scheme::shown;
use scheme::{Scheme, Target};

/// Every scheme, by its name.
const SCHEMES: &[(&str, &dyn Scheme)] = &[
    ("file", &file::File),
    ("pvc", &pvc::Pvc),
    ("configmap", &configmap::ConfigMap),
    ("oci", &oci::Oci),
    ("http", &http::Http),
    ("https", &http::Http),
    ("hf", &hf::Hf),
    ("s3", &cloud::S3),
    ("gs", &cloud::GS),
    ("az", &cloud::AZ),
    ("hdfs", &hdfs::Hdfs),
];

/// Reads and writes what URIs name.
#[derive(Clone, Debug, Default)]
pub struct Store {
    mounts: Vec<Mount>,
    credentials: Option<Credentials>,
    connections: Connections,
}

impl Store {
    /// A store that finds claims and ConfigMaps in these folders.
    pub fn new(mounts: Vec<Mount>) -> Self {
        Store {
            mounts,
            ..Store::default()
        }
    }

    /// The same store, which shows these credentials to web servers and clouds. Without any, a cloud is asked with what
    /// the environment of the process says.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        // Those that there are were made with others.
        self.connections = Connections::default();
        self
    }

    /// All bytes at the URI, at most `limit` of them.
    ///
    /// Blocks, as everything here does: up to about 20 s where a server is unreachable and longer where it is slow but
    /// alive, or breaks off and goes on. Asynchronous code calls it on a thread for blocking work.
    pub fn read(&self, uri: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        let (scheme, target) = self.resolve(uri)?;
        scheme.read(&target, limit)
    }

    /// What is at the URI, at most `limit` bytes, to be read from its beginning to its end.
    ///
    /// A file and an object of a cloud are read as they are asked for; what comes from elsewhere is whole in memory.
    pub fn open<'a>(&'a self, uri: &'a str, limit: u64) -> Result<Content<'a>, StoreError> {
        let (scheme, target) = self.resolve(uri)?;
        scheme.open(&target, limit)
    }

    /// Whether there is something at the URI. An unknown scheme or an unreachable server is an error.
    pub fn exists(&self, uri: &str) -> Result<bool, StoreError> {
        let (scheme, target) = self.resolve(uri)?;
        scheme.exists(&target)
    }

    /// Writes a folder `name` with these files under the parent, whole or not at all, and returns its URI.
    ///
    /// A folder that is there already with the same files is left as it is; with others it is
    /// [`StoreError::Conflict`]. `record` names the file that lists the others: where a folder cannot appear in one step,
    /// it is written last, so that whoever begins with it finds the others.
    pub fn write_folder(
        &self,
        parent_uri: &str,
        name: &str,
        files: &BTreeMap<String, Vec<u8>>,
        record: &str,
    ) -> Result<String, StoreError> {
        let (scheme, target) = self.resolve(parent_uri)?;
        for part in files.keys().map(String::as_str).chain([name]) {
            plain(part, &target)?;
        }
        scheme.write_folder(&target, name, files, record)?;
        Ok(format!("{}/{name}", parent_uri.trim_end_matches('/')))
    }

    /// Makes the URI a file of these bytes, of which the first `known` were written before: on a file system the others
    /// are put behind them, so that whoever has the file open goes on reading, and in a cloud the file is replaced. Of
    /// what a crash cuts short, the beginning is there.
    pub fn grow_file(&self, uri: &str, bytes: &[u8], known: usize) -> Result<(), StoreError> {
        let (scheme, target) = self.resolve(uri)?;
        scheme.grow_file(&target, bytes, known)
    }

    /// Names of the folders at the URI, in no order; none where there is nothing. Those that are being written or
    /// removed are left out.
    pub fn folders(&self, uri: &str) -> Result<Vec<String>, StoreError> {
        let (scheme, target) = self.resolve(uri)?;
        scheme.folders(&target)
    }

    /// Paths of all files below the URI, with `/` in between, in the order of their names; nothing where it is no
    /// folder, or its scheme knows none (a web server, a ConfigMap).
    pub fn files(&self, uri: &str) -> Result<Option<Vec<String>>, StoreError> {
        let (scheme, target) = self.resolve(uri)?;
        scheme.files(&target)
    }

    /// Removes the folder `name` under the parent with all that is in it. To whoever lists the parent it goes at
    /// once. It is no error where there is none.
    pub fn remove_folder(&self, parent_uri: &str, name: &str) -> Result<(), StoreError> {
        let (scheme, target) = self.resolve(parent_uri)?;
        plain(name, &target)?;
        scheme.remove_folder(&target, name)
    }

    /// Removes what crashed writers left at the URI longer than `age` ago, and the folder itself where that leaves
    /// it empty.
    pub fn tidy(&self, uri: &str, age: Duration) -> Result<(), StoreError> {
        let (scheme, target) = self.resolve(uri)?;
        scheme.tidy(&target, age)
    }

    fn resolve<'a>(&'a self, uri: &'a str) -> Result<(&'static dyn Scheme, Target<'a>), StoreError> {
        let unknown = || StoreError::UnknownScheme {
            uri: shown(uri),
            known: SCHEMES
                .iter()
                .map(|(name, _)| format!("{name}://"))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let (prefix, rest) = uri.split_once("://").ok_or_else(unknown)?;
        let (_, scheme) = SCHEMES
            .iter()
            .find(|(name, _)| *name == prefix)
            .ok_or_else(unknown)?;
        Ok((
            *scheme,
            Target {
                uri,
                rest,
                mounts: &self.mounts,
                credentials: self.credentials.as_ref(),
                connections: &self.connections,
            },
        ))
    }
}

/// Refuses a name that would be hidden or lead elsewhere.
fn plain(name: &str, target: &Target<'_>) -> Result<(), StoreError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return Err(StoreError::Name {
            uri: target.shown(),
            name: name.to_owned(),
        });
    }
    Ok(())
}
