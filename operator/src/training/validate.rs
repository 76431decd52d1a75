//! Step 2: a spec and what was found, to a run whose parts cannot be wrong.
//!
//! Everything a user can cause ends here as a [`Problem`] that names the field; after this step, building the
//! children cannot fail.

use kube::ResourceExt;
use sconce_contract::artifact::ModelFormat;
use sconce_contract::{CheckpointPlan, Device, Nodes, TrainingPlan};
use sconce_crds::{ModelTraining, ModelTrainingSpec};

use super::dereference::{Found, MissingQueue};
use super::identity::Identity;
use super::incumbent;
use super::yielding::Yielding;
use crate::accelerator::{self, Resolved};
use crate::devices;
use crate::names;
use crate::overrides;
use crate::pod;
use crate::priority;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::runtime_class;
use crate::volumes::{Source, Volumes};

/// A run that can be carried out.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Name of the training.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID: owner of every child.
    pub uid: String,
    /// Which run this is.
    pub identity: Identity,
    /// The spec.
    pub spec: &'a ModelTrainingSpec,
    /// What the pod is given for its accelerator.
    pub accelerator: Resolved,
    /// What the pod is to do.
    pub plan: TrainingPlan,
    /// Volumes that the plan's URIs need.
    pub volumes: Volumes,
    /// The claim to create for the artifacts, where the spec names none.
    pub own_claim: Option<String>,
    /// That it makes way for serving.
    pub yielding: Option<Yielding>,
}

impl Run<'_> {
    /// The run, where it makes way for serving or does not.
    #[must_use]
    pub fn yielding(mut self, yielding: Option<Yielding>) -> Self {
        self.yielding = yielding;
        self
    }

    /// Whether it is held by a person and would be in a queue: there, a Job's `suspend` is Kueue's, so that the run
    /// is held by having no Job.
    pub fn is_withdrawn(&self) -> bool {
        self.spec.suspend && self.spec.scheduling.queue_name.is_some()
    }
}

/// Makes a run of a spec.
///
/// # Errors
/// The first thing that a user has to mend.
pub fn validate<'a>(
    training: &'a ModelTraining,
    identity: &Identity,
    found: &Found,
) -> Result<Run<'a>, Problem> {
    let spec = &training.spec;
    let name = training.name_any();
    let accelerator = match found.job {
        None => startable(spec, found)?,
        // Its pods have what they need since the Job was made: a profile that is gone, or another one now, takes
        // nothing from them, and of the Job nothing but its lifecycle is written.
        Some(_) => {
            accelerator::resolve(spec.accelerator.as_ref(), found.profile.as_deref()).unwrap_or_default()
        }
    };

    let own_claim = spec.output.uri.is_none().then(|| names::artifacts_claim(&name));
    let output = match (&spec.output.uri, &own_claim) {
        (Some(uri), _) => uri.trim_end_matches('/').to_owned(),
        (None, claim) => format!("pvc://{}", claim.as_deref().unwrap_or_default()),
    };
    let tables = spec.dataset.uris().into_iter();
    let volumes = tables
        .fold(Volumes::default(), |volumes, (_, uri)| volumes.reading(uri))
        .writing(&output)
        .writing(&checkpoints(&name, spec, &output));
    let incumbent = incumbent::the_one(&found.serving)?;
    let volumes = match &incumbent {
        Some(served) => volumes.reading(&served.uri),
        None => volumes,
    };
    let mut plan = plan(&name, identity, spec, output, accelerator.device, &volumes);
    plan.incumbent = incumbent;
    // All else that a plan repeats is short by the schema.
    pod::plan_fits(&plan, "spec.dataset.features")?;
    Ok(Run {
        namespace: training.namespace().unwrap_or_default(),
        uid: training.uid().unwrap_or_default(),
        identity: identity.clone(),
        name,
        spec,
        accelerator,
        plan,
        volumes,
        own_claim,
        yielding: None,
    })
}

/// What pods are given, where they can be made.
fn startable(spec: &ModelTrainingSpec, found: &Found) -> Result<Resolved, Problem> {
    let profile = found.profile.as_deref();
    let accelerator = accelerator::resolve(spec.accelerator.as_ref(), profile)?;
    if spec.model.custom.is_none() {
        accelerator::image_computes_on(&accelerator, profile, "trainer")?;
    }
    if let (Some(given), Some(asked)) = (&spec.pod_overrides, &spec.accelerator) {
        overrides::fit(given, &accelerator, &asked.profile)?;
    }
    layers_fit(spec)?;
    search_fits(spec)?;
    nodes_fit(spec)?;
    one_node_claim(found)?;
    everything_exists(spec, found)?;
    found.fit.check()?;
    devices::check(spec.accelerator.as_ref(), profile, found.device_class)?;
    Ok(accelerator)
}

/// No pod is needed to tell that layers do not fit together. How many columns there are may be the table's to tell.
pub fn layers_fit(spec: &ModelTrainingSpec) -> Result<(), Problem> {
    let Some(network) = &spec.model.network else {
        return match spec.output.formats.is_empty() {
            true => Ok(()),
            false => Err(Problem::new(
                Reason::BadInput,
                "spec.output.formats",
                "a trainer of your own writes what it likes: leave it out",
            )),
        };
    };
    let held = match spec.output.formats.contains(&ModelFormat::KerasH5) {
        true => network.held_by_keras(),
        false => Ok(()),
    };
    let fits = spec.dataset.fits(network).and(held);
    fits.and_then(|()| network.check(spec.dataset.columns()))
        .map_err(|misfit| Problem::new(Reason::BadInput, format!("spec.{}", misfit.field), misfit.problem))
}

/// Whether several pods can learn the network together.
pub fn nodes_fit(spec: &ModelTrainingSpec) -> Result<(), Problem> {
    let Some(network) = &spec.model.network else {
        return Ok(());
    };
    spec.nodes
        .fits(network, spec.search.as_ref())
        .map_err(|misfit| Problem::new(Reason::BadInput, format!("spec.{}", misfit.field), misfit.problem))
}

fn one_node_claim(found: &Found) -> Result<(), Problem> {
    match &found.one_node_claim {
        None => Ok(()),
        Some(claim) => Err(Problem::new(
            Reason::ClaimAccessMode,
            "spec.nodes.count",
            format!(
                "each pod mounts the claim {claim:?}, which pods of one node alone can (ReadWriteOnce); set it to 1, or \
                 use a claim of ReadWriteMany or an object store"
            ),
        )),
    }
}

/// Whether every value that a trial may take is one that its field can take: the trainer would refuse the others too.
pub fn search_fits(spec: &ModelTrainingSpec) -> Result<(), Problem> {
    let (Some(search), Some(network)) = (&spec.search, &spec.model.network) else {
        return Ok(());
    };
    search
        .check(network, &spec.hyperparameters, spec.dataset.columns())
        .map_err(|misfit| Problem::new(Reason::BadInput, format!("spec.{}", misfit.field), misfit.problem))
}

/// What the pod is to do. A rehearsal makes the same plan with other mounts.
pub fn plan(
    name: &str,
    identity: &Identity,
    spec: &ModelTrainingSpec,
    output: String,
    device: Device,
    volumes: &Volumes,
) -> TrainingPlan {
    let checkpoint = CheckpointPlan {
        uri: checkpoints(name, spec, &output),
        every: spec.checkpoint.every.clone(),
        keep: spec.checkpoint.keep,
        credentials_ref: spec.checkpoint.credentials_ref.clone(),
    };
    TrainingPlan {
        name: name.to_owned(),
        run: identity.run.clone(),
        network: spec.model.network.clone(),
        dataset: spec.dataset.clone(),
        hyperparameters: spec.hyperparameters,
        search: spec.search.clone(),
        nodes: Some(spec.nodes).filter(Nodes::is_group),
        evaluation: spec.evaluation.clone(),
        incumbent: None,
        output,
        formats: spec.output.formats.clone(),
        output_credentials_ref: spec.output.credentials_ref.clone(),
        checkpoint: Some(checkpoint),
        device,
        mounts: volumes.mounts(),
    }
}

/// URI of the folder of a training's checkpoints: beside the artifacts, unless the spec says where.
pub fn checkpoints(name: &str, spec: &ModelTrainingSpec, output: &str) -> String {
    match &spec.checkpoint.uri {
        Some(uri) => format!("{}/{name}", uri.trim_end_matches('/')),
        None => format!("{}/checkpoints/{name}", output.trim_end_matches('/')),
    }
}

fn everything_exists(spec: &ModelTrainingSpec, found: &Found) -> Result<(), Problem> {
    let tables = spec.dataset.uris().into_iter();
    let tables = tables.map(|(field, uri)| (format!("spec.{field}"), Some(uri)));
    let folders = [
        ("spec.output.uri".to_owned(), spec.output.uri.as_deref()),
        ("spec.checkpoint.uri".to_owned(), spec.checkpoint.uri.as_deref()),
    ];
    for (field, uri) in tables.chain(folders) {
        let Some(source) = uri.and_then(Source::of) else {
            continue;
        };
        if found.missing.contains(&source) {
            return Err(absent(&field, &source));
        }
    }
    overrides::exist(spec.pod_overrides.as_ref(), &found.missing)?;
    if let (true, Some(class)) = (found.priority_class_missing, &spec.scheduling.priority_class_name) {
        return Err(priority::not_found(class));
    }
    if let (Some(missing), Some(queue)) = (found.queue_missing, &spec.scheduling.queue_name) {
        return Err(no_queue(missing, queue));
    }
    match &found.missing_runtime_class {
        Some(class) => Err(runtime_class::not_found(class)),
        None => Ok(()),
    }
}

fn no_queue(missing: MissingQueue, queue: &str) -> Problem {
    let (reason, message) = match missing {
        MissingQueue::Api => (
            Reason::QueueNotAvailable,
            "the cluster has no Kueue, so nobody would let the training in; install Kueue, or remove the field".to_owned(),
        ),
        MissingQueue::Queue => (
            Reason::LocalQueueNotFound,
            format!(
                "there is no LocalQueue named {queue:?} in this namespace; `kubectl get localqueues` lists those that there are"
            ),
        ),
    };
    Problem::new(reason, "spec.scheduling.queueName", message)
}

/// The sentence for a claim or a ConfigMap that a URI names and that is not there.
pub fn absent(field: &str, source: &Source) -> Problem {
    let (reason, kind, name) = match source {
        Source::Claim(name) => (Reason::ClaimNotFound, "PersistentVolumeClaim", name),
        Source::ConfigMap(name) => (Reason::ConfigMapNotFound, "ConfigMap", name),
    };
    Problem::new(
        reason,
        field,
        format!("there is no {kind} named {name:?} in this namespace; create it, or correct the URI"),
    )
}
