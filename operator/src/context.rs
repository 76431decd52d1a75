//! What a reconcile needs besides the object: the way to write, what the watches have shown, and memory of
//! failures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use sconce_crds::condition::{Condition, DEGRADED, READY, find, is_true};
use sconce_crds::resources::Accelerator;
use tracing::{info, warn};

use crate::apply::{Child, Writer};
use crate::ask::PodClient;
use crate::deployment::caching::NodeCache;
use crate::error::Error;
use crate::fit::{Offer, Room};
use crate::kueue::Kueue;
use crate::liveness::Pulse;
use crate::metrics::Metrics;
use crate::pace::{Bucket, Pace};
use crate::profile::ledger::Count;
use crate::progress::ProgressClient;
use crate::reason::Reason;
use crate::reconcile::key;
use crate::told::{Status, Told};
use crate::training::last_words::LastWords;
use crate::watches::Stores;

/// Events that are sent at once, and per second from then on: a person reads a few, and a thousand objects that are
/// created together would make a write in three an event.
const EVENTS: (u16, u16) = (25, 1);
/// The same, of warnings.
const WARNINGS: (u16, u16) = (100, 10);
/// Failures in a row before the object tells of them: most are over a second later.
const PATIENCE: u32 = 2;

/// Images of the pods, and how they are pulled.
#[derive(Clone, Debug)]
pub struct Images {
    /// Image of the trainer where an AcceleratorProfile names none.
    pub trainer: String,
    /// Image of the server where an AcceleratorProfile names none.
    pub server: String,
    /// `IfNotPresent`, `Always` or `Never`.
    pub pull_policy: String,
}

/// Shared by all reconciles of one process.
pub struct Context {
    /// Reads that no watch covers.
    pub client: Client,
    /// Writes.
    pub writer: Writer,
    /// What the watches have shown.
    pub stores: Stores,
    /// What pods are made of.
    pub images: Images,
    /// The folder of every node in which servers may keep models; absent: none.
    pub node_cache: Option<NodeCache>,
    /// Counts.
    pub metrics: Metrics,
    /// Whether the process gets on.
    pub pulse: Pulse,
    /// Asks trainers how far they are.
    pub progress: ProgressClient,
    /// Asks servers where their model came from.
    pub servers: PodClient,
    /// What trainers said that are gone.
    pub last_words: LastWords,
    /// Asks Kueue, where it is installed.
    pub kueue: Kueue,
    recorder: Recorder,
    failures: Mutex<HashMap<String, u32>>,
    pace: Mutex<Pace>,
    events: Mutex<Bucket>,
    warnings: Mutex<Bucket>,
}

impl Context {
    /// Of this process; `identity` is its pod's name.
    pub fn new(
        client: Client,
        stores: Stores,
        images: Images,
        node_cache: Option<NodeCache>,
        metrics: Metrics,
        pulse: Pulse,
        identity: &str,
    ) -> Arc<Self> {
        let reporter = Reporter {
            controller: "sconce.dev/operator".to_owned(),
            instance: Some(identity.to_owned()),
        };
        Arc::new(Context {
            writer: Writer::new(client.clone(), metrics.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            progress: ProgressClient::default(),
            servers: PodClient::default(),
            last_words: LastWords::default(),
            kueue: Kueue::default(),
            failures: Mutex::default(),
            pace: Mutex::default(),
            events: Mutex::new(Bucket::new(EVENTS.0, EVENTS.1)),
            warnings: Mutex::new(Bucket::new(WARNINGS.0, WARNINGS.1)),
            client,
            stores,
            images,
            node_cache,
            metrics,
            pulse,
        })
    }

    /// What a pod asks for of an accelerator's memory, and what else there is.
    pub fn room(&self, asked: Option<&Accelerator>) -> Option<Room> {
        asked?;
        let profiles = self.stores.profiles.state();
        Room::of(asked, profiles.iter().map(|profile| Offer::from(&**profile)))
    }

    /// What the cluster has of a profile now, and the most units that are free on one node. Nothing where there is no
    /// such profile, or nobody has counted (yet).
    pub fn count(&self, profile: &str) -> Option<Count> {
        let profile = self.stores.profiles.get(&ObjectRef::new(profile))?;
        self.stores.census.count(&profile.spec)
    }

    /// Writes a status, unless nothing changed or another was written a moment ago, and tells people of the change;
    /// when to come back, where it had to wait.
    pub async fn tell<K: Child, S: Status>(
        &self,
        object: &K,
        told: Told<'_, S>,
    ) -> Result<Option<Duration>, Error> {
        let none = S::default();
        let before = told.before.unwrap_or(&none);
        if !Writer::differs(told.after, before) {
            return Ok(None);
        }
        let key = key(object);
        let (worth, latency) = (told.worth(), self.writer.latency());
        let wait = lock(&self.pace).wait(&key, told.before.is_none(), worth, latency, Instant::now());
        if wait.is_some() {
            return Ok(wait);
        }
        self.writer.status(object, told.after, before).await?;
        self.announce(
            &object.object_ref(&()),
            !told.after.has_phase_of(before),
            before.conditions(),
            told.after.conditions(),
        );
        Ok(None)
    }

    /// Tells people what happened, through the log and an event. An event that is lost changes nothing: the status has
    /// it. When very much happens at once, only the log has it all.
    pub fn event(&self, about: &ObjectReference, type_: EventType, reason: &Reason, note: &str) {
        info!(reason = reason.as_str(), "{note}");
        let bucket = match type_ {
            EventType::Normal => &self.events,
            EventType::Warning => &self.warnings,
        };
        if !lock(bucket).take(Instant::now()) {
            return;
        }
        let mut note = note.to_owned();
        // The API server's limit is 1024 bytes.
        if note.len() > 1000 {
            let end = (0..1000).rev().find(|&at| note.is_char_boundary(at)).unwrap_or(0);
            note.truncate(end);
        }
        let event = Event {
            type_,
            reason: reason.clone().into(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let (recorder, about) = (self.recorder.clone(), about.clone());
        // Nobody waits for it.
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &about).await {
                warn!(%error, reason = event.reason, "an event was not published");
            }
        });
    }

    /// Tells of a change of what people are told: another phase, or another reason of Ready.
    fn announce(
        &self,
        about: &ObjectReference,
        phase_changed: bool,
        before: &[Condition],
        after: &[Condition],
    ) {
        let Some(now) = find(after, READY) else { return };
        if !phase_changed && find(before, READY).is_some_and(|then| then.reason == now.reason) {
            return;
        }
        let type_ = if is_true(after, DEGRADED) {
            EventType::Warning
        } else {
            EventType::Normal
        };
        self.event(about, type_, &Reason::told(&now.reason), &now.message);
    }

    /// How long to wait after another failure of this object: 1 s, 2 s, 4 s, … at most 5 minutes.
    pub fn failed(&self, key: String) -> Duration {
        let mut failures = lock(&self.failures);
        let count = failures.entry(key).or_insert(0);
        *count += 1;
        Duration::from_secs(1 << (*count - 1).min(8)).min(Duration::from_secs(300))
    }

    /// Whether this object failed more than once before.
    pub fn keeps_failing(&self, key: &str) -> bool {
        lock(&self.failures)
            .get(key)
            .is_some_and(|&count| count >= PATIENCE)
    }

    /// The object was reconciled: its next failure is its first.
    pub fn succeeded(&self, key: &str) {
        lock(&self.failures).remove(key);
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
