//! Who comes when the others are at work.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    Purpose,
    hello::{Hello, refusal},
    meet::hear,
};

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether a worker has come that the group lacks. It is not answered, and so comes again.
#[derive(Clone, Debug, Default)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    /// Listens for those who are not known until nobody asks any more.
    pub(super) fn watch(listener: TcpListener, purpose: Purpose, known: BTreeSet<u32>) -> Self {
        let late = Late::default();
        let told = Arc::downgrade(&late.0);
        let listen = move || {
            while let Some(told) = told.upgrade() {
                while let Ok((stream, _)) = listener.accept() {
                    let hello = hear::<Hello>(stream).map(|(hello, _)| hello);
                    if hello.is_some_and(|hello| {
                        refusal(&hello, &purpose).is_none() && !known.contains(&hello.worker)
                    }) {
                        told.store(true, Ordering::Relaxed);
                    }
                }
                drop(told);
                thread::sleep(PAUSE);
            }
        };
        if let Err(error) = thread::Builder::new().name("late".into()).spawn(listen) {
            tracing::warn!(%error, "nobody will be taken in later");
        }
        late
    }

    /// Whether one has come.
    pub(super) fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
