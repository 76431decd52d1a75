//! A room whose operator works in it alone, behind a [`FaultProxy`]: scenes of one control plane are disturbed each by
//! itself, side by side.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use sconce_crds::condition::is_true;
use sconce_crds::{ModelDeployment, ModelTraining};
use serde_json::json;

use crate::fault::{Fault, FaultProxy, Write};
use crate::hollow::{CLAIM, Hollow};
use crate::objects::{deployment, training, with};
use crate::operator::{Operator, Options};
use crate::reference::State;
use crate::room::{Kind, Room, conditions, served};
use crate::wait::{until, within};
use crate::world::Extent;
use crate::{Error, Result, process, world};

/// The machine may be busy with a build, and kube repeats by itself, with growing pauses, what was refused.
pub const PATIENCE: Duration = Duration::from_secs(150);
/// Without a write for so long, everything is said: twice the pause between two words of a status.
const QUIET: Duration = Duration::from_secs(1);
/// How often a scene is looked at: to compare all that is there takes a dozen requests.
const POLL: Duration = Duration::from_millis(100);

/// The right to the Lease of an operator of one namespace, as the chart gives it with `watchNamespace`.
async fn lend_lease(room: &Room) -> Result<()> {
    let name = format!("sconce-operator-{}", room.namespace);
    let group = "rbac.authorization.k8s.io";
    let metadata = json!({"name": name, "namespace": "sconce-system"});
    let rule = json!({
        "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [name], "verbs": ["get", "update"],
    });
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": [rule],
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "sconce", "namespace": "sconce-system"}],
    });
    world::apply(&room.client, role).await?;
    world::apply(&room.client, binding).await?;
    // Who decides about rights sees a new one a moment later.
    let asks = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {"user": "system:serviceaccount:sconce-system:sconce", "resourceAttributes": {
            "group": "coordination.k8s.io", "resource": "leases", "namespace": "sconce-system", "name": name, "verb": "get",
        }},
    });
    let review: SubjectAccessReview =
        serde_json::from_value(asks).map_err(|error| Error::Unmet(error.to_string()))?;
    let reviews: Api<SubjectAccessReview> = Api::all(room.client.clone());
    until("the operator may take its Lease", async || {
        let answer = reviews.create(&PostParams::default(), &review).await.ok()?;
        answer.status.is_some_and(|status| status.allowed).then_some(())
    })
    .await
}

/// At which write the operator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kill {
    /// The first is 1, of those since the scene was disturbed, or since the kill before.
    pub write: usize,
    /// Whether it is killed after the write was carried out, without an answer; else before.
    pub after: bool,
}

/// A room, pods that run by themselves, and a proxy.
pub struct Scene {
    /// The room.
    pub room: Room,
    /// What the operator speaks through.
    pub proxy: FaultProxy,
    /// What the operator is started with.
    pub options: Options,
    operator: Mutex<Option<Operator>>,
    _hollow: Hollow,
}

impl Scene {
    /// Without an operator yet.
    ///
    /// # Errors
    /// When the control plane does not start.
    pub async fn set() -> Result<Self> {
        let room = Room::within(Extent::Scheduling).await?;
        room.world.crash_operator();
        // Pods run and stop by [`Hollow`] alone.
        room.kubelet.holds(true);
        Hollow::claim(&room.client, &room.namespace, CLAIM).await?;
        lend_lease(&room).await?;
        let mut options = room.world.options();
        let proxy = FaultProxy::start(&options.kubeconfig).await?;
        options.kubeconfig = proxy.kubeconfig(&options.kubeconfig)?;
        options.namespace = Some(room.namespace.clone());
        options.log = options.log.with_file_name(format!("{}.log", room.namespace));
        Ok(Self {
            _hollow: Hollow::within(room.client.clone(), &room.namespace),
            room,
            proxy,
            options,
            operator: Mutex::default(),
        })
    }

    /// Starts the operator, after killing the one that runs.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self) -> Result<()> {
        let mut slot = self.slot();
        slot.take();
        *slot = Some(Operator::start(&self.options)?);
        Ok(())
    }

    /// Kills the operator, as a crash would.
    pub fn crash(&self) {
        self.slot().take();
    }

    /// What the operator answers to `GET path`; nothing where it does not.
    #[must_use]
    pub fn ask(&self, path: &str) -> Option<String> {
        self.slot().as_ref()?.get(path).ok()
    }

    /// The sum of a metric of the operator's over its labels; 0 where it does not answer.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.ask("/metrics").unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// A training of this name, and a deployment of what it learns.
    ///
    /// # Errors
    /// When the API server refuses them.
    pub async fn train_and_serve(&self, name: &str) -> Result<()> {
        let small = json!({"resources": {"cpu": "100m", "memory": "64Mi"}});
        let output = json!({"output": {"uri": format!("pvc://{CLAIM}")}});
        let trains = with(training(name), &json!({ "spec": small }));
        self.room.apply(with(trains, &json!({ "spec": output }))).await?;
        let serves = with(deployment(name, name), &json!({ "spec": small }));
        self.room.apply(serves).await?;
        Ok(())
    }

    /// Changes how many pods a deployment is to have.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn rescale(&self, name: &str, replicas: u64) -> Result<()> {
        let asked = json!({"spec": {"replicas": replicas}});
        self.room.change::<ModelDeployment>(name, asked).await.map(drop)
    }

    /// Waits until so many trainings and deployments whose names begin so are ready.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn are_ready(&self, prefix: &str, count: usize) -> Result<()> {
        let is_of = |name: Option<&String>| name.is_some_and(|name| name.starts_with(prefix));
        within(
            PATIENCE,
            &format!("{count} trainings and deployments are ready"),
            async || {
                let (trained, serves) = (
                    self.list::<ModelTraining>().await?,
                    self.list::<ModelDeployment>().await?,
                );
                let trained = trained
                    .iter()
                    .filter(|one| is_of(one.metadata.name.as_ref()) && is_true(conditions(one), "Ready"));
                let serves = serves
                    .iter()
                    .filter(|one| is_of(one.metadata.name.as_ref()) && is_true(served(one), "Ready"));
                (trained.count() + serves.count() == count).then_some(())
            },
        )
        .await
    }

    async fn list<K: Kind>(&self) -> Option<Vec<K>> {
        let list = self.room.api::<K>().list(&ListParams::default()).await;
        list.ok().map(|list| list.items)
    }

    /// From now on the operator is killed at these writes, one after the other; how many kills are still to come.
    pub fn disturb(&self, kills: &[Kill]) -> Arc<Mutex<VecDeque<Kill>>> {
        let left = Arc::new(Mutex::new(VecDeque::from(kills.to_vec())));
        let (mut count, to_come) = (0, Arc::clone(&left));
        self.proxy.rule(move |_: &Write| {
            let mut to_come = to_come.lock().unwrap_or_else(PoisonError::into_inner);
            count += 1;
            match to_come.front() {
                Some(kill) if kill.write == count => {
                    let fault = if kill.after {
                        Fault::FreezeAfter
                    } else {
                        Fault::FreezeBefore
                    };
                    to_come.pop_front();
                    count = 0;
                    fault
                }
                _ => Fault::None,
            }
        });
        left
    }

    /// Kills the operator and starts it again, where a fault has stopped everything; whether it did.
    ///
    /// # Errors
    /// When it does not start.
    pub fn revive(&self) -> Result<bool> {
        if !self.proxy.is_frozen() {
            return Ok(false);
        }
        self.crash();
        self.proxy.thaw();
        self.start()?;
        Ok(true)
    }

    /// Waits until `holds` and nothing is written any more; what is then there.
    ///
    /// # Errors
    /// When that does not come true in time.
    pub async fn rest(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) -> Result<State> {
        let mut writes = self.proxy.writes().len();
        let mut since = Instant::now();
        within(PATIENCE, what, async || {
            tokio::time::sleep(POLL).await;
            let revived = self.revive().ok()?;
            let now = self.proxy.writes().len();
            if revived || now != writes || !holds().await {
                (writes, since) = (now, Instant::now());
            }
            if since.elapsed() < QUIET {
                return None;
            }
            State::of(&self.room).await.ok()
        })
        .await
    }

    /// Waits until everything is as in the undisturbed run and nothing is written any more; how long that took.
    ///
    /// # Errors
    /// When it is not in time; the error says where it differs.
    pub async fn ends_as(&self, reference: &State, what: &str) -> Result<Duration> {
        let (begun, mut last) = (Instant::now(), None);
        let rests = self
            .rest("it ends as the undisturbed run", async || {
                last = match State::of(&self.room).await {
                    Ok(found) => reference.difference(&found),
                    Err(error) => Some(error.to_string()),
                };
                last.is_none()
            })
            .await;
        rests.map(|_| begun.elapsed()).map_err(|error| {
            let log = process::tail_of_path(&self.options.log);
            Error::Unmet(format!(
                "{what}: {error}: {}\n{log}",
                last.clone().unwrap_or_else(|| "it goes on writing".to_owned())
            ))
        })
    }

    /// Takes everything away, so that the next scene has the room on the node.
    ///
    /// # Errors
    /// When the API server does not answer, or something that the operator did was forbidden to it.
    pub async fn strike(self) -> Result<()> {
        self.crash();
        let log = std::fs::read_to_string(&self.options.log).unwrap_or_default();
        until("no pod is left", async || {
            self.clear::<ModelTraining>().await?;
            self.clear::<ModelDeployment>().await?;
            self.clear::<Job>().await?;
            self.clear::<Deployment>().await?;
            self.clear::<ReplicaSet>().await?;
            self.clear::<Pod>().await?;
            self.list::<Pod>().await?.is_empty().then_some(())
        })
        .await?;
        if let Some(line) = log.lines().find(|line| world::is_forbidden(line)) {
            return Err(Error::Unmet(format!(
                "the chart's roles lack a verb that the operator uses: {line}"
            )));
        }
        self.room.close()
    }

    async fn clear<K: Kind>(&self) -> Option<()> {
        let now = DeleteParams::background().grace_period(0);
        let all = self
            .room
            .api::<K>()
            .delete_collection(&now, &ListParams::default())
            .await;
        all.ok().map(drop)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Operator>> {
        self.operator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
