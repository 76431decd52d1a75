//! Step 1: everything that a deployment names, as it is found. What is missing is data, not an error.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelDeploymentSpec, ModelTraining};

use super::caching::{self, NodeCache};
use super::resolve::{Resolution, resolve};
use super::revision::Served;
use super::rollout;
use super::situation::Counts;
use super::workload::{self, Workload};
use crate::apply::is_owned_by;
use crate::context::Context;
use crate::devices::{self, DeviceClass};
use crate::error::{Doing, Error};
use crate::fit::{Need, Question};
use crate::labels::{self, SELECTOR};
use crate::reason::Reason;
use crate::seen::{Compared, Deployment, Pod};
use crate::volumes::{self, Source};
use crate::{mounts, overrides, priority, runtime_class};

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The AcceleratorProfile of that name.
    pub profile: Option<Arc<AcceleratorProfile>>,
    /// Which artifact is to be served, after what the training says.
    pub resolution: Resolution,
    /// The artifact's claim, where it does not exist. Looked for while no Deployment of the revision is there;
    /// after that the pods themselves tell.
    pub missing: Option<Source>,
    /// Whether only one pod may mount that claim (ReadWriteOncePod); looked for at the same time.
    pub one_pod_only: bool,
    /// Whether the claim of `cache.claimName` is missing; looked for at the same time.
    pub cache_claim_missing: bool,
    /// The folder of every node in which servers may keep models.
    pub node_cache: Option<NodeCache>,
    /// Claims and ConfigMaps that `podOverrides.volumes` names and that do not exist; looked for at the same time.
    pub missing_volumes: BTreeSet<Source>,
    /// The profile's RuntimeClass, where it is missing; looked for at the same time.
    pub missing_runtime_class: Option<String>,
    /// Whether the profile's DeviceClass is there; looked for at the same time.
    pub device_class: DeviceClass,
    /// Whether the PriorityClass of that name is missing; looked for at the same time.
    pub priority_class_missing: bool,
    /// What a pod needs of its accelerator's memory, and what that has.
    pub fit: Question,
    /// Most units of the accelerator that are free on one node, where they are counted: a pod's units are all on the
    /// same.
    pub spare: Option<i64>,
    /// Deployments of all revisions, the one that was asked for last first.
    pub workloads: Vec<Workload>,
    /// The Service, if it was created.
    pub service: Option<Arc<Compared<Service>>>,
    /// Pods of every revision that are not on their way out, oldest first.
    pub pods: Vec<Arc<Pod>>,
    /// Pods on their way out that still hold what they were given.
    pub leaving: Vec<Arc<Pod>>,
}

impl Found {
    /// What was asked for last.
    pub fn current(&self) -> Option<&Served> {
        self.workloads.first().map(|workload| &workload.served)
    }

    /// The Deployment of a revision.
    pub fn of(&self, revision: &str) -> Option<&Workload> {
        self.workloads
            .iter()
            .find(|workload| workload.revision() == revision)
    }

    /// Pods, that revision's apart from all others'.
    pub fn counts(&self, revision: &str) -> Counts {
        Counts::of(&self.pods, Some(revision))
    }
}

/// What the watches have shown of what the deployment names: nobody is asked.
pub fn known(deployment: &ModelDeployment, context: &Context) -> Found {
    let namespace = deployment.namespace().unwrap_or_default();
    let uid = deployment.uid().unwrap_or_default();
    let name = deployment.name_any();
    let stores = &context.stores;

    let training = training(deployment, context, &namespace);
    let profile = deployment.spec.accelerator.as_ref();
    let service = stores.services.get(&ObjectRef::new(&name).within(&namespace));
    let live = stores.workloads_of(&uid);
    let (pods, leaving) = pods(context, &namespace, &name, &uid);
    let mut found = Found {
        profile: profile.and_then(|asked| stores.profiles.get(&ObjectRef::new(&asked.profile))),
        resolution: Resolution::Unknown(crate::problem::Problem::new(
            Reason::TrainingNotFound,
            "spec.model",
            "",
        )),
        missing: None,
        one_pod_only: false,
        cache_claim_missing: false,
        node_cache: context.node_cache.clone(),
        missing_volumes: BTreeSet::new(),
        missing_runtime_class: None,
        device_class: DeviceClass::Found,
        priority_class_missing: false,
        fit: Question::default(),
        spare: None,
        service: service.filter(|service| is_owned_by(&**service, &uid)),
        pods,
        leaving,
        workloads: workloads(deployment, live),
    };
    found.resolution = resolve(deployment, training.as_deref(), found.current());
    found
}

/// Looks up what the deployment names.
///
/// # Errors
/// The API server does not answer.
pub async fn dereference(deployment: &ModelDeployment, context: &Context) -> Result<Found, Error> {
    let namespace = deployment.namespace().unwrap_or_default();
    let training = training(deployment, context, &namespace);
    let profile = deployment.spec.accelerator.as_ref();
    let mut found = known(deployment, context);
    if !is_live(deployment, &found) {
        // A watch may lag, and what follows writes a pod template: the API server itself is asked.
        refresh(deployment, &mut found, context).await?;
        found.resolution = resolve(deployment, training.as_deref(), found.current());
    }
    found.fit = Question {
        room: context.room(profile),
        // What somebody else's program needs is its own.
        need: match deployment.spec.custom() {
            None => need(training.as_deref(), &found.resolution),
            Some(_) => None,
        },
    };
    if found.workloads.len() > 1 || !is_live(deployment, &found) {
        found.spare = profile.and_then(|asked| context.count(&asked.profile)?.spare());
    }
    if !is_live(deployment, &found) {
        look_up(&deployment.spec, context, &namespace, &mut found).await?;
        let class = deployment.spec.scheduling.priority_class_name.as_deref();
        found.priority_class_missing = priority::is_missing(&context.client, class).await?;
    }
    mounts::tell(&context.client, &namespace, &mut found.pods, Timestamp::now()).await?;
    Ok(found)
}

/// Of an artifact of ours, its training's status says how large it is.
fn need(training: Option<&ModelTraining>, resolution: &Resolution) -> Option<Need> {
    let (Resolution::Known { model, .. }, Some(status)) = (resolution, training?.status.as_ref()) else {
        return None;
    };
    let known = [&status.artifact, &status.candidate];
    let artifact = known
        .into_iter()
        .flatten()
        .find(|artifact| Some(&artifact.digest) == model.digest.as_ref())?;
    Some(Need::of_serving(
        artifact.weights_bytes.unwrap_or(artifact.size_bytes),
    ))
}

/// Asks the API server itself for the Deployments.
pub async fn refresh(
    deployment: &ModelDeployment,
    found: &mut Found,
    context: &Context,
) -> Result<(), Error> {
    let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
    let api: Api<Deployment> = Api::namespaced(context.client.clone(), &namespace);
    let ours = ListParams::default().labels(&format!("{SELECTOR},{}={name}", labels::DEPLOYMENT));
    let read = api.list(&ours).await;
    let read = read.doing(|| format!("list Deployments of {namespace}/{name}"))?;
    found.workloads = workloads(deployment, read.items.into_iter().map(Arc::new));
    Ok(())
}

/// The Deployments that the object owns, of each revision one.
fn workloads(deployment: &ModelDeployment, live: impl IntoIterator<Item = Arc<Deployment>>) -> Vec<Workload> {
    let (uid, now) = (deployment.uid().unwrap_or_default(), Timestamp::now());
    let mut all: Vec<Workload> = live
        .into_iter()
        .filter(|live| is_owned_by(&**live, &uid) && live.metadata.deletion_timestamp.is_none())
        .filter_map(|live| Workload::read(live, deployment.status.as_ref(), now))
        .collect();
    workload::sort(&mut all);
    all
}

/// The training that is named, as the watch has shown it.
pub fn training(
    deployment: &ModelDeployment,
    context: &Context,
    namespace: &str,
) -> Option<Arc<ModelTraining>> {
    let reference = deployment.spec.model.training_ref.as_ref()?;
    context
        .stores
        .trainings
        .get(&ObjectRef::new(&reference.name).within(namespace))
}

/// Pods that are there to stay, and those on their way out. Pods of a deleted object of the same name
/// may linger; they are told apart by the UID.
fn pods(context: &Context, namespace: &str, name: &str, uid: &str) -> (Vec<Arc<Pod>>, Vec<Arc<Pod>>) {
    let mut pods = context.stores.pods_of(namespace, labels::DEPLOYMENT, name);
    pods.retain(|pod| {
        let owner = pod.annotations().get(labels::DEPLOYMENT_UID);
        !crate::observed::is_finished(pod) && owner.is_some_and(|found| found == uid)
    });
    let (mut stay, leaving): (Vec<_>, Vec<_>) = pods
        .into_iter()
        .partition(|pod| pod.metadata.deletion_timestamp.is_none());
    stay.sort_by_cached_key(|pod| (pod.creation_timestamp(), pod.name_any()));
    (stay, leaving)
}

/// Whether what was asked for last is still asked for, or nothing is, and nobody asks for another try.
fn is_live(deployment: &ModelDeployment, found: &Found) -> bool {
    let Resolution::Known { model, .. } = &found.resolution else {
        return true;
    };
    let wanted = Served::of(model.clone(), &deployment.spec);
    found.workloads.first().is_some_and(|current| {
        current.revision() == wanted.revision && !rollout::is_asked_again(deployment, current)
    })
}

/// What a pod of the revision would need, and no watch covers.
async fn look_up(
    spec: &ModelDeploymentSpec,
    context: &Context,
    namespace: &str,
    found: &mut Found,
) -> Result<(), Error> {
    if let Resolution::Known { model, .. } = &found.resolution
        && let Some(Source::Claim(claim)) = Source::of(&model.uri)
    {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), namespace);
        let read = api.get_opt(&claim).await;
        let read = read.doing(|| format!("get PersistentVolumeClaim {namespace}/{claim}"))?;
        found.missing = read.is_none().then_some(Source::Claim(claim));
        let modes = read
            .and_then(|claim| claim.spec?.access_modes)
            .unwrap_or_default();
        found.one_pod_only = !modes.is_empty() && modes.iter().all(|mode| mode == "ReadWriteOncePod");
    }
    if let Some(claim) = caching::claim(spec) {
        found.cache_claim_missing = !claim.exists(&context.client, namespace).await?;
    }
    let mounted = overrides::sources(spec.pod_overrides.as_ref());
    found.missing_volumes = volumes::missing(&context.client, namespace, mounted).await?;
    found.missing_runtime_class = runtime_class::missing(&context.client, found.profile.as_deref()).await?;
    found.device_class = devices::look_up(context, found.profile.as_deref()).await?;
    Ok(())
}
