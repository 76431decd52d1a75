//! Writes that take something away.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt};

use super::{Child, Writer, is_owned_by};
use crate::error::{Doing, Error};

impl Writer {
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
