//! Trainings in a queue of Kueue's: its own controller lets them in and puts them out, and the operator leaves to it
//! what is its own. One test, because all of it happens to one ClusterQueue.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use sconce_crds::ModelTraining;
use sconce_crds::training::Phase;
use sconce_tests::kueue::{self, Kueue};
use sconce_tests::objects::trained;
use sconce_tests::room::{Room, conditions, told};
use sconce_tests::wait::within;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const VERSION: &str = "kueue.x-k8s.io/v1beta2";

fn queued(name: &str) -> Value {
    kueue::queued(name, "team-a")
}

/// A ClusterQueue with room for one training, which has 1 CPU.
async fn room_for_one(room: &Room) -> Outcome {
    let flavor = json!({"nodeLabels": {"pool": "batch"}});
    let quota = json!([{"name": "cpu", "nominalQuota": "1"}, {"name": "memory", "nominalQuota": "8Gi"}]);
    let queue = json!({
        "namespaceSelector": {},
        "resourceGroups": [{"coveredResources": ["cpu", "memory"], "flavors": [{"name": "batch", "resources": quota}]}],
    });
    for (kind, name, spec) in [
        ("ResourceFlavor", "batch", flavor),
        ("ClusterQueue", "all", queue),
    ] {
        let object = json!({"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec});
        room.apply_cluster(object).await?;
    }
    Ok(())
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("kueue.x-k8s.io", "v1beta2", kind))
}

/// Waits until Kueue has taken back what it gave to the Job: before that, another one is let in in its place.
async fn gave_back(room: &Room, job: &Job) -> Outcome {
    let api: Api<DynamicObject> =
        Api::namespaced_with(room.client.clone(), &room.namespace, &resource("Workload"));
    within(Duration::from_secs(60), "its place is free again", async || {
        let all = api.list(&ListParams::default()).await.ok()?.items;
        let its = all.into_iter().find(|workload| {
            let mut owners = workload.owner_references().iter();
            owners.any(|owner| Some(&owner.uid) == job.uid().as_ref())
        })?;
        its.data["status"]["admission"].is_null().then_some(())
    })
    .await?;
    Ok(())
}

async fn stop_queue(client: &Client, policy: &str) -> Outcome {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource("ClusterQueue"));
    let patch = Patch::Merge(json!({"spec": {"stopPolicy": policy}}));
    api.patch("all", &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn job_of(room: &Room, training: &str) -> Result<Job, Box<dyn std::error::Error>> {
    let status = room.get::<ModelTraining>(training).await?.status;
    let name = status.and_then(|status| status.job).ok_or("it has no Job")?;
    Ok(room.get::<Job>(&name).await?)
}

fn is_let_in(job: &Job) -> bool {
    let spec = job.spec.as_ref();
    let node_selector = spec.and_then(|spec| spec.template.spec.as_ref()?.node_selector.as_ref());
    spec.is_some_and(|spec| spec.suspend == Some(false))
        && node_selector.is_some_and(|labels| labels.get("pool").is_some_and(|pool| pool == "batch"))
}

async fn trains(room: &Room, name: &str) -> Outcome {
    let pod = room.kubelet.trainer(name).await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet.runs(&pod, "10.244.0.9", true).await?;
    room.phase(name, Phase::Training).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_kueue_lets_trainings_in_and_puts_them_out_and_nobody_fights_it() -> Outcome {
    let room = Room::open().await?;
    room.kubelet.stopped_end_with(75);
    let log = room.world.options().log;
    let folder = log.parent().ok_or("the log lies in no folder")?;
    let kueue = Kueue::start(&room.client, room.world.kubeconfig(), folder).await?;
    room_for_one(&room).await?;

    // No LocalQueue of that name yet; it is looked for again.
    room.apply(queued("first")).await?;
    let seen = room.training_says("first", "LocalQueueNotFound").await?;
    let said = told(conditions(&seen), "Accepted");
    assert!(
        said.contains("spec.scheduling.queueName: there is no LocalQueue named \"team-a\""),
        "{said}"
    );
    let queue = json!({"apiVersion": VERSION, "kind": "LocalQueue", "metadata": {"name": "team-a"}, "spec": {"clusterQueue": "all"}});
    room.apply(queue).await?;
    trains(&room, "first")
        .await
        .map_err(|error| format!("{error}; Kueue said last:\n{}", kueue.tail()))?;
    let job = job_of(&room, "first").await?;
    assert_eq!(
        job.labels().get("kueue.x-k8s.io/queue-name").map(String::as_str),
        Some("team-a")
    );
    assert!(is_let_in(&job), "{:?}", job.spec);

    // What Kueue has written stays, through changes of the training and a crash of the operator.
    room.change::<ModelTraining>("first", json!({"spec": {"failurePolicy": {"backoffLimit": 5}}}))
        .await?;
    room.see("first", "the change is seen", |training: &ModelTraining| {
        let seen = training
            .status
            .as_ref()
            .and_then(|status| status.observed_generation);
        seen == training.metadata.generation
    })
    .await?;
    room.world.restart_operator(&room.world.options())?;
    room.apply(queued("second")).await?;
    let waits = room
        .see(
            "second",
            "it says what its queue lacks",
            |training: &ModelTraining| told(conditions(training), "Ready").contains("quota"),
        )
        .await?;
    assert_eq!(
        waits.status.as_ref().and_then(|status| status.phase),
        Some(Phase::Queued)
    );
    let said = told(conditions(&waits), "Ready");
    assert!(said.contains("waiting in the queue \"team-a\""), "{said}");
    let job = job_of(&room, "first").await?;
    assert!(is_let_in(&job), "{:?}", job.spec);
    assert_eq!(job.spec.as_ref().and_then(|spec| spec.backoff_limit), Some(5));

    // Kueue puts it out, and lets it in again.
    stop_queue(&room.client, "HoldAndDrain").await?;
    let out = room.training_says("first", "ClusterQueueStopped").await?;
    let status = out.status.clone().unwrap_or_default();
    assert_eq!(
        (status.phase, status.interruptions),
        (Some(Phase::Queued), Some(1))
    );
    let said = told(conditions(&out), "Ready");
    assert!(
        said.contains("Kueue put it back into the queue \"team-a\""),
        "{said}"
    );
    gave_back(&room, &job_of(&room, "first").await?).await?;
    // Which of two would be first is Kueue's to say: one that was put out may be back in its queue later than it is told.
    let suspend = async |name: &str, suspend: bool| {
        let asked = json!({"spec": {"suspend": suspend}});
        room.change::<ModelTraining>(name, asked).await.map(drop)
    };
    suspend("second", true).await?;
    room.phase("second", Phase::Suspended).await?;
    stop_queue(&room.client, "None").await?;
    trains(&room, "first")
        .await
        .map_err(|error| format!("{error}; Kueue said last:\n{}", kueue.tail()))?;
    suspend("second", false).await?;
    room.phase("second", Phase::Queued).await?;

    // Held by a person it leaves its queue, and the next is let in.
    suspend("first", true).await?;
    room.phase("first", Phase::Suspended).await?;
    trains(&room, "second")
        .await
        .map_err(|error| format!("{error}; Kueue said last:\n{}", kueue.tail()))?;
    suspend("first", false).await?;
    room.phase("first", Phase::Queued).await?;
    room.run_to("second", &trained("second-artifacts", 'a', 0.9))
        .await?;
    room.phase("second", Phase::Succeeded).await?;
    let first = within(Duration::from_secs(60), "the first is let in again", async || {
        job_of(&room, "first").await.ok().filter(is_let_in)
    })
    .await?;
    assert_eq!(first.status.unwrap_or_default().failed.unwrap_or(0), 0);
    room.run_to("first", &trained("first-artifacts", 'b', 0.9))
        .await?;
    room.phase("first", Phase::Succeeded).await?;
    Ok(room.close()?)
}
