//! What all requests share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use http::StatusCode;
use sconce_contract::CacheReport;

use crate::admission::Admission;
use crate::answers::Answers;
use crate::body::Bodies;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::served::{Names, Served};

/// Most bytes of all answers that are being taken, and so of one.
const ANSWERS: usize = 80 << 20;

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Reading and checking the artifact, and answering the warm-up.
    Loading,
    /// Answering.
    Ready,
    /// Answering what still comes, about to end.
    Draining,
}

/// State of the server.
#[derive(Debug)]
pub struct Server {
    /// Names of the model, known before it is loaded.
    pub names: Names,
    /// The slots.
    pub admission: Admission,
    /// Limits on bodies.
    pub bodies: Bodies,
    /// Room for answers.
    pub answers: Answers,
    /// What is counted.
    pub metrics: Metrics,
    /// What became of the look into the cache, once the model is loaded by way of one.
    pub cache: OnceLock<CacheReport>,
    served: OnceLock<Served>,
    phase: AtomicU8,
}

impl Server {
    /// A server that still has to load its model.
    pub fn new(names: Names, admission: Admission, bodies: Bodies) -> Self {
        let phase = AtomicU8::new(Phase::Loading as u8);
        Server {
            names,
            admission,
            bodies,
            answers: Answers::new(ANSWERS),
            metrics: Metrics::default(),
            cache: OnceLock::new(),
            served: OnceLock::new(),
            phase,
        }
    }

    /// Starts to answer with a model that has answered its warm-up.
    pub fn ready(&self, served: Served) {
        if self.served.set(served).is_ok() {
            let (from, to) = (Phase::Loading as u8, Phase::Ready as u8);
            // A server that drains already stays so.
            let _ = self
                .phase
                .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// Starts to drain.
    pub fn drain(&self) {
        self.phase.store(Phase::Draining as u8, Ordering::SeqCst);
    }

    /// What the server is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Loading,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Nothing where new requests are welcome, else why not.
    pub fn unready(&self) -> Option<&'static str> {
        match self.phase() {
            Phase::Loading => Some("the model is being loaded"),
            Phase::Ready => None,
            Phase::Draining => Some("the server is shutting down"),
        }
    }

    /// The model, once it is loaded; also while draining.
    pub fn served(&self) -> Result<&Served, Refusal> {
        self.served.get().ok_or_else(|| {
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the model is being loaded: try again in a second",
            )
        })
    }
}
