//! ModelTraining: fetch what it names, make a run of it, build the run's objects, apply them, tell what became
//! of them.

pub mod accounting;
pub mod apply;
pub mod build;
pub mod contention;
pub mod departure;
pub mod dereference;
#[cfg(test)]
mod fields_tests;
pub mod gates;
pub mod group;
pub mod identity;
pub mod incumbent;
pub mod last_words;
pub mod progress;
pub mod queue;
pub mod refusal;
pub mod report;
pub mod retries;
pub mod running;
pub mod situation;
pub mod status;
pub mod validate;
pub mod verdicts;
pub mod watchdog;
pub mod yielding;

#[cfg(test)]
mod sequence_tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use jiff::Timestamp;
use kube::runtime::Controller;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use sconce_crds::condition::FITS_ACCELERATOR;
use sconce_crds::training::Phase;
use sconce_crds::{AcceleratorProfile, ModelTraining, ModelTrainingStatus};
use tracing::warn;

use self::departure::Departure;
use self::dereference::Found;
use self::identity::{Identity, Stage, stage};
use self::queue::Turn;
use self::status::Outlook;
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
use crate::seen::{Job, Pod};
use crate::told::Told;
use crate::watches::Watches;
use crate::woken::Woken;

/// How often a training is looked at though nothing was seen to change.
const RESYNC: Duration = Duration::from_secs(600);

/// What the controller listens to.
pub struct Readers {
    /// The objects themselves.
    pub trainings: BoxStream<'static, Arc<ModelTraining>>,
    /// Their Jobs.
    pub jobs: BoxStream<'static, Arc<Job>>,
    /// The Jobs' pods.
    pub pods: BoxStream<'static, Arc<Pod>>,
    /// The profiles that they name.
    pub profiles: BoxStream<'static, Arc<AcceleratorProfile>>,
}

impl Readers {
    /// Takes this controller's readers of the watches.
    pub fn take(watches: &Watches) -> Self {
        Readers {
            trainings: watches.trainings.changes(),
            jobs: watches.jobs.changes(),
            pods: watches.pods.changes(),
            profiles: watches.profiles.intents(),
        }
    }
}

/// Reconciles trainings, at most `concurrency` at once, until `stop` is done and those at work have ended.
pub async fn run(
    context: Arc<Context>,
    readers: Readers,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let store = context.stores.trainings.clone();
    let heard = Arc::clone(&context);
    let (by_profile, by_pod) = (store.clone(), store.clone());
    let turns = Turns::new(store.clone(), concurrency);
    let stop = Arc::clone(&turns).until(stop);
    let controller = Controller::for_shared_stream(readers.trainings, store)
        .owns_shared_stream(readers.jobs)
        .watches_shared_stream(readers.pods, move |pod: Arc<Pod>| {
            heard.last_words.hear(&pod);
            let mut all = contention::concerned(&by_pod, &pod);
            all.extend(owner_of(&pod));
            all
        })
        .watches_shared_stream(readers.profiles, move |profile: Arc<AcceleratorProfile>| {
            naming(&by_profile, &profile)
        })
        .graceful_shutdown_on(stop)
        .run(
            move |training, context| Woken::new(reconcile(Arc::clone(&turns), training, context, step)),
            after_failure,
            context,
        );
    drive(controller).await;
}

fn owner_of(pod: &Pod) -> Option<ObjectRef<ModelTraining>> {
    let name = pod.labels().get(labels::TRAINING)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

fn naming(trainings: &Store<ModelTraining>, profile: &AcceleratorProfile) -> Vec<ObjectRef<ModelTraining>> {
    let name = profile.name_any();
    references(trainings, |training| {
        let asked = training.spec.accelerator.as_ref();
        asked.is_some_and(|asked| asked.profile == name)
    })
}

async fn step(training: Arc<ModelTraining>, context: Arc<Context>) -> Result<Action, Error> {
    attempt(&training, &context).await
}

impl Complains for ModelTraining {
    /// A run that is at work or has ended stays what it is; what could not be changed of it shows by `observedGeneration`.
    async fn complain(&self, problem: &Problem, context: &Context) {
        let (identity, before) = (Identity::of(self), self.status.clone().unwrap_or_default());
        let at_work = matches!(before.phase, Some(Phase::Training | Phase::Evaluating));
        if at_work || stage(&before, &identity) != Stage::Due {
            return;
        }
        let mut after = status::refused(self, &identity, problem, Timestamp::now()).status;
        conditions::keep(&mut after.conditions, &before.conditions, FITS_ACCELERATOR);
        let told = Told {
            before: self.status.as_ref(),
            after: &after,
            urgent: true,
        };
        if let Err(error) = context.tell(self, told).await {
            warn!(%error, "that it fails could not be told either");
        }
    }
}

async fn attempt(training: &ModelTraining, context: &Context) -> Result<Action, Error> {
    if training.meta().deletion_timestamp.is_some() {
        // Every child has an ownerReference: the garbage collector does the rest.
        return Ok(Action::await_change());
    }
    let identity = Identity::of(training);
    let found = dereference::dereference(training, &identity, context).await?;
    if found.departure == Some(Departure::UnderWay) {
        let (namespace, uid) = (
            training.namespace().unwrap_or_default(),
            training.uid().unwrap_or_default(),
        );
        apply::discard(&context.writer, &namespace, &identity.job, &uid).await?;
        return Ok(Action::await_change());
    }
    let before = training.status.clone().unwrap_or_default();
    let mut outlook = match stage(&before, &identity) {
        Stage::Due => work(training, &identity, &found, context).await?,
        ended => rest(training, &identity, ended, &found, context).await?,
    };
    conditions::add(
        &mut outlook.status.conditions,
        &before.conditions,
        found.fit.verdict(),
        training.meta().generation.unwrap_or_default(),
        Timestamp::now(),
    );
    // A run's report goes with its pod, a last word stands nowhere else, and a pod that is to go is counted first.
    let urgent = before.completion_time != outlook.status.completion_time
        || found.last_words
        || outlook.doomed.is_some();
    let told = Told {
        before: training.status.as_ref(),
        after: &outlook.status,
        urgent,
    };
    let later = context.tell(training, told).await?;
    // Until the Job is known to be over, the report of a pod that went stands nowhere else.
    let is_read = outlook.status.phase != Some(Phase::Evaluating);
    if found.last_words && later.is_none() && is_read {
        let namespace = training.namespace().unwrap_or_default();
        context.last_words.forget(&namespace, &training.name_any());
    }
    // After the status has counted it.
    if let Some(doomed) = &outlook.doomed {
        let namespace = training.namespace().unwrap_or_default();
        context
            .writer
            .end_pod(&namespace, &doomed.pod, &doomed.uid)
            .await?;
        // Which of several stands still is not known: that all wait shows at the first one.
        let others = found.pods.iter().filter(|pod| {
            training.spec.nodes.is_group()
                && observed::is_running(pod)
                && pod.uid().as_deref() != Some(&*doomed.uid)
        });
        for pod in others {
            let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
            context.writer.end_pod(&namespace, &name, &uid).await?;
        }
    }
    let again = outlook.again.unwrap_or(RESYNC);
    Ok(Action::requeue(later.unwrap_or(again).min(again)))
}

/// A run that has to be carried out.
async fn work(
    training: &ModelTraining,
    identity: &Identity,
    found: &Found,
    context: &Context,
) -> Result<Outlook, Error> {
    let now = Timestamp::now();
    let decision = contention::decision(training, context, now);
    let run = match validate::validate(training, identity, found) {
        Ok(run) => run.yielding(decision.yielding.clone()),
        Err(problem) => {
            // A spec that cannot be carried out does not go on with what an earlier one asked for.
            if !found.superseded.is_empty() {
                confirm(training, identity, Stage::Due, context).await?;
            }
            let (namespace, uid) = (
                training.namespace().unwrap_or_default(),
                training.uid().unwrap_or_default(),
            );
            apply::discard_superseded(&context.writer, &namespace, &uid, found).await?;
            return Ok(status::refused(training, identity, &problem, now));
        }
    };
    if run.is_withdrawn() {
        if found.job.is_some() {
            confirm(training, identity, Stage::Due, context).await?;
        }
        apply::discard(&context.writer, &run.namespace, &identity.job, &run.uid).await?;
        return Ok(status::withdrawn(training, identity, &found.pods, now));
    }
    let victim = found.preempted();
    let taker = victim.and_then(|victim| queue::taker(victim, &context.stores.pods.state()));
    let turn = Turn {
        queue: found.queue.clone(),
        refusal: found.refusal.clone(),
        again: decision
            .again
            .or_else(|| queue::look_again(training, found.job.as_deref(), now))
            .into_iter()
            .chain(mounts::again(&found.pods, now))
            .chain(queue::look_for_taker(victim, taker.as_ref()))
            .chain(found.departure.map(|_| departure::AGAIN))
            .min(),
        taker,
        yielding: decision.yielding,
    };
    let children = build::build(&run, &context.images);
    if apply::is_grave(&run, &children, found) {
        confirm(training, identity, Stage::Due, context).await?;
    }
    match apply::apply(&context.writer, &run, children, found).await {
        Ok(job) => Ok(status::working(
            training,
            identity,
            &job,
            &found.pods,
            found.progress.as_ref(),
            &turn,
            now,
        )),
        Err(Refusal::Problem(problem)) => Ok(status::refused(training, identity, &problem, now)),
        Err(Refusal::Error(error)) => Err(error),
    }
}

/// Makes sure that the run is asked for and has come so far, before anything of it is begun or taken away.
async fn confirm(
    training: &ModelTraining,
    identity: &Identity,
    stands: Stage,
    context: &Context,
) -> Result<(), Error> {
    let agrees = |live: &ModelTraining| stage(&live.status.clone().unwrap_or_default(), identity) == stands;
    fresh::confirm(&context.client, training, agrees).await
}

/// A run that has ended: its gates are judged as they are now, and its Job is kept as long as is asked.
async fn rest(
    training: &ModelTraining,
    identity: &Identity,
    ended: Stage,
    found: &Found,
    context: &Context,
) -> Result<Outlook, Error> {
    let now = Timestamp::now();
    let (namespace, uid) = (
        training.namespace().unwrap_or_default(),
        training.uid().unwrap_or_default(),
    );
    let mut outlook = status::settled(training, identity, ended, now);
    if let (Stage::Failed, Some(job)) = (ended, &found.job)
        && apply::goes_on(job)
    {
        confirm(training, identity, ended, context).await?;
        apply::end(&context.writer, job).await?;
    }
    if ended == Stage::Finished {
        // The run is the same, so what an edited spec would now start is not needed, nor what it left half done.
        let rest = without(found, outlook.status.job.as_deref());
        if !rest.superseded.is_empty() {
            confirm(training, identity, ended, context).await?;
        }
        apply::discard_superseded(&context.writer, &namespace, &uid, &rest).await?;
    }
    match time_left(training, &outlook.status, now) {
        Some(Duration::ZERO) => {
            if let Some(job) = outlook
                .status
                .job
                .as_deref()
                .filter(|_| found.job.is_some() || !found.superseded.is_empty())
            {
                confirm(training, identity, ended, context).await?;
                apply::discard(&context.writer, &namespace, job, &uid).await?;
            }
        }
        left => outlook.again = left,
    }
    Ok(outlook)
}

/// What was found, less the Job that the finished run is known by.
fn without(found: &Found, job: Option<&str>) -> Found {
    let mut rest = found.clone();
    rest.superseded
        .retain(|superseded| Some(superseded.name_any().as_str()) != job);
    rest
}

/// How long the Job of a run that ended is still kept; nothing where it is kept for good.
fn time_left(training: &ModelTraining, status: &ModelTrainingStatus, now: Timestamp) -> Option<Duration> {
    let keep = u64::try_from(training.spec.ttl_seconds_after_finished?).ok()?;
    let ended = status.completion_time.as_ref()?.0;
    let passed = u64::try_from(now.duration_since(ended).as_secs()).unwrap_or(0);
    Some(Duration::from_secs(keep.saturating_sub(passed)))
}
