//! Where the load is known.
//!
//! The servers know it now. A gateway that holds requests while no server is there will be another source: it tells
//! what it holds as a reading of its own.

use std::future::Future;

use futures::future::join_all;
use sconce_contract::LoadSnapshot;
use sconce_contract::progress::LOAD_PATH;
use tokio::sync::Semaphore;

use crate::ask::PodClient;
use crate::metrics::Metrics;

/// Servers that are asked at a time, of all deployments: a thousand that do not answer must not take a thousand sockets.
const AT_ONCE: usize = 64;

/// A pod that answers predictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// UID of the pod.
    pub uid: String,
    /// Its address.
    pub ip: String,
}

/// What one who should know the load says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Who: always the same name for the same one.
    pub who: String,
    /// What; nothing where there was no answer.
    pub snapshot: Option<LoadSnapshot>,
}

/// Knows how busy a deployment is.
pub trait LoadSource: Send + Sync + 'static {
    /// One reading for each who should know the load of the deployment that these servers are of.
    fn read(&self, servers: &[Server]) -> impl Future<Output = Vec<Reading>> + Send;
}

/// Asks the servers themselves.
pub struct Servers {
    client: PodClient,
    at_once: Semaphore,
    metrics: Metrics,
}

impl Servers {
    /// Counts what it asks.
    pub fn new(metrics: Metrics) -> Self {
        Servers {
            client: PodClient::default(),
            at_once: Semaphore::new(AT_ONCE),
            metrics,
        }
    }

    async fn ask(&self, server: &Server) -> Reading {
        // The semaphore is never closed.
        let _permit = self.at_once.acquire().await;
        let snapshot = self.client.ask(&server.ip, LOAD_PATH).await;
        self.metrics.asked_for_load(snapshot.is_some());
        Reading {
            who: server.uid.clone(),
            snapshot,
        }
    }
}

impl LoadSource for Servers {
    async fn read(&self, servers: &[Server]) -> Vec<Reading> {
        join_all(servers.iter().map(|server| self.ask(server))).await
    }
}
