//! Why a model is not cached. Each reason goes on after "the model is served without a cache: ".

use std::io;
use std::path::{Path, PathBuf};

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A name that would lead out of the cache.
    #[error(
        "{name:?} cannot be a name in the cache: it is letters, digits, '-', '_' and '.', and starts with no dot"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// It never fits.
    #[error("the model has {needed} bytes, and cache.sizeLimit allows {limit} for all models: raise it")]
    TooLarge {
        /// Bytes of the model.
        needed: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// What is there is being served.
    #[error(
        "the model has {needed} bytes, and of the {limit} that cache.sizeLimit allows {held} are taken by models that \
         are being served or fetched: raise it"
    )]
    InUse {
        /// Bytes of the model.
        needed: u64,
        /// Bytes that are allowed.
        limit: u64,
        /// Bytes that cannot be taken away.
        held: u64,
    },
    /// We may not write.
    #[error(
        "{action} in the cache {} is forbidden ({source}): let the user of the servers (65532) write there",
        path.display()
    )]
    Forbidden {
        /// Folder of the cache.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room on the disk.
    #[error(
        "{action} in the cache {} failed because its disk has no room left ({source}): lower cache.sizeLimit, or \
         make the disk larger", path.display()
    )]
    Full {
        /// Folder of the cache.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file system failed.
    #[error("{action} in the cache {} failed ({source}): check the volume, and that it can be locked", path.display())]
    Io {
        /// Folder of the cache.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl CacheError {
    pub(super) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                CacheError::Forbidden { path, action, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                CacheError::Full { path, action, source }
            }
            _ => CacheError::Io { path, action, source },
        }
    }
}

/// Why a model did not come into the cache.
#[derive(Debug)]
pub enum FillError<E> {
    /// The cache's fault.
    Cache(CacheError),
    /// Where it was to come from.
    Source(E),
}

impl<E> From<CacheError> for FillError<E> {
    fn from(error: CacheError) -> Self {
        FillError::Cache(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_told_with_its_remedy() {
        // ENOSPC, EDQUOT, EROFS, EACCES, ENOLCK on Linux.
        for (code, words) in [
            (28, "has no room left"),
            (122, "has no room left"),
            (30, "is forbidden"),
            (13, "let the user of the servers"),
            (37, "that it can be locked"),
        ] {
            let error = CacheError::io(Path::new("/c"), "writing", io::Error::from_raw_os_error(code));
            let sentence = error.to_string();
            assert!(sentence.contains(words) && sentence.contains("/c"), "{sentence}");
        }
    }
}
