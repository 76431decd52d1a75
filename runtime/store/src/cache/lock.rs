//! Files that are locked, and nothing else: who waits for one does so as long as its holder shows that it goes on.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for the index, which is held for moments: a process may hang, and a server of files forget.
pub(super) const INDEX_PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for a fetch of which nothing is heard.
pub(super) const FETCH_PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a lock that is held.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is shown that a fetch goes on, to those who wait for it.
const SIGN: Duration = Duration::from_secs(10);

/// A file that is only there to be locked.
pub(super) fn lock_file(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// The file, once nobody else holds it. Whoever holds it for longer changes its time meanwhile.
pub(super) fn locked(file: File, patience: Duration) -> io::Result<File> {
    let (mut begun, mut heard) = (Instant::now(), None);
    loop {
        let time = file.metadata().and_then(|file| file.modified()).ok();
        if time != heard {
            (begun, heard) = (Instant::now(), time);
        }
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(error)) => return Err(error),
            // The kernel has no wait that ends.
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < patience => thread::sleep(LOOK),
            Err(fs::TryLockError::WouldBlock) => {
                let reason = format!("another process has held the lock for {} s", patience.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
        }
    }
}

/// Changes the file's time every now and then until what is returned is dropped. Nothing where that cannot be done: those who
/// wait fetch for themselves after a while.
pub(super) fn signs(fetch: &File) -> io::Result<Sender<()>> {
    let file = fetch.try_clone()?;
    let (done, ended) = channel();
    let sign = move || {
        while ended.recv_timeout(SIGN) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = file.set_modified(SystemTime::now()) {
                tracing::debug!(%error, "a fetch cannot show that it goes on");
            }
        }
    };
    thread::Builder::new().name("fetch".to_owned()).spawn(sign)?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheError;

    #[test]
    fn a_lock_that_is_not_let_go_is_waited_for_so_long_and_no_longer() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".lock");
        let file = || lock_file(&path).unwrap();
        let held = locked(file(), Duration::ZERO).unwrap();
        let error = locked(file(), Duration::from_millis(120)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let told = CacheError::io(root.path(), "locking", error).to_string();
        assert!(told.contains("another process has held the lock"), "{told}");
        let let_go = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        locked(file(), Duration::from_secs(20)).unwrap();
        let_go.join().unwrap();
    }

    #[test]
    fn who_shows_that_it_goes_on_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".fetch");
        let held = locked(lock_file(&path).unwrap(), Duration::ZERO).unwrap();
        let goes_on = thread::spawn(move || {
            for second in 1..10 {
                thread::sleep(Duration::from_millis(100));
                held.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
                    .unwrap();
            }
        });
        locked(lock_file(&path).unwrap(), Duration::from_millis(500)).unwrap();
        goes_on.join().unwrap();
    }
}
