//! The watches that keep the [`Ledger`]: all nodes, and all pods that have a node and have not ended; once a profile asks by
//! a DeviceClass, all devices that drivers publish, and the claims that hold them.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, future};
use kube::runtime::reflector::Store;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use sconce_crds::{AcceleratorProfile, AcceleratorProfileSpec};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::claims::{API, SlimClaim, SlimClass, SlimSlice};
use super::digest::{SlimNode, SlimPod};
use super::inventory::{Inventory, Uncounted};
use super::ledger::{Count, Ledger};
use crate::error::Error;

/// Whoever listens is told of news at most this often: a cluster that is busy changes all the time.
const PACE: Duration = Duration::from_secs(1);
/// Pods or nodes in one answer of the API server. Each is some 10 kB on the way, and some bytes once it is counted.
const PAGE: u32 = 200;
/// How soon a profile is noticed that is the first to name a DeviceClass.
const SOON: Duration = Duration::from_secs(2);
/// How often it is asked again whether the cluster serves the API of devices.
const LATER: Duration = Duration::from_secs(30);
/// Pods that hold units: the API server leaves out the others, and says when a pod becomes one of them.
const HOLDING: &str = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";

/// Who holds what, as the watches last said; clones share it. One that was not started counts nothing.
#[derive(Clone, Default)]
pub struct Census(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    news: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    nodes_listed: bool,
    pods_listed: bool,
    /// Slices, claims and classes.
    devices_listed: [bool; 3],
    /// The cluster does not serve the API of devices.
    devices_unserved: bool,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            state: Mutex::default(),
            news: watch::Sender::new(0),
        }
    }
}

impl Census {
    /// A census of the whole cluster, and the work that keeps it, which ends never.
    pub fn start(client: &Client) -> (Self, BoxStream<'static, ()>) {
        let census = Census::default();
        let config = watcher::Config::default().page_size(PAGE);
        let nodes = events::<SlimNode>(client, config.clone());
        let pods = events::<SlimPod>(client, config.fields(HOLDING));
        let driver = stream::select(census.follow_nodes(nodes), census.follow_pods(pods));
        (census, driver.boxed())
    }

    /// What the profile's nodes have; nothing before nodes and pods are listed, or where nobody counts.
    pub fn count(&self, profile: &AcceleratorProfileSpec) -> Option<Count> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listed = state.nodes_listed && state.pods_listed;
        if profile.device_class_name.is_some() {
            if state.devices_unserved {
                return Some(Count {
                    uncounted: Some(Uncounted::Unserved),
                    ..Count::default()
                });
            }
            listed &= state.devices_listed == [true; 3];
        }
        listed.then(|| state.ledger.count(profile))
    }

    /// The work that keeps count of devices: it begins once a profile names a DeviceClass and the cluster serves their API,
    /// and ends never. Few clusters have them, and those that have may have many.
    pub fn follow_devices(
        &self,
        client: &Client,
        profiles: Store<AcceleratorProfile>,
    ) -> BoxStream<'static, ()> {
        let (census, client) = (self.clone(), client.clone());
        let begin = {
            let (census, client) = (census.clone(), client.clone());
            async move { census.devices_are_asked_for(&client, &profiles).await }
        };
        stream::once(begin)
            .flat_map(move |()| {
                let config = watcher::Config::default().page_size(PAGE);
                let slices = census.follow_slices(events(&client, config.clone()));
                let claims = census.follow_claims(events(&client, config.clone()));
                let classes = census.follow_classes(events(&client, config));
                stream::select_all([slices.boxed(), claims.boxed(), classes.boxed()])
            })
            .boxed()
    }

    async fn devices_are_asked_for(&self, client: &Client, profiles: &Store<AcceleratorProfile>) {
        loop {
            let mut pause = SOON;
            let named = |profile: &Arc<AcceleratorProfile>| profile.spec.device_class_name.is_some();
            if profiles.state().iter().any(named) {
                let served = match client.list_api_group_resources(API).await {
                    Ok(_) => Some(true),
                    Err(error) if Error::is_not_found(&error) => Some(false),
                    Err(error) => {
                        warn!(%error, "whether the API of devices is served cannot be told; asking again");
                        None
                    }
                };
                pause = LATER;
                if let Some(served) = served {
                    let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
                    if state.devices_unserved == served {
                        state.devices_unserved = !served;
                        self.0.news.send_modify(|version| *version += 1);
                    }
                    if served {
                        return;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn follow_slices(
        &self,
        events: impl Stream<Item = watcher::Result<Event<SlimSlice>>> + Send + 'static,
    ) -> impl Stream<Item = ()> + Send + 'static {
        let mut fresh = Inventory::default();
        self.follow(events, move |state, event| match event {
            Event::Apply(slice) => {
                let (name, facts) = slice.facts();
                state.ledger.devices.slice(name, Some(facts))
            }
            Event::Delete(slice) => state.ledger.devices.slice(slice.facts().0, None),
            Event::Init => {
                fresh = Inventory::default();
                false
            }
            Event::InitApply(slice) => {
                let (name, facts) = slice.facts();
                fresh.slice(name, Some(facts));
                false
            }
            Event::InitDone => {
                state.ledger.devices.replace_slices(std::mem::take(&mut fresh));
                state.devices_listed[0] = true;
                true
            }
        })
    }

    fn follow_claims(
        &self,
        events: impl Stream<Item = watcher::Result<Event<SlimClaim>>> + Send + 'static,
    ) -> impl Stream<Item = ()> + Send + 'static {
        let mut fresh = Inventory::default();
        self.follow(events, move |state, event| match event {
            Event::Apply(claim) => {
                let (uid, facts) = claim.facts();
                state.ledger.devices.claim(uid, facts)
            }
            Event::Delete(claim) => state.ledger.devices.claim(claim.facts().0, None),
            Event::Init => {
                fresh = Inventory::default();
                false
            }
            Event::InitApply(claim) => {
                let (uid, facts) = claim.facts();
                fresh.claim(uid, facts);
                false
            }
            Event::InitDone => {
                state.ledger.devices.replace_claims(std::mem::take(&mut fresh));
                state.devices_listed[1] = true;
                true
            }
        })
    }

    fn follow_classes(
        &self,
        events: impl Stream<Item = watcher::Result<Event<SlimClass>>> + Send + 'static,
    ) -> impl Stream<Item = ()> + Send + 'static {
        let mut fresh = Inventory::default();
        self.follow(events, move |state, event| match event {
            Event::Apply(class) => {
                let (name, terms) = class.facts();
                state.ledger.devices.class(name, Some(terms))
            }
            Event::Delete(class) => state.ledger.devices.class(class.facts().0, None),
            Event::Init => {
                fresh = Inventory::default();
                false
            }
            Event::InitApply(class) => {
                let (name, terms) = class.facts();
                fresh.class(name, Some(terms));
                false
            }
            Event::InitDone => {
                state.ledger.devices.replace_classes(std::mem::take(&mut fresh));
                state.devices_listed[2] = true;
                true
            }
        })
    }

    /// Says that a count may have changed, at most once a second.
    pub fn changes(&self) -> impl Stream<Item = ()> + Send + 'static {
        let start = (self.0.news.subscribe(), Instant::now());
        stream::unfold(start, |(mut news, after)| async move {
            // An error means that the census is gone, which ends the process as well.
            news.changed().await.ok()?;
            tokio::time::sleep_until(after).await;
            news.borrow_and_update();
            Some(((), (news, Instant::now() + PACE)))
        })
    }

    fn follow_nodes(
        &self,
        events: impl Stream<Item = watcher::Result<Event<SlimNode>>> + Send + 'static,
    ) -> impl Stream<Item = ()> + Send + 'static {
        let mut fresh = Ledger::default();
        self.follow(events, move |state, event| match event {
            Event::Apply(node) => {
                let (name, facts) = node.facts();
                state.ledger.node(name, facts)
            }
            Event::Delete(node) => state.ledger.no_node(&node.facts().0),
            Event::Init => {
                fresh = Ledger::default();
                false
            }
            Event::InitApply(node) => {
                let (name, facts) = node.facts();
                fresh.node(name, facts);
                false
            }
            Event::InitDone => {
                state.ledger.replace_nodes(std::mem::take(&mut fresh));
                state.nodes_listed = true;
                true
            }
        })
    }

    fn follow_pods(
        &self,
        events: impl Stream<Item = watcher::Result<Event<SlimPod>>> + Send + 'static,
    ) -> impl Stream<Item = ()> + Send + 'static {
        let mut fresh = Ledger::default();
        self.follow(events, move |state, event| match event {
            Event::Apply(pod) => {
                let (uid, facts) = pod.facts();
                state.ledger.pod(uid, facts)
            }
            Event::Delete(pod) => state.ledger.pod(pod.facts().0, None),
            Event::Init => {
                fresh = Ledger::default();
                false
            }
            Event::InitApply(pod) => {
                let (uid, facts) = pod.facts();
                fresh.pod(uid, facts);
                false
            }
            Event::InitDone => {
                state.ledger.replace_pods(std::mem::take(&mut fresh));
                state.pods_listed = true;
                true
            }
        })
    }

    /// Lets `enter` put each event into the books; it says whether that was news.
    fn follow<K: Resource<DynamicType = ()> + 'static>(
        &self,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        mut enter: impl FnMut(&mut State, Event<K>) -> bool + Send + 'static,
    ) -> impl Stream<Item = ()> + Send + 'static {
        let shared = Arc::clone(&self.0);
        events.filter_map(move |event| {
            match event {
                Ok(event) => {
                    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
                    if enter(&mut state, event) {
                        shared.news.send_modify(|version| *version += 1);
                    }
                }
                Err(error) => {
                    warn!(kind = %K::kind(&()), %error, "the census' watch broke; it is started again");
                }
            }
            future::ready(None)
        })
    }
}

fn events<K>(
    client: &Client,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(Api::all(client.clone()), config).default_backoff()
}

#[cfg(test)]
#[path = "census_tests.rs"]
mod tests;
