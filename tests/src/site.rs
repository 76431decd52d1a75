//! A namespace of a test's own in the cluster that runs pods, with what a test does in it and sees there.
//!
//! ```text
//! in_a_namespace("bad-column", async |site| { site.apply(…).await?; site.phase("iris", Phase::Failed).await?; … })
//! ```
//!
//! It enforces the restricted Pod Security Standard. When the test fails, what the cluster knows of it is printed
//! before it goes.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use sconce_crds::condition::find;
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use serde_json::{Value, json};

use crate::room::{Kind, conditions, served};
use crate::{Error, Result, witness, world};

/// Far beyond what anything takes on an idle machine: it may be busy with a build.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a test ends.
pub type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

/// A namespace in the cluster that runs pods.
pub struct Site {
    /// With all rights.
    pub client: Client,
    /// Its name.
    pub namespace: String,
}

/// Runs a test in a namespace of that name, which is deleted whatever becomes of the test.
///
/// # Errors
/// When the test does.
pub async fn in_a_namespace<Test>(name: &str, test: Test) -> Outcome
where
    Test: AsyncFnOnce(&Site) -> Outcome,
{
    let site = Site::open(name).await?;
    let started = Instant::now();
    let outcome = AssertUnwindSafe(test(&site)).catch_unwind().await;
    let took = started.elapsed().as_secs_f64();
    if matches!(outcome, Ok(Ok(()))) {
        eprintln!("--- {} took {took:.1} s", site.namespace);
    } else {
        eprintln!(
            "--- {} failed after {took:.1} s; what the cluster knows of it:",
            site.namespace
        );
        eprintln!("{}", witness::account(&site.namespace));
    }
    site.close().await;
    outcome.unwrap_or_else(|panic: Box<dyn Any + Send>| resume_unwind(panic))
}

impl Site {
    async fn open(name: &str) -> Result<Self> {
        let client = Client::try_default()
            .await
            .map_err(Error::api("accept a client: is KUBECONFIG set?"))?;
        let namespace = format!("e2e-{name}");
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let site = Self { client, namespace };
        // What an interrupted test has left.
        if site.exists(&namespaces).await? {
            site.close().await;
            site.within(PATIENCE, "the namespace of an earlier run is gone", async {
                while site.exists(&namespaces).await? {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Ok(())
            })
            .await?;
        }
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.namespace, "labels": labels}});
        world::apply(&site.client, object).await?;
        site.see(
            "default",
            "the namespace has its service account",
            |_: &ServiceAccount| true,
        )
        .await?;
        Ok(site)
    }

    async fn exists(&self, namespaces: &Api<Namespace>) -> Result<bool> {
        let found = namespaces.get_opt(&self.namespace).await;
        Ok(found.map_err(Error::api("get a namespace"))?.is_some())
    }

    /// Nobody waits for the end of the namespace: the next test has one of its own.
    async fn close(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        if let Err(error) = namespaces
            .delete(&self.namespace, &DeleteParams::background())
            .await
        {
            eprintln!("the namespace {} stays: {error}", self.namespace);
        }
    }

    /// Lets the namespace have pods that reach into the node.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn privileged(&self) -> Result<()> {
        let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let patched = namespaces
            .patch(&self.namespace, &PatchParams::default(), &Patch::Merge(&labels))
            .await;
        patched.map(drop).map_err(Error::api("label a namespace"))
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

    /// Applies several.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn apply_all(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        for object in objects {
            self.apply(object).await?;
        }
        Ok(())
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

    /// Objects of a kind with these labels.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn labelled<K: Kind>(&self, labels: &str) -> Result<Vec<K>> {
        let listed = self.api::<K>().list(&ListParams::default().labels(labels)).await;
        Ok(listed
            .map_err(Error::api(format!("list {}", K::plural(&()))))?
            .items)
    }

    /// Pods of a training's Job, oldest first.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn trainers(&self, training: &str) -> Result<Vec<Pod>> {
        let mut pods: Vec<Pod> = self.labelled(&format!("sconce.dev/training={training}")).await?;
        pods.sort_by_key(|pod| (pod.creation_timestamp(), pod.name_any()));
        Ok(pods)
    }

    /// Waits until an object is as `holds` wants it.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn see<K: Kind + Send + Sync + 'static>(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&K) -> bool + Send,
    ) -> Result<K> {
        let seen = await_condition(self.api::<K>(), name, |object: Option<&K>| {
            object.is_some_and(&holds)
        });
        let found = self
            .within(PATIENCE, what, async {
                seen.await.map_err(|error| {
                    Error::Unmet(format!("{} {name} cannot be watched: {error}", K::kind(&())))
                })
            })
            .await?;
        found.ok_or_else(|| {
            Error::Unmet(format!(
                "{} {name} went away while it was awaited that {what}",
                K::kind(&())
            ))
        })
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// When it is still there in the end.
    pub async fn gone<K: Kind>(&self, name: &str) -> Result<()> {
        self.none::<K>(&format!("{} {name} is gone", K::kind(&())), |object| {
            object.name_any() == name
        })
        .await
    }

    /// Waits until no object of a kind is as `counts` says.
    ///
    /// # Errors
    /// When there is still one in the end.
    pub async fn none<K: Kind>(&self, what: &str, counts: impl Fn(&K) -> bool) -> Result<()> {
        self.within(PATIENCE, what, async {
            while self.labelled::<K>("").await?.iter().any(&counts) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        })
        .await
    }

    /// Waits for the phase of a training, told of its newest spec.
    ///
    /// # Errors
    /// When it has another in the end.
    pub async fn phase(&self, name: &str, phase: Phase) -> Result<ModelTraining> {
        self.see(
            name,
            &format!("the training {name} is {phase:?}"),
            move |training: &ModelTraining| {
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
        let what = format!("the training {name} says {reason}");
        self.see(name, &what, |training: &ModelTraining| {
            find(conditions(training), "Ready").is_some_and(|ready| {
                ready.reason == reason && ready.observed_generation == training.metadata.generation
            })
        })
        .await
    }

    /// Waits for the reason of a deployment's Ready condition.
    ///
    /// # Errors
    /// When it is another in the end.
    pub async fn deployment_says(&self, name: &str, reason: &str) -> Result<ModelDeployment> {
        let what = format!("the deployment {name} says {reason}");
        self.see(name, &what, |deployment: &ModelDeployment| {
            find(served(deployment), "Ready").is_some_and(|ready| {
                ready.reason == reason && ready.observed_generation == deployment.metadata.generation
            })
        })
        .await
    }

    /// A node and the address by which it is reached.
    ///
    /// # Errors
    /// When no node tells an address.
    pub async fn node(&self) -> Result<(String, String)> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes
            .list(&ListParams::default())
            .await
            .map_err(Error::api("list nodes"))?;
        let address = |node: &Node| {
            let addresses = node.status.as_ref()?.addresses.as_ref()?;
            let internal = addresses.iter().find(|address| address.type_ == "InternalIP")?;
            Some((node.name_any(), internal.address.clone()))
        };
        nodes
            .items
            .iter()
            .find_map(address)
            .ok_or_else(|| Error::Unmet("no node has an InternalIP".to_owned()))
    }

    /// Waits for something for as long as is reasonable.
    ///
    /// # Errors
    /// When it fails, or has not ended in time.
    pub async fn within<T>(
        &self,
        limit: Duration,
        what: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let unmet = |_| {
            Error::Unmet(format!(
                "within {:.0} s, it did not come true that {what}",
                limit.as_secs_f64()
            ))
        };
        tokio::time::timeout(limit, work).await.map_err(unmet)?
    }
}
