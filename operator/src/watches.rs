//! What is watched, once for both controllers: each kind has one watch, one store and any number of readers.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{StreamExt, future, stream::BoxStream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::runtime::reflector::{ReflectHandle, Store, store_shared};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::labels::SELECTOR;

/// Events that a reader may lag behind before the watch waits for it.
const BUFFER: usize = 1024;

/// A kind under watch.
pub struct Watched<K: Resource<DynamicType = ()> + Clone + 'static>
where
    K::DynamicType: Eq + Hash + Clone,
{
    /// What the watch has shown.
    pub store: Store<K>,
    readers: Vec<ReflectHandle<K>>,
    deletions: Deletions<K>,
}

/// Who is told of deletions. What kube shares of a watch are the objects that are there.
type Deletions<K> = Arc<Mutex<Vec<UnboundedSender<Arc<K>>>>>;

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Watched<K> {
    /// One of the readers that were asked for. Each must be polled, or the watch stands still.
    ///
    /// # Panics
    /// Never in practice: the number of readers is written beside their uses in [`Watches::start`].
    pub fn reader(&mut self) -> ReflectHandle<K> {
        #[allow(clippy::expect_used)]
        self.readers
            .pop()
            .expect("as many readers were made as are taken")
    }

    /// One of the readers that were asked for, which also shows each object that was deleted, once it is gone
    /// from the store.
    pub fn changes(&mut self) -> BoxStream<'static, Arc<K>> {
        let (sender, deleted) = unbounded();
        self.deletions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        futures::stream::select(self.reader(), deleted).boxed()
    }
}

/// Every kind under watch, and the work that keeps it so.
pub struct Watches {
    /// ModelTrainings; one reader for each controller.
    pub trainings: Watched<ModelTraining>,
    /// ModelDeployments.
    pub deployments: Watched<ModelDeployment>,
    /// AcceleratorProfiles; one reader for each controller.
    pub profiles: Watched<AcceleratorProfile>,
    /// Jobs of ours.
    pub jobs: Watched<Job>,
    /// Deployments of ours.
    pub workloads: Watched<Deployment>,
    /// Services of ours.
    pub services: Watched<Service>,
    /// Pods of ours; one reader for each controller.
    pub pods: Watched<Pod>,
    /// Polls the watches; ends never.
    pub driver: BoxStream<'static, ()>,
}

impl Watches {
    /// Starts to watch all namespaces.
    pub fn start(client: &Client) -> Self {
        let ours = || watcher::Config::default().labels(SELECTOR);
        let mut drivers = Vec::new();
        let watches = Watches {
            trainings: watch(
                Api::all(client.clone()),
                watcher::Config::default(),
                2,
                &mut drivers,
            ),
            deployments: watch(
                Api::all(client.clone()),
                watcher::Config::default(),
                1,
                &mut drivers,
            ),
            profiles: watch(
                Api::all(client.clone()),
                watcher::Config::default(),
                2,
                &mut drivers,
            ),
            jobs: watch(Api::all(client.clone()), ours(), 1, &mut drivers),
            workloads: watch(Api::all(client.clone()), ours(), 1, &mut drivers),
            services: watch(Api::all(client.clone()), ours(), 1, &mut drivers),
            pods: watch(Api::all(client.clone()), ours(), 2, &mut drivers),
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
            pods: self.pods.store.clone(),
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
    /// Pods of ours.
    pub pods: Store<Pod>,
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

fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    readers: usize,
    drivers: &mut Vec<BoxStream<'static, ()>>,
) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = store_shared(BUFFER);
    let readers = (0..readers).filter_map(|_| writer.subscribe()).collect();
    let deletions = Deletions::default();
    let told = Arc::clone(&deletions);
    let driver = watcher(api, config)
        .default_backoff()
        // Half of an object's bytes are the record of who set which field, which nothing here reads.
        .modify(|object| object.managed_fields_mut().clear())
        .reflect_shared(writer)
        .filter_map(move |event| {
            match event {
                Ok(watcher::Event::Delete(object)) => tell(&told, &Arc::new(object)),
                Ok(_) => {}
                Err(error) => warn!(kind = %K::kind(&()), %error, "the watch broke; it is started again"),
            }
            future::ready(None::<()>)
        });
    drivers.push(driver.boxed());
    Watched {
        store,
        readers,
        deletions,
    }
}

fn tell<K>(readers: &Deletions<K>, deleted: &Arc<K>) {
    let readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
    for reader in readers.iter() {
        // A reader that is gone belongs to a controller that has ended.
        let _ = reader.unbounded_send(Arc::clone(deleted));
    }
}
