//! Writes of statuses.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::core::{ClusterResourceScope, Request};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Child, Writer};
use crate::error::{Doing, Error};
use crate::labels::MANAGER;

impl Writer {
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
        // The answer is the whole object with the record of who set which field, and the watch brings it as well.
        let request = Request::new(api.resource_url());
        let answer = match request.patch_subresource("status", &name, &parameters, &Patch::Apply(&body)) {
            Ok(request) => self.timed(self.client.request::<IgnoredAny>(request)).await,
            Err(error) => Err(kube::Error::BuildRequest(error)),
        };
        match answer {
            Ok(IgnoredAny) => Ok(()),
            // Deleted meanwhile, and perhaps made anew: there is nobody to tell.
            Err(error) if Error::is_not_found(&error) || Error::is_of_another(&error) => Ok(()),
            Err(error) => Err(error).doing(|| format!("patch status of {} {namespace}/{name}", K::kind(&()))),
        }
    }
}
