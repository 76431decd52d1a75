//! What a reconcile needs besides the object: the way to write, what the watches have shown, and memory of
//! failures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use sconce_crds::condition::{Condition, DEGRADED, READY, find, is_true};
use sconce_crds::resources::Accelerator;
use tracing::{info, warn};

use crate::apply::Writer;
use crate::fit::{Offer, Room};
use crate::kueue::Kueue;
use crate::metrics::Metrics;
use crate::profile::ledger::Count;
use crate::progress::ProgressClient;
use crate::training::last_words::LastWords;
use crate::watches::Stores;

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
    /// Counts.
    pub metrics: Metrics,
    /// Asks trainers how far they are.
    pub progress: ProgressClient,
    /// What trainers said that are gone.
    pub last_words: LastWords,
    /// Asks Kueue, where it is installed.
    pub kueue: Kueue,
    recorder: Recorder,
    failures: Mutex<HashMap<String, u32>>,
}

impl Context {
    /// Of this process; `identity` is its pod's name.
    pub fn new(
        client: Client,
        stores: Stores,
        images: Images,
        metrics: Metrics,
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
            last_words: LastWords::default(),
            kueue: Kueue::default(),
            failures: Mutex::default(),
            client,
            stores,
            images,
            metrics,
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

    /// Tells people what happened, through the log and an event. An event that is lost changes nothing: the status has it.
    pub async fn event(&self, about: &ObjectReference, type_: EventType, reason: &str, note: &str) {
        info!(reason, "{note}");
        let mut note = note.to_owned();
        // The API server's limit is 1024 bytes.
        if note.len() > 1000 {
            let end = (0..1000).rev().find(|&at| note.is_char_boundary(at)).unwrap_or(0);
            note.truncate(end);
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            warn!(%error, reason, "an event was not published");
        }
    }

    /// Tells of a change of what people are told: another phase, or another reason of Ready.
    pub async fn announce(
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
        self.event(about, type_, &now.reason, &now.message).await;
    }

    /// How long to wait after another failure of this object: 1 s, 2 s, 4 s, … at most 5 minutes.
    pub fn failed(&self, key: String) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key).or_insert(0);
        *count += 1;
        Duration::from_secs(1 << (*count - 1).min(8)).min(Duration::from_secs(300))
    }

    /// The object was reconciled: its next failure is its first.
    pub fn succeeded(&self, key: &str) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}
