//! What lies in a cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{GOING, ON_ITS_WAY, USE};

/// A folder in a scope.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) bytes: u64,
    /// When it was last taken for use.
    pub(super) used: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    OnItsWay,
    Going,
}

/// Everything in every scope. What vanishes meanwhile is left out: a folder that goes is removed without the index.
pub(super) fn list(root: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for scope in folders(root)? {
        let hidden = scope
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        for path in folders(&scope)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // The volume may hold other things: they are not ours to count, and still less to remove.
            if !name.trim_start_matches('.').starts_with("sha256-") {
                continue;
            }
            let kind = if name.ends_with(GOING) {
                Kind::Going
            } else if name.ends_with(ON_ITS_WAY) {
                Kind::OnItsWay
            } else if name.starts_with('.') {
                continue;
            } else {
                Kind::Whole
            };
            let used = fs::metadata(path.join(USE)).and_then(|used| used.modified());
            found.push(Found {
                kind,
                bytes: size(&path)?,
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
                path,
            });
        }
    }
    Ok(found)
}

fn folders(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in present(fs::read_dir(parent))?.into_iter().flatten() {
        let entry = entry?;
        if present(entry.file_type())?.is_some_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// By the files' lengths: those of a model on its way are final before its bytes have come.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in present(fs::read_dir(folder))?.into_iter().flatten() {
        bytes += present(entry?.metadata())?.map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
