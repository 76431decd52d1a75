//! What people do to an object, each with what is there before and what it comes to: the table that crashes are tried
//! on.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use sconce_crds::condition::is_true;
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::hollow::CLAIM;
use crate::node::FakeNode;
use crate::objects::{deployment_of_uri, training, with};
use crate::room::{Room, conditions, served, told};
use crate::scene::Scene;
use crate::{Error, Result};

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// A training and a deployment of it are made.
    Create,
    /// A deployment gets more pods.
    ScaleUp,
    /// A deployment gets fewer pods.
    ScaleDown,
    /// What a training learns changes, and a deployment serves it.
    Update,
    /// The training that a deployment serves is deleted, and the deployment is changed.
    Delete,
    /// A training whose pod fails for good is made.
    Fail,
    /// A training that runs is suspended.
    Suspend,
    /// A training that is suspended goes on.
    Resume,
    /// A deployment gets another model.
    Rollout,
    /// A training's pod makes way for one of a higher priority, and waits.
    Queued,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 10] = [
        Scenario::Create,
        Scenario::ScaleUp,
        Scenario::ScaleDown,
        Scenario::Update,
        Scenario::Delete,
        Scenario::Fail,
        Scenario::Suspend,
        Scenario::Resume,
        Scenario::Rollout,
        Scenario::Queued,
    ];

    /// Those of which what happened can be seen afterwards as well. That a pod made way is written on the pod alone, for
    /// as long as it stops. Whoever only dies meanwhile still finds it: [`crate::hollow`] lets it stop until it is told.
    #[must_use]
    pub fn lasting() -> Vec<Scenario> {
        let mut all = Scenario::ALL.to_vec();
        all.retain(|scenario| *scenario != Scenario::Queued);
        all
    }

    /// Held while the scenario runs, where two of it would be in each other's way.
    pub async fn turn(self) -> Option<MutexGuard<'static, ()>> {
        static ONE_NODE: Mutex<()> = Mutex::const_new(());
        match self {
            Scenario::Queued => Some(ONE_NODE.lock().await),
            _ => None,
        }
    }

    /// Brings about what is there before.
    ///
    /// # Errors
    /// When it does not come true in time.
    pub async fn prepare(self, scene: &Scene) -> Result<()> {
        let room = &scene.room;
        match self {
            Scenario::Create | Scenario::Fail => return Ok(()),
            Scenario::Update | Scenario::Delete => scene.train_and_serve("iris").await?,
            Scenario::ScaleUp | Scenario::Rollout => serve(room, 1).await?,
            Scenario::ScaleDown => serve(room, 3).await?,
            Scenario::Suspend => train(room, "long-iris", &json!({})).await?,
            Scenario::Resume => train(room, "iris", &json!({"suspend": true})).await?,
            Scenario::Queued => crowd(room).await?,
        }
        let ready = async || self.is_prepared(room).await.unwrap_or(false);
        scene.rest("what is there before is ready", ready).await?;
        Ok(())
    }

    /// Does it.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn act(self, scene: &Scene) -> Result<()> {
        let room = &scene.room;
        let scale = async |count: u8| {
            let asked = json!({"spec": {"replicas": count}});
            room.change::<ModelDeployment>("iris", asked).await.map(drop)
        };
        let suspend = async |name: &str, suspend: bool| {
            let asked = json!({"spec": {"suspend": suspend}});
            room.change::<ModelTraining>(name, asked).await.map(drop)
        };
        match self {
            Scenario::Create => scene.train_and_serve("iris").await,
            Scenario::ScaleUp => scale(3).await,
            Scenario::ScaleDown => scale(1).await,
            Scenario::Update => {
                let seed = json!({"spec": {"hyperparameters": {"seed": 7}}});
                room.change::<ModelTraining>("iris", seed).await.map(drop)
            }
            Scenario::Delete => {
                let background = DeleteParams::background();
                let deleted = room.api::<ModelTraining>().delete("iris", &background).await;
                deleted.map_err(Error::api("delete the training"))?;
                scale(2).await
            }
            Scenario::Fail => train(room, "bad-iris", &json!({})).await,
            Scenario::Suspend => suspend("long-iris", true).await,
            Scenario::Resume => suspend("iris", false).await,
            Scenario::Rollout => {
                let other = json!({"spec": {"model": {"uri": format!("pvc://{CLAIM}/2")}}});
                room.change::<ModelDeployment>("iris", other).await.map(drop)
            }
            Scenario::Queued => {
                let chat = deployment_of_uri("chat", &format!("pvc://{CLAIM}/1"));
                room.apply(with(chat, &crowded("serving"))).await.map(drop)
            }
        }
    }

    /// Whether it has come to its end.
    pub async fn is_done(self, room: &Room) -> bool {
        self.done(room).await.unwrap_or(false)
    }

    async fn done(self, room: &Room) -> Option<bool> {
        Some(match self {
            Scenario::Create => trained(room, "iris").await? && serving(room, 1).await?,
            Scenario::ScaleUp => serving(room, 3).await?,
            Scenario::ScaleDown | Scenario::Rollout => serving(room, 1).await?,
            // What the first run left goes once the second is known to have ended.
            Scenario::Update => {
                trained(room, "iris").await?
                    && serving(room, 1).await?
                    && room.ours::<Job>().await.ok()?.len() == 1
            }
            Scenario::Delete => {
                let trainings = room.api::<ModelTraining>().list(&ListParams::default()).await;
                trainings.ok()?.items.is_empty()
                    && room.ours::<Job>().await.ok()?.is_empty()
                    && observed(room).await?
                    && answering(room).await? == 2
            }
            Scenario::Fail => is_in(room, "bad-iris", Phase::Failed).await?,
            Scenario::Suspend => is_in(room, "long-iris", Phase::Suspended).await?,
            Scenario::Resume => trained(room, "iris").await?,
            // The Job's next pod comes after a pause, and is told of.
            Scenario::Queued => {
                let (chat, waits) = (
                    room.get::<ModelDeployment>("chat"),
                    room.get::<ModelTraining>("long-iris"),
                );
                let (chat, waits) = (chat.await.ok()?, waits.await.ok()?);
                let says = told(conditions(&waits), "Ready");
                is_true(served(&chat), "Ready") && says.contains("Preempted") && says.contains("meanwhile")
            }
        })
    }

    /// Whether what is there before is there.
    pub async fn is_prepared(self, room: &Room) -> Option<bool> {
        Some(match self {
            Scenario::Create | Scenario::Fail => true,
            Scenario::ScaleUp | Scenario::Rollout => serving(room, 1).await?,
            Scenario::ScaleDown => serving(room, 3).await?,
            Scenario::Update | Scenario::Delete => trained(room, "iris").await? && serving(room, 1).await?,
            Scenario::Suspend | Scenario::Queued => is_in(room, "long-iris", Phase::Training).await?,
            Scenario::Resume => is_in(room, "iris", Phase::Suspended).await?,
        })
    }
}

async fn trained(room: &Room, name: &str) -> Option<bool> {
    let training = room.get::<ModelTraining>(name).await.ok()?;
    let status = training.status.as_ref()?;
    Some(
        status.observed_generation == training.metadata.generation && is_true(conditions(&training), "Ready"),
    )
}

async fn is_in(room: &Room, name: &str, phase: Phase) -> Option<bool> {
    let training = room.get::<ModelTraining>(name).await.ok()?;
    let status = training.status.as_ref()?;
    Some(status.observed_generation == training.metadata.generation && status.phase == Some(phase))
}

async fn serving(room: &Room, count: i32) -> Option<bool> {
    let deployment = room.get::<ModelDeployment>("iris").await.ok()?;
    let asked = deployment.spec.replicas == count;
    Some(asked && observed(room).await? && is_true(served(&deployment), "Ready"))
}

async fn observed(room: &Room) -> Option<bool> {
    let deployment = room.get::<ModelDeployment>("iris").await.ok()?;
    let observed = deployment.status.as_ref()?.observed_generation;
    Some(observed == deployment.metadata.generation)
}

/// How many pods answer.
async fn answering(room: &Room) -> Option<i32> {
    let deployment = room.get::<ModelDeployment>("iris").await.ok()?;
    Some(deployment.status?.ready_replicas)
}

async fn train(room: &Room, name: &str, more: &Value) -> Result<()> {
    let asked = json!({"spec": {
        "output": {"uri": format!("pvc://{CLAIM}")}, "resources": {"cpu": "100m", "memory": "64Mi"},
    }});
    let asked = with(with(training(name), &asked), &json!({ "spec": more }));
    room.apply(asked).await.map(drop)
}

async fn serve(room: &Room, replicas: u8) -> Result<()> {
    let asked = json!({"spec": {"replicas": replicas, "resources": {"cpu": "100m", "memory": "64Mi"}}});
    let serves = deployment_of_uri("iris", &format!("pvc://{CLAIM}/1"));
    room.apply(with(serves, &asked)).await.map(drop)
}

/// Node of which two have to share.
const CROWDED: &str = "crowded";

/// A training on a node that takes one of two, and the priorities by which one makes way.
async fn crowd(room: &Room) -> Result<()> {
    let nodes: Api<Node> = Api::all(room.client.clone());
    let there = nodes.get_opt(CROWDED).await;
    if there.map_err(Error::api("get the node"))?.is_none() {
        let node = FakeNode::named(CROWDED).taint(CROWDED, "true");
        node.create(&room.client).await?;
    }
    for (name, value) in [("serving", 1000), ("batch", 10)] {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
        });
        room.apply_cluster(class).await?;
    }
    train(room, "long-iris", &crowded("batch")["spec"]).await
}

fn crowded(class: &str) -> Value {
    json!({"spec": {
        "resources": {"cpu": "10", "memory": "64Mi"}, "scheduling": {"priorityClassName": class},
        "podOverrides": {
            "nodeSelector": {"kubernetes.io/hostname": CROWDED},
            "tolerations": [{"key": CROWDED, "operator": "Exists"}],
        },
    }})
}
