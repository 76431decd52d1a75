//! Where clients that are not blocking do their work.

use std::io;
use std::sync::LazyLock;

use tokio::runtime::Runtime;

use crate::StoreError;
use crate::scheme::Target;

/// Requests of all stores share two threads, which do little but wait.
static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("store")
        .enable_all()
        .build()
});

/// The threads that the requests of all stores share.
///
/// # Errors
/// When the system has none to give.
pub(crate) fn threads(target: &Target<'_>) -> Result<&'static Runtime, StoreError> {
    RUNTIME.as_ref().map_err(|error| StoreError::Io {
        uri: target.shown(),
        action: "starting threads",
        source: io::Error::new(error.kind(), error.to_string()),
    })
}
