//! `hdfs://NAMENODE[:PORT]/PATH`: a file of a Hadoop cluster.
//!
//! ```text
//!   Hdfs ──┬─ folder    files behind a hidden name, which a rename makes the final one
//!          └─ refusal   what the cluster says, to a sentence
//! ```
//!
//! The client is the crate `hdfs-native`'s. It asks the NameNode where a file's blocks are and takes them from the
//! DataNodes itself, another one where the first fails, and checks their sums.

mod folder;
mod refusal;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use hdfs_native::client::FileStatus;
use hdfs_native::{Client, ClientBuilder, HdfsError};

use crate::StoreError;
use crate::credentials::Variables;
use crate::runtime::threads;
use crate::scheme::{Scheme, Target, has_userinfo};
use refusal::Trouble;

/// As whom a cluster without Kerberos is asked: as Hadoop's own clients look for it.
const USER: &str = "HADOOP_USER_NAME";
/// Folder with `core-site.xml` and `hdfs-site.xml`: what a NameNode's address does not say.
const SETTINGS: &str = "HADOOP_CONF_DIR";
/// Where a NameNode listens, where nothing else is said (`dfs.namenode.rpc-address`).
const PORT: u16 = 8020;

/// Hadoop's patience is ten minutes: a pod's is that of the other stores, about 20 s.
const PATIENCE: [(&str, &str); 4] = [
    ("dfs.client.socket-timeout", "10000"),
    ("dfs.client.failover.max.attempts", "3"),
    ("dfs.client.failover.sleep.base.millis", "500"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
];

/// Longest that a NameNode may be silent, all tries together: the client itself waits for it for ever.
const SILENCE: Duration = Duration::from_secs(20);
/// Longest that a piece of a file may take to be on the disks of the DataNodes.
const WRITE: Duration = Duration::from_secs(60);

/// Most files that are listed.
const FILES: usize = 1_000_000;

pub(crate) struct Hdfs;

/// A file or a folder, and who can be asked for it.
struct Opened {
    client: Client,
    /// From the root, without a slash at its end; empty for the root itself.
    path: String,
}

impl Opened {
    fn new(target: &Target<'_>) -> Result<Self, StoreError> {
        let malformed = |reason: &str| StoreError::Malformed {
            uri: target.shown(),
            reason: reason.to_owned(),
        };
        if has_userinfo(target.rest) {
            return Err(malformed(
                "a user is not named in the URI: write hdfs://NAMENODE:PORT/PATH and put HADOOP_USER_NAME into the \
                 Secret that credentialsRef names",
            ));
        }
        let (cluster, path) = target.rest.split_once('/').unwrap_or((target.rest, ""));
        let path = path.trim_end_matches('/');
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if !cluster.chars().all(known) {
            return Err(malformed("write hdfs://NAMENODE:PORT/PATH"));
        }
        if !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(malformed("a path has no empty part, no '.' and no '..' in it"));
        }
        let client = target
            .connections
            .clusters
            .get(&format!("hdfs://{cluster}"), || {
                connect(&target.variables(&[&[SETTINGS]]), cluster).map_err(|error| {
                    StoreError::Unconfigured {
                        uri: target.shown(),
                        reason: error.to_string(),
                    }
                })
            })?;
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        Ok(Opened { client, path })
    }

    /// Does what takes requests, on the threads for them.
    fn run<T>(
        target: &Target<'_>,
        work: impl AsyncFnOnce(Self) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let opened = Self::new(target)?;
        threads(target)?
            .block_on(work(opened))
            .map_err(|trouble| trouble.told(target))
    }

    /// What is there, if anything is.
    async fn status(&self, path: &str) -> Result<Option<FileStatus>, HdfsError> {
        let path = if path.is_empty() { "/" } else { path };
        match within(SILENCE, self.client.get_file_info(path)).await {
            Ok(status) => Ok(Some(status)),
            Err(error) if refusal::is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All bytes of a file, at most `limit`.
    async fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, Trouble> {
        let before = self.status(path).await?.ok_or(Trouble::Absent)?;
        if before.isdir {
            return Err(Trouble::Folder);
        }
        if before.length as u64 > limit {
            return Err(Trouble::TooLarge(limit));
        }
        let file = within(SILENCE, self.client.read(path)).await?;
        let length = file.file_length();
        if length as u64 > limit {
            return Err(Trouble::TooLarge(limit));
        }
        let mut bytes = Vec::new();
        // The size is what the cluster claims; where there is no such room, memory grows with the bytes that arrive.
        let _ = bytes.try_reserve_exact(length);
        let mut parts = file.read_range_stream(0, length).boxed();
        while let Some(part) = parts.try_next().await? {
            bytes.extend_from_slice(&part);
        }
        let after = self.status(path).await?.ok_or(Trouble::Changed)?;
        if bytes.len() != length || written(&after) != written(&before) {
            return Err(Trouble::Changed);
        }
        Ok(bytes)
    }
}

/// What a cluster says within that time.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, HdfsError>>,
) -> Result<T, HdfsError> {
    let silent = |_| {
        let reason = format!("no answer within {} s", limit.as_secs());
        HdfsError::IOError(io::Error::new(io::ErrorKind::TimedOut, reason))
    };
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|late| Err(silent(late)))
}

/// What tells a file from the one that takes its place.
fn written(status: &FileStatus) -> (usize, u64) {
    (status.length, status.modification_time)
}

/// By the variables of Hadoop's own clients.
fn connect(variables: &Variables, cluster: &str) -> Result<Client, HdfsError> {
    let settings = variables.get(SETTINGS).filter(|folder| !folder.is_empty());
    // A name without a port is one of several NameNodes together, if there are settings to say so.
    let named = settings.is_some() || cluster.is_empty() || cluster.contains(':');
    let url = match named {
        true => format!("hdfs://{cluster}"),
        false => format!("hdfs://{cluster}:{PORT}"),
    };
    let mut builder = ClientBuilder::new().with_url(url).with_config(PATIENCE);
    if let Some(folder) = settings {
        builder = builder.with_config_dir(folder);
    }
    if let Some(user) = variables.get(USER) {
        builder = builder.with_user(user);
    }
    builder.build()
}

impl Scheme for Hdfs {
    fn read(&self, target: &Target<'_>, limit: u64) -> Result<Vec<u8>, StoreError> {
        Opened::run(target, async |opened| opened.read(&opened.path, limit).await)
    }

    fn exists(&self, target: &Target<'_>) -> Result<bool, StoreError> {
        Opened::run(target, async |opened| {
            Ok(opened.status(&opened.path).await?.is_some())
        })
    }

    fn write_folder(
        &self,
        target: &Target<'_>,
        name: &str,
        files: &BTreeMap<String, Vec<u8>>,
        _record: &str,
    ) -> Result<(), StoreError> {
        Opened::run(target, async |parent| folder::write(&parent, name, files).await)
    }

    fn grow_file(&self, target: &Target<'_>, bytes: &[u8], _known: usize) -> Result<(), StoreError> {
        Opened::run(target, async |file| folder::replace(&file, bytes).await)
    }

    fn folders(&self, target: &Target<'_>) -> Result<Vec<String>, StoreError> {
        Opened::run(target, async |parent| folder::names(&parent).await)
    }

    fn files(&self, target: &Target<'_>) -> Result<Option<Vec<String>>, StoreError> {
        Opened::run(target, async |folder| {
            let is_folder = |status: &FileStatus| status.isdir;
            if !folder.status(&folder.path).await?.as_ref().is_some_and(is_folder) {
                return Ok(None);
            }
            let mut listed = folder.client.list_status_iter(&folder.path, true).into_stream();
            let mut paths = Vec::new();
            while let Some(status) = within(SILENCE, listed.try_next()).await? {
                let below = status.path.strip_prefix(&folder.path);
                let below = below.filter(|_| !status.isdir);
                paths.extend(below.map(|path| path.trim_start_matches('/').to_owned()));
                if paths.len() > FILES {
                    return Err(Trouble::TooMany(FILES));
                }
            }
            paths.sort_unstable();
            Ok(Some(paths))
        })
    }

    fn remove_folder(&self, target: &Target<'_>, name: &str) -> Result<(), StoreError> {
        Opened::run(target, async |parent| folder::remove(&parent, name).await)
    }

    fn tidy(&self, target: &Target<'_>, age: Duration) -> Result<(), StoreError> {
        Opened::run(target, async |parent| folder::tidy(&parent, age).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_node_that_says_nothing_is_not_waited_for_for_ever() {
        let silent = within(Duration::from_millis(1), std::future::pending::<Result<(), _>>());
        let error = silent.await.unwrap_err();
        assert!(error.to_string().contains("no answer within"), "{error}");
        assert!(matches!(error, HdfsError::IOError(_)));
    }
}
