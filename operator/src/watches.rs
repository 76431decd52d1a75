//! What is watched, once for both controllers: each kind has one watch, one store and any number of readers.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{Stream, StreamExt, future, stream::BoxStream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::labels::SELECTOR;
use crate::profile::census::Census;

/// A kind under watch.
///
/// kube can share a watch too, but a reader of its shared streams is never woken again once it has met an object that
/// is gone from the store before its turn (`ReflectHandle::poll_next`, kube 5.0), and it is told of no deletion.
pub struct Watched<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// What the watch has shown.
    pub store: Store<K>,
    readers: Readers<K>,
}

/// Who is told of changes.
type Readers<K> = Arc<Mutex<Vec<UnboundedSender<Arc<K>>>>>;

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Watched<K> {
    /// Every object that is there, whenever all are listed, and each that changes or was deleted, once the store
    /// shows it so. To be asked for before the watch is polled.
    pub fn changes(&self) -> BoxStream<'static, Arc<K>> {
        let (sender, changed) = unbounded();
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        changed.boxed()
    }
}

/// Every kind under watch, and the work that keeps it so.
pub struct Watches {
    /// ModelTrainings.
    pub trainings: Watched<ModelTraining>,
    /// ModelDeployments.
    pub deployments: Watched<ModelDeployment>,
    /// AcceleratorProfiles.
    pub profiles: Watched<AcceleratorProfile>,
    /// Jobs of ours.
    pub jobs: Watched<Job>,
    /// Deployments of ours.
    pub workloads: Watched<Deployment>,
    /// Services of ours.
    pub services: Watched<Service>,
    /// PodDisruptionBudgets of ours.
    pub budgets: Watched<PodDisruptionBudget>,
    /// NetworkPolicies of ours.
    pub policies: Watched<NetworkPolicy>,
    /// Pods of ours.
    pub pods: Watched<Pod>,
    /// What all pods hold of all nodes.
    pub census: Census,
    /// Polls the watches; ends never.
    pub driver: BoxStream<'static, ()>,
}

impl Watches {
    /// Starts to watch one namespace, or all.
    pub fn start(client: &Client, namespace: Option<&str>) -> Self {
        let ours = || watcher::Config::default().labels(SELECTOR);
        let mut drivers = Vec::new();
        let all = watcher::Config::default;
        let census = match namespace {
            // Whoever may see one namespace cannot tell what the pods of the others hold.
            Some(_) => Census::default(),
            None => {
                let (census, counting) = Census::start(client);
                drivers.push(counting);
                census
            }
        };
        let watches = Watches {
            trainings: watch(within(client, namespace), all(), &mut drivers),
            deployments: watch(within(client, namespace), all(), &mut drivers),
            profiles: watch(Api::all(client.clone()), all(), &mut drivers),
            jobs: watch(within(client, namespace), ours(), &mut drivers),
            workloads: watch(within(client, namespace), ours(), &mut drivers),
            services: watch(within(client, namespace), ours(), &mut drivers),
            budgets: watch(within(client, namespace), ours(), &mut drivers),
            policies: watch(within(client, namespace), ours(), &mut drivers),
            pods: watch(within(client, namespace), ours(), &mut drivers),
            census,
            driver: Box::pin(futures::stream::empty()),
        };
        Watches {
            driver: futures::stream::select_all(drivers).boxed(),
            ..watches
        }
    }

    /// The stores, for the controllers' context.
    pub fn stores(&self) -> Stores {
        Stores {
            trainings: self.trainings.store.clone(),
            deployments: self.deployments.store.clone(),
            profiles: self.profiles.store.clone(),
            jobs: self.jobs.store.clone(),
            workloads: self.workloads.store.clone(),
            services: self.services.store.clone(),
            budgets: self.budgets.store.clone(),
            policies: self.policies.store.clone(),
            pods: self.pods.store.clone(),
            census: self.census.clone(),
        }
    }
}

/// What the watches have shown.
#[derive(Clone)]
pub struct Stores {
    /// ModelTrainings.
    pub trainings: Store<ModelTraining>,
    /// ModelDeployments.
    pub deployments: Store<ModelDeployment>,
    /// AcceleratorProfiles.
    pub profiles: Store<AcceleratorProfile>,
    /// Jobs of ours.
    pub jobs: Store<Job>,
    /// Deployments of ours.
    pub workloads: Store<Deployment>,
    /// Services of ours.
    pub services: Store<Service>,
    /// PodDisruptionBudgets of ours.
    pub budgets: Store<PodDisruptionBudget>,
    /// NetworkPolicies of ours.
    pub policies: Store<NetworkPolicy>,
    /// Pods of ours.
    pub pods: Store<Pod>,
    /// What all pods hold of all nodes. It may come later than the stores, or not at all: see [`Census::count`].
    pub census: Census,
}

impl Stores {
    /// Waits until each has been listed once: before that, an absent object may merely not have been seen. For one
    /// task only, and before anybody else waits for one of the stores.
    pub async fn ready(&self) {
        // A dropped writer means that the process is ending, and the reconcile with it.
        let _ = future::join_all([
            Box::pin(self.trainings.wait_until_ready()) as future::BoxFuture<'_, _>,
            Box::pin(self.deployments.wait_until_ready()),
            Box::pin(self.profiles.wait_until_ready()),
            Box::pin(self.jobs.wait_until_ready()),
            Box::pin(self.workloads.wait_until_ready()),
            Box::pin(self.services.wait_until_ready()),
            Box::pin(self.budgets.wait_until_ready()),
            Box::pin(self.policies.wait_until_ready()),
            Box::pin(self.pods.wait_until_ready()),
        ])
        .await;
    }

    /// Pods of a namespace that carry this label value.
    pub fn pods_of(&self, namespace: &str, label: &str, value: &str) -> Vec<Arc<Pod>> {
        self.pods.state_filter(|pod| {
            pod.namespace().as_deref() == Some(namespace)
                && pod.labels().get(label).is_some_and(|found| found == value)
        })
    }
}

fn within<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn watch<K>(api: Api<K>, config: watcher::Config, drivers: &mut Vec<BoxStream<'static, ()>>) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let events = watcher(api, config)
        .default_backoff()
        // Half of an object's bytes are the record of who set which field, which nothing here reads.
        .modify(|object| object.managed_fields_mut().clear());
    let (watched, driver) = follow(events);
    drivers.push(driver);
    watched
}

/// Keeps the store as the events tell, and tells the readers.
fn follow<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
) -> (Watched<K>, BoxStream<'static, ()>)
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let readers = Readers::default();
    let (shown, told) = (store.clone(), Arc::clone(&readers));
    let driver = events.reflect(writer).filter_map(move |event| {
        match event {
            Ok(Event::Apply(object) | Event::Delete(object)) => tell(&told, &Arc::new(object)),
            Ok(Event::InitDone) => shown.state().iter().for_each(|object| tell(&told, object)),
            Ok(Event::Init | Event::InitApply(_)) => {}
            Err(error) => warn!(kind = %K::kind(&()), %error, "the watch broke; it is started again"),
        }
        future::ready(None::<()>)
    });
    (Watched { store, readers }, driver.boxed())
}

fn tell<K>(readers: &Readers<K>, object: &Arc<K>) {
    let readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
    for reader in readers.iter() {
        // A reader that is gone belongs to a controller that has ended.
        let _ = reader.unbounded_send(Arc::clone(object));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn pod(name: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        pod
    }

    #[tokio::test]
    async fn a_reader_that_is_late_sees_what_is_there_what_went_and_what_comes() {
        let (events, watch) = unbounded();
        let (watched, mut driver) = follow(watch);
        let mut readers = [watched.changes(), watched.changes()];
        let first = [Event::Init, Event::InitApply(pod("a")), Event::InitDone];
        let rest = [
            Event::Apply(pod("b")),
            Event::Delete(pod("b")),
            Event::Apply(pod("c")),
        ];
        for event in first.into_iter().chain(rest) {
            events.unbounded_send(Ok(event)).unwrap();
        }
        assert!(driver.next().now_or_never().is_none(), "the watch goes on");
        for reader in &mut readers {
            // `b` was gone before its turn.
            let seen: Vec<String> = reader
                .take(4)
                .map(|pod| pod.name_any())
                .collect()
                .now_or_never()
                .unwrap();
            assert_eq!(seen, ["a", "b", "b", "c"]);
        }
        events.unbounded_send(Ok(Event::Apply(pod("d")))).unwrap();
        assert!(driver.next().now_or_never().is_none());
        assert_eq!(
            readers[1]
                .next()
                .now_or_never()
                .flatten()
                .map(|pod| pod.name_any()),
            Some("d".to_owned())
        );
    }
}
