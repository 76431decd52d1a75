//! A folder of a node for models: the kubelet makes it root's, and servers run as another user.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use sconce_contract::{Failure, FailureClass};
use tokio::signal::unix::{SignalKind, signal};

/// Nobody but that user reads or writes there: models of all namespaces lie beside each other.
const MODE: u32 = 0o700;

/// Prepares the folder; with `stay`, returns only when told to end.
pub fn run(path: &Path, user: u32, stay: bool) -> Result<(), Failure> {
    prepare(path, user).map_err(|error| {
        Failure::new(
            FailureClass::Storage,
            format!(
                "the folder {} cannot be given to the user {user} ({error}): run this as root, with \
                 the capability CHOWN",
                path.display()
            ),
        )
    })?;
    tracing::info!(path = %path.display(), user, "the folder is ready for models");
    if stay { wait() } else { Ok(()) }
}

fn prepare(path: &Path, user: u32) -> io::Result<()> {
    if !path.is_dir() {
        fs::create_dir_all(path)?;
    }
    let found = fs::metadata(path)?;
    // The mode first: once the folder is another's, root needs one more capability for it.
    if found.mode() & 0o777 != MODE {
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
    }
    if (found.uid(), found.gid()) != (user, user) {
        chown(path, Some(user), Some(user))?;
    }
    Ok(())
}

fn wait() -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let sentence = format!("signals cannot be handled: {error}");
        Failure::new(FailureClass::Internal, sentence)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
