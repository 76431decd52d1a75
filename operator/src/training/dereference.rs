//! Step 1: everything that a training names, as it is found. What is missing is data, not an error.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt};
use sconce_contract::Progress;
use sconce_crds::{AcceleratorProfile, ModelTraining, ModelTrainingSpec};

use super::departure::{self, Departure};
use super::identity::{Identity, Stage, stage};
use super::incumbent::{self, Serving};
use super::{queue, refusal};
use crate::context::Context;
use crate::devices::{self, DeviceClass};
use crate::error::{Doing, Error};
use crate::fit::{Need, Question};
use crate::kueue::Sight;
use crate::seen::{Job, Pod};
use crate::volumes::{self, Source};
use crate::watches::Stores;
use crate::{labels, mounts, observed, overrides, priority, runtime_class};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The AcceleratorProfile of that name.
    pub profile: Option<Arc<AcceleratorProfile>>,
    /// Claims and ConfigMaps that the URIs name and that do not exist. Looked for while there is no Job; after
    /// that the pod itself tells.
    pub missing: BTreeSet<Source>,
    /// Of several pods: the first claim that a URI names and that pods of one node alone can mount.
    pub one_node_claim: Option<String>,
    /// Whether the PriorityClass of that name is missing.
    pub priority_class_missing: bool,
    /// The profile's RuntimeClass, where it is missing.
    pub missing_runtime_class: Option<String>,
    /// Whether the profile's DeviceClass is there.
    pub device_class: DeviceClass,
    /// What is missing of the queue that the spec names.
    pub queue_missing: Option<MissingQueue>,
    /// What Kueue says of the Job, where it has not let it in.
    pub queue: Option<Sight>,
    /// What the pod needs of its accelerator's memory, and what that has.
    pub fit: Question,
    /// In which words the API server refuses the Job's pod, where it does.
    pub refusal: Option<String>,
    /// Whether the namespace goes, where a pod is on its way out that would keep it.
    pub departure: Option<Departure>,
    /// The Job of the run, if it was created.
    pub job: Option<Arc<Job>>,
    /// Whether the Service and the policy of several pods are there.
    pub connected: bool,
    /// Jobs of earlier runs of this training.
    pub superseded: Vec<Arc<Job>>,
    /// What the deployments that follow the training serve, where a gate asks; looked for while there is no Job.
    pub serving: Vec<Serving>,
    /// Pods of the run, oldest first.
    pub pods: Vec<Arc<Pod>>,
    /// Whether one of them is known from its last word alone, until the status knows of it.
    pub last_words: bool,
    /// What the running pod says of itself.
    pub progress: Option<Progress>,
}

impl Found {
    /// The pod that made way for one of a higher priority, where the run has no newer one in its place.
    pub fn preempted(&self) -> Option<&Pod> {
        queue::victim(self.pods.iter()).map(AsRef::as_ref)
    }
}

/// What is missing of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingQueue {
    /// Kueue's API is not served.
    Api,
    /// There is no LocalQueue of that name.
    Queue,
}

/// Whether the pod is of the run whose Job has this name, and this UID where there is one. One of no Job of ours that is
/// older than the training is of an earlier one of the same name and spec. Of a Job of ours it may seem older: API servers
/// have a clock each.
fn is_of_run(pod: &Pod, training: &ModelTraining, job: &str, uid: Option<&str>) -> bool {
    pod.labels().get(labels::JOB_NAME).is_some_and(|name| name == job)
        && (pod.creation_timestamp() >= training.creation_timestamp() || is_controlled(pod, uid))
}

/// Whether the pod is of the Job with this UID.
fn is_controlled(pod: &Pod, job: Option<&str>) -> bool {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    job.is_some_and(|job| owners.any(|owner| owner.controller == Some(true) && owner.uid == job))
}

/// Whether a Job's pods have what lets them find each other.
fn is_connected(namespace: &str, job: &str, stores: &Stores) -> bool {
    let service = stores.services.get(&ObjectRef::new(job).within(namespace));
    let policy = stores.policies.get(&ObjectRef::new(job).within(namespace));
    service.is_some() && policy.is_some()
}

/// Looks up what the training names.
pub async fn dereference(
    training: &ModelTraining,
    identity: &Identity,
    context: &Context,
) -> Result<Found, Error> {
    let namespace = training.namespace().unwrap_or_default();
    let uid = training.uid().unwrap_or_default();
    let name = training.name_any();
    let profile = training
        .spec
        .accelerator
        .as_ref()
        .and_then(|accelerator| context.stores.profiles.get(&ObjectRef::new(&accelerator.profile)));

    let (current, superseded): (Vec<_>, Vec<_>) = context
        .stores
        .jobs_of(&uid)
        .into_iter()
        .partition(|job| job.name_any() == identity.job);
    let job = current.into_iter().next();
    let mut pods = context.stores.pods_of(&namespace, labels::TRAINING, &name);
    let job_uid = job.as_ref().and_then(|job| job.uid());
    let is_ours = |pod: &Pod| is_of_run(pod, training, &identity.job, job_uid.as_deref());
    pods.retain(|pod| is_ours(pod));
    pods.sort_by_key(|pod| pod.creation_timestamp());
    let departure = match job.as_deref().filter(|job| departure::is_likely(job, &pods)) {
        Some(_) => Some(departure::look(&context.client, &namespace).await?),
        None => None,
    };
    let last_words = context.last_words.tell(&namespace, &name, &mut pods, is_ours);

    let mut found = Found {
        profile,
        fit: Question {
            room: context.room(training.spec.accelerator.as_ref()),
            need: need(&training.spec),
        },
        departure,
        job,
        connected: is_connected(&namespace, &identity.job, &context.stores),
        superseded,
        pods,
        last_words,
        ..Found::default()
    };
    let status = training.status.clone().unwrap_or_default();
    if found.job.is_none() && incumbent::is_asked(training) {
        let deployments = context.stores.serving(&namespace, &name);
        found.serving = incumbent::serving(training, deployments.iter().map(AsRef::as_ref));
    }
    if found.job.is_none() && stage(&status, identity) == Stage::Due {
        look_up(training, context, &namespace, &mut found).await?;
    }
    if let (Some(_), Some(job)) = (&training.spec.scheduling.queue_name, &found.job)
        && job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true))
        && stage(&status, identity) == Stage::Due
    {
        let uid = job.uid().unwrap_or_default();
        found.queue = Some(context.kueue.look(&context.client, &namespace, &uid).await?);
    }
    if let Some(job) = found
        .job
        .as_deref()
        .filter(|job| refusal::is_likely(job, &found.pods, Timestamp::now()))
    {
        found.refusal = refusal::look(&context.client, &namespace, job).await?;
    }
    mounts::tell(&context.client, &namespace, &mut found.pods, Timestamp::now()).await?;
    let running = observed::at_work(&found.pods);
    if let Some(address) = running.and_then(|pod| observed::address(pod)) {
        found.progress = context
            .progress
            .ask(address)
            .await
            .filter(|progress| progress.run == identity.run);
    }
    Ok(found)
}

/// What the network needs; nothing where it is somebody else's program that learns.
fn need(spec: &ModelTrainingSpec) -> Option<Need> {
    let network = spec.model.network.as_ref()?;
    // Of a column of words, each word is an input, and only the table says how many there are.
    let known = spec.dataset.categorical.is_none();
    let inputs = spec.dataset.columns().filter(|_| known);
    let how = &spec.hyperparameters;
    Some(match &spec.search {
        Some(search) => Need::of_search(search, spec.nodes.count, network, how, inputs),
        // With the fewest that may have to do.
        None => Need::of_training(network, how, spec.nodes.least(), inputs),
    })
}

/// What a pod of the run would need, and no watch covers.
async fn look_up(
    training: &ModelTraining,
    context: &Context,
    namespace: &str,
    found: &mut Found,
) -> Result<(), Error> {
    let spec = &training.spec;
    let uris = [spec.output.uri.as_ref(), spec.checkpoint.uri.as_ref()];
    let uris = uris.into_iter().flatten().map(String::as_str);
    let mut named = overrides::sources(spec.pod_overrides.as_ref());
    let tables = spec.dataset.uris().into_iter().map(|(_, uri)| uri);
    named.extend(tables.chain(uris).filter_map(Source::of));
    if spec.nodes.is_group() {
        found.one_node_claim = one_node_claim(&context.client, namespace, named.iter().cloned()).await?;
    }
    found.missing = volumes::missing(&context.client, namespace, named).await?;
    if let Some(queue) = spec.scheduling.queue_name.as_ref().filter(|_| !spec.suspend) {
        let (kueue, client) = (&context.kueue, &context.client);
        found.queue_missing = match kueue.version(client).await? {
            None => Some(MissingQueue::Api),
            Some(version) => {
                let exists = kueue.has_queue(client, &version, namespace, queue).await?;
                (!exists).then_some(MissingQueue::Queue)
            }
        };
    }
    let class = spec.scheduling.priority_class_name.as_deref();
    found.priority_class_missing = priority::is_missing(&context.client, class).await?;
    found.missing_runtime_class = runtime_class::missing(&context.client, found.profile.as_deref()).await?;
    found.device_class = devices::look_up(context, found.profile.as_deref()).await?;
    Ok(())
}

/// The first of these claims that has no mode in which pods of many nodes can mount it.
async fn one_node_claim(
    client: &Client,
    namespace: &str,
    sources: impl Iterator<Item = Source>,
) -> Result<Option<String>, Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    for source in sources {
        let Source::Claim(name) = source else { continue };
        let read = api.get_opt(&name).await;
        let read = read.doing(|| format!("get PersistentVolumeClaim {namespace}/{name}"))?;
        let modes = read
            .and_then(|claim| claim.spec?.access_modes)
            .unwrap_or_default();
        let one = |mode: &String| mode == "ReadWriteOnce" || mode == "ReadWriteOncePod";
        if !modes.is_empty() && modes.iter().all(one) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn pods_of_the_run_are_told_from_those_of_an_earlier_training_of_its_name() {
        let training = serde_json::from_value(json!({
            "metadata": {"name": "iris", "creationTimestamp": "2027-01-15T08:00:00Z"},
            "spec": {
                "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
                "dataset": {"uri": "configmap://a/b.csv", "target": "y"},
            },
        }))
        .unwrap();
        let is_of_run = |job: &str, owner: &str, created: &str| {
            let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": owner, "controller": true});
            let labels = json!({"batch.kubernetes.io/job-name": job});
            let metadata =
                json!({"labels": labels, "ownerReferences": [owner], "creationTimestamp": created});
            let pod = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            ["j1", ""].map(|uid| {
                super::is_of_run(&pod, &training, "iris-a", Some(uid).filter(|uid| !uid.is_empty()))
            })
        };
        let (before, later) = ("2027-01-15T07:59:59Z", "2027-01-15T08:00:01Z");
        assert_eq!(is_of_run("iris-a", "j1", later), [true, true]);
        assert_eq!(is_of_run("iris-a", "j1", before), [true, false], "clocks differ");
        assert_eq!(
            is_of_run("iris-a", "j0", before),
            [false, false],
            "an earlier training's"
        );
        assert_eq!(is_of_run("iris-b", "j2", later), [false, false], "another spec's");
    }

    #[test]
    fn what_texts_need_is_known_by_their_length() {
        let need = |length: u32, text: bool| {
            let layers = json!([
                {"embedding": {"vocabulary": 50, "dimensions": 8}}, {"globalAveragePool": {}}, {"dense": {"units": 1}},
            ]);
            let mut dataset = json!({"uri": "configmap://reviews/reviews.csv", "target": "stars"});
            if text {
                dataset["text"] = json!({"length": length, "vocabulary": 50});
            }
            let spec = json!({"model": {"network": {"layers": layers}}, "dataset": dataset});
            super::need(&serde_json::from_value(spec).unwrap()).unwrap()
        };
        let (short, long) = (need(10, true), need(20, true));
        assert!(short.exact && long.exact);
        assert_eq!(short.weights, long.weights);
        assert_eq!(short.weights, 4 * (50 * 8 + 8 + 1));
        assert!(
            long.activations > short.activations + 32 * 10 * 4,
            "{short:?} {long:?}"
        );
        assert!(
            !need(10, false).exact,
            "of columns of integers only the table tells"
        );
    }
}
