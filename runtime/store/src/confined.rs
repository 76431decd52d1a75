//! Paths that cannot leave their root.
//!
//! A volume is written by others: a `..` or a symbolic link in it must not make a pod read or write its own
//! root file system. Links within the volume are fine; a mounted ConfigMap consists of them. A path is
//! resolved once and the resolved one is opened; a writer that swaps a folder for a link in between could
//! still lead out, which is accepted because these pods have no token of the cluster and no Secret among their files:
//! credentials reach them as variables.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::{StoreError, scheme::Target};

/// A root folder and a path below it.
#[derive(Debug)]
pub(crate) struct Confined<'a> {
    pub(crate) target: Target<'a>,
    root: PathBuf,
    path: PathBuf,
}

impl<'a> Confined<'a> {
    /// The path `relative` below the root, which must not hold `..`.
    pub(crate) fn new(target: Target<'a>, root: &Path, relative: &str) -> Result<Self, StoreError> {
        let mut path = root.to_owned();
        for component in Path::new(relative).components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::CurDir | Component::RootDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    let reason =
                        "the path must not hold '..': name the file from the root of the volume".into();
                    return Err(StoreError::Malformed {
                        uri: target.shown(),
                        reason,
                    });
                }
            }
        }
        Ok(Confined {
            target,
            root: root.to_owned(),
            path,
        })
    }

    /// The path below the folder where the claim or ConfigMap `mount` is mounted.
    pub(crate) fn mounted(target: Target<'a>, mount: &str, relative: &str) -> Result<Self, StoreError> {
        let found = target
            .mounts
            .iter()
            .find(|known| known.uri.trim_end_matches('/') == mount);
        let Some(found) = found else {
            return Err(StoreError::NotMounted {
                uri: target.shown(),
                mount: mount.to_owned(),
            });
        };
        Confined::new(target, &found.path, relative)
    }

    /// The file, which has at most `limit` bytes, and how many.
    pub(crate) fn open(&self, limit: u64) -> Result<(fs::File, u64), StoreError> {
        let path = self
            .resolve(&self.path)
            .map_err(|error| self.error("reading", error))?;
        // Opening a pipe would wait for its writer, so the kind is checked first.
        let metadata = fs::metadata(&path).map_err(|error| self.error("reading", error))?;
        if !metadata.is_file() {
            let kind = if metadata.is_dir() {
                "a folder"
            } else {
                "a device or pipe"
            };
            return Err(StoreError::NotAFile {
                uri: self.target.shown(),
                kind,
            });
        }
        if metadata.len() > limit {
            return Err(self.too_large(limit));
        }
        let file = fs::File::open(&path).map_err(|error| self.error("reading", error))?;
        Ok((file, metadata.len()))
    }

    /// All bytes of the file, at most `limit`.
    pub(crate) fn read(&self, limit: u64) -> Result<Vec<u8>, StoreError> {
        use std::io::Read;

        let (file, length) = self.open(limit)?;
        // As many as there are: grown by doubling, a table would take twice its size.
        let mut bytes = Vec::new();
        let room = bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX));
        room.map_err(|_| self.error("reading", io::ErrorKind::OutOfMemory.into()))?;
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| self.error("reading", error))?;
        if bytes.len() as u64 > limit {
            Err(self.too_large(limit))
        } else {
            Ok(bytes)
        }
    }

    fn too_large(&self, limit: u64) -> StoreError {
        StoreError::TooLarge {
            uri: self.target.shown(),
            limit,
        }
    }

    /// Makes it a file of these bytes, of which it has the first `known` already.
    pub(crate) fn grow(&self, bytes: &[u8], known: usize) -> Result<(), StoreError> {
        use std::io::{Seek, SeekFrom, Write};

        let place = self.path.parent().zip(self.path.file_name());
        let (parent, name) = place.ok_or_else(|| self.error("writing", io::ErrorKind::NotFound.into()))?;
        let folder = Confined {
            path: parent.to_owned(),
            root: self.root.clone(),
            target: self.target,
        };
        let path = folder.create()?.join(name);
        let write = || -> io::Result<()> {
            // A link is not followed: it may lead out of the volume.
            if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let mut file = fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            // What was written before and is gone, or was cut short, is written again.
            let known = known.min(bytes.len());
            let from = match file.metadata()?.len() {
                length if length >= known as u64 => known,
                _ => 0,
            };
            file.set_len(from as u64)?;
            file.seek(SeekFrom::Start(from as u64))?;
            file.write_all(&bytes[from..])
        };
        write().map_err(|error| self.error("writing", error))
    }

    /// Whether there is something.
    pub(crate) fn exists(&self) -> Result<bool, StoreError> {
        Ok(self.existing()?.is_some())
    }

    /// The folder without links in its path; nothing where there is none.
    pub(crate) fn existing(&self) -> Result<Option<PathBuf>, StoreError> {
        match self.resolve(&self.path) {
            Ok(path) => Ok(Some(path)),
            Err(error) => match self.error("looking", error) {
                StoreError::NotFound { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    /// The folder, created where it is missing.
    pub(crate) fn create(&self) -> Result<PathBuf, StoreError> {
        let mut missing = Vec::new();
        let mut known = self.path.clone();
        while known != self.root && fs::symlink_metadata(&known).is_err() {
            missing.extend(known.file_name().map(ToOwned::to_owned));
            known.pop();
        }
        let mut folder = self
            .resolve(&known)
            .map_err(|error| self.error("creating the folder", error))?;
        for name in missing.into_iter().rev() {
            let parent = folder.clone();
            folder.push(name);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => created.map_err(|error| self.error("creating the folder", error))?,
            }
            sync(&parent).map_err(|error| self.error("creating the folder", error))?;
        }
        Ok(folder)
    }

    /// What an error of the file system means here.
    pub(crate) fn error(&self, action: &'static str, source: io::Error) -> StoreError {
        if source.kind() == io::ErrorKind::Other {
            let reason = "a symbolic link leads out of the volume: replace it by what it points to".into();
            return StoreError::Malformed {
                uri: self.target.shown(),
                reason,
            };
        }
        StoreError::io(self.target.shown(), action, source)
    }

    /// The path without links; an error of kind `Other` where it is not below the root.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let root = self.root.canonicalize()?;
        let resolved = path.canonicalize()?;
        if resolved.starts_with(&root) {
            Ok(resolved)
        } else {
            Err(io::ErrorKind::Other.into())
        }
    }
}

/// Flushes a folder's entries to disk. Some network file systems cannot, and do not need to.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}
