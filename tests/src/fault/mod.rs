//! A proxy before the API server that sees every write of the operator, and has some of them fail as a test says.
//!
//! ```text
//!   operator ──HTTP──► pass ──TLS──► API server
//!                       │ rule, renewals    what becomes of each write
//!                       │ view              an older list, and a watch that comes later
//!                       ▼ events            what becomes of each event of a watch
//! ```
//!
//! The operator under test is the unmodified program; its kubeconfig merely names the proxy, which speaks TLS to the
//! API server and plain HTTP, on loopback, to the operator. What has no fault passes as it is, watches included.

mod events;
mod pass;
mod view;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::Method;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::events::Events;
use self::view::View;
use crate::{Error, Result};

/// A write that came by.
#[derive(Clone, Debug)]
pub struct Write {
    /// How many came before it, of those that are counted.
    pub number: usize,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Method,
    /// Path of the URL, which names the object; a `POST` names only the kind.
    pub path: String,
    /// Name of the object.
    pub name: String,
    /// When it came.
    pub at: Instant,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It passes.
    None,
    /// It is answered with this status and never reaches the API server.
    Answer(u16),
    /// It is carried out, and answered with this status all the same.
    AnswerAfter(u16),
    /// It never reaches the API server, and is never answered.
    Silence,
    /// It is not carried out, and nothing passes any more until [`FaultProxy::thaw`].
    FreezeBefore,
    /// It is carried out, its answer does not pass, and nothing does any more until [`FaultProxy::thaw`].
    FreezeAfter,
}

type Rule = Box<dyn FnMut(&Write) -> Fault + Send>;

/// A running proxy; it ends when it is dropped.
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: Client,
    rule: Mutex<Rule>,
    renewals: Mutex<Rule>,
    writes: Mutex<Vec<Write>>,
    stopped: Mutex<Vec<Write>>,
    requests: AtomicUsize,
    frozen: watch::Sender<bool>,
    events: Mutex<Events>,
    broken: Arc<AtomicUsize>,
    cut: AtomicUsize,
    view: View,
}

impl FaultProxy {
    /// Before the API server that the kubeconfig names, without a fault.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used or no port is free.
    pub async fn start(kubeconfig: &Path) -> Result<Self> {
        let unusable = |source| Error::Kubeconfig {
            path: kubeconfig.to_owned(),
            source: Box::new(source),
        };
        let mut parsed = Kubeconfig::read_from(kubeconfig).map_err(unusable)?;
        // Requests bring the operator's own token along.
        for user in &mut parsed.auth_infos {
            user.auth_info = Some(kube::config::AuthInfo::default());
        }
        let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
            .await
            .map_err(unusable)?;
        let upstream = Client::try_from(config).map_err(Error::api("accept a client"))?;
        let started = |source| Error::Start {
            command: "listen on 127.0.0.1".to_owned(),
            source,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(started)?;
        let port = listener.local_addr().map_err(started)?.port();
        let shared = Arc::new(Shared {
            upstream,
            rule: Mutex::new(Box::new(|_| Fault::None)),
            renewals: Mutex::new(Box::new(|_| Fault::None)),
            writes: Mutex::default(),
            stopped: Mutex::default(),
            requests: AtomicUsize::new(0),
            frozen: watch::Sender::new(false),
            events: Mutex::new(Events::Pass),
            broken: Arc::default(),
            cut: AtomicUsize::new(0),
            view: View::default(),
        });
        let server = tokio::spawn(pass::serve(listener, Arc::clone(&shared)));
        Ok(Self { port, shared, server })
    }

    /// A kubeconfig beside `original`, with its rights, that leads through the proxy.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn kubeconfig(&self, original: &Path) -> Result<PathBuf> {
        let text = std::fs::read_to_string(original).map_err(Error::file("read", original))?;
        let mut config: Value = serde_json::from_str(&text)
            .map_err(|error| Error::Unmet(format!("{} is no JSON: {error}", original.display())))?;
        config["clusters"][0]["cluster"] = json!({"server": format!("http://127.0.0.1:{}", self.port)});
        let file = original.with_extension(format!("{}.kubeconfig", self.port));
        std::fs::write(&file, config.to_string()).map_err(Error::file("write", &file))?;
        Ok(file)
    }

    /// From now on, this says what becomes of each write. Leases and events are no writes.
    pub fn rule(&self, rule: impl FnMut(&Write) -> Fault + Send + 'static) {
        *lock(&self.shared.rule) = Box::new(rule);
    }

    /// From now on, this says what becomes of each write of a Lease.
    pub fn renewals(&self, rule: impl FnMut(&Write) -> Fault + Send + 'static) {
        *lock(&self.shared.renewals) = Box::new(rule);
    }

    /// What becomes of the events of each watch that begins from now on.
    pub fn events(&self, events: Events) {
        *lock(&self.shared.events) = events;
    }

    /// The next so many lists of a watch end in the middle of an object.
    pub fn cut_lists(&self, count: usize) {
        self.shared.cut.store(count, Ordering::SeqCst);
    }

    /// How often a list or an event of a watch was not passed on as it came.
    #[must_use]
    pub fn broken(&self) -> usize {
        self.shared.broken.load(Ordering::SeqCst)
    }

    /// Watches of these paths that begin from now on are shown what is there now, and nothing later, until
    /// [`FaultProxy::catch_up`]. What is asked for otherwise is answered as it is.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn stop_the_clock(&self, administrator: &Client, paths: &[String]) -> Result<()> {
        self.shared.view.keep(administrator, paths).await
    }

    /// Lets those watches see what has happened since.
    pub fn catch_up(&self) {
        self.shared.view.release();
    }

    /// Every write so far, whatever became of it, less those that came while nothing passed.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        lock(&self.shared.writes).clone()
    }

    /// Writes that were tried while nothing passed.
    #[must_use]
    pub fn stopped(&self) -> Vec<Write> {
        lock(&self.shared.stopped).clone()
    }

    /// How many requests came so far, reads and watches included; Leases and events are not counted.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// From now on nothing passes, in either direction.
    pub fn freeze(&self) {
        self.shared.frozen.send_replace(true);
    }

    /// Whether nothing passes.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        *self.shared.frozen.borrow()
    }

    /// Lets requests pass again. Those that were stopped stay so: whoever sent them is gone.
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(false);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
