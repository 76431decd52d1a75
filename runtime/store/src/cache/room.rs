//! Which models make room for another one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::listing::{Found, Kind};
use super::lock::lock_file;
use super::{CacheError, USE, take_away};

/// Takes away the models that were used longest ago and that nobody holds, until `needed` bytes fit within `limit`;
/// none where that would not be enough. What crashed processes left goes in any case. What is still to be removed from
/// the disk is added to `going`, also where this fails. Returns how many models make room. The index must be held.
pub(super) fn make(
    root: &Path,
    found: Vec<Found>,
    needed: u64,
    limit: Option<u64>,
    going: &mut Vec<PathBuf>,
) -> Result<u64, CacheError> {
    let failed = |error| CacheError::io(root, "making room", error);
    let mut held = 0;
    let mut whole = Vec::new();
    for found in found {
        match found.kind {
            Kind::Going => going.push(found.path),
            Kind::OnItsWay if is_abandoned(&found.path).map_err(failed)? => {
                going.push(take_away(&found.path).map_err(failed)?);
            }
            Kind::OnItsWay => held += found.bytes,
            Kind::Whole => whole.push(found),
        }
    }
    let Some(limit) = limit else {
        return Ok(0);
    };
    if needed > limit {
        return Err(CacheError::TooLarge { needed, limit });
    }
    whole.sort_by(|one, other| (one.used, &one.path).cmp(&(other.used, &other.path)));
    let mut total = held + whole.iter().map(|found| found.bytes).sum::<u64>();
    let mut chosen = Vec::new();
    for found in whole {
        if total.saturating_add(needed) <= limit {
            break;
        }
        if let Some(alone) = alone(&found.path).map_err(failed)? {
            total -= found.bytes;
            chosen.push((found.path, alone));
        }
    }
    if total.saturating_add(needed) > limit {
        return Err(CacheError::InUse {
            needed,
            limit,
            held: total,
        });
    }
    let evicted = chosen.len() as u64;
    for (path, _alone) in chosen {
        tracing::info!(model = %path.display(), "a model makes room in the cache");
        going.push(take_away(&path).map_err(failed)?);
    }
    Ok(evicted)
}

/// The entry's lock, if no server holds the entry. One without the file is nobody's.
fn alone(entry: &Path) -> io::Result<Option<Option<File>>> {
    match File::options().read(true).write(true).open(entry.join(USE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(None)),
        file => tried(file?).map(|held| held.map(Some)),
    }
}

/// Whether nobody fetches it any more: the lock went with the process.
fn is_abandoned(on_its_way: &Path) -> io::Result<bool> {
    let lock = on_its_way.with_extension("fetch");
    Ok(tried(lock_file(&lock)?)?.is_some())
}

fn tried(file: File) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}
