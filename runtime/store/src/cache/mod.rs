//! Models on a disk that many servers share, each found by its digest.
//!
//! ```text
//!   ROOT/
//!     .lock                    held for moments by whoever looks or changes what is there
//!     SCOPE/
//!       .sha256-HEX.fetch      held by the one that fetches; the others wait for it while its time changes
//!       .sha256-HEX.tmp/       on its way: every file has its final length from the start
//!       sha256-HEX/            whole, and never written again
//!         .use                 held, shared, by every server that serves it; its time is that of the last use
//! ```
//!
//! Every lock is the kernel's (`flock`): it goes with the process that held it, however that ends, so nothing is
//! ever counted that is not there. Bytes are not trusted for being here: whoever reads a model checks its digest, and
//! calls [`Entry::discard`] where it is another. Read [`Cache::open`] first.

mod error;
mod listing;
mod lock;
mod room;
mod slot;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

pub use error::{CacheError, FillError};
pub use slot::Slot;

use lock::{FETCH_PATIENCE, INDEX_PATIENCE, lock_file, locked};

/// Held by servers of the entry that it lies in.
const USE: &str = ".use";
/// Ends the name of an entry that is on its way.
const ON_ITS_WAY: &str = ".tmp";
/// Ends the name of an entry that is being removed.
const GOING: &str = ".gone";

/// A folder of models, of which this process uses one scope.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    scope: String,
    limit: Option<u64>,
}

/// What the cache has of a model.
#[derive(Debug)]
pub enum Place {
    /// The model.
    Held(Entry),
    /// Nothing; while this is held, nobody else fetches it.
    Empty(Slot),
}

/// A model in the cache, which stays there while this is held.
#[derive(Debug)]
pub struct Entry {
    cache: Cache,
    path: PathBuf,
    used: File,
}

impl Cache {
    /// The cache in the folder `root`, which is made where only its parent is there. Most bytes of all scopes are
    /// `limit`.
    ///
    /// # Errors
    /// Where the scope is not a plain name.
    pub fn new(root: PathBuf, scope: &str, limit: Option<u64>) -> Result<Self, CacheError> {
        if !is_plain(scope) {
            return Err(CacheError::Name {
                name: scope.to_owned(),
            });
        }
        Ok(Cache {
            root,
            scope: scope.to_owned(),
            limit,
        })
    }

    /// The model of that digest (`sha256:HEX`), or the right to fetch it. Blocks while another process fetches it.
    ///
    /// # Errors
    /// Where the folder cannot be written, or its locks are not let go.
    pub fn open(&self, digest: &str) -> Result<Place, CacheError> {
        let name = digest.replace(':', "-");
        if !is_plain(&name) {
            return Err(CacheError::Name { name });
        }
        let folder = self.root.join(&self.scope);
        for folder in [&self.root, &folder] {
            match fs::create_dir(folder) {
                Err(_) if folder.is_dir() => {}
                made => made.map_err(|error| self.io("creating a folder", error))?,
            }
        }
        if let Some(entry) = self.take(&folder.join(&name))? {
            return Ok(Place::Held(entry));
        }
        let fetch = lock_file(&folder.join(format!(".{name}.fetch")))
            .and_then(|file| locked(file, FETCH_PATIENCE))
            .map_err(|error| self.io("locking", error))?;
        // Whoever held it before may have brought the model.
        if let Some(entry) = self.take(&folder.join(&name))? {
            return Ok(Place::Held(entry));
        }
        Ok(Place::Empty(Slot::new(self.clone(), folder, name, fetch)))
    }

    /// Bytes of all models, also of those on their way.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn bytes(&self) -> Result<u64, CacheError> {
        // A number for people, for which no server waits long.
        let _index = self.index_within(Duration::from_secs(1))?;
        let found = listing::list(&self.root).map_err(|error| self.io("listing", error))?;
        Ok(found.iter().map(|found| found.bytes).sum())
    }

    /// The entry, held, if it is there.
    fn take(&self, path: &Path) -> Result<Option<Entry>, CacheError> {
        let _index = self.index()?;
        let take = || -> io::Result<File> {
            // On network file systems a shared lock wants a file that is open for reading; the time, one for writing.
            let used = File::options().read(true).write(true).open(path.join(USE))?;
            // Whoever wants it alone only tries, and holds the index while it does: this never waits.
            used.lock_shared()?;
            used.set_modified(SystemTime::now())?;
            Ok(used)
        };
        match take() {
            Ok(used) => Ok(Some(Entry {
                cache: self.clone(),
                path: path.to_owned(),
                used,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io("opening a model", error)),
        }
    }

    /// Held while entries are looked at, come or go.
    fn index(&self) -> Result<File, CacheError> {
        self.index_within(INDEX_PATIENCE)
    }

    fn index_within(&self, patience: Duration) -> Result<File, CacheError> {
        lock_file(&self.root.join(".lock"))
            .and_then(|file| locked(file, patience))
            .map_err(|error| self.io("locking", error))
    }

    fn io(&self, action: &'static str, source: io::Error) -> CacheError {
        CacheError::io(&self.root, action, source)
    }
}

impl Entry {
    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, whoever else holds it: its bytes are not what they should be. One that was fetched anew since stays.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn discard(self) -> Result<(), CacheError> {
        let gone = {
            let _index = self.cache.index()?;
            let same = || -> io::Result<bool> {
                let (ours, there) = (self.used.metadata()?, fs::metadata(self.path.join(USE))?);
                Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
            };
            match same() {
                Ok(true) => take_away(&self.path).map_err(|error| self.cache.io("removing", error))?,
                Ok(false) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(self.cache.io("removing", error)),
            }
        };
        fs::remove_dir_all(gone).map_err(|error| self.cache.io("removing", error))
    }
}

/// Gives an entry a name under which nobody looks for it. The index must be held.
fn take_away(path: &Path) -> io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);

    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stamp = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // Two pods may share a process id.
    let unique = format!(
        "{}-{}-{:x}",
        std::process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed),
        stamp.as_nanos()
    );
    let gone = path.with_file_name(format!(".{}.{unique}{GOING}", name.trim_start_matches('.')));
    fs::rename(path, &gone)?;
    Ok(gone)
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.len() <= 128 && name.chars().all(plain)
}
