//! Folders that appear whole or not at all.
//!
//! The files are written and flushed to disk in a hidden folder beside the final one, which then takes its
//! name in one step: a reader sees nothing or everything, also after a crash or a full disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::StoreError;
use crate::confined::{Confined, sync};

/// A hidden folder older than this was left by a crash: nothing we write takes longer.
const ABANDONED: Duration = Duration::from_secs(3600);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Writes the folder `name` under the parent.
pub(crate) fn write(
    parent: &Confined<'_>,
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), StoreError> {
    let folder = parent.create()?;
    let place = folder.join(name);
    if fs::symlink_metadata(&place).is_ok() {
        return same(parent, &place, name, files);
    }
    sweep(&folder, &format!(".{name}."), ABANDONED);
    let hidden = folder.join(hidden(name));
    let written = fill(&hidden, files).and_then(|()| fs::rename(&hidden, &place));
    match written {
        Ok(()) => sync(&folder).map_err(|error| parent.error("writing", error)),
        Err(error) => {
            let removed = fs::remove_dir_all(&hidden);
            if let Err(error) = removed {
                tracing::warn!(folder = %hidden.display(), %error, "a temporary folder could not be removed");
            }
            // Another writer may have been faster.
            if fs::symlink_metadata(&place).is_ok() {
                return same(parent, &place, name, files);
            }
            Err(parent.error("writing", error))
        }
    }
}

/// A name that nobody else uses: two pods on one claim may share a process id, and a process may write twice.
fn hidden(name: &str) -> String {
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let stamp = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        ".{name}.{}-{unique}-{:x}.tmp",
        std::process::id(),
        stamp.as_nanos()
    )
}

/// Names of the folders in the parent, hidden ones left out; none where the parent does not exist.
pub(crate) fn names(parent: &Confined<'_>) -> Result<Vec<String>, StoreError> {
    let Some(folder) = parent.existing()? else {
        return Ok(Vec::new());
    };
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // A name that is no text is none of ours.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if entry.file_type()?.is_dir() && !name.starts_with('.') {
                names.push(name);
            }
        }
        Ok(names)
    };
    list().map_err(|error| parent.error("listing", error))
}

/// Removes a folder: hidden first, so that nobody sees it half gone, also after a crash.
pub(crate) fn remove(parent: &Confined<'_>, name: &str) -> Result<(), StoreError> {
    let Some(folder) = parent.existing()? else {
        return Ok(());
    };
    let hidden = folder.join(hidden(name));
    match fs::rename(folder.join(name), &hidden).and_then(|()| fs::remove_dir_all(&hidden)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(parent.error("removing", error)),
        _ => Ok(()),
    }
}

/// Removes hidden folders of ours that are older than `age`, and the parent where nothing else is in it.
pub(crate) fn tidy(parent: &Confined<'_>, age: Duration) -> Result<(), StoreError> {
    let Some(folder) = parent.existing()? else {
        return Ok(());
    };
    sweep(&folder, ".", age);
    match fs::remove_dir(&folder) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(parent.error("removing", error))
        }
        _ => Ok(()),
    }
}

fn fill(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    fs::create_dir(folder)?;
    for (name, bytes) in files {
        let mut file = fs::File::create_new(folder.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    sync(folder)
}

/// Fine where the folder has exactly these files.
fn same(
    parent: &Confined<'_>,
    place: &Path,
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), StoreError> {
    let is_same = || -> io::Result<bool> {
        if !fs::symlink_metadata(place)?.is_dir() || fs::read_dir(place)?.count() != files.len() {
            return Ok(false);
        }
        for (name, bytes) in files {
            let path = place.join(name);
            let metadata = fs::symlink_metadata(&path)?;
            if !metadata.is_file() || metadata.len() != bytes.len() as u64 || fs::read(&path)? != *bytes {
                return Ok(false);
            }
        }
        Ok(true)
    };
    match is_same() {
        Ok(true) => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(parent.error("comparing", error)),
        _ => {
            let parent = parent.target.shown();
            Err(StoreError::Conflict {
                uri: format!("{}/{name}", parent.trim_end_matches('/')),
            })
        }
    }
}

/// Removes what crashed writers left behind under names that begin so.
fn sweep(folder: &Path, prefix: &str, older: Duration) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let ours = file_name
            .to_str()
            .is_some_and(|file| file.starts_with(prefix) && file.ends_with(".tmp"));
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|at| at.elapsed().ok());
        if ours && age.is_some_and(|age| age >= older) {
            tracing::info!(folder = %entry.path().display(), "removing a temporary folder that a crash left");
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
