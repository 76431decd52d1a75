//! ModelDeployment: fetch what it names, find out what is to be served, build the objects that serve it, apply
//! them, tell what became of them.
//!
//! Each revision has a Deployment of its own, which carries in its annotations what it was made for, and whose pod
//! template is never rewritten. [`rollout`] decides how many pods each has. Read [`resolve`] and [`revision`] first.

pub mod apply;
pub mod build;
pub mod caching;
pub mod cold_start;
pub mod dereference;
#[cfg(test)]
mod fields_tests;
pub mod promote;
pub mod protection;
pub mod replicas;
pub mod resolve;
pub mod revision;
pub mod rollout;
pub mod situation;
pub mod status;
pub mod validate;
pub mod verdicts;
pub mod workload;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod sequence_tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::Controller;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use sconce_contract::CacheReport;
use sconce_contract::cache::CACHE_PATH;
use sconce_crds::cache::CacheTold;
use sconce_crds::condition::{CACHED, FITS_ACCELERATOR};
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use tracing::warn;

use self::dereference::Found;
use self::status::Outlook;
use self::validate::Hold;
use crate::apply::Refusal;
use crate::conditions;
use crate::context::Context;
use crate::error::Error;
use crate::fresh;
use crate::labels;
use crate::mounts;
use crate::observed;
use crate::problem::Problem;
use crate::reconcile::{Complains, Turns, after_failure, drive, reconcile, references};
use crate::scaling;
use crate::seen::{Compared, Deployment, Pod};
use crate::told::Told;
use crate::watches::{Stores, Watches};
use crate::woken::Woken;

/// When a server is asked again that did not say where its model came from.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// What the controller listens to.
pub struct Readers {
    /// The objects themselves.
    pub deployments: BoxStream<'static, Arc<ModelDeployment>>,
    /// Their Deployments.
    pub workloads: BoxStream<'static, Arc<Deployment>>,
    /// Their Services.
    pub services: BoxStream<'static, Arc<Compared<Service>>>,
    /// Who reaches their pods.
    pub policies: BoxStream<'static, Arc<Compared<NetworkPolicy>>>,
    /// How many of their pods a drain may take.
    pub budgets: BoxStream<'static, Arc<Compared<PodDisruptionBudget>>>,
    /// The Deployments' pods.
    pub pods: BoxStream<'static, Arc<Pod>>,
    /// The trainings that they name.
    pub trainings: BoxStream<'static, Arc<ModelTraining>>,
    /// The profiles that they name.
    pub profiles: BoxStream<'static, Arc<AcceleratorProfile>>,
}

impl Readers {
    /// This controller's share of the watches.
    pub fn take(watches: &Watches) -> Self {
        Readers {
            deployments: watches.deployments.changes(),
            workloads: watches.workloads.changes(),
            services: watches.services.changes(),
            policies: watches.policies.changes(),
            budgets: watches.budgets.changes(),
            pods: watches.pods.changes(),
            trainings: watches.trainings.changes(),
            profiles: watches.profiles.intents(),
        }
    }
}

/// Reconciles deployments, at most `concurrency` at once, until `stop` is done and those at work have ended.
pub async fn run(
    context: Arc<Context>,
    readers: Readers,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let store = context.stores.deployments.clone();
    let (stores, by_profile) = (context.stores.clone(), store.clone());
    let turns = Turns::new(store.clone(), concurrency);
    let stop = Arc::clone(&turns).until(stop);
    let controller = Controller::for_shared_stream(readers.deployments, store)
        .owns_shared_stream(readers.workloads)
        .owns_shared_stream(readers.services)
        .owns_shared_stream(readers.policies)
        .owns_shared_stream(readers.budgets)
        .watches_shared_stream(readers.pods, |pod: Arc<Pod>| owner_of(&pod))
        .watches_shared_stream(readers.trainings, move |training: Arc<ModelTraining>| {
            serving(&stores, &training)
        })
        .watches_shared_stream(readers.profiles, move |profile: Arc<AcceleratorProfile>| {
            naming(&by_profile, &profile)
        })
        .graceful_shutdown_on(stop)
        .run(
            move |deployment, context| Woken::new(reconcile(Arc::clone(&turns), deployment, context, step)),
            after_failure,
            context,
        );
    drive(controller).await;
}

fn owner_of(pod: &Pod) -> Option<ObjectRef<ModelDeployment>> {
    let name = pod.labels().get(labels::DEPLOYMENT)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

/// Those that serve what the training learns.
fn serving(stores: &Stores, training: &ModelTraining) -> Vec<ObjectRef<ModelDeployment>> {
    let namespace = training.namespace().unwrap_or_default();
    let deployments = stores.serving(&namespace, &training.name_any());
    deployments
        .iter()
        .map(|deployment| ObjectRef::from_obj(&**deployment))
        .collect()
}

fn naming(
    deployments: &Store<ModelDeployment>,
    profile: &AcceleratorProfile,
) -> Vec<ObjectRef<ModelDeployment>> {
    let name = profile.name_any();
    references(deployments, |deployment| {
        let asked = deployment.spec.accelerator.as_ref();
        asked.is_some_and(|asked| asked.profile == name)
    })
}

async fn step(deployment: Arc<ModelDeployment>, context: Arc<Context>) -> Result<Action, Error> {
    attempt(&deployment, &context).await
}

impl Complains for ModelDeployment {
    /// What is served goes on.
    async fn complain(&self, problem: &Problem, context: &Context) {
        let found = dereference::known(self, context);
        let before = self.status.clone().map(scaling::tell::without);
        let hold = Hold::Refused(problem.clone());
        let mut after = status::held(self, &found, &hold, Timestamp::now()).status;
        for kind in [FITS_ACCELERATOR, CACHED] {
            let before = before.as_ref().map_or(&[][..], |before| &before.conditions);
            conditions::keep(&mut after.conditions, before, kind);
        }
        let told = Told {
            before: before.as_ref(),
            after: &after,
            urgent: true,
        };
        if let Err(error) = context.tell(self, told).await {
            warn!(%error, "that it fails could not be told either");
        }
    }
}

async fn attempt(deployment: &ModelDeployment, context: &Context) -> Result<Action, Error> {
    if deployment.meta().deletion_timestamp.is_some() {
        // Every child has an ownerReference: the garbage collector does the rest.
        return Ok(Action::await_change());
    }
    let found = dereference::dereference(deployment, context).await?;
    let before = scaling::tell::without(deployment.status.clone().unwrap_or_default());
    let validated = match protection::protect(deployment, context).await {
        Ok(()) => validate::validate(deployment, &found),
        // What is served goes on; nothing new is let in behind a policy that is not there.
        Err(Refusal::Problem(problem)) => Err(Hold::Refused(problem)),
        Err(Refusal::Error(error)) => return Err(error),
    };
    let mut outlook = match validated {
        Ok(serving) => serve(deployment, &serving, &found, context).await?,
        Err(hold) => hold_on(deployment, &found, &hold, context).await?,
    };
    if !learn(deployment, &found, &mut outlook, context).await {
        outlook.again = outlook.again.min(ASK_AGAIN);
    }
    let (namespace, uid) = (
        deployment.namespace().unwrap_or_default(),
        deployment.uid().unwrap_or_default(),
    );
    if !outlook.obsolete.is_empty() {
        confirm(deployment, context).await?;
    }
    // Before the status forgets them: a crash in between deletes them the next time.
    apply::discard(
        &context.writer,
        &namespace,
        &deployment.name_any(),
        &uid,
        &outlook.obsolete,
    )
    .await?;
    conditions::add(
        &mut outlook.status.conditions,
        &before.conditions,
        found.fit.verdict(),
        deployment.meta().generation.unwrap_or_default(),
        Timestamp::now(),
    );
    conditions::add(
        &mut outlook.status.conditions,
        &before.conditions,
        caching::verdict(&deployment.spec, outlook.status.cold_start.as_ref()),
        deployment.meta().generation.unwrap_or_default(),
        Timestamp::now(),
    );
    let told = Told {
        before: deployment.status.as_ref().map(|_| &before),
        after: &outlook.status,
        urgent: false,
    };
    let later = context.tell(deployment, told).await?;
    let mounted = mounts::again(&found.pods, Timestamp::now());
    let again = mounted.map_or(outlook.again, |mounted| mounted.min(outlook.again));
    Ok(Action::requeue(later.unwrap_or(again).min(again)))
}

/// Makes sure that this is what people ask for, and what the training has come to, before anything is taken away.
async fn confirm(deployment: &ModelDeployment, context: &Context) -> Result<(), Error> {
    replicas::confirm(&context.client, deployment).await?;
    let namespace = deployment.namespace().unwrap_or_default();
    let Some(training) = dereference::training(deployment, context, &namespace) else {
        return Ok(());
    };
    let artifact = |training: &ModelTraining| {
        training
            .status
            .as_ref()
            .and_then(|status| status.artifact.clone())
    };
    let seen = artifact(&training);
    fresh::confirm(&context.client, &*training, |live| artifact(live) == seen).await
}

/// Asks the pod whose start is told where its model came from, once. Whether nothing is left to ask.
async fn learn(
    deployment: &ModelDeployment,
    found: &Found,
    outlook: &mut Outlook,
    context: &Context,
) -> bool {
    let cold_start = outlook.status.cold_start.as_mut();
    let Some(cold_start) = cold_start.filter(|cold_start| cold_start.cache.is_none()) else {
        return true;
    };
    if deployment.spec.caching().is_none() {
        return true;
    }
    // A pod that is gone will tell no more, and a newer one's start takes its place.
    let pod = found.pods.iter().find(|pod| pod.name_any() == cold_start.pod);
    let Some(address) = pod.and_then(|pod| observed::address(pod)) else {
        return true;
    };
    let told: Option<CacheReport> = context.servers.ask(address, CACHE_PATH).await;
    cold_start.cache = told.map(|told| CacheTold {
        outcome: told.outcome,
        reason: told.reason,
    });
    cold_start.cache.is_some()
}

/// Makes the wanted revision be served.
async fn serve(
    deployment: &ModelDeployment,
    serving: &validate::Serving<'_>,
    found: &Found,
    context: &Context,
) -> Result<Outlook, Error> {
    let now = Timestamp::now();
    let mut rollout = rollout::plan(deployment, serving, found, now);
    let mut seen = found.clone();
    if rollout.back.as_ref().is_some_and(|back| back.new) {
        // A watch may lag, and why a revision is given up is told once: the API server itself is asked.
        dereference::refresh(deployment, &mut seen, context).await?;
        rollout = rollout::plan(deployment, serving, &seen, now);
    }
    if apply::takes_away(serving, &rollout) {
        confirm(deployment, context).await?;
    }
    let children = build::build(serving, &rollout, &context.images);
    match apply::apply(&context.writer, serving, children, &rollout, &seen).await {
        Ok(live) => Ok(status::serving(
            deployment,
            &seen,
            &serving.wanted,
            &rollout,
            &live,
            now,
        )),
        Err(Refusal::Problem(problem)) => hold_on(deployment, &seen, &Hold::Refused(problem), context).await,
        Err(Refusal::Error(error)) => Err(error),
    }
}

/// Nothing new can be served: what is served goes on, in the number that is asked for.
async fn hold_on(
    deployment: &ModelDeployment,
    found: &Found,
    hold: &Hold,
    context: &Context,
) -> Result<Outlook, Error> {
    let now = Timestamp::now();
    let held = rollout::hold(deployment, found, now);
    if apply::any_fewer(&held.counts) {
        confirm(deployment, context).await?;
    }
    apply::hold(&context.writer, &held.counts).await?;
    let mut outlook = status::held(deployment, found, hold, now);
    outlook.again = held.again.map_or(outlook.again, |again| again.min(outlook.again));
    Ok(outlook)
}
