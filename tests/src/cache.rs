//! What is built once and kept, outside the tree: each entry is a folder named after a hash of
//! everything that went into it, so it is never stale and never has to be invalidated.
//!
//! An entry appears in one rename, so a reader sees all of it or nothing; a lock per name keeps
//! two processes from building the same thing at once.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::process::say;
use crate::{Error, Result};

/// A name and a hash over all inputs of what is built.
pub struct Key {
    name: String,
    hash: Sha256,
}

impl Key {
    /// A key with no inputs yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            hash: Sha256::new(),
        }
    }

    /// Adds a text: a version, a flag, a list of packages.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.add(text.as_bytes());
        self
    }

    /// Adds a file's content; its path does not matter.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn file(mut self, path: &Path) -> Result<Self> {
        self.add(&fs::read(path).map_err(Error::file("read", path))?);
        Ok(self)
    }

    /// Adds all files under a folder, with their paths in it.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read.
    pub fn folder(mut self, path: &Path) -> Result<Self> {
        for file in files(path)? {
            let relative = file.strip_prefix(path).unwrap_or(&file);
            self.add(relative.as_os_str().as_encoded_bytes());
            self = self.file(&file)?;
        }
        Ok(self)
    }

    /// The first 16 hex digits of the hash.
    #[must_use]
    pub fn digest(&self) -> String {
        self.hash
            .clone()
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn add(&mut self, bytes: &[u8]) {
        // The length keeps "ab" + "c" apart from "a" + "bc".
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }
}

/// The cache's folder: `$SCONCE_CACHE`, else `$XDG_CACHE_HOME/sconce`, else `~/.cache/sconce`.
///
/// # Errors
/// When none of the three variables is set.
pub fn root() -> Result<PathBuf> {
    root_from(|name| env::var_os(name))
}

fn root_from(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let folder = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("SCONCE_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("sconce")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/sconce")))
        .ok_or_else(|| {
            Error::Unmet("there is no place to keep what is built: set SCONCE_CACHE to a folder".to_owned())
        })
}

/// The entry's folder, where it has been built.
///
/// # Errors
/// When the cache has no place.
pub fn find(key: &Key) -> Result<Option<PathBuf>> {
    let published = published_in(&root()?, key);
    Ok(published.is_dir().then_some(published))
}

/// The entry's folder; `build` fills a new one when there is none yet.
///
/// # Errors
/// When the cache cannot be written, or `build` fails.
pub fn entry(key: &Key, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    entry_in(&root()?, key, build)
}

fn entry_in(root: &Path, key: &Key, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let published = published_in(root, key);
    if published.is_dir() {
        return Ok(published);
    }
    fs::create_dir_all(root).map_err(Error::file("create", root))?;
    let _lock = lock_in(root, &key.name)?;
    if published.is_dir() {
        return Ok(published);
    }
    // Whoever left this behind was killed: only the holder of the lock writes here.
    let unfinished = root.join(format!(".{}.unfinished", key.name));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(Error::file("remove", &unfinished))?;
    }
    fs::create_dir(&unfinished).map_err(Error::file("create", &unfinished))?;
    build(&unfinished)?;
    fs::rename(&unfinished, &published).map_err(Error::file("publish", &published))?;
    Ok(published)
}

fn published_in(root: &Path, key: &Key) -> PathBuf {
    root.join(format!("{}-{}", key.name, key.digest()))
}

/// Holds the lock of that name until the returned file is dropped, or the process ends.
///
/// # Errors
/// When the lock's file cannot be created.
pub fn lock(name: &str) -> Result<File> {
    let root = root()?;
    fs::create_dir_all(&root).map_err(Error::file("create", &root))?;
    lock_in(&root, name)
}

fn lock_in(root: &Path, name: &str) -> Result<File> {
    let path = root.join(format!(".{name}.lock"));
    let file = File::create(&path).map_err(Error::file("create", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => say(&format!("waiting for another process that works on {name}")),
        Err(TryLockError::Error(source)) => {
            return Err(Error::File {
                action: "lock",
                path,
                source,
            });
        }
    }
    file.lock().map_err(Error::file("lock", &path))?;
    Ok(file)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let path = item.map_err(Error::file("list", folder))?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variable_wins() {
        let none = |_: &str| None;
        assert!(root_from(none).unwrap_err().to_string().contains("SCONCE_CACHE"));
        let home = |name: &str| (name == "HOME").then(|| OsString::from("/h"));
        assert_eq!(root_from(home).unwrap(), Path::new("/h/.cache/sconce"));
        let all = |name: &str| Some(OsString::from(if name == "SCONCE_CACHE" { "/s" } else { "/x" }));
        assert_eq!(root_from(all).unwrap(), Path::new("/s"));
    }

    #[test]
    fn an_entry_is_built_once_and_a_failure_leaves_none() {
        let root = tempfile::tempdir().unwrap();
        let key = Key::new("thing").text("1");
        let failed = entry_in(root.path(), &key, |_| Err(Error::Unmet("no".to_owned())));
        assert!(failed.is_err());
        let first = entry_in(root.path(), &key, |folder| {
            fs::write(folder.join("made"), "yes").map_err(Error::file("write", folder))
        });
        let again = entry_in(root.path(), &key, |_| unreachable!("it is there already"));
        assert_eq!(first.unwrap(), again.unwrap());
    }

    #[test]
    fn inputs_are_kept_apart() {
        assert_ne!(
            Key::new("a").text("ab").text("c").digest(),
            Key::new("a").text("a").text("bc").digest()
        );
    }
}
