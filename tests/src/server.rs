//! A stand-in for running servers' load endpoints: each tells as much load as the test says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sconce_contract::LoadSnapshot;
use sconce_contract::progress::LOAD_PATH;
use tokio::task::JoinHandle;

use crate::Result;
use crate::trainer::{answer, listen};

/// Answers on an address of its own in 127.0.0.0/8 until it is dropped. It computes one request at a time.
pub struct FakeServer {
    address: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

struct State {
    start: Instant,
    at: Instant,
    in_flight: u64,
    queued: u64,
    in_flight_micros: u64,
    queued_micros: u64,
    silent: bool,
    asked: u64,
}

impl State {
    fn advance(&mut self) {
        let now = Instant::now();
        let passed = micros(self.at, now);
        self.in_flight_micros += passed * self.in_flight;
        self.queued_micros += passed * self.queued;
        self.at = now;
    }

    fn snapshot(&mut self) -> LoadSnapshot {
        self.advance();
        LoadSnapshot {
            in_flight: self.in_flight,
            queued: self.queued,
            completed: 0,
            slots: 1,
            uptime_micros: micros(self.start, self.at),
            in_flight_micros: self.in_flight_micros,
            queued_micros: self.queued_micros,
        }
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.duration_since(from).as_micros()).unwrap_or(u64::MAX)
}

impl FakeServer {
    /// Starts without load.
    ///
    /// # Errors
    /// When no address is free.
    pub async fn start() -> Result<Self> {
        let (address, listener) = listen().await?;
        let now = Instant::now();
        let state = Arc::new(Mutex::new(State {
            start: now,
            at: now,
            in_flight: 0,
            queued: 0,
            in_flight_micros: 0,
            queued_micros: 0,
            silent: false,
            asked: 0,
        }));
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (silent, snapshot) = {
                    let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    state.asked += 1;
                    (state.silent, state.snapshot())
                };
                let body = serde_json::to_string(&snapshot).unwrap_or_default();
                let path = if silent { "/nothing" } else { LOAD_PATH };
                // A client that goes away is no concern of ours.
                let _ = answer(stream, &[(path, &body)]).await;
            }
        });
        Ok(Self {
            address,
            state,
            server,
        })
    }

    /// What stands in the pod's status as its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// So many requests are there from now on: one is computed, the others wait.
    pub fn has(&self, requests: u64) {
        self.change(|state| {
            state.in_flight = requests.min(1);
            state.queued = requests.saturating_sub(1);
        });
    }

    /// How many requests are there.
    #[must_use]
    pub fn load(&self) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.in_flight + state.queued
    }

    /// Whether it answers that there is no such thing.
    pub fn is_silent(&self, silent: bool) {
        self.change(|state| state.silent = silent);
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).asked
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance();
        change(&mut state);
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}
