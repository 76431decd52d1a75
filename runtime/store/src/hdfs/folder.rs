//! Folders that appear whole or not at all.
//!
//! The files are written in a hidden folder beside the final one, which then takes its name in one step: the NameNode
//! renames a folder as one change of its own records.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hdfs_native::client::FileStatus;
use hdfs_native::{HdfsError, WriteOptions};

use super::refusal::{Trouble, is_absent};
use super::{Opened, SILENCE, WRITE, within};

/// A hidden folder older than this was left by a crash: nothing we write takes longer.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Permissions of new folders, of which the cluster takes away its own mask (`fs.permissions.umask-mode`).
const FOLDER: u32 = 0o755;
/// Bytes that are written at a time.
const PIECE: usize = 16 << 20;
/// End of a hidden folder's name.
const TEMPORARY: &str = ".tmp";

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Writes the folder `name` under the parent.
pub(super) async fn write(
    parent: &Opened,
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), Trouble> {
    let place = format!("{}/{name}", parent.path);
    if parent.status(&place).await?.is_some() {
        return same(parent, &place, name, files).await;
    }
    sweep(parent, &format!(".{name}."), ABANDONED).await?;
    let hidden = format!("{}/{}", parent.path, hidden(name));
    let written = match fill(parent, &hidden, files).await {
        Ok(()) => within(SILENCE, parent.client.rename(&hidden, &place, false)).await,
        Err(error) => Err(error),
    };
    let Err(error) = written else { return Ok(()) };
    if let Err(error) = within(SILENCE, parent.client.delete(&hidden, true)).await {
        tracing::warn!(folder = hidden, %error, "a temporary folder could not be removed");
    }
    // Another writer may have been faster.
    match parent.status(&place).await {
        Ok(Some(_)) => same(parent, &place, name, files).await,
        _ => Err(error.into()),
    }
}

/// Writes a file anew, whole or not at all: who reads it sees the old one until then.
pub(super) async fn replace(file: &Opened, bytes: &[u8]) -> Result<(), Trouble> {
    let (parent, name) = file.path.rsplit_once('/').ok_or(Trouble::Folder)?;
    let hidden = format!("{parent}/{}", hidden(name));
    let written = match put(file, &hidden, bytes).await {
        Ok(()) => within(SILENCE, file.client.rename(&hidden, &file.path, true)).await,
        Err(error) => Err(error),
    };
    let Err(error) = written else { return Ok(()) };
    if let Err(error) = within(SILENCE, file.client.delete(&hidden, false)).await {
        tracing::warn!(file = hidden, %error, "a temporary file could not be removed");
    }
    Err(error.into())
}

/// Names of the folders in the parent, hidden ones left out.
pub(super) async fn names(parent: &Opened) -> Result<Vec<String>, Trouble> {
    let folders = listed(parent, &parent.path).await?.into_iter();
    let folders = folders.filter(|status| status.isdir);
    let names = folders.filter_map(|status| name(&status).map(str::to_owned));
    Ok(names.filter(|name| !name.starts_with('.')).collect())
}

/// Removes a folder: hidden first, so that nobody sees it half gone, also after a crash.
pub(super) async fn remove(parent: &Opened, name: &str) -> Result<(), Trouble> {
    let place = format!("{}/{name}", parent.path);
    if parent.status(&place).await?.is_none() {
        return Ok(());
    }
    let hidden = format!("{}/{}", parent.path, hidden(name));
    match within(SILENCE, parent.client.rename(&place, &hidden, false)).await {
        Err(error) if is_absent(&error) => return Ok(()),
        renamed => renamed?,
    }
    within(SILENCE, parent.client.delete(&hidden, true)).await?;
    Ok(())
}

/// Removes hidden folders of ours that are older than `age`, and the parent where nothing else is in it.
pub(super) async fn tidy(parent: &Opened, age: Duration) -> Result<(), Trouble> {
    sweep(parent, ".", age).await?;
    let there = parent.status(&parent.path).await?;
    if there.is_some_and(|status| status.isdir) && listed(parent, &parent.path).await?.is_empty() {
        // Without what may have come to be in it since.
        match within(SILENCE, parent.client.delete(&parent.path, false)).await {
            Ok(_) => {}
            Err(error) if is_absent(&error) || !listed(parent, &parent.path).await?.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn fill(parent: &Opened, folder: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<(), HdfsError> {
    within(SILENCE, parent.client.mkdirs(folder, FOLDER, true)).await?;
    for (name, bytes) in files {
        put(parent, &format!("{folder}/{name}"), bytes).await?;
    }
    Ok(())
}

/// A new file, on the disks of the DataNodes before it has its name.
async fn put(opened: &Opened, path: &str, bytes: &[u8]) -> Result<(), HdfsError> {
    let mut file = within(SILENCE, opened.client.create(path, WriteOptions::default())).await?;
    for piece in bytes.chunks(PIECE) {
        within(WRITE, file.write_bytes(Bytes::copy_from_slice(piece))).await?;
    }
    if !bytes.is_empty() {
        match within(WRITE, file.hsync()).await {
            // A file in stripes (erasure coding) offers none.
            Err(HdfsError::OperationFailed(_)) => {}
            synced => synced?,
        }
    }
    within(WRITE, file.close()).await
}

/// Fine where the folder has exactly these files.
async fn same(
    parent: &Opened,
    place: &str,
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), Trouble> {
    let conflict = || Trouble::Conflict(name.to_owned());
    let found = listed(parent, place).await?;
    if found.len() != files.len() {
        return Err(conflict());
    }
    for status in found {
        let bytes = self::name(&status).and_then(|name| files.get(name));
        let bytes = bytes.filter(|bytes| !status.isdir && status.length == bytes.len());
        let bytes = bytes.ok_or_else(conflict)?;
        if parent.read(&status.path, bytes.len() as u64).await? != *bytes {
            return Err(conflict());
        }
    }
    Ok(())
}

/// Removes what crashed writers left behind under names that begin so.
async fn sweep(parent: &Opened, prefix: &str, older: Duration) -> Result<(), Trouble> {
    for status in listed(parent, &parent.path).await? {
        let ours = name(&status).is_some_and(|name| name.starts_with(prefix) && name.ends_with(TEMPORARY));
        let changed = UNIX_EPOCH + Duration::from_millis(status.modification_time);
        let age = SystemTime::now().duration_since(changed).unwrap_or_default();
        if ours && status.isdir && age >= older {
            tracing::info!(
                folder = status.path,
                "removing a temporary folder that a crash left"
            );
            within(SILENCE, parent.client.delete(&status.path, true)).await?;
        }
    }
    Ok(())
}

/// What is in the folder; nothing where it is none.
async fn listed(parent: &Opened, folder: &str) -> Result<Vec<FileStatus>, Trouble> {
    let path = if folder.is_empty() { "/" } else { folder };
    match within(SILENCE, parent.client.list_status(path, false)).await {
        Ok(all) => Ok(all.into_iter().filter(|status| status.path != path).collect()),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn name(status: &FileStatus) -> Option<&str> {
    Some(status.path.rsplit_once('/')?.1)
}

/// A name that nobody else uses.
fn hidden(name: &str) -> String {
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let process = std::process::id();
    format!(".{name}.{process}-{unique}-{:x}{TEMPORARY}", stamp.as_nanos())
}
