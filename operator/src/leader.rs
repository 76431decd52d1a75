//! Leader election by a Lease: at most one replica reconciles at a time.
//!
//! The holder renews each third of the lease; it gives up, and the process ends, when it could not renew for
//! two thirds. Another replica takes over once it has itself seen the lease unchanged for its whole duration:
//! nobody's clock is compared with another's. On a clean stop the holder empties the lease, so that the next
//! one need not wait.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tracing::{info, warn};

use crate::error::{Doing, Error};
use crate::liveness::{Part, Pulse};

/// Name of the Lease, with `-NAMESPACE` where an operator works in one only: those of different namespaces do not
/// exclude one another.
pub const LEASE: &str = "sconce-operator";
/// How long a lease lasts without being renewed.
const DURATION: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(5);
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// A renewal that failed is tried again so soon: before it is given up, there is time for a few.
const RENEW_AGAIN: Duration = Duration::from_millis(500);
/// Longest time for one renewal: a busy API server may take that long, and there is time for another.
const RENEWAL: Duration = Duration::from_secs(3);

/// A candidate for the lease, or its holder.
pub struct Election {
    api: Api<Lease>,
    lease: String,
    identity: String,
    seen: Option<(Option<String>, Instant)>,
    pulse: Pulse,
    /// Whether somebody else had it when it was last read.
    anothers: bool,
}

impl Election {
    /// In this namespace, under this name; each replica needs a name of its own. `watched` is the one namespace
    /// that the operator works in, if it is not all.
    pub fn new(client: Client, namespace: &str, watched: Option<&str>, identity: &str, pulse: Pulse) -> Self {
        Election {
            lease: watched.map_or_else(|| LEASE.to_owned(), |watched| format!("{LEASE}-{watched}")),
            api: Api::namespaced(client, namespace),
            identity: identity.to_owned(),
            seen: None,
            pulse,
            anothers: false,
        }
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&mut self) {
        info!(
            lease = self.lease,
            identity = self.identity,
            "waiting for the lease"
        );
        loop {
            self.pulse.beat(Part::Lease);
            match tokio::time::timeout(RENEW_EVERY, self.attempt()).await {
                Ok(Ok(true)) => {
                    return info!(lease = self.lease, identity = self.identity, "holding the lease");
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => warn!(%error, "the lease cannot be read or written; trying again"),
                Err(_) => warn!("the API server does not answer; trying again"),
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// Renews the lease until that fails for too long; then this replica must stop to reconcile at once.
    pub async fn hold(&mut self) {
        let (mut renewed, mut pause) = (Instant::now(), RENEW_EVERY);
        loop {
            self.pulse.beat(Part::Lease);
            tokio::time::sleep(pause).await;
            pause = RENEW_AGAIN;
            let begun = Instant::now();
            let left = GIVE_UP_AFTER.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(RENEWAL.min(left), self.attempt()).await {
                Ok(Ok(true)) => (renewed, pause) = (begun, RENEW_EVERY),
                Ok(Ok(false)) if self.anothers => return warn!("another replica took the lease"),
                // A renewal that was given up on has come through after all, and between this one's read and write.
                Ok(Ok(false)) => {}
                Ok(Err(error)) => warn!(%error, "the lease was not renewed"),
                Err(_) => warn!("the lease was not renewed in time"),
            }
            if renewed.elapsed() >= GIVE_UP_AFTER {
                return warn!("the lease could not be renewed for {} s", GIVE_UP_AFTER.as_secs());
            }
        }
    }

    /// Empties the lease, if it is ours.
    pub async fn release(&self) -> Result<(), Error> {
        let Some(mut lease) = self
            .api
            .get_opt(&self.lease)
            .await
            .doing(|| format!("get Lease {}", self.lease))?
        else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(self.identity.as_str()) {
            spec.holder_identity = None;
            self.replace(&lease).await?;
        }
        Ok(())
    }

    /// One try to take or renew the lease; true when it is ours.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self
            .api
            .get_opt(&self.lease)
            .await
            .doing(|| format!("get Lease {}", self.lease))?
        else {
            let fresh = self.fresh(now);
            let created = self.api.create(&PostParams::default(), &fresh).await;
            return won(created.map(|_| ())).doing(|| format!("create Lease {}", self.lease));
        };
        let version = lease.metadata.resource_version.clone();
        let unchanged_since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => self.seen.insert((version, Instant::now())).1,
        };
        let spec = lease.spec.get_or_insert_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let ours = holder == self.identity;
        self.anothers = !ours && !holder.is_empty();
        let duration = spec
            .lease_duration_seconds
            .map_or(DURATION, |s| Duration::from_secs(s.unsigned_abs().into()));
        if !ours && !holder.is_empty() && unchanged_since.elapsed() < duration {
            return Ok(false);
        }
        if !ours {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
        self.replace(&lease).await
    }

    fn fresh(&self, now: MicroTime) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.lease.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        }
    }

    /// A replace carries the resource version that was read: of two candidates one gets a conflict.
    async fn replace(&self, lease: &Lease) -> Result<bool, Error> {
        let replaced = self.api.replace(&self.lease, &PostParams::default(), lease).await;
        won(replaced.map(|_| ())).doing(|| format!("update Lease {}", self.lease))
    }
}

fn won(outcome: Result<(), kube::Error>) -> Result<bool, kube::Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
