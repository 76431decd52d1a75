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
    hello::{Answer, Hello, refusal},
    meet::{hear, say},
};

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether a worker has come that the group lacks. It is not answered, and so comes again; one that does not belong here is
/// told why.
#[derive(Clone, Debug, Default)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    /// Listens for those who are not known until nobody asks any more.
    pub(super) fn watch(listener: TcpListener, purpose: Purpose, known: BTreeSet<u32>) -> Self {
        let late = Late::default();
        let told = Arc::downgrade(&late.0);
        let listen = move || {
            let mut refused: Option<String> = None;
            while let Some(told) = told.upgrade() {
                while let Ok((stream, _)) = listener.accept() {
                    let Some((hello, mut stream)) = hear::<Hello>(stream) else {
                        continue;
                    };
                    match refusal(&hello, &purpose) {
                        None if known.contains(&hello.worker) => {}
                        None => told.store(true, Ordering::Relaxed),
                        Some(why) => {
                            // It tries again or goes; neither concerns the group.
                            let _ = say(&mut stream, &Answer::Refused(why.clone()));
                            // It comes twice a second for as long as it waits, and the log is for people.
                            if refused.as_ref() != Some(&why) {
                                tracing::warn!(why, "somebody is not taken into the group");
                            }
                            refused = Some(why);
                        }
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
