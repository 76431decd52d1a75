//! Writes to the cluster: server-side apply by one field manager, and none that would change nothing.
//!
//! A child's name is derived from its parent's, so an object of that name may already be there and belong to
//! somebody else. Before the first write of a child, one read makes sure that it does not.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::{ClusterResourceScope, NamespaceResourceScope, Request};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::difference;
use crate::error::{Doing, Error};
use crate::labels::MANAGER;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::reason::Reason;
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

/// Why a child could not be written.
#[derive(Debug)]
pub enum Refusal {
    /// Something that a user can mend: the name is taken, or the API server refuses the child.
    Problem(Problem),
    /// Something that a later try may get past.
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Error(error)
    }
}

/// The way to write.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    metrics: Metrics,
}

impl Writer {
    /// Writes through this client and counts each write.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Writer { client, metrics }
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
            Ok(request) => self.client.request::<S>(request).await,
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

    /// Writes the status of one of our own kinds, unless it already says so. Fields that `status` leaves out
    /// are removed.
    pub async fn status<K: Child, S: Serialize>(
        &self,
        object: &K,
        status: &S,
        before: &S,
    ) -> Result<(), Error> {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        self.status_of(&api, object, status, before).await
    }

    /// The same, of an object that lies in no namespace.
    pub async fn cluster_status<K, S: Serialize>(
        &self,
        object: &K,
        status: &S,
        before: &S,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + DeserializeOwned + Clone + Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        self.status_of(&api, object, status, before).await
    }

    /// Writes a part of the status that has a field manager of its own. Fields that it wrote before and `status` leaves
    /// out are removed.
    pub async fn status_by<K: Child, S: Serialize>(
        &self,
        manager: &str,
        object: &K,
        status: &S,
    ) -> Result<(), Error> {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        self.write_status(&api, manager, object, status).await
    }

    async fn status_of<K, S: Serialize>(
        &self,
        api: &Api<K>,
        object: &K,
        status: &S,
        before: &S,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        if !Self::differs(status, before) {
            return Ok(());
        }
        self.write_status(api, MANAGER, object, status).await
    }

    async fn write_status<K, S: Serialize>(
        &self,
        api: &Api<K>,
        manager: &str,
        object: &K,
        status: &S,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let namespace = object.namespace().unwrap_or_default();
        let name = object.name_any();
        let body = serde_json::json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status,
            "metadata": {"name": name, "uid": object.uid()},
        });
        self.metrics.write(&K::kind(&()), "status");
        let parameters = PatchParams::apply(manager).force();
        match api.patch_status(&name, &parameters, &Patch::Apply(&body)).await {
            Ok(_) => Ok(()),
            // Deleted meanwhile, and perhaps made anew: there is nobody to tell.
            Err(error) if Error::is_not_found(&error) || Error::is_of_another(&error) => Ok(()),
            Err(error) => Err(error).doing(|| format!("patch status of {} {namespace}/{name}", K::kind(&()))),
        }
    }

    /// Deletes a pod, if it is there and has that UID. Whoever made it decides whether another takes its place.
    pub async fn end_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        self.metrics.write("Pod", "delete");
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(name, &parameters).await {
            Ok(_) => Ok(()),
            // It is gone, or another has its name: the API server answers a wrong UID with a conflict.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error).doing(|| format!("delete Pod {namespace}/{name}")),
        }
    }

    /// Deletes a child by name, if it is there and owned by `owner_uid`; its own children go with it.
    pub async fn delete<K: Child>(&self, namespace: &str, name: &str, owner_uid: &str) -> Result<(), Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let what = |verb: &str| format!("{verb} {} {namespace}/{name}", K::kind(&()));
        let Some(live) = api.get_opt(name).await.doing(|| what("get"))? else {
            return Ok(());
        };
        if !is_owned_by(&live, owner_uid) || live.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        self.metrics.write(&K::kind(&()), "delete");
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: live.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(name, &parameters).await {
            Ok(_) => Ok(()),
            Err(error) if Error::is_not_found(&error) => Ok(()),
            Err(error) => Err(error).doing(|| what("delete")),
        }
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

/// Somebody else's object has the name of a child, or one that an owner of the same name left when it was deleted: a
/// claim, for one, stays as long as a pod mounts it.
fn taken<K: Child>(desired: &K, live: &impl Resource) -> Problem {
    let (kind, name) = (K::kind(&()), desired.name_any());
    let owners = |meta: &ObjectMeta| -> Vec<(String, String)> {
        let all = meta.owner_references.iter().flatten();
        all.map(|owner| (owner.kind.clone(), owner.name.clone()))
            .collect()
    };
    let left = owners(live.meta())
        .iter()
        .any(|owner| owners(desired.meta()).contains(owner));
    let message = if left {
        format!(
            "a {kind} named {name:?} is left of a deleted object of this name; it goes when nothing uses it any more, \
             and then this goes on by itself"
        )
    } else {
        format!(
            "a {kind} named {name:?} is already there and belongs to somebody else; delete it, or give this object another name"
        )
    };
    Problem::new(Reason::NameTaken, "metadata.name", message)
}

/// A 4xx that the same request would get again is for a person; everything else is for a later try.
fn refusal(error: kube::Error, what: String) -> Refusal {
    match &error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => Refusal::Problem(Problem::new(
            Reason::ChildRefused,
            "spec",
            format!("the API server refused to {what}: {}", status.message),
        )),
        _ => Refusal::Error(Error::Api {
            what,
            source: Box::new(error),
        }),
    }
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
#[allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;
    use crate::seen::{self, Compared};

    fn service(owner: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "iris", "ownerReferences": [owner]}})).unwrap()
    }

    #[test]
    fn what_is_kept_to_be_compared_is_written_again_where_it_differs_and_only_there() {
        let mut ours = service(json!({"apiVersion": "v1", "kind": "A", "name": "a", "uid": "1"}));
        let ports = json!({"ports": [{"port": 80, "targetPort": "http"}], "selector": {"a": "b"}});
        ours.spec = serde_json::from_value(ports).unwrap();
        let stored: Compared<Service> = seen::of(&ours);
        let differs = |desired: &Service| difference::first(&untyped(desired), &json(&stored));
        assert_eq!(differs(&ours), None);
        ours.spec.get_or_insert_default().selector = Some([("a".to_owned(), "c".to_owned())].into());
        assert_eq!(differs(&ours).as_deref(), Some(".spec.selector"));
    }

    #[test]
    fn a_name_that_a_deleted_namesake_left_is_told_from_one_that_is_somebody_elses() {
        let owner = |name: &str, uid: &str| json!({"apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "name": name, "uid": uid, "controller": true});
        let ours = service(owner("iris", "2"));
        let left = taken(&ours, &service(owner("iris", "1")));
        assert!(left.message.contains("goes on by itself"), "{}", left.message);
        let foreign = taken(&ours, &service(owner("other", "1")));
        assert!(
            foreign.message.contains("belongs to somebody else"),
            "{}",
            foreign.message
        );
    }
}
