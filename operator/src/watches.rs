//! What is watched, once for both controllers: each kind has one watch, one store and any number of readers.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{Stream, StreamExt, TryStreamExt, future, stream::BoxStream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use serde::de::DeserializeOwned;
use tokio::sync;
use tracing::warn;

use crate::index::{Index, Keys};
use crate::labels::{self, SELECTOR};
use crate::profile::census::Census;
use crate::seen::{Compared, Deployment, Job, Own, OwnKind, Pod};

/// Objects in one answer to a list: a page is in memory twice, as text and parsed, before most of it is let go.
const PAGE: u32 = 100;

/// A kind under watch.
///
/// kube can share a watch too, but a reader of its shared streams is never woken again once it has met an object that
/// is gone from the store before its turn (`ReflectHandle::poll_next`, kube 5.0), and it is told of no deletion.
pub struct Watched<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// What the watch has shown.
    pub store: Store<K>,
    /// The same, by what it is looked up by.
    pub index: Index<K>,
    readers: Readers<K>,
    listed: sync::watch::Receiver<bool>,
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

    /// [`Watched::changes`] without those of the status alone: for the many who only depend on what people say.
    pub fn intents(&self) -> BoxStream<'static, Arc<K>> {
        let (mut seen, store) = (HashMap::new(), self.store.clone());
        let mut is_news = move |object: &Arc<K>| {
            let meta = object.meta();
            let said = digest(&(&meta.uid, meta.generation, &meta.annotations));
            let key = ObjectRef::from_obj(&**object);
            if store.get(&key).is_none() {
                // It is gone, and told as it last was.
                seen.remove(&key);
                return true;
            }
            seen.insert(key, said) != Some(said)
        };
        self.changes()
            .filter(move |object| future::ready(is_news(object)))
            .boxed()
    }
}

/// Stands for a value among those of one object in one process: annotations alone may have kilobytes.
fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
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
    pub services: Watched<Compared<Service>>,
    /// PodDisruptionBudgets of ours.
    pub budgets: Watched<Compared<PodDisruptionBudget>>,
    /// NetworkPolicies of ours.
    pub policies: Watched<Compared<NetworkPolicy>>,
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
        let mut drivers = Vec::new();
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
            trainings: watch_own(within(client, namespace), |_| Vec::new(), &mut drivers),
            deployments: watch_own(within(client, namespace), by_training, &mut drivers),
            profiles: watch_own(Api::all(client.clone()), |_| Vec::new(), &mut drivers),
            jobs: watch_children(within(client, namespace), by_owner, &mut drivers),
            workloads: watch_children(within(client, namespace), by_owner, &mut drivers),
            services: watch_children(within(client, namespace), |_| Vec::new(), &mut drivers),
            budgets: watch_children(within(client, namespace), |_| Vec::new(), &mut drivers),
            policies: watch_children(within(client, namespace), |_| Vec::new(), &mut drivers),
            pods: watch_children(within(client, namespace), by_label, &mut drivers),
            census,
            driver: Box::pin(futures::stream::empty()),
        };
        if namespace.is_none() {
            drivers.push(
                watches
                    .census
                    .follow_devices(client, watches.profiles.store.clone()),
            );
        }
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
            deployments_by_training: self.deployments.index.clone(),
            jobs_by_owner: self.jobs.index.clone(),
            workloads_by_owner: self.workloads.index.clone(),
            pods_by_label: self.pods.index.clone(),
            listed: vec![
                self.trainings.listed.clone(),
                self.deployments.listed.clone(),
                self.profiles.listed.clone(),
                self.jobs.listed.clone(),
                self.workloads.listed.clone(),
                self.services.listed.clone(),
                self.budgets.listed.clone(),
                self.policies.listed.clone(),
                self.pods.listed.clone(),
            ],
        }
    }
}

/// What the watches have shown: of objects that are not our own, what is kept ([`crate::seen`]).
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
    pub services: Store<Compared<Service>>,
    /// PodDisruptionBudgets of ours.
    pub budgets: Store<Compared<PodDisruptionBudget>>,
    /// NetworkPolicies of ours.
    pub policies: Store<Compared<NetworkPolicy>>,
    /// What all pods hold of all nodes. It may come later than the stores, or not at all: see [`Census::count`].
    pub census: Census,
    /// Pods of ours.
    pub pods: Store<Pod>,
    deployments_by_training: Index<ModelDeployment>,
    jobs_by_owner: Index<Job>,
    workloads_by_owner: Index<Deployment>,
    pods_by_label: Index<Pod>,
    listed: Vec<sync::watch::Receiver<bool>>,
}

impl Stores {
    /// Waits until each has been listed once: before that, an absent object may merely not have been seen. Not by
    /// kube's own `wait_until_ready`: of several that wait for a store, it wakes only the one that asked last.
    pub async fn ready(&self) {
        for listed in &self.listed {
            // A dropped sender means that the process is ending, and the reconcile with it.
            let _ = listed.clone().wait_for(|listed| *listed).await;
        }
    }

    /// Pods of a namespace that carry this label value, in no order. The label is [`labels::TRAINING`] or
    /// [`labels::DEPLOYMENT`]: by others nothing is found.
    pub fn pods_of(&self, namespace: &str, label: &str, value: &str) -> Vec<Arc<Pod>> {
        self.pods_by_label.get(&format!("{label} {namespace}/{value}"))
    }

    /// Jobs that the object with this UID controls, in no order.
    pub fn jobs_of(&self, uid: &str) -> Vec<Arc<Job>> {
        self.jobs_by_owner.get(uid)
    }

    /// Deployments that the object with this UID controls, in no order.
    pub fn workloads_of(&self, uid: &str) -> Vec<Arc<Deployment>> {
        self.workloads_by_owner.get(uid)
    }

    /// ModelDeployments of a namespace that serve what this training learns, in no order.
    pub fn serving(&self, namespace: &str, training: &str) -> Vec<Arc<ModelDeployment>> {
        self.deployments_by_training
            .get(&format!("{namespace}/{training}"))
    }
}

fn by_owner<K: Resource>(object: &K) -> Vec<String> {
    let owners = object.meta().owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.clone())
        .collect()
}

fn by_label(pod: &Pod) -> Vec<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    [labels::TRAINING, labels::DEPLOYMENT]
        .into_iter()
        .filter_map(|label| Some((label, pod.labels().get(label)?)))
        .map(|(label, value)| format!("{label} {namespace}/{value}"))
        .collect()
}

fn by_training(deployment: &ModelDeployment) -> Vec<String> {
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let reference = deployment.spec.model.training_ref.iter();
    reference
        .map(|reference| format!("{namespace}/{}", reference.name))
        .collect()
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

/// Watches all of a kind of our own.
fn watch_own<K: OwnKind>(
    api: Api<Own<K>>,
    keys: Keys<K>,
    drivers: &mut Vec<BoxStream<'static, ()>>,
) -> Watched<K> {
    let events = watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff();
    let (watched, driver) = follow(events.map_ok(Own::event), keys);
    drivers.push(driver);
    watched
}

/// Watches what we made of another kind.
fn watch_children<K>(api: Api<K>, keys: Keys<K>, drivers: &mut Vec<BoxStream<'static, ()>>) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let config = watcher::Config::default().labels(SELECTOR).page_size(PAGE);
    let (watched, driver) = follow(watcher(api, config).default_backoff(), keys);
    drivers.push(driver);
    watched
}

/// Keeps the store as the events tell, and tells the readers.
fn follow<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    keys: Keys<K>,
) -> (Watched<K>, BoxStream<'static, ()>)
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (store, mut writer) = reflector::store();
    let (readers, index) = (Readers::default(), Index::new(keys));
    let (is_listed, listed) = sync::watch::channel(false);
    let watched = Watched {
        listed,
        store: store.clone(),
        index: index.clone(),
        readers: Arc::clone(&readers),
    };
    let driver = events.filter_map(move |event| {
        match event {
            Ok(event) => {
                let subject = match &event {
                    Event::Apply(object) | Event::Delete(object) => Some(ObjectRef::from_obj(object)),
                    Event::Init | Event::InitApply(_) | Event::InitDone => None,
                };
                let old = subject.as_ref().and_then(|subject| store.get(subject));
                writer.apply_watcher_event(&event);
                match event {
                    Event::Apply(_) => {
                        let new = subject.and_then(|subject| store.get(&subject));
                        index.change(old.as_deref(), new.as_ref());
                        new.iter().for_each(|object| tell(&readers, object));
                    }
                    Event::Delete(object) => {
                        index.change(old.as_deref(), None);
                        tell(&readers, &Arc::new(object));
                    }
                    Event::InitDone => {
                        let all = store.state();
                        index.replace(&all);
                        is_listed.send_replace(true);
                        all.iter().for_each(|object| tell(&readers, object));
                    }
                    Event::Init | Event::InitApply(_) => {}
                }
            }
            Err(error) => warn!(kind = %K::kind(&()), %error, "the watch broke; it is started again"),
        }
        future::ready(None::<()>)
    });
    (watched, driver.boxed())
}

fn tell<K>(readers: &Readers<K>, object: &Arc<K>) {
    let readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
    for reader in readers.iter() {
        // A reader that is gone belongs to a controller that has ended.
        let _ = reader.unbounded_send(Arc::clone(object));
    }
}

#[cfg(test)]
#[path = "watches_tests.rs"]
mod tests;
