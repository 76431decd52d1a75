//! A namespace of a test's own on the file's control plane, with what a test does in it and sees there.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use sconce_contract::Report;
use sconce_crds::condition::Condition;
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining, ModelTrainingStatus};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::kubelet::Kubelet;
use crate::wait::{until, within};
use crate::world::{self, Extent, Lease};
use crate::{Error, Result, process};

/// Far beyond what anything takes: the machine may be busy with a build.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kind that lives in a namespace.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
{
}

/// A namespace that enforces the restricted Pod Security Standard, and a kubelet for its pods.
pub struct Room {
    /// With all rights.
    pub client: Client,
    /// Its name.
    pub namespace: String,
    /// Acts for the pods in it.
    pub kubelet: Kubelet,
    /// What all tests of the file share.
    pub world: Lease,
}

impl Room {
    /// A room in which controllers work.
    ///
    /// # Errors
    /// When the control plane does not start.
    pub async fn open() -> Result<Self> {
        Self::within(Extent::Controllers).await
    }

    /// A room of that extent. All rooms of a file have the same.
    ///
    /// # Errors
    /// When the control plane does not start.
    pub async fn within(extent: Extent) -> Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let world = Lease::take(extent).await?;
        let client = world.client().await?;
        let namespace = format!("room-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}});
        world::apply(&client, object).await?;
        if extent != Extent::Admission {
            let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
            let made = async || accounts.get_opt("default").await.ok().flatten();
            until("the namespace has its service account", made).await?;
        }
        Ok(Self {
            kubelet: Kubelet::of(client.clone(), &namespace),
            client,
            namespace,
            world,
        })
    }

    /// The last word of every test: nothing that the operator did was forbidden to it.
    ///
    /// # Errors
    /// When the log says otherwise.
    pub fn close(self) -> Result<()> {
        let forbidden = self.world.forbidden();
        if forbidden.is_empty() {
            return Ok(());
        }
        Err(Error::Unmet(format!(
            "the chart's roles lack a verb that the operator uses:\n{}",
            forbidden.join("\n")
        )))
    }

    /// Objects of a kind in this namespace.
    #[must_use]
    pub fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies an object in this namespace, as a person would.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply(&self, mut object: Value) -> Result<DynamicObject> {
        object["metadata"]["namespace"] = self.namespace.clone().into();
        world::apply(&self.client, object).await
    }

    /// Applies an object that lies in no namespace. All tests of the file see it.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply_cluster(&self, object: Value) -> Result<DynamicObject> {
        world::apply(&self.client, object).await
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn change<K: Kind>(&self, name: &str, change: Value) -> Result<K> {
        let patched = self
            .api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(&change))
            .await;
        patched.map_err(Error::api(format!("change {} {name}", K::kind(&()))))
    }

    /// Deletes an object, in the background.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn delete<K: Kind>(&self, name: &str) -> Result<()> {
        let deleted = self.api::<K>().delete(name, &DeleteParams::background()).await;
        deleted
            .map(drop)
            .map_err(Error::api(format!("delete {} {name}", K::kind(&()))))
    }

    /// The object as it is now.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn get<K: Kind>(&self, name: &str) -> Result<K> {
        let read = self.api::<K>().get(name).await;
        read.map_err(Error::api(format!("get {} {name}", K::kind(&()))))
    }

    /// Names of all objects of a kind in this namespace that the operator made.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn ours<K: Kind>(&self) -> Result<Vec<String>> {
        let parameters = kube::api::ListParams::default().labels("app.kubernetes.io/managed-by=sconce");
        let list = self.api::<K>().list(&parameters).await;
        let list = list.map_err(Error::api(format!("list {}", K::plural(&()))))?;
        Ok(list.items.iter().map(ResourceExt::name_any).collect())
    }

    /// Waits until an object is as `holds` wants it; the error shows how it was at last.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn see<K: Kind>(&self, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> Result<K> {
        let api = self.api::<K>();
        let mut last = String::from("it is not there");
        let seen = within(PATIENCE, what, async || {
            let object = api.get(name).await.ok()?;
            if holds(&object) {
                return Some(object);
            }
            last = serde_json::to_value(&object)
                .map(|object| object["status"].to_string())
                .unwrap_or_default();
            None
        })
        .await;
        seen.map_err(|error| {
            let log = process::tail_of_path(&self.world.options().log);
            Error::Unmet(format!(
                "{error}; {} {name} was at last {last}; the operator said last:\n{log}",
                K::kind(&())
            ))
        })
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// When it is still there in the end.
    pub async fn gone<K: Kind>(&self, name: &str) -> Result<()> {
        let api = self.api::<K>();
        until(&format!("{} {name} is gone", K::kind(&())), async || {
            api.get_opt(name).await.ok()?.is_none().then_some(())
        })
        .await
    }

    /// Waits for the phase of a training.
    ///
    /// # Errors
    /// When it has another in the end.
    pub async fn phase(&self, name: &str, phase: Phase) -> Result<ModelTraining> {
        self.see(
            name,
            &format!("the training is {phase:?}"),
            |training: &ModelTraining| {
                let seen = training
                    .status
                    .as_ref()
                    .filter(|status| status.observed_generation == training.metadata.generation);
                seen.is_some_and(|status| status.phase == Some(phase))
            },
        )
        .await
    }

    /// Waits for the reason of a training's Ready condition.
    ///
    /// # Errors
    /// When it is another in the end.
    pub async fn training_says(&self, name: &str, reason: &str) -> Result<ModelTraining> {
        self.see(
            name,
            &format!("the training says {reason}"),
            |training: &ModelTraining| says(training.metadata.generation, conditions(training), reason),
        )
        .await
    }

    /// Waits for the reason of a deployment's Ready condition.
    ///
    /// # Errors
    /// When it is another in the end.
    pub async fn deployment_says(&self, name: &str, reason: &str) -> Result<ModelDeployment> {
        self.see(
            name,
            &format!("the deployment says {reason}"),
            |deployment: &ModelDeployment| says(deployment.metadata.generation, served(deployment), reason),
        )
        .await
    }

    /// Lets the training's pod run and end with that report.
    ///
    /// # Errors
    /// When there is no pod in time.
    pub async fn run_to(&self, training: &str, report: &Report) -> Result<()> {
        let pod = self.kubelet.trainer(training).await?;
        self.kubelet.takes(&pod).await?;
        self.kubelet.runs(&pod, "10.244.0.9", true).await?;
        self.kubelet.ends(&pod, report).await
    }

    /// Lets the training's pod run and end with that report; its status once it has succeeded.
    ///
    /// # Errors
    /// When it does not.
    pub async fn succeeds(&self, training: &str, report: &Report) -> Result<ModelTrainingStatus> {
        self.run_to(training, report).await?;
        let seen = self.phase(training, Phase::Succeeded).await?;
        Ok(seen.status.unwrap_or_default())
    }

    /// Gives the deployment's `count` pods of that revision a node, and lets them answer.
    ///
    /// # Errors
    /// When they are not there in time.
    pub async fn answer(&self, deployment: &str, revision: &str, count: usize) -> Result<()> {
        let label = format!("sconce.dev/deployment={deployment},sconce.dev/revision={revision}");
        for pod in self.kubelet.active(&label, count).await? {
            let name = pod.name_any();
            self.kubelet.takes(&name).await?;
            self.kubelet.runs(&name, "10.244.0.7", true).await?;
        }
        Ok(())
    }

    /// The revision that a deployment wants, once it is not `old`.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn revision(&self, deployment: &str, old: Option<&str>) -> Result<String> {
        let fresh =
            |deployment: &ModelDeployment| current(deployment).filter(|name| Some(name.as_str()) != old);
        let seen = self
            .see(
                deployment,
                "the deployment wants another revision",
                |deployment: &ModelDeployment| fresh(deployment).is_some(),
            )
            .await?;
        Ok(fresh(&seen).unwrap_or_default())
    }

    /// The Deployment of the revision that a ModelDeployment wants.
    ///
    /// # Errors
    /// When there is none.
    pub async fn workload(&self, deployment: &str) -> Result<Deployment> {
        let revision = self.revision(deployment, None).await?;
        self.get(&format!("{deployment}-{revision}")).await
    }

    /// Fails when the object changes within the time: whoever writes without need wears out the API server.
    ///
    /// # Errors
    /// When its resourceVersion moved.
    pub async fn still<K: Kind>(&self, name: &str, time: Duration) -> Result<()> {
        let before = self.get::<K>(name).await?;
        tokio::time::sleep(time).await;
        let after = self.get::<K>(name).await?;
        if before.resource_version() == after.resource_version() {
            return Ok(());
        }
        Err(Error::Unmet(format!(
            "{} {name} changed though nothing happened: {before:?}\n{after:?}",
            K::kind(&())
        )))
    }
}

fn says(generation: Option<i64>, conditions: &[Condition], reason: &str) -> bool {
    let ready = sconce_crds::condition::find(conditions, "Ready");
    ready.is_some_and(|ready| ready.reason == reason && ready.observed_generation == generation)
}

fn current(deployment: &ModelDeployment) -> Option<String> {
    Some(deployment.status.as_ref()?.revisions.first()?.name.clone())
}

/// The conditions of a training.
#[must_use]
pub fn conditions(training: &ModelTraining) -> &[Condition] {
    training
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default()
}

/// The conditions of a deployment.
#[must_use]
pub fn served(deployment: &ModelDeployment) -> &[Condition] {
    deployment
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default()
}

/// A condition as `True: Reason: message`; empty where it is not told.
#[must_use]
pub fn told(conditions: &[Condition], kind: &str) -> String {
    sconce_crds::condition::find(conditions, kind)
        .map(|found| format!("{}: {}: {}", found.status, found.reason, found.message))
        .unwrap_or_default()
}
