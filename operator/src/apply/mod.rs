//! Writes to the cluster: server-side apply by one field manager, and none that would change nothing.
//!
//! A child's name is derived from its parent's, so an object of that name may already be there and belong to
//! somebody else. Before the first write of a child, one read makes sure that it does not.

mod latency;
mod refusal;
mod remove;
mod status;

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{NamespaceResourceScope, Request};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::latency::Latency;
pub use self::refusal::Refusal;
use self::refusal::{refusal, taken};
use crate::difference;
use crate::error::Doing;
use crate::labels::MANAGER;
use crate::metrics::Metrics;
use crate::seen::Seen;

/// A kind that lives in a namespace and is known at compile time.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug
{
}

impl<K> Child for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
{
}

/// A child that is as it should be, as the API server last said.
///
/// Only this module makes one, so a status can be computed from nothing that was not applied.
#[derive(Clone, Debug)]
pub struct Applied<K>(K);

impl<K> Applied<K> {
    /// The object as the API server last said.
    pub fn get(&self) -> &K {
        &self.0
    }
}

/// The way to write.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    metrics: Metrics,
    latency: Latency,
}

impl Writer {
    /// Writes through this client and counts each write.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Writer {
            client,
            metrics,
            latency: Latency::default(),
        }
    }

    /// How long the API server takes lately for what costs it as much as anything: to make a Job, or to store a status. What
    /// is applied is not counted, as Services wait there for one another.
    pub fn latency(&self) -> Duration {
        self.latency.mean()
    }

    async fn timed<T>(&self, write: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let answer = write.await;
        self.latency.note(start.elapsed());
        answer
    }

    /// Makes the child what it should be. `observed` is what a watch has shown; nothing where it has shown none. What is
    /// seen of it afterwards may be less than it was made of ([`crate::seen`]).
    ///
    /// # Errors
    /// [`Refusal::Problem`] where the name is taken by an object that `owner_uid` does not own, or the API
    /// server refuses the child as it is (quota, admission, an invalid value).
    pub async fn ensure<K: Child, S: Child + Seen<K>>(
        &self,
        owner_uid: &str,
        desired: K,
        observed: Option<&S>,
    ) -> Result<Applied<S>, Refusal> {
        let namespace = desired.namespace().unwrap_or_default();
        let api: Api<S> = Api::namespaced(self.client.clone(), &namespace);
        let name = desired.name_any();
        let what = |verb: &str| format!("{verb} {} {namespace}/{name}", K::kind(&()));

        let read;
        let observed = match observed {
            Some(observed) => Some(observed),
            None => {
                read = api.get_opt(&name).await.doing(|| what("get"))?;
                read.as_ref()
            }
        };
        if let Some(live) = observed {
            if !is_owned_by(live, owner_uid) {
                return Err(Refusal::Problem(taken(&desired, live)));
            }
            if difference::first(&untyped(&desired), &json(live)).is_none() {
                return Ok(Applied(live.clone()));
            }
        }
        self.metrics.write(&K::kind(&()), "apply");
        let parameters = PatchParams::apply(MANAGER).force();
        match api
            .patch(&name, &parameters, &Patch::Apply(&typed(&desired)))
            .await
        {
            Ok(stored) => Ok(Applied(stored)),
            Err(error) => Err(refusal(error, what("apply"))),
        }
    }

    /// The child as the API server would store it, without storing it.
    ///
    /// # Errors
    /// As [`Writer::ensure`], but for a name that is taken.
    pub async fn rehearse<K: Child>(&self, desired: &K) -> Result<K, Refusal> {
        let (namespace, name) = (desired.namespace().unwrap_or_default(), desired.name_any());
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let mut parameters = PatchParams::apply(MANAGER).force();
        parameters.dry_run = true;
        let answer = api
            .patch(&name, &parameters, &Patch::Apply(&typed(desired)))
            .await;
        answer.map_err(|error| refusal(error, format!("apply {} {namespace}/{name}", K::kind(&()))))
    }

    /// Makes a child that is not there. One of ours that is there stays as it is.
    ///
    /// # Errors
    /// As [`Writer::ensure`].
    pub async fn provide<K: Child>(&self, owner_uid: &str, desired: K) -> Result<(), Refusal> {
        let namespace = desired.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let name = desired.name_any();
        match api
            .get_metadata_opt(&name)
            .await
            .doing(|| format!("get {} {namespace}/{name}", K::kind(&())))?
        {
            Some(live) if !is_owned_by(&live, owner_uid) => Err(Refusal::Problem(taken(&desired, &live))),
            Some(_) => Ok(()),
            None => self.create::<K, K>(owner_uid, desired).await.map(drop),
        }
    }

    /// Makes a child that nobody here changes once it is there, or that somebody else takes over: one that is there
    /// stays as it is. Without the read that [`Writer::ensure`] begins with.
    ///
    /// # Errors
    /// As [`Writer::ensure`].
    pub async fn create<K: Child, S: Child + Seen<K>>(
        &self,
        owner_uid: &str,
        desired: K,
    ) -> Result<Applied<S>, Refusal> {
        let namespace = desired.namespace().unwrap_or_default();
        let api: Api<S> = Api::namespaced(self.client.clone(), &namespace);
        let name = desired.name_any();
        let what = |verb: &str| format!("{verb} {} {namespace}/{name}", K::kind(&()));
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        self.metrics.write(&K::kind(&()), "create");
        let path = K::url_path(&(), Some(&namespace));
        let request = Request::new(path).create(&parameters, json(&desired).to_string().into_bytes());
        let answer = match request {
            Ok(request) => self.timed(self.client.request::<S>(request)).await,
            Err(error) => Err(kube::Error::BuildRequest(error)),
        };
        match answer {
            Ok(stored) => Ok(Applied(stored)),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let live = api.get(&name).await.doing(|| what("get"))?;
                if is_owned_by(&live, owner_uid) {
                    Ok(Applied(live))
                } else {
                    Err(Refusal::Problem(taken(&desired, &live)))
                }
            }
            Err(error) => Err(refusal(error, what("create"))),
        }
    }

    /// Makes an immutable child: one of ours that is there and says something else is deleted first.
    ///
    /// # Errors
    /// As [`Writer::ensure`].
    pub async fn replace<K: Child>(&self, owner_uid: &str, desired: K) -> Result<(), Refusal> {
        let namespace = desired.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let name = desired.name_any();
        let live = api
            .get_opt(&name)
            .await
            .doing(|| format!("get {} {namespace}/{name}", K::kind(&())))?;
        if live
            .as_ref()
            .is_some_and(|live| difference::first(&untyped(&desired), &json(live)).is_some())
        {
            self.delete::<K>(&namespace, &name, owner_uid).await?;
        } else if let Some(live) = &live {
            return self.ensure(owner_uid, desired, Some(live)).await.map(drop);
        }
        self.create::<K, K>(owner_uid, desired).await.map(drop)
    }

    /// Changes only the fields in `patch` (a JSON merge patch) of a child that is known to be ours.
    pub async fn merge<K: Child>(&self, live: &K, patch: &Value) -> Result<Applied<K>, Refusal> {
        if !Self::changes(live, patch) {
            return Ok(Applied(live.clone()));
        }
        let namespace = live.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        self.metrics.write(&K::kind(&()), "patch");
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api
            .patch(&live.name_any(), &parameters, &Patch::Merge(patch))
            .await
        {
            Ok(stored) => Ok(Applied(stored)),
            Err(error) => Err(refusal(
                error,
                format!("patch {} {namespace}/{}", K::kind(&()), live.name_any()),
            )),
        }
    }

    /// Whether the patch (a JSON merge patch) would change the object.
    pub fn changes(live: &impl Serialize, patch: &Value) -> bool {
        difference::first(patch, &json(live)).is_some()
    }

    /// Whether the one says something else than the other.
    pub fn differs<S: Serialize>(one: &S, other: &S) -> bool {
        serde_json::to_value(one).ok() != serde_json::to_value(other).ok()
    }
}

/// Whether the owner with this UID controls the object.
pub fn is_owned_by<K: Resource>(object: &K, uid: &str) -> bool {
    object
        .meta()
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.uid == uid && owner.controller == Some(true))
}

fn json(value: &impl Serialize) -> Value {
    // Kubernetes' own types serialise; a null differs from every object, which leads to a write, not a loss.
    serde_json::to_value(value).unwrap_or_default()
}

/// Without its version and kind, which what is seen of an object need not repeat.
fn untyped(desired: &impl Serialize) -> Value {
    let mut body = json(desired);
    if let Some(fields) = body.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    body
}

/// A body for server-side apply, which must name its version and kind.
fn typed<K: Child>(desired: &K) -> Value {
    let mut body = json(desired);
    body["apiVersion"] = K::api_version(&()).into();
    body["kind"] = K::kind(&()).into();
    body
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;
    use crate::seen::{self, Compared};

    #[test]
    fn what_is_kept_to_be_compared_is_written_again_where_it_differs_and_only_there() {
        let mut ours: Service = serde_json::from_value(json!({
            "metadata": {"name": "iris", "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "1"}]},
            "spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"a": "b"}},
        }))
        .unwrap();
        let stored: Compared<Service> = seen::of(&ours);
        let differs = |desired: &Service| difference::first(&untyped(desired), &json(&stored));
        assert_eq!(differs(&ours), None);
        ours.spec.get_or_insert_default().selector = Some([("a".to_owned(), "c".to_owned())].into());
        assert_eq!(differs(&ours).as_deref(), Some(".spec.selector"));
    }
}
