//! Whatever happens in whichever order: the status tells no lie, does not flap, and in the end everything is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use sconce_crds::condition::{
    AVAILABLE, DEGRADED, MODEL_RESOLVED, PROGRESSING, READY, ROLLOUT_COMPLETE, find, is_true,
};
use sconce_crds::resources::Accelerator;
use sconce_crds::rollout::{RETRY_ANNOTATION, Strategy};
use sconce_crds::{ModelDeployment, ModelDeploymentStatus, ModelTraining};
use serde_json::{Value, json};

use super::build::{Workload, build};
use super::dereference::Found;
use super::fixtures::{artifact, deployment, found, training};
use super::revision::Served;
use super::rollout::{self, Rollout};
use super::status::{Outlook, held, of_live};
use super::validate::{Hold, Serving, validate};
use crate::context::Images;
use crate::seen::{self, Deployment, Pod};
use crate::{labels, sequences};

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Homeless,
    Loading,
    Ready,
    Crashing,
}

#[derive(Clone, Debug)]
struct SimPod {
    name: String,
    revision: String,
    state: State,
    since: Timestamp,
    created: Timestamp,
}

/// A cluster as far as a deployment can tell.
struct World {
    now: Timestamp,
    deployment: ModelDeployment,
    training: Option<ModelTraining>,
    workloads: BTreeMap<String, Deployment>,
    /// What a watch that lags still shows.
    seen: Vec<Deployment>,
    pods: Vec<SimPod>,
    made: u32,
    /// Each pod that ever was, and its revision.
    made_of: BTreeMap<String, String>,
}

type Outcome = Result<(), TestCaseError>;

impl World {
    fn new(strategy: Strategy, mode: &str) -> Self {
        let spec =
            json!({"model": {"trainingRef": {"name": "iris"}}, "replicas": 2, "autoscaling": {"mode": mode}});
        let mut deployment = deployment(&spec);
        deployment.spec.rollout.strategy = strategy;
        World {
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            deployment,
            training: Some(trained("aa")),
            workloads: BTreeMap::new(),
            seen: Vec::new(),
            pods: Vec::new(),
            made: 0,
            made_of: BTreeMap::new(),
        }
    }

    fn found(&self, live: impl IntoIterator<Item = Deployment>) -> Found {
        let pods = self.pods.iter().map(|pod| self.pod(pod)).collect();
        found(&self.deployment, self.training.as_ref(), live, pods)
    }

    fn pod(&self, pod: &SimPod) -> Arc<Pod> {
        let since = pod.since.to_string();
        let condition = |kind: &str, status: bool| {
            let status = if status { "True" } else { "False" };
            json!({"type": kind, "status": status, "lastTransitionTime": since})
        };
        let running = json!({"running": {"startedAt": since}});
        let container = |state: &Value, last: &Value| json!([{"name": "sconce", "image": "s", "imageID": "", "ready": false, "restartCount": 0, "state": state, "lastState": last}]);
        let status = match pod.state {
            State::Homeless => json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": since,
                 "message": "0/1 nodes are available: 1 Insufficient cpu."}]}),
            State::Loading => {
                json!({"phase": "Running", "conditions": [condition("PodScheduled", true), condition("Ready", false)], "containerStatuses": container(&running, &Value::Null)})
            }
            State::Ready => {
                json!({"phase": "Running", "conditions": [condition("PodScheduled", true), condition("Ready", true)], "containerStatuses": container(&running, &Value::Null)})
            }
            State::Crashing => {
                let report =
                    r#"{"outcome":"failed","class":"BadInput","message":"damaged","field":"model.uri"}"#;
                let last = json!({"terminated": {"exitCode": 65, "reason": "Error", "message": report}});
                let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
                json!({"phase": "Running", "conditions": [condition("PodScheduled", true), condition("Ready", false)], "containerStatuses": container(&state, &last)})
            }
        };
        let object = json!({
            "metadata": {"name": pod.name, "labels": {labels::REVISION: pod.revision}, "creationTimestamp": pod.created.to_string()},
            "spec": {"nodeName": "n", "containers": [{"name": "sconce"}]}, "status": status,
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    /// Something happens, to whom `at` says.
    fn happen(&mut self, what: u8, at: usize) -> Outcome {
        let generation = |world: &mut World| {
            let now = world.deployment.metadata.generation.unwrap_or(0);
            world.deployment.metadata.generation = Some(now + 1);
        };
        match what {
            0..=3 => return self.reconcile(what == 3),
            4 | 5 => self.controllers(),
            6..=9 => {
                let (now, count) = (self.now, self.pods.len().max(1));
                if let Some(pod) = self.pods.get_mut(at % count) {
                    pod.state = [State::Ready, State::Loading, State::Crashing, State::Homeless]
                        [usize::from(what) - 6];
                    pod.since = now;
                }
            }
            10 if !self.pods.is_empty() => {
                let at = at % self.pods.len();
                self.pods.remove(at);
            }
            11 => self.training = [Some("aa"), Some("bb"), Some("cc"), None][at % 4].map(trained),
            12 => {
                self.deployment.spec.replicas = [0, 1, 2, 3][at % 4];
                generation(self);
            }
            13 => {
                let refused = Accelerator {
                    profile: "none".to_owned(),
                    count: 1,
                };
                self.deployment.spec.accelerator = at.is_multiple_of(2).then_some(refused);
                generation(self);
            }
            14 => self.now += SignedDuration::from_secs([1, 15, 90, 700][at % 4]),
            15 => {
                let value = at.to_string();
                self.deployment
                    .annotations_mut()
                    .insert(RETRY_ANNOTATION.to_owned(), value);
            }
            16 => self.seen = self.workloads.values().cloned().collect(),
            17..=19 => return self.goes_well(),
            _ => {}
        }
        Ok(())
    }

    /// A quarter of a minute in which everything that can come up does.
    fn goes_well(&mut self) -> Outcome {
        self.reconcile(false)?;
        self.controllers();
        let now = self.now;
        for pod in self.pods.iter_mut().filter(|pod| pod.state != State::Ready) {
            pod.state = State::Ready;
            pod.since = now;
        }
        self.now += SignedDuration::from_secs(15);
        Ok(())
    }

    /// Kubernetes' own controllers.
    fn controllers(&mut self) {
        for live in self.workloads.values_mut() {
            let revision = live.annotations().get(labels::REVISION).unwrap().clone();
            let wanted = usize::try_from(live.spec.as_ref().unwrap().replicas.unwrap()).unwrap();
            let mut there: Vec<SimPod> = self
                .pods
                .iter()
                .filter(|pod| pod.revision == revision)
                .cloned()
                .collect();
            // Those that answer stay longest.
            there.sort_by_key(|pod| pod.state != State::Ready);
            there.truncate(wanted);
            while there.len() < wanted {
                self.made += 1;
                let name = format!("p{:04}", self.made);
                self.made_of.insert(name.clone(), revision.clone());
                there.push(SimPod {
                    name,
                    revision: revision.clone(),
                    state: State::Loading,
                    since: self.now,
                    created: self.now,
                });
            }
            self.pods.retain(|pod| pod.revision != revision);
            self.pods.append(&mut there);
            live.status.get_or_insert_default().observed_generation = live.metadata.generation;
        }
        // The garbage collector.
        let known: Vec<String> = self
            .workloads
            .values()
            .map(|live| live.annotations().get(labels::REVISION).unwrap().clone())
            .collect();
        self.pods.retain(|pod| known.contains(&pod.revision));
    }

    /// One reconcile; `lags` where the watch shows what was.
    fn reconcile(&mut self, lags: bool) -> Outcome {
        let fresh: Vec<Deployment> = self.workloads.values().cloned().collect();
        let mut found = self.found(if lags { self.seen.clone() } else { fresh.clone() });
        if let Ok(serving) = validate(&self.deployment, &found)
            && found.current().map(|served| &served.revision) != Some(&serving.wanted.revision)
        {
            found = self.found(fresh.clone());
        }
        let before = self.deployment.status.clone().unwrap_or_default();
        let asked = self.deployment.clone();
        let outlook = match validate(&asked, &found) {
            Ok(_) => {
                let mut serving = validate(&asked, &found).map_err(|hold| fail(&hold))?;
                let mut rollout = rollout::plan(&asked, &serving, &found, self.now);
                if rollout.back.as_ref().is_some_and(|back| back.new) {
                    found = self.found(fresh);
                    serving = validate(&asked, &found).map_err(|hold| fail(&hold))?;
                    rollout = rollout::plan(&asked, &serving, &found, self.now);
                }
                let Some(live) = self.write(&serving, &rollout) else {
                    return Ok(());
                };
                of_live(&asked, &found, &serving.wanted, &rollout, &live, self.now)
            }
            Err(hold) => {
                for (live, count) in rollout::hold(&asked, &found, self.now).counts {
                    self.scale(&live, count);
                }
                held(&asked, &found, &hold, self.now)
            }
        };
        for obsolete in &outlook.obsolete {
            prop_assert!(
                self.pods.iter().all(|pod| pod.revision != obsolete.revision) || lags,
                "{obsolete:?}"
            );
            if let Some(name) = &obsolete.workload {
                self.workloads.remove(name);
            }
        }
        self.judge(&before, &outlook, lags)?;
        self.deployment.status = Some(outlook.status);
        Ok(())
    }

    /// What is applied; nothing where an object that the watch showed is gone, which a real reconcile fails of.
    fn write(&mut self, serving: &Serving<'_>, rollout: &Rollout) -> Option<Deployment> {
        let images = Images {
            trainer: "t".to_owned(),
            server: "s".to_owned(),
            pull_policy: "Always".to_owned(),
        };
        for (live, count) in &rollout.others {
            self.scale(live, *count);
        }
        match build(serving, rollout, &images).workload {
            Workload::Whole(made) | Workload::Anew(made) => {
                let mut made: Deployment = seen::of(&made);
                made.metadata.generation = Some(1);
                made.metadata.creation_timestamp =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
                self.workloads.insert(made.name_any(), made.clone());
                Some(made)
            }
            Workload::Patch(patch) => {
                let name = match &serving.change {
                    super::validate::Change::Keep { live, .. } => live.name_any(),
                    _ => return None,
                };
                let live = self.workloads.get_mut(&name)?;
                for (key, value) in patch["metadata"]["annotations"].as_object()? {
                    let annotations = &mut live.metadata.annotations;
                    match value.as_str() {
                        Some(value) => annotations.insert(key.clone(), value.to_owned()),
                        None => annotations.remove(key),
                    }
                }
                give(live, rollout.wanted);
                Some(live.clone())
            }
        }
    }

    fn scale(&mut self, seen: &Deployment, count: i32) {
        if seen.spec.as_ref().and_then(|spec| spec.replicas) != Some(count)
            && let Some(live) = self.workloads.get_mut(&seen.name_any())
        {
            give(live, count);
        }
    }

    fn judge(&self, before: &ModelDeploymentStatus, outlook: &Outlook, lags: bool) -> Outcome {
        let status = &outlook.status;
        let generation = self.deployment.metadata.generation;
        prop_assert_eq!(status.observed_generation, generation);
        for condition in &status.conditions {
            prop_assert_eq!(condition.observed_generation, generation);
            prop_assert!(!condition.reason.is_empty() && !condition.message.is_empty());
            // Time moves with the status, and with nothing else.
            if let Some(then) = find(&before.conditions, &condition.type_) {
                let moved = condition.last_transition_time != then.last_transition_time;
                prop_assert!(!moved || condition.status != then.status, "{condition:?}");
                prop_assert!(condition.status == then.status || condition.last_transition_time.0 == self.now);
            }
        }
        let holds = |kind: &str| is_true(&status.conditions, kind);
        let answering = self.pods.iter().filter(|pod| pod.state == State::Ready);
        prop_assert_eq!(holds(AVAILABLE), answering.clone().count() > 0);
        let ready = find(&status.conditions, READY).unwrap();
        let scales = ["ScalingUp", "ScalingDown"].contains(&ready.reason.as_str());
        prop_assert!(scales || !(holds(READY) && (holds(DEGRADED) || holds(PROGRESSING))));
        if let Some(settled) = status.settled_replicas {
            prop_assert!(
                (0..=self.deployment.spec.replicas).contains(&settled),
                "{settled}"
            );
        }
        if holds(READY) {
            prop_assert!(holds(AVAILABLE) && holds(ROLLOUT_COMPLETE) && holds(MODEL_RESOLVED));
            let found = self.found(self.workloads.values().cloned());
            let wanted = validate(&self.deployment, &found)
                .map_err(|hold| fail(&hold))?
                .wanted;
            let ours = answering.filter(|pod| pod.revision == wanted.revision).count();
            let replicas = usize::try_from(self.deployment.spec.replicas).unwrap();
            if scales {
                // An autoscaler changes their number, and what answered before does so still.
                prop_assert!(self.deployment.spec.is_autoscaled() && holds(PROGRESSING) && ours > 0);
                let promised = before.settled_replicas.unwrap_or(i32::MAX);
                prop_assert!(
                    ours >= usize::try_from(promised).unwrap().min(replicas),
                    "{ours} of {promised}"
                );
                prop_assert!(self.pods.iter().all(|pod| pod.revision == wanted.revision));
            } else {
                prop_assert!(replicas > 0 && ours == replicas && self.pods.len() == replicas);
            }
            prop_assert_eq!(&status.revisions[0].name, &wanted.revision);
            if !lags {
                let others = self.workloads.values().filter(|live| {
                    Served::read(live).is_some_and(|served| served.revision != wanted.revision)
                });
                prop_assert!(
                    others
                        .map(|live| live.spec.as_ref().and_then(|spec| spec.replicas))
                        .all(|replicas| replicas == Some(0))
                );
            }
        } else if holds(DEGRADED) {
            // What a person has to mend names where.
            let names = ["spec.", "sconce.dev/", "kubectl"];
            prop_assert!(
                names.iter().any(|name| ready.message.contains(name)),
                "{}",
                ready.message
            );
        }
        prop_assert!(status.revisions.len() <= 16);
        // Measured once, and of a pod of the revision that is asked for.
        if let (Some(then), Some(told)) = (&before.cold_start, &status.cold_start)
            && then.pod == told.pod
        {
            prop_assert_eq!(then, told);
        }
        if let Some(told) = &status.cold_start {
            let its = self.made_of.get(&told.pod);
            prop_assert_eq!(its, status.revisions.first().map(|first| &first.name));
        }
        prop_assert!(status.cold_start.is_some() || !holds(READY));
        Ok(())
    }
}

fn fail(hold: &Hold) -> TestCaseError {
    TestCaseError::fail(format!("{hold:?}"))
}

fn give(live: &mut Deployment, replicas: i32) {
    let spec = live.spec.as_mut().unwrap();
    if spec.replicas != Some(replicas) {
        spec.replicas = Some(replicas);
        live.metadata.generation = live.metadata.generation.map(|generation| generation + 1);
    }
}

fn trained(byte: &str) -> ModelTraining {
    training(&json!({"artifact": artifact(byte), "candidate": artifact(byte)}))
}

/// All that happens, and then everything that stood in the way goes, and a person asks for another try.
fn lives(strategy: Strategy, external: bool, events: Vec<(u8, u8)>) -> Outcome {
    let mut world = World::new(strategy, if external { "External" } else { "None" });
    for (what, at) in events {
        world.happen(what, usize::from(at))?;
    }
    world.training = Some(trained("bb"));
    world.deployment.spec.accelerator = None;
    world.deployment.spec.replicas = 2;
    world.deployment.metadata.generation = Some(1000);
    world
        .deployment
        .annotations_mut()
        .insert(RETRY_ANNOTATION.to_owned(), "now".to_owned());
    for _ in 0..30 {
        world.goes_well()?;
    }
    let status = world.deployment.status.clone().unwrap();
    prop_assert!(is_true(&status.conditions, READY), "{:#?}", status);
    prop_assert_eq!(
        status.revisions[0].digest.clone(),
        Some(super::fixtures::digest("bb"))
    );
    // And then nothing is written any more.
    let settled = world.workloads.clone();
    world.reconcile(false)?;
    prop_assert_eq!(&world.workloads, &settled);
    prop_assert_eq!(world.deployment.status, Some(status));
    Ok(())
}

proptest! {
    #![proptest_config(sequences::config(400))]

    #[test]
    fn whatever_happens_the_status_tells_no_lie_and_in_the_end_everything_is_served(
        strategy in 0..3usize,
        external in any::<bool>(),
        events in proptest::collection::vec((0..20u8, any::<u8>()), 0..80),
    ) {
        let strategy = [Strategy::Auto, Strategy::Surge, Strategy::DrainFirst][strategy];
        lives(strategy, external, events)?;
    }
}

/// Found by chance once.
#[test]
fn a_sequence_that_once_went_wrong_goes_well() -> Outcome {
    let events = [
        (17, 0),
        (0, 0),
        (11, 117),
        (0, 0),
        (14, 27),
        (17, 0),
        (12, 108),
        (17, 0),
        (0, 0),
    ];
    lives(Strategy::Auto, false, events.to_vec())
}
