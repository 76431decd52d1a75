//! Whatever happens in whichever order: the status tells no lie, does not flap, a failure is final until something else
//! is asked for, and in the end the run that is asked for has succeeded.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use sconce_crds::condition::{COMPLETE, DEGRADED, FAILED, GATES_PASSED, READY, STALLED, find, is_true};
use sconce_crds::training::Phase;
use sconce_crds::{ModelTraining, ModelTrainingStatus};
use serde_json::{Value, json};

use super::apply::lifecycle;
use super::build::build;
use super::dereference::Found;
use super::identity::{Identity, Stage, stage};
use super::queue::Turn;
use super::status::{Outlook, of_job, refused, settled};
use super::validate::validate;
use crate::context::Images;
use crate::seen::{self, Job};
use crate::{labels, sequences};

/// How a pod ends.
const ENDINGS: [(&str, i64, &str, &str); 5] = [
    ("Failed", 65, "Error", "BadInput"),
    ("Failed", 1, "Error", "Storage"),
    ("Failed", 137, "OOMKilled", ""),
    ("Failed", 75, "Error", "Interrupted"),
    ("Succeeded", 0, "Completed", ""),
];

#[derive(Clone, Debug)]
struct SimPod {
    job: String,
    object: Value,
}

/// What a watch shows.
type Sight = (Vec<Job>, Vec<SimPod>);

/// A cluster as far as a training can tell.
struct World {
    now: Timestamp,
    training: ModelTraining,
    jobs: BTreeMap<String, Job>,
    pods: Vec<SimPod>,
    /// What a watch that lags still shows.
    seen: Sight,
    made: u32,
    /// Which run each Job is of.
    runs: BTreeMap<String, String>,
}

type Outcome = Result<(), TestCaseError>;

impl World {
    fn new() -> Self {
        let spec = json!({
            "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
            "dataset": {"uri": "https://data.example/iris.csv", "target": "y"},
            "evaluation": {"gates": [{"metric": "accuracy", "min": 0.5}]},
        });
        let object = json!({
            "metadata": {"name": "iris", "namespace": "ml", "uid": "t1", "generation": 1}, "spec": spec,
        });
        World {
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            training: serde_json::from_value(object).unwrap(),
            jobs: BTreeMap::new(),
            pods: Vec::new(),
            seen: Sight::default(),
            made: 0,
            runs: BTreeMap::new(),
        }
    }

    /// Something happens, to whom `at` says.
    fn happen(&mut self, what: u8, at: usize) -> Outcome {
        match what {
            0..=3 => return self.reconcile(what == 3),
            4 | 5 => self.controllers(),
            6 => self.edit(at, |spec, at| spec["hyperparameters"] = json!({"seed": at % 3})),
            7 => self.edit(at, |spec, at| {
                spec["resources"] = json!({"memory": (["1Gi", "2Gi"][at % 2])});
            }),
            8 => self.edit(at, |spec, at| spec["suspend"] = json!(at.is_multiple_of(2))),
            9 => self.edit(at, |spec, at| {
                spec["evaluation"]["gates"][0]["min"] = json!([0.5, 0.99][at % 2]);
            }),
            10 => self.edit(at, |spec, at| {
                let profile = json!({"profile": "none", "count": 1});
                spec["accelerator"] = [profile, Value::Null][at % 2].clone();
            }),
            11 => {
                let value = (at % 2).to_string();
                self.training
                    .annotations_mut()
                    .insert(labels::RERUN.to_owned(), value);
            }
            12 => self.now += SignedDuration::from_secs([1, 15, 90, 700][at % 4]),
            13 => self.seen = self.sight(),
            14 if !self.pods.is_empty() => {
                let at = at % self.pods.len();
                self.pods.remove(at);
            }
            15 | 16 => self.run(at),
            17 | 18 => self.end(at, ENDINGS[at % ENDINGS.len()]),
            _ => return self.goes_well(),
        }
        Ok(())
    }

    fn edit(&mut self, at: usize, change: impl FnOnce(&mut Value, usize)) {
        let mut spec = serde_json::to_value(&self.training.spec).unwrap();
        let before = spec.clone();
        change(&mut spec, at);
        if spec != before {
            self.training.spec = serde_json::from_value(spec).unwrap();
            let generation = self.training.metadata.generation.unwrap_or(0);
            self.training.metadata.generation = Some(generation + 1);
        }
    }

    fn sight(&self) -> Sight {
        (self.jobs.values().cloned().collect(), self.pods.clone())
    }

    /// A pod that waits gets a node, or what it has becomes a container that runs, or cannot be pulled.
    fn run(&mut self, at: usize) {
        let count = self.pods.len().max(1);
        let Some(pod) = self.pods.get_mut(at % count) else {
            return;
        };
        if is_over(pod) {
            return;
        }
        let states = [
            json!({"waiting": {"reason": "ContainerCreating"}}),
            json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
            json!({"running": {}}),
        ];
        let (phase, state) = [("Pending", 0), ("Pending", 1), ("Running", 2), ("Running", 2)][at / 7 % 4];
        pod.object["spec"]["nodeName"] = json!("n");
        pod.object["status"] = json!({"phase": phase, "containerStatuses": container(&states[state])});
    }

    fn end(&mut self, at: usize, (phase, code, reason, class): (&str, i64, &str, &str)) {
        let count = self.pods.len().max(1);
        let Some(pod) = self.pods.get_mut(at % count).filter(|pod| !is_over(pod)) else {
            return;
        };
        let run = &self.runs[&pod.job];
        let report = match (phase, class) {
            ("Succeeded", _) => json!({
                "outcome": "trained", "run": run, "epochs": 3, "steps": 30, "loss": 0.1, "seconds": 1.0,
                "metrics": [{"name": "accuracy", "value": 0.9, "split": "Test"}],
                "artifact": {"uri": "pvc://iris-artifacts/a", "digest": digest(run), "sizeBytes": 9},
            })
            .to_string(),
            (_, "") => String::new(),
            (_, class) => {
                let field = (class == "BadInput").then_some("dataset.target");
                json!({"outcome": "failed", "class": class, "message": "so it is", "field": field})
                    .to_string()
            }
        };
        let state = json!({"terminated": {"exitCode": code, "reason": reason, "message": report}});
        pod.object["spec"]["nodeName"] = json!("n");
        pod.object["status"] = json!({"phase": phase, "containerStatuses": container(&state)});
    }

    /// A quarter of a minute in which everything that can end well does.
    fn goes_well(&mut self) -> Outcome {
        self.reconcile(false)?;
        self.controllers();
        for at in 0..self.pods.len() {
            self.end(at, ENDINGS[4]);
        }
        self.controllers();
        self.now += SignedDuration::from_secs(15);
        Ok(())
    }

    /// The Job controller, and the garbage collector.
    fn controllers(&mut self) {
        let jobs = &self.jobs;
        self.pods.retain(|pod| jobs.contains_key(&pod.job));
        for (name, job) in &mut self.jobs {
            let spec = job.spec.clone().unwrap_or_default();
            let over = |job: &Job| job.status.iter().any(|status| status.conditions.is_some());
            let mut ends = None;
            if !over(job) && spec.active_deadline_seconds == Some(1) {
                ends = Some(("Failed", "DeadlineExceeded"));
            }
            let of_it = |pod: &&SimPod| pod.job == *name;
            let exits: Vec<i64> = self.pods.iter().filter(of_it).filter_map(exit_code).collect();
            // Those that were interrupted do not count (the Job's podFailurePolicy).
            let failures = exits.iter().filter(|code| ![0, 75].contains(code)).count();
            let limit = usize::try_from(spec.backoff_limit.unwrap_or(6)).unwrap_or(0);
            if !over(job) && ends.is_none() {
                ends = match () {
                    () if exits.contains(&0) => Some(("Complete", "CompletionsReached")),
                    () if exits.contains(&65) => Some(("Failed", "PodFailurePolicy")),
                    () if failures > limit => Some(("Failed", "BackoffLimitExceeded")),
                    () => None,
                };
            }
            if let Some((kind, reason)) = ends {
                let condition = json!([{"type": kind, "status": "True", "reason": reason, "message": "m", "lastTransitionTime": self.now.to_string()}]);
                job.status.get_or_insert_default().conditions =
                    Some(serde_json::from_value(condition).unwrap());
            }
            let suspended = spec.suspend == Some(true);
            if over(job) || suspended {
                self.pods.retain(|pod| pod.job != *name || is_over(pod));
            } else if !self.pods.iter().any(|pod| pod.job == *name && !is_over(pod)) {
                self.made += 1;
                self.pods.push(SimPod {
                    job: name.clone(),
                    object: json!({
                        "metadata": {
                            "name": format!("p{:04}", self.made), "uid": format!("p{:04}", self.made),
                            "creationTimestamp": self.now.to_string(),
                        },
                        "spec": {"containers": [{"name": "sconce", "resources": {"limits": {"memory": "1Gi"}}}]},
                        "status": {"phase": "Pending"},
                    }),
                });
            }
            let active = self.pods.iter().filter(of_it).filter(|pod| !is_over(pod)).count();
            job.status.get_or_insert_default().active = i32::try_from(active).ok();
            job.status.get_or_insert_default().failed = i32::try_from(failures).ok();
        }
    }

    /// One reconcile; `lags` where the watch shows what was.
    fn reconcile(&mut self, lags: bool) -> Outcome {
        let training = self.training.clone();
        let identity = Identity::of(&training);
        let (jobs, pods) = if lags { self.seen.clone() } else { self.sight() };
        let (current, superseded): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .map(Arc::new)
            .partition(|job| job.name_any() == identity.job);
        let pods = pods.iter().filter(|pod| pod.job == identity.job);
        let found = Found {
            job: current.into_iter().next(),
            superseded,
            pods: pods
                .map(|pod| Arc::new(serde_json::from_value(pod.object.clone()).unwrap()))
                .collect(),
            ..Found::default()
        };
        let before = training.status.clone().unwrap_or_default();
        let ended = stage(&before, &identity);
        let outlook = match ended {
            Stage::Due => self.work(&training, &identity, &found),
            ended => {
                let outlook = settled(&training, &identity, ended, self.now);
                let kept = outlook.status.job.clone();
                match (ended, &found.job) {
                    (Stage::Failed, Some(job)) => self.end_job(&job.name_any()),
                    (Stage::Finished, _) => {
                        self.jobs.retain(|name, _| {
                            Some(name) == kept.as_ref()
                                || found.superseded.iter().all(|old| old.name_any() != *name)
                        });
                    }
                    _ => {}
                }
                outlook
            }
        };
        self.judge(&before, ended, &identity, &outlook, lags)?;
        self.training.status = Some(outlook.status);
        Ok(())
    }

    fn work(&mut self, training: &ModelTraining, identity: &Identity, found: &Found) -> Outlook {
        for job in &found.superseded {
            self.jobs.remove(&job.name_any());
        }
        let run = match validate(training, identity, found) {
            Ok(run) => run,
            Err(problem) => return refused(training, identity, &problem, self.now),
        };
        let images = Images {
            trainer: "t".to_owned(),
            server: "s".to_owned(),
            pull_policy: "Always".to_owned(),
        };
        let made = build(&run, &images).job;
        let live = self.jobs.entry(identity.job.clone()).or_insert_with(|| {
            let mut fresh: Job = seen::of(&made);
            fresh.metadata.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
            fresh
        });
        self.runs.insert(identity.job.clone(), identity.run.clone());
        if found.job.is_some() {
            let patch = lifecycle(&run, &made, live);
            let suspend = patch["spec"]["suspend"].as_bool();
            live.spec.get_or_insert_default().suspend = suspend;
        }
        // What the watch shows of it is what is told, where it shows it.
        let told = found.job.as_deref().unwrap_or(live);
        of_job(
            training,
            identity,
            told,
            &found.pods,
            None,
            &Turn::default(),
            self.now,
        )
    }

    fn end_job(&mut self, name: &str) {
        if let Some(job) = self.jobs.get_mut(name) {
            job.spec.get_or_insert_default().active_deadline_seconds = Some(1);
        }
    }

    fn judge(
        &self,
        before: &ModelTrainingStatus,
        ended: Stage,
        identity: &Identity,
        outlook: &Outlook,
        lags: bool,
    ) -> Outcome {
        let status = &outlook.status;
        let generation = self.training.metadata.generation;
        prop_assert_eq!(status.observed_generation, generation);
        for condition in &status.conditions {
            prop_assert_eq!(condition.observed_generation, generation);
            prop_assert!(
                !condition.reason.is_empty() && !condition.message.is_empty(),
                "{condition:?}"
            );
            // Time moves with the status, and with nothing else.
            let then = find(&before.conditions, &condition.type_);
            let stays = then.filter(|then| then.status == condition.status);
            let time = stays.map_or(self.now, |then| then.last_transition_time.0);
            prop_assert_eq!(
                condition.last_transition_time.0,
                time,
                "{} flaps",
                condition.type_
            );
        }
        let holds = |kind: &str| is_true(&status.conditions, kind);
        let ready = find(&status.conditions, READY).unwrap();
        let phase = status.phase.unwrap();
        prop_assert_eq!(holds(READY), phase == Phase::Succeeded);
        prop_assert_eq!(holds(FAILED), phase == Phase::Failed);
        prop_assert!(!holds(STALLED) || holds(DEGRADED));
        if phase == Phase::Succeeded {
            prop_assert!(holds(COMPLETE) && holds(GATES_PASSED));
            prop_assert!(status.gates.iter().all(|gate| gate.passed));
        }
        if matches!(phase, Phase::Succeeded | Phase::Rejected) {
            // With a report of this run, and of no other.
            prop_assert_eq!(status.completed_run.as_ref(), Some(&identity.run));
            let artifact = status.candidate.as_ref().map(|artifact| &artifact.digest);
            prop_assert_eq!(artifact, Some(&digest(&identity.run)));
            prop_assert!(status.completion_time.is_some());
        } else if holds(STALLED) {
            // What a person has to mend names where.
            let names = ["spec.", "sconce.dev/", "kubectl", "so it is"];
            prop_assert!(
                names.iter().any(|name| ready.message.contains(name)),
                "{}",
                ready.message
            );
        }
        // Both are final until something else is asked for.
        if ended != Stage::Due {
            prop_assert_eq!(stage(status, identity), ended);
            // Whoever comes back to an earlier run is told of it anew.
            if before.run.as_ref() == Some(&identity.run) {
                prop_assert_eq!(&status.completion_time, &before.completion_time);
            }
        }
        if ended == Stage::Failed {
            prop_assert_eq!(
                find(&status.conditions, FAILED).map(|now| &now.message),
                find(&before.conditions, FAILED).map(|then| &then.message)
            );
        }
        if !lags && (ended == Stage::Due || phase == Phase::Succeeded) {
            let known = status.job.as_ref().or(Some(&identity.job));
            prop_assert!(
                self.jobs.keys().all(|job| Some(job) == known),
                "a Job of another run is left"
            );
        }
        Ok(())
    }
}

fn container(state: &Value) -> Value {
    json!([{"name": "sconce", "image": "trainer:1", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
}

fn is_over(pod: &SimPod) -> bool {
    matches!(
        pod.object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    )
}

fn exit_code(pod: &SimPod) -> Option<i64> {
    pod.object["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
}

/// What a run learns is told from what another does.
fn digest(run: &str) -> String {
    format!("sha256:{run}")
}

proptest! {
    #![proptest_config(sequences::config(400))]

    #[test]
    fn whatever_happens_the_status_tells_no_lie_and_in_the_end_the_run_has_succeeded(
        events in proptest::collection::vec((0..21u8, any::<u8>()), 0..80),
    ) {
        let mut world = World::new();
        for (what, at) in events {
            world.happen(what, usize::from(at))?;
        }
        // Everything that stood in the way goes, and a person has it run again.
        world.edit(0, |spec, _| {
            spec["suspend"] = json!(false);
            spec["accelerator"] = Value::Null;
            spec["evaluation"]["gates"][0]["min"] = json!(0.5);
        });
        world.training.annotations_mut().insert(labels::RERUN.to_owned(), "last".to_owned());
        for _ in 0..5 {
            world.goes_well()?;
        }
        let status = world.training.status.clone().unwrap();
        prop_assert_eq!(status.phase, Some(Phase::Succeeded), "{:#?}", status);
        prop_assert_eq!(&status.artifact, &status.candidate);
        prop_assert_eq!(world.jobs.len(), 1);
        // And then nothing is written any more.
        let settled = world.jobs.clone();
        world.reconcile(false)?;
        prop_assert_eq!(&world.jobs, &settled);
        prop_assert_eq!(world.training.status, Some(status));
    }
}
