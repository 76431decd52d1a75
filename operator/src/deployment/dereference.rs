//! Step 1: everything that a deployment names, as it is found. What is missing is data, not an error.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelDeploymentSpec, ModelTraining};

use super::resolve::{Resolution, resolve};
use super::revision::Served;
use crate::apply::is_owned_by;
use crate::context::Context;
use crate::devices::{self, DeviceClass};
use crate::error::{Doing, Error};
use crate::fit::{Need, Question};
use crate::volumes::Source;
use crate::{labels, overrides, priority};

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
    /// Claims and ConfigMaps that `podOverrides.volumes` names and that do not exist; looked for at the same time.
    pub missing_volumes: BTreeSet<Source>,
    /// Whether the profile's RuntimeClass is missing; looked for at the same time.
    pub runtime_class_missing: bool,
    /// Whether the profile's DeviceClass is there; looked for at the same time.
    pub device_class: DeviceClass,
    /// Whether the PriorityClass of that name is missing; looked for at the same time.
    pub priority_class_missing: bool,
    /// What a pod needs of its accelerator's memory, and what that has.
    pub fit: Question,
    /// The Deployment, if it was created.
    pub live: Option<Arc<Deployment>>,
    /// The Service, if it was created.
    pub service: Option<Arc<Service>>,
    /// Pods of every revision that are not on their way out, oldest first.
    pub pods: Vec<Arc<Pod>>,
}

impl Found {
    /// What the live Deployment was made for.
    pub fn served(&self) -> Option<Served> {
        self.live.as_deref().and_then(Served::read)
    }
}

/// Looks up what the deployment names.
pub async fn dereference(deployment: &ModelDeployment, context: &Context) -> Result<Found, Error> {
    let namespace = deployment.namespace().unwrap_or_default();
    let uid = deployment.uid().unwrap_or_default();
    let name = deployment.name_any();
    let stores = &context.stores;

    let training = training(deployment, context, &namespace);
    let profile = deployment.spec.accelerator.as_ref();
    let service = stores.services.get(&ObjectRef::new(&name).within(&namespace));
    let live = stores
        .workloads
        .get(&ObjectRef::new(&name).within(&namespace))
        .filter(|live| is_owned_by(&**live, &uid));
    let mut found = Found {
        profile: profile.and_then(|asked| stores.profiles.get(&ObjectRef::new(&asked.profile))),
        resolution: Resolution::Unknown(crate::problem::Problem::new("Unresolved", "spec.model", "")),
        missing: None,
        one_pod_only: false,
        missing_volumes: BTreeSet::new(),
        runtime_class_missing: false,
        device_class: DeviceClass::Found,
        priority_class_missing: false,
        fit: Question::default(),
        service: service.filter(|service| is_owned_by(&**service, &uid)),
        pods: pods(context, &namespace, &name, &uid),
        live,
    };
    found.resolution = resolve(deployment, training.as_deref(), found.served().as_ref());
    if !is_live(deployment, &found) {
        // A watch may lag, and what follows writes a pod template: the API server itself is asked.
        let api: Api<Deployment> = Api::namespaced(context.client.clone(), &namespace);
        let read = api
            .get_opt(&name)
            .await
            .doing(|| format!("get Deployment {namespace}/{name}"))?;
        found.live = read.filter(|live| is_owned_by(live, &uid)).map(Arc::new);
        found.resolution = resolve(deployment, training.as_deref(), found.served().as_ref());
    }
    found.fit = Question {
        room: context.room(profile),
        need: need(training.as_deref(), &found.resolution),
    };
    if !is_live(deployment, &found) {
        look_up(&deployment.spec, context, &namespace, &mut found).await?;
        let class = deployment.spec.scheduling.priority_class_name.as_deref();
        found.priority_class_missing = priority::is_missing(&context.client, class).await?;
    }
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
    Some(Need::of_serving(artifact.size_bytes))
}

fn training(deployment: &ModelDeployment, context: &Context, namespace: &str) -> Option<Arc<ModelTraining>> {
    let reference = deployment.spec.model.training_ref.as_ref()?;
    context
        .stores
        .trainings
        .get(&ObjectRef::new(&reference.name).within(namespace))
}

/// Pods of a deleted object of the same name may linger; they are told apart by the UID.
fn pods(context: &Context, namespace: &str, name: &str, uid: &str) -> Vec<Arc<Pod>> {
    let mut pods = context.stores.pods_of(namespace, labels::DEPLOYMENT, name);
    pods.retain(|pod| {
        pod.metadata.deletion_timestamp.is_none()
            && !crate::observed::is_finished(pod)
            && pod
                .annotations()
                .get(labels::DEPLOYMENT_UID)
                .is_some_and(|found| found == uid)
    });
    pods.sort_by_cached_key(|pod| (pod.creation_timestamp(), pod.name_any()));
    pods
}

/// Whether the live Deployment is of the wanted revision, or no revision is wanted.
fn is_live(deployment: &ModelDeployment, found: &Found) -> bool {
    let Resolution::Known { model, .. } = &found.resolution else {
        return true;
    };
    let wanted = Served::of(model.clone(), &deployment.spec);
    found
        .served()
        .is_some_and(|served| served.revision == wanted.revision)
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
    for source in overrides::sources(spec.pod_overrides.as_ref()) {
        if !source.exists(&context.client, namespace).await? {
            found.missing_volumes.insert(source);
        }
    }
    if let Some(class) = found
        .profile
        .as_ref()
        .and_then(|profile| profile.spec.runtime_class_name.as_ref())
    {
        let api: Api<RuntimeClass> = Api::all(context.client.clone());
        let read = api.get_metadata_opt(class).await;
        found.runtime_class_missing = read.doing(|| format!("get RuntimeClass {class}"))?.is_none();
    }
    found.device_class = devices::look_up(context, found.profile.as_deref()).await?;
    Ok(())
}
