//! The way of a model into the cache: whole, or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use super::lock::signs;
use super::{Cache, CacheError, Entry, FillError, ON_ITS_WAY, USE, listing, room, take_away};
use crate::confined::sync;

/// The right to fetch one model. Its lock goes with it, and with the process.
#[derive(Debug)]
pub struct Slot {
    cache: Cache,
    folder: PathBuf,
    name: String,
    fetch: File,
    /// Ends the thread that shows that this goes on.
    _done: Option<Sender<()>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // That thread has the file a moment longer.
        let _ = self.fetch.unlock();
    }
}

impl Slot {
    pub(super) fn new(cache: Cache, folder: PathBuf, name: String, fetch: File) -> Self {
        Slot {
            cache,
            folder,
            name,
            _done: signs(&fetch).ok(),
            fetch,
        }
    }

    /// Makes room for files of these sizes, has `get` bring each, and puts them in place once all are on the disk.
    /// Also returns how many models made room.
    ///
    /// # Errors
    /// The cache's, or that of `get`. Nothing of the model is left then.
    pub fn fill<E>(
        self,
        sizes: &BTreeMap<String, u64>,
        get: impl FnMut(&str) -> Result<Vec<u8>, E>,
    ) -> Result<(Entry, u64), FillError<E>> {
        let hidden = self.folder.join(format!(".{}{ON_ITS_WAY}", self.name));
        let evicted = self.reserve(&hidden, sizes)?;
        let filled = self
            .bring(&hidden, sizes, get)
            .and_then(|()| self.settle(&hidden).map_err(FillError::Cache));
        match filled {
            Ok(entry) => Ok((entry, evicted)),
            Err(error) => {
                // What stays for now is taken away before the next model comes.
                if let Err(error) = fs::remove_dir_all(&hidden) {
                    tracing::warn!(folder = %hidden.display(), %error, "a temporary folder could not be removed");
                }
                Err(error)
            }
        }
    }

    /// Files of the final lengths, so that others who make room count them.
    fn reserve(&self, hidden: &Path, sizes: &BTreeMap<String, u64>) -> Result<u64, CacheError> {
        let mut evicted = 0;
        let mut again = true;
        loop {
            let mut going = Vec::new();
            let begun = self.begin(hidden, sizes, &mut going, &mut evicted);
            // What goes has its room on the disk until it is removed.
            again = again && !going.is_empty() && matches!(begun, Err(CacheError::Full { .. }));
            for folder in going {
                // Another process may be at it too.
                if let Err(error) = present(fs::remove_dir_all(&folder)) {
                    tracing::warn!(folder = %folder.display(), %error, "a folder in the cache could not be removed");
                }
            }
            if !again {
                return begun.map(|()| evicted);
            }
            again = false;
        }
    }

    /// Makes room and creates the files. What is still to be removed is in `going`, also where this fails.
    fn begin(
        &self,
        hidden: &Path,
        sizes: &BTreeMap<String, u64>,
        going: &mut Vec<PathBuf>,
        evicted: &mut u64,
    ) -> Result<(), CacheError> {
        let _index = self.cache.index()?;
        // A process that crashed left it: the lock is ours now. The list has it by its new name.
        present(take_away(hidden)).map_err(|error| self.cache.io("removing", error))?;
        let found = listing::list(&self.cache.root).map_err(|error| self.cache.io("listing", error))?;
        let needed = sizes.values().sum();
        *evicted += room::make(&self.cache.root, found, needed, self.cache.limit, going)?;
        let create = || -> io::Result<()> {
            fs::create_dir(hidden)?;
            for (name, size) in sizes {
                File::create_new(hidden.join(name))?.set_len(*size)?;
            }
            File::create_new(hidden.join(USE)).map(drop)
        };
        create().map_err(|error| {
            // Others would count it.
            going.extend(take_away(hidden).ok());
            self.cache.io("creating files", error)
        })
    }

    fn bring<E>(
        &self,
        hidden: &Path,
        sizes: &BTreeMap<String, u64>,
        mut get: impl FnMut(&str) -> Result<Vec<u8>, E>,
    ) -> Result<(), FillError<E>> {
        let failed = |error| FillError::Cache(self.cache.io("writing", error));
        for name in sizes.keys() {
            let bytes = get(name).map_err(FillError::Source)?;
            let write = || -> io::Result<()> {
                // Never shorter than it will be: others count it.
                let mut file = File::options().write(true).open(hidden.join(name))?;
                file.write_all(&bytes)?;
                file.set_len(bytes.len() as u64)?;
                file.sync_all()
            };
            write().map_err(failed)?;
        }
        sync(hidden).map_err(failed)
    }

    fn settle(&self, hidden: &Path) -> Result<Entry, CacheError> {
        let place = self.folder.join(&self.name);
        let failed = |error| self.cache.io("writing", error);
        let wrong = {
            let _index = self.cache.index()?;
            // Only one that nobody can hold is in the way: it lacks the file that is held.
            let wrong = present(take_away(&place)).map_err(failed)?;
            fs::rename(hidden, &place).map_err(failed)?;
            wrong
        };
        if let Some(wrong) = wrong {
            present(fs::remove_dir_all(wrong)).map_err(failed)?;
        }
        sync(&self.folder).map_err(failed)?;
        let vanished = || failed(io::ErrorKind::NotFound.into());
        self.cache.take(&place)?.ok_or_else(vanished)
    }
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
