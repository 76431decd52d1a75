//! What every reconcile has around it: a limit in time, a count, a log line with an id, and a pause after a
//! failure that grows with each further one.

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::sync::Semaphore;
use tracing::{Instrument, debug, info_span, warn};

use crate::context::Context;
use crate::error::Error;
use crate::problem::Problem;

/// kube's client repeats a refused request by itself for up to 164 s; a reconcile is over long before that,
/// and starts afresh from what is then true.
const LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to tell of a failure that goes on: of a reconcile that hangs, too.
const TELLING: Duration = Duration::from_secs(10);

static RECONCILE: AtomicU64 = AtomicU64::new(1);

/// A kind whose objects tell by their status that they cannot be reconciled: whoever cannot read the operator's log would
/// wait for nothing.
pub trait Complains: Resource<DynamicType = ()> + Sized {
    /// Tells so, from what the watches have shown: whatever is asked for may be what fails.
    fn complain(&self, _: &Problem, _: &Context) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Reconciles of one controller that may work at once; the others wait in the order in which they came.
///
/// kube bounds them too, but lets those that wait go in the order of their hashes (`Scheduler::pending`, kube-runtime
/// 5.0): of many objects, the same few would be last whenever another has something to say.
pub struct Turns<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    free: Semaphore,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Turns<K> {
    /// At most `concurrency` at once, of objects in this store.
    pub fn new(store: Store<K>, concurrency: u16) -> Arc<Self> {
        Arc::new(Turns {
            store,
            free: Semaphore::new(concurrency.into()),
        })
    }

    /// `stop`, after which none begins any more.
    pub async fn until(self: Arc<Self>, stop: impl Future<Output = ()>) {
        stop.await;
        self.free.close();
    }
}

/// Runs one reconcile of an object, when its turn comes and as the object then is. The watches have listed everything
/// before the first.
///
/// # Errors
/// What `step` could not do, or that it took too long.
pub async fn reconcile<K, F>(
    turns: Arc<Turns<K>>,
    object: Arc<K>,
    context: Arc<Context>,
    step: impl FnOnce(Arc<K>, Arc<Context>) -> F,
) -> Result<Action, Error>
where
    K: Complains + Clone + 'static,
    F: Future<Output = Result<Action, Error>>,
{
    let _told = context.pulse.at_work();
    let reference = ObjectRef::from_obj(&*object);
    drop(object);
    let Ok(_turn) = turns.free.acquire().await else {
        return Ok(Action::await_change());
    };
    let Some(object) = turns.store.get(&reference) else {
        // Deleted while it waited: the garbage collector does the rest.
        return Ok(Action::await_change());
    };
    // Only those at work take the memory that the work needs.
    Box::pin(work(object, context, step)).await
}

async fn work<K, F>(
    object: Arc<K>,
    context: Arc<Context>,
    step: impl FnOnce(Arc<K>, Arc<Context>) -> F,
) -> Result<Action, Error>
where
    K: Complains,
    F: Future<Output = Result<Action, Error>>,
{
    let kind = K::kind(&());
    let key = key(&*object);
    let id = RECONCILE.fetch_add(1, Ordering::Relaxed);
    let span = info_span!("reconcile", object = key, id);
    async {
        let start = Instant::now();
        // A panic would end the operator, and the next one at the same object, for everybody.
        let step = step(Arc::clone(&object), Arc::clone(&context));
        let work = AssertUnwindSafe(step).catch_unwind();
        let outcome = match tokio::time::timeout(LIMIT, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(Error::Panic(words(&*panic))),
            Err(_) => Err(Error::Timeout(LIMIT)),
        };
        context
            .metrics
            .reconciled(&kind, start.elapsed(), outcome.as_ref().err().map(Error::label));
        match &outcome {
            Ok(_) => {
                context.succeeded(&key);
                debug!(took = ?start.elapsed(), "reconciled");
            }
            Err(error) => {
                warn!(%error, "the reconcile failed; it is tried again");
                if let Some(problem) = error.problem().filter(|_| context.keeps_failing(&key)) {
                    // What panicked may do so again.
                    let told = AssertUnwindSafe(object.complain(&problem, &context)).catch_unwind();
                    match tokio::time::timeout(TELLING, told).await {
                        Ok(Ok(())) => {}
                        Ok(Err(panic)) => warn!(panic = words(&*panic), "telling that it fails panicked"),
                        Err(_) => warn!("that it fails could not be told within {} s", TELLING.as_secs()),
                    }
                }
            }
        }
        outcome
    }
    .instrument(span)
    .await
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word").to_owned()
}

/// When to try again after a failure.
#[allow(clippy::needless_pass_by_value)] // The signature is kube's.
pub fn after_failure<K: Resource<DynamicType = ()>>(
    object: Arc<K>,
    _: &Error,
    context: Arc<Context>,
) -> Action {
    Action::requeue(context.failed(key(&*object)))
}

/// Kind, namespace and name: names an object in logs and in memory.
pub(crate) fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!(
        "{} {}/{}",
        K::kind(&()),
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

/// The objects in a store that something else concerns.
pub fn references<K>(store: &Store<K>, which: impl Fn(&K) -> bool) -> Vec<ObjectRef<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store
        .state_filter(which)
        .iter()
        .map(|object| ObjectRef::from_obj(&**object))
        .collect()
}

/// Drives a controller to its end. Failed reconciles have been logged where they happened.
pub async fn drive<K, S>(results: S)
where
    K: Resource + Debug,
    K::DynamicType: Debug + Eq + Hash + Clone,
    S: futures::Stream<
            Item = Result<(ObjectRef<K>, Action), controller::Error<Error, kube::runtime::watcher::Error>>,
        > + Send
        + 'static,
{
    let mut results: BoxStream<'static, _> = results.boxed();
    while let Some(result) = results.next().await {
        if let Err(controller::Error::QueueError(error)) = result {
            warn!(%error, "a watch broke; it is started again");
        }
    }
}
