//! Step 2: a spec and what was found, to something that can be served.
//!
//! Everything a user can cause ends here as a [`Problem`] that names the field; after this step, building the
//! children cannot fail.

use std::sync::Arc;

use kube::ResourceExt;
use sconce_contract::credentials::is_guarded;
use sconce_contract::{Device, ServingPlan};
use sconce_crds::{ModelDeployment, ModelDeploymentSpec};

use super::caching;
use super::dereference::Found;
use super::resolve::Resolution;
use super::revision::{Model, Served};
use super::rollout::{self, needs::Needs};
use crate::accelerator::{self, Resolved};
use crate::devices;
use crate::overrides;
use crate::pod;
use crate::priority;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::runtime_class;
use crate::seen::Deployment;
use crate::training::validate::absent;
use crate::volumes::Volumes;

/// A deployment that can be carried out.
#[derive(Clone, Debug)]
pub struct Serving<'a> {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID: owner of every child.
    pub uid: String,
    /// The spec.
    pub spec: &'a ModelDeploymentSpec,
    /// The value of the annotation by which a person has it tried again.
    pub retry: Option<String>,
    /// What is to be served.
    pub wanted: Served,
    /// What has to be done for it.
    pub change: Change,
}

impl Serving<'_> {
    /// What a node must have for a pod.
    pub fn needs(&self, pods: &Pods) -> Needs {
        let resources = &self.spec.resources;
        let given = &pods.accelerator;
        let mut node_selector = given.node_selector.clone();
        let added = self.spec.pod_overrides.iter();
        node_selector.extend(added.flat_map(|added| added.node_selector.clone()));
        Needs {
            requests: pod::amounts(&resources.cpu, &resources.memory, &given.resources),
            node_selector,
            placement: Some(given.placement()),
        }
    }
}

/// What has to be done so that the wanted revision is served.
#[derive(Clone, Debug)]
pub enum Change {
    /// There is a Deployment of the wanted revision: its pods stay as they are.
    Keep {
        /// The Deployment.
        live: Arc<Deployment>,
        /// What a pod of the revision would be made of now; nothing where a profile was deleted since.
        pods: Option<Pods>,
        /// Whether a person has it tried again.
        again: bool,
    },
    /// There is no Deployment of the wanted revision.
    Roll(Pods),
    /// A person has the revision tried again, and no pod of it answers: it is made anew, of what is right now.
    Anew {
        /// The Deployment that failed.
        live: Arc<Deployment>,
        /// What pods are made of.
        pods: Pods,
    },
}

impl Change {
    /// Whether a rollout of the revision begins, even if it was the last to be asked for.
    pub fn begins(&self) -> bool {
        !matches!(self, Change::Keep { again: false, .. })
    }
}

/// What pods are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Pods {
    /// What each is given for its accelerator.
    pub accelerator: Resolved,
    /// What each is to do.
    pub plan: ServingPlan,
    /// Volumes that the plan's URIs need.
    pub volumes: Volumes,
}

/// Why nothing new can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// What the spec names will come, or was left to a person.
    Awaited(Problem),
    /// The spec cannot be carried out as it stands.
    Refused(Problem),
}

/// Makes something that can be served of a spec.
///
/// # Errors
/// What is waited for, or the first thing that a user has to mend.
pub fn validate<'a>(deployment: &'a ModelDeployment, found: &Found) -> Result<Serving<'a>, Hold> {
    let spec = &deployment.spec;
    let name = deployment.name_any();
    let model = match &found.resolution {
        Resolution::Known { model, .. } => model,
        Resolution::Awaited(problem) => return Err(Hold::Awaited(problem.clone())),
        Resolution::Unknown(problem) => return Err(Hold::Refused(problem.clone())),
    };
    let wanted = Served::of(model.clone(), spec);
    let namespace = deployment.namespace().unwrap_or_default();
    let pods = pods((&name, &namespace), spec, &wanted, found);
    let change = match found.of(&wanted.revision) {
        None => Change::Roll(pods.map_err(Hold::Refused)?),
        Some(ours) => {
            let live = Arc::clone(&ours.live);
            let again = rollout::is_asked_again(deployment, ours);
            if again && found.counts(&wanted.revision).ready == 0 {
                let pods = pods.map_err(Hold::Refused)?;
                Change::Anew { live, pods }
            } else {
                // The pods have what they need since they were made: a profile that is gone takes nothing from them.
                let pods = pods.ok();
                Change::Keep { live, pods, again }
            }
        }
    };
    Ok(Serving {
        namespace,
        uid: deployment.uid().unwrap_or_default(),
        name,
        spec,
        retry: rollout::retry(deployment).map(str::to_owned),
        wanted,
        change,
    })
}

fn pods(
    (name, namespace): (&str, &str),
    spec: &ModelDeploymentSpec,
    wanted: &Served,
    found: &Found,
) -> Result<Pods, Problem> {
    let profile = found.profile.as_deref();
    let accelerator = accelerator::resolve(spec.accelerator.as_ref(), profile)?;
    if spec.custom().is_none() {
        accelerator::image_computes_on(&accelerator, profile, "server")?;
    }
    if let (Some(given), Some(asked)) = (&spec.pod_overrides, &spec.accelerator) {
        overrides::fit(given, &accelerator, &asked.profile)?;
    }
    overrides::exist(spec.pod_overrides.as_ref(), &found.missing_volumes)?;
    one_pod_only(spec, wanted, found)?;
    credentials_are_needed(spec, wanted)?;
    if let Some(class) = &found.missing_runtime_class {
        return Err(runtime_class::not_found(class));
    }
    found.fit.check()?;
    devices::check(spec.accelerator.as_ref(), profile, found.device_class)?;
    if let (true, Some(class)) = (found.priority_class_missing, &spec.scheduling.priority_class_name) {
        return Err(priority::not_found(class));
    }
    if let Some(source) = &found.missing {
        return Err(match &wanted.model.training {
            None => absent("spec.model.uri", source),
            Some(_) => gone(&wanted.model),
        });
    }
    let volumes = Volumes::default().reading_model(&wanted.model.uri);
    let node = found.node_cache.as_ref();
    let (volumes, cache) = caching::resolve(spec, namespace, node, found.cache_claim_missing, volumes)?;
    let plan = ServingPlan {
        cache,
        ..plan(name, wanted, spec, accelerator.device, &volumes)
    };
    // All else that a plan repeats is short by the schema.
    pod::plan_fits(&plan, "spec.warmup.rows")?;
    Ok(Pods {
        accelerator,
        plan,
        volumes,
    })
}

/// Of an artifact of a training, only its own URI tells where it is.
fn credentials_are_needed(spec: &ModelDeploymentSpec, wanted: &Served) -> Result<(), Problem> {
    let uri = &wanted.model.uri;
    if spec.model.credentials_ref.is_none() || is_guarded(uri) {
        return Ok(());
    }
    Err(Problem::new(
        Reason::CredentialsNotNeeded,
        "spec.model.credentialsRef",
        format!("nobody asks for credentials at {uri}, where the model is; remove the field"),
    ))
}

/// A claim that only one pod of the whole cluster may mount.
fn one_pod_only(spec: &ModelDeploymentSpec, wanted: &Served, found: &Found) -> Result<(), Problem> {
    let most = spec
        .managed()
        .map_or(spec.replicas, |autoscaling| autoscaling.max_replicas.unwrap_or(1));
    if !found.one_pod_only || most <= 1 {
        return Ok(());
    }
    let field = match spec.managed() {
        Some(_) => "spec.autoscaling.maxReplicas",
        None => "spec.replicas",
    };
    Err(Problem::new(
        Reason::ClaimAccessMode,
        field,
        format!(
            "{most} pods cannot mount the claim of {}, which is ReadWriteOncePod: ask for 1, or put the model on a claim \
             that is ReadOnlyMany or ReadWriteMany",
            wanted.model.uri
        ),
    ))
}

fn gone(model: &Model) -> Problem {
    let training = model
        .training
        .as_ref()
        .map(|training| training.name.as_str())
        .unwrap_or_default();
    Problem::new(
        Reason::ClaimNotFound,
        "spec.model.trainingRef",
        format!(
            "the PersistentVolumeClaim of {} is gone, and the artifact with it; a new value of the annotation {} of the \
             ModelTraining {training:?} trains it again",
            model.uri,
            crate::labels::RERUN
        ),
    )
}

/// What a pod is to do. A rehearsal makes the same plan with other mounts.
pub fn plan(
    name: &str,
    wanted: &Served,
    spec: &ModelDeploymentSpec,
    device: Device,
    volumes: &Volumes,
) -> ServingPlan {
    ServingPlan {
        name: name.to_owned(),
        revision: wanted.revision.clone(),
        model: wanted.model.uri.clone(),
        digest: wanted.model.digest.clone(),
        credentials_ref: spec.model.credentials_ref.clone(),
        warmup: spec.warmup.clone(),
        cache: None,
        device,
        mounts: volumes.mounts(),
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
