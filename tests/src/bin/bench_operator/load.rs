//! Clients that create objects, and what they see of them: when the child is there, and when all is done.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, future};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Resource, ResourceExt};
use sconce_tests::objects;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::Result;
use crate::stage::{NAMESPACE, PROFILE};

/// Without anything done for that long, something is stuck.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A ModelTraining; its child is a Job of one pod, and it is done when it has succeeded.
    Training,
    /// A ModelDeployment; its child is a Deployment of one pod, and it is done when it is Ready.
    Deployment,
    /// A JobSet of one Job of one pod, done when it is completed.
    JobSet,
    /// A Job of one pod, whose child is the pod.
    Job,
}

/// How fast.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As fast as the clients can.
    AtOnce,
    /// One after that long, by whichever client is free.
    Every(Duration),
}

/// What was seen, in times since the first create.
pub struct Outcome {
    created: HashMap<String, Duration>,
    child: HashMap<String, Duration>,
    done: HashMap<String, Duration>,
}

impl Outcome {
    /// Create to child in milliseconds: that share of all took no longer.
    pub fn child(&self, share: f64) -> f64 {
        let delay = |(name, child): (&String, &Duration)| {
            let created = self.created.get(name).copied().unwrap_or_default();
            child.saturating_sub(created).as_secs_f64() * 1000.0
        };
        quantile(self.child.iter().map(delay).collect(), share)
    }

    /// When the first child was there, in seconds.
    pub fn first_child(&self) -> f64 {
        self.child.values().min().map_or(f64::NAN, Duration::as_secs_f64)
    }

    /// When all children were there, in seconds.
    pub fn last_child(&self) -> f64 {
        self.child.values().max().map_or(f64::NAN, Duration::as_secs_f64)
    }

    /// When all were done, in seconds.
    pub fn total(&self) -> f64 {
        self.done.values().max().map_or(f64::NAN, Duration::as_secs_f64)
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a small count"
)]
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share).ceil() as usize;
    values.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

type Times = Arc<Mutex<HashMap<String, Duration>>>;

/// Creates `count` objects and waits until all are done.
pub async fn run(
    watcher: &Client,
    clients: Vec<Client>,
    object: Object,
    count: usize,
    pace: Pace,
) -> Result<Outcome> {
    let start = Instant::now();
    let (created, child, done) = (Times::default(), Times::default(), Times::default());
    let resource = object.resource();
    let watches = [
        match object {
            Object::Deployment => children::<Deployment>(watcher, start, &child),
            Object::Training | Object::JobSet => children::<Job>(watcher, start, &child),
            Object::Job => children::<Pod>(watcher, start, &child),
        },
        ends(watcher, &resource, start, &done),
    ];
    let next = Arc::new(AtomicUsize::new(0));
    let creators = clients.into_iter().map(|client| {
        let (next, created, resource) = (Arc::clone(&next), Arc::clone(&created), resource.clone());
        tokio::spawn(async move {
            let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &resource);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<(), kube::Error>(());
                }
                if let Pace::Every(pause) = pace {
                    let due = start + pause * u32::try_from(number).unwrap_or(u32::MAX);
                    tokio::time::sleep_until(due.into()).await;
                }
                let (name, body) = object.body(number);
                let body: DynamicObject = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
                api.create(&PostParams::default(), &body).await?;
                lock(&created).insert(name, start.elapsed());
            }
        })
    });
    for creator in future::join_all(creators).await {
        creator??;
    }
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let all = lock(&done).len();
        if all >= count {
            break;
        }
        // Children come first: many objects may all have theirs before one of them is done.
        let steps = all + lock(&child).len();
        if steps != seen {
            (seen, since) = (steps, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            return Err(format!(
                "{all} of {count} are done, and {} have a child",
                lock(&child).len()
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    watches.iter().for_each(JoinHandle::abort);
    let take = |times: &Times| std::mem::take(&mut *lock(times));
    Ok(Outcome {
        created: take(&created),
        child: take(&child),
        done: take(&done),
    })
}

fn lock(times: &Times) -> std::sync::MutexGuard<'_, HashMap<String, Duration>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes when each owner's child was first seen.
fn children<K>(client: &Client, start: Instant, times: &Times) -> JoinHandle<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Send + Sync + Debug + 'static,
{
    let (api, times) = (
        Api::<PartialObjectMeta<K>>::namespaced(client.clone(), NAMESPACE),
        Arc::clone(times),
    );
    tokio::spawn(async move {
        let mut events = watch(api, watcher::Config::default()).default_backoff().boxed();
        while let Some(event) = events.next().await {
            let Ok(Event::Apply(child) | Event::InitApply(child)) = event else {
                continue;
            };
            if let Some(owner) = child.owner_references().first() {
                lock(&times)
                    .entry(owner.name.clone())
                    .or_insert_with(|| start.elapsed());
            }
        }
    })
}

/// Notes when each object was first seen to be done.
fn ends(client: &Client, resource: &ApiResource, start: Instant, times: &Times) -> JoinHandle<()> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, resource);
    let times = Arc::clone(times);
    tokio::spawn(async move {
        let mut events = watch(api, watcher::Config::default()).default_backoff().boxed();
        while let Some(event) = events.next().await {
            let Ok(Event::Apply(object) | Event::InitApply(object)) = event else {
                continue;
            };
            if is_done(&object.data) {
                lock(&times)
                    .entry(object.name_any())
                    .or_insert_with(|| start.elapsed());
            }
        }
    })
}

/// What each says of itself: `Ready` is true of a training and of a deployment, `Completed` of a JobSet, `Complete` of a
/// Job.
fn is_done(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        let kind = condition["type"].as_str().unwrap_or_default();
        condition["status"] == "True" && ["Ready", "Completed", "Complete"].contains(&kind)
    })
}

impl Object {
    fn resource(self) -> ApiResource {
        let (group, version, kind) = match self {
            Object::Training => ("sconce.dev", "v1alpha1", "ModelTraining"),
            Object::Deployment => ("sconce.dev", "v1alpha1", "ModelDeployment"),
            Object::JobSet => ("jobset.x-k8s.io", "v1alpha2", "JobSet"),
            Object::Job => ("batch", "v1", "Job"),
        };
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    }

    fn body(self, number: usize) -> (String, Value) {
        let accelerator = json!({"spec": {"accelerator": {"profile": PROFILE}}});
        let (name, body) = match self {
            Object::Training => {
                let name = format!("train-{number}");
                let output = json!({"spec": {"output": {"uri": format!("pvc://models/{name}")}}});
                let body = objects::with(objects::training(&name), &output);
                (name, objects::with(body, &accelerator))
            }
            Object::Deployment => {
                let name = format!("serve-{number}");
                let body = objects::deployment_of_uri(&name, &format!("pvc://models/{name}"));
                (name, objects::with(body, &accelerator))
            }
            Object::JobSet => {
                let name = format!("set-{number}");
                let body = jobset(&name);
                (name, body)
            }
            Object::Job => {
                let name = format!("job-{number}");
                let body = job(&name);
                (name, body)
            }
        };
        (
            name,
            objects::with(body, &json!({"metadata": {"namespace": NAMESPACE}})),
        )
    }
}

fn pod() -> Value {
    let resources = json!({"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"});
    json!({"restartPolicy": "Never", "containers": [{
        "name": "work", "image": "registry.example/work:1", "resources": {"requests": resources, "limits": resources},
    }]})
}

fn job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod()}},
    })
}

/// With the defaults that JobSet's webhook would set.
fn jobset(name: &str) -> Value {
    json!({
        "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": name},
        "spec": {
            "network": {"enableDNSHostnames": true, "publishNotReadyAddresses": true},
            "successPolicy": {"operator": "All"}, "startupPolicy": {"startupPolicyOrder": "AnyOrder"},
            "replicatedJobs": [{
                "name": "work", "replicas": 1,
                "template": {"spec": {
                    "parallelism": 1, "completions": 1, "backoffLimit": 0, "completionMode": "Indexed",
                    "template": {"spec": pod()},
                }},
            }],
        },
    })
}
