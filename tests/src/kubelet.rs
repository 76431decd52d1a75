//! A stand-in for the kubelet: it writes on a pod's status what a kubelet would, when the test says so, and runs
//! nothing. Everything else about a pod (its creation, counting, deletion) is done by the real controllers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use sconce_contract::Report;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::wait::until;
use crate::world::{self, NODE};
use crate::{Error, Result};

/// Acts for the pods of one namespace. Pods that are asked to end do so at once, unless [`Kubelet::holds`].
pub struct Kubelet {
    client: Client,
    pods: Api<Pod>,
    namespace: String,
    holding: Arc<AtomicBool>,
    exit_code: Arc<AtomicU8>,
    reaper: JoinHandle<()>,
}

impl Kubelet {
    /// Of that namespace.
    #[must_use]
    pub fn of(client: Client, namespace: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let holding = Arc::new(AtomicBool::new(false));
        let exit_code = Arc::new(AtomicU8::new(143));
        let reaper = tokio::spawn(reap(pods.clone(), Arc::clone(&holding), Arc::clone(&exit_code)));
        Self {
            client,
            pods,
            namespace: namespace.to_owned(),
            holding,
            exit_code,
            reaper,
        }
    }

    /// Whether containers that are told to stop take their time.
    pub fn holds(&self, holding: bool) {
        self.holding.store(holding, Ordering::SeqCst);
    }

    /// What containers end with that are told to stop: 143 where SIGTERM ends them, 75 where they write a checkpoint
    /// upon it.
    pub fn stopped_end_with(&self, exit_code: u8) {
        self.exit_code.store(exit_code, Ordering::SeqCst);
    }

    /// All pods with a label, oldest first.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn all(&self, label: &str) -> Result<Vec<Pod>> {
        let list = self.pods.list(&ListParams::default().labels(label)).await;
        let mut pods = list.map_err(Error::api("list pods"))?.items;
        pods.sort_by_cached_key(|pod| (pod.creation_timestamp(), pod.name_any()));
        Ok(pods)
    }

    /// The pods with a label that have neither ended nor been asked to, once there are `count` of them.
    ///
    /// # Errors
    /// When there are not in time.
    pub async fn active(&self, label: &str, count: usize) -> Result<Vec<Pod>> {
        until(&format!("{count} pods with {label} are at work"), async || {
            let mut pods = self.all(label).await.ok()?;
            pods.retain(is_at_work);
            (pods.len() == count).then_some(pods)
        })
        .await
    }

    /// The name of the only active pod of a training. One whose Job is gone, and which nobody has told to end so far, is
    /// not its.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn trainer(&self, training: &str) -> Result<String> {
        let label = format!("sconce.dev/training={training}");
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        until(&format!("one pod of a Job with {label} is at work"), async || {
            let of_training = ListParams::default().labels(&label);
            let mut live = jobs.list(&of_training).await.ok()?.items;
            live.retain(|job| job.metadata.deletion_timestamp.is_none());
            let mut pods = self.all(&label).await.ok()?;
            pods.retain(|pod| {
                let is_its = |job: &Job| {
                    pod.owner_references()
                        .iter()
                        .any(|owner| Some(&owner.uid) == job.uid().as_ref())
                };
                is_at_work(pod) && live.iter().any(is_its)
            });
            (pods.len() == 1).then(|| pods[0].name_any())
        })
        .await
    }

    /// Binds the pod to the node, where the scheduler has not; its image is being pulled.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn takes(&self, pod: &str) -> Result<()> {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod, "namespace": self.namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        });
        let live = self.pods.get(pod).await.map_err(Error::api("get a pod"))?;
        if live.spec.and_then(|spec| spec.node_name).is_none() {
            let bound: std::result::Result<Value, _> = self
                .pods
                .create_subresource("binding", pod, &PostParams::default(), &binding)
                .await;
            match bound {
                // The scheduler was quicker.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                bound => drop(bound.map_err(Error::api(format!("bind pod {pod}")))?),
            }
        }
        self.waits(pod, "ContainerCreating", None).await
    }

    /// The container waits, for the reason that the kubelet gives.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn waits(&self, pod: &str, reason: &str, message: Option<&str>) -> Result<()> {
        let state = json!({"waiting": {"reason": reason, "message": message}});
        self.write(pod, "Pending", None, false, &state, 0).await
    }

    /// Tells of the pod in an event, as the kubelet and the controllers of volumes do.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn says(&self, pod: &str, reason: &str, message: &str) -> Result<()> {
        let live = self.pods.get(pod).await.map_err(Error::api("get a pod"))?;
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": self.namespace, "uid": live.metadata.uid,
        });
        world::apply(
            &self.client,
            json!({
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{pod}.{}", reason.to_lowercase()), "namespace": self.namespace},
                "involvedObject": object, "reason": reason, "message": message, "type": "Warning", "count": 1,
                "firstTimestamp": now(), "lastTimestamp": now(), "source": {"component": "kubelet", "host": NODE},
            }),
        )
        .await
        .map(drop)
    }

    /// The container runs, and answers its readiness probe or does not yet.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn runs(&self, pod: &str, address: &str, ready: bool) -> Result<()> {
        let state = json!({"running": {"startedAt": now()}});
        self.write(pod, "Running", Some(address), ready, &state, 0).await
    }

    /// The container failed and waits to be started again, as one of a Deployment does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn crashes(&self, pod: &str, report: &Report) -> Result<()> {
        let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}});
        self.write(pod, "Running", Some("10.244.0.9"), false, &state, 1)
            .await?;
        let ended = terminated(report.exit_code(), "Error", Some(&report.to_json()));
        self.status(
            pod,
            json!({"containerStatuses": [container(false, 1, &state, Some(&ended))]}),
        )
        .await
    }

    /// The container ends with a report, and the exit code that goes with it.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn ends(&self, pod: &str, report: &Report) -> Result<()> {
        let code = report.exit_code();
        let reason = if code == 0 { "Completed" } else { "Error" };
        self.dies(pod, code, reason, Some(&report.to_json())).await
    }

    /// The container has ended, and the pod is not said to have yet.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn waits_after_its_end(&self, pod: &str, report: &Report) -> Result<()> {
        let state = terminated(report.exit_code(), "Completed", Some(&report.to_json()));
        self.write(pod, "Running", Some("10.244.0.9"), false, &state, 0)
            .await
    }

    /// The container ends, for the reason that the kubelet gives.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn dies(&self, pod: &str, code: u8, reason: &str, message: Option<&str>) -> Result<()> {
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let state = terminated(code, reason, message);
        self.write(pod, phase, Some("10.244.0.9"), false, &state, 0).await
    }

    /// The node evicts the pod: its container is killed, and the pod says that it was no fault of its own.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn evicts(&self, pod: &str) -> Result<()> {
        let disrupted = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet",
            "message": "The node was low on resource: memory.", "lastTransitionTime": now(),
        });
        let state = terminated(137, "Error", None);
        let status = json!({
            "phase": "Failed", "reason": "Evicted", "conditions": conditions(false, Some(disrupted)),
            "containerStatuses": [container(false, 0, &state, None)],
        });
        self.status(pod, status).await
    }

    async fn write(
        &self,
        pod: &str,
        phase: &str,
        address: Option<&str>,
        ready: bool,
        state: &Value,
        restarts: i32,
    ) -> Result<()> {
        let addresses = address.map(|ip| json!([{"ip": ip}]));
        let status = json!({
            "phase": phase, "podIP": address, "podIPs": addresses, "startTime": now(),
            "conditions": conditions(ready, None),
            "containerStatuses": [container(ready, restarts, state, None)],
        });
        self.status(pod, status).await
    }

    async fn status(&self, pod: &str, mut status: Value) -> Result<()> {
        let live = self.pods.get(pod).await.map_err(Error::api("get a pod"))?;
        keep_times(&mut status, &live);
        let patch = Patch::Merge(json!({ "status": status }));
        let patched = self.pods.patch_status(pod, &PatchParams::default(), &patch).await;
        patched
            .map(drop)
            .map_err(Error::api(format!("write the status of pod {pod}")))
    }
}

/// Whether it has neither ended nor been asked to.
fn is_at_work(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.reaper.abort();
    }
}

/// A kubelet removes a pod for good once its containers have stopped.
async fn reap(pods: Api<Pod>, holding: Arc<AtomicBool>, exit_code: Arc<AtomicU8>) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if holding.load(Ordering::SeqCst) {
            continue;
        }
        // Without an answer, the next round asks again.
        let Ok(list) = pods.list(&ListParams::default()).await else {
            continue;
        };
        for pod in list.items {
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
            if pod.metadata.deletion_timestamp.is_none() || grace == 0 {
                continue;
            }
            stop(&pods, &pod, exit_code.load(Ordering::SeqCst)).await;
        }
    }
}

/// The containers of a pod that is asked to end have stopped, and it goes. A write that is refused concerns one that is
/// gone.
pub(crate) async fn stop(pods: &Api<Pod>, pod: &Pod, exit_code: u8) {
    // A container that had not ended by itself was stopped by SIGTERM.
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if !matches!(phase, Some("Succeeded" | "Failed")) {
        let state = terminated(exit_code, "Error", None);
        // It writes its own conditions and leaves the others, which say why the pod was to go.
        let others = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let disrupted = others
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == "DisruptionTarget");
        let disrupted = disrupted.and_then(|condition| serde_json::to_value(condition).ok());
        let status = json!({
            "phase": "Failed", "conditions": conditions(false, disrupted),
            "containerStatuses": [container(false, 0, &state, None)],
        });
        let patch = Patch::Merge(json!({ "status": status }));
        let _ = pods
            .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
            .await;
    }
    let now = DeleteParams::default().grace_period(0);
    let _ = pods.delete(&pod.name_any(), &now).await;
}

fn conditions(ready: bool, more: Option<Value>) -> Vec<Value> {
    let of = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": now()})
    };
    let mut all = vec![
        of("PodScheduled", true),
        of("Initialized", true),
        of("ContainersReady", ready),
        of("Ready", ready),
    ];
    all.extend(more);
    all
}

/// A condition's time is when its status changed, not when it was written again.
fn keep_times(status: &mut Value, live: &Pod) {
    let before = live.status.as_ref().and_then(|status| status.conditions.as_ref());
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let same = before.into_iter().flatten().find(|before| {
            condition["type"] == before.type_.as_str() && condition["status"] == before.status.as_str()
        });
        if let Some(time) = same.and_then(|before| before.last_transition_time.as_ref()) {
            condition["lastTransitionTime"] = json!(time);
        }
    }
}

fn container(ready: bool, restarts: i32, state: &Value, last: Option<&Value>) -> Value {
    json!({
        "name": "sconce", "image": "registry.example/sconce:test", "imageID": "", "ready": ready,
        "restartCount": restarts, "state": state, "lastState": last,
    })
}

fn terminated(code: u8, reason: &str, message: Option<&str>) -> Value {
    let ended = json!({
        "exitCode": code, "reason": reason, "message": message, "startedAt": now(), "finishedAt": now(),
    });
    json!({ "terminated": ended })
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
