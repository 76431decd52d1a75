//! AcceleratorProfile: count what the cluster has of it, tell it. There is nothing to build: a profile has no
//! children.
//!
//! ```text
//!   nodes, pods      ──► digest ──► ledger    ──► count ──► status
//!   slices, claims,  ──► claims ──► inventory ────┘
//!   classes (watches)   few bytes    pure         pure      pure
//! ```
//!
//! The same count is there for every other decision, by [`crate::context::Context::count`]. Read [`ledger`] first.

pub mod census;
pub mod claims;
pub mod digest;
pub mod inventory;
pub mod ledger;
pub mod selector;
pub mod status;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use jiff::Timestamp;
use kube::Resource;
use kube::runtime::Controller;
use kube::runtime::controller::Action;
use sconce_crds::AcceleratorProfile;

use crate::context::Context;
use crate::error::Error;
use crate::reconcile::{Complains, Turns, after_failure, drive, reconcile};
use crate::watches::Watches;

/// How often a profile is looked at though nothing was seen to change.
const RESYNC: Duration = Duration::from_secs(600);

/// What the controller listens to; what nodes and pods have comes from the census.
pub struct Readers {
    /// The profiles themselves. Of their status nothing is told: it is ours, and would have us write the next one
    /// without the census's pause.
    pub profiles: BoxStream<'static, Arc<AcceleratorProfile>>,
}

impl Readers {
    /// Takes this controller's readers of the watches.
    pub fn take(watches: &Watches) -> Self {
        Readers {
            profiles: watches.profiles.intents(),
        }
    }
}

/// Reconciles profiles, at most `concurrency` at once, until `stop` is done and those at work have ended.
pub async fn run(
    context: Arc<Context>,
    readers: Readers,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let store = context.stores.profiles.clone();
    let counted = context.stores.census.changes();
    let turns = Turns::new(store.clone(), concurrency);
    let stop = Arc::clone(&turns).until(stop);
    let controller = Controller::for_shared_stream(readers.profiles, store)
        .reconcile_all_on(counted)
        .graceful_shutdown_on(stop)
        .run(
            move |profile, context| reconcile(Arc::clone(&turns), profile, context, step),
            after_failure,
            context,
        );
    drive(controller).await;
}

impl Complains for AcceleratorProfile {}

async fn step(profile: Arc<AcceleratorProfile>, context: Arc<Context>) -> Result<Action, Error> {
    if profile.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let Some(count) = context.stores.census.count(&profile.spec) else {
        // The census says when it has listed everything.
        return Ok(Action::await_change());
    };
    let before = profile.status.clone().unwrap_or_default();
    let status = status::of(&profile, &count, Timestamp::now());
    context.writer.cluster_status(&*profile, &status, &before).await?;
    Ok(Action::requeue(RESYNC))
}
