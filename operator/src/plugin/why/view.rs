//! From what was gathered to a screen. Pure: time and width are passed in.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Resource, ResourceExt};
use sconce_crds::condition::{self, Condition};
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};

use super::Gathered;
use super::pods::{attempts, pods_of, replicas, telling, workload};
use super::step::{Kind, Names, next};
use super::tree::Branch;
use crate::labels;
use crate::plugin::table::{age, wrapped};
use crate::reason::Reason;
use crate::scaling::policy;
use crate::seen::Pod;

/// The chain, the events and the next step.
pub fn screen(found: &Gathered, now: Timestamp, width: usize) -> String {
    let tree = match (&found.deployment, &found.training) {
        (Some(deployment), training) => {
            let mut tree = of_deployment(deployment, found, now);
            tree.children
                .insert(0, named(deployment, training.as_ref(), found, now));
            if deployment.spec.model.training_ref.is_none() {
                tree.children.remove(0);
            }
            tree
        }
        (None, Some(training)) => of_training(training, found, now),
        (None, None) => Branch::default(),
    };
    let mut text = tree.drawn(width);
    if !found.events.is_empty() {
        text += "\nEvents, newest first\n";
        for event in &found.events {
            put(&mut text, &told(event, now), width);
        }
    }
    for sentence in &found.unseen {
        text.push('\n');
        put(&mut text, &format!("not shown: {sentence}"), width);
    }
    text.push('\n');
    // In one line, however long: it often holds a command, which is to be copied whole.
    let (step, further) = steps(found);
    text += &format!("Next: {step}\n");
    for step in further {
        text += &format!("Also: {step}\n");
    }
    text
}

fn put(text: &mut String, sentence: &str, width: usize) {
    for (at, line) in wrapped(sentence, width.saturating_sub(4)).iter().enumerate() {
        *text += if at == 0 { "" } else { "    " };
        *text += line;
        text.push('\n');
    }
}

fn named(
    deployment: &ModelDeployment,
    training: Option<&ModelTraining>,
    found: &Gathered,
    now: Timestamp,
) -> Branch {
    match (training, &deployment.spec.model.training_ref) {
        (Some(training), _) => of_training(training, found, now),
        (None, reference) => {
            let name = reference
                .as_ref()
                .map(|reference| reference.name.as_str())
                .unwrap_or_default();
            Branch::new(format!("ModelTraining {name} · is not there"))
        }
    }
}

fn of_deployment(deployment: &ModelDeployment, found: &Gathered, now: Timestamp) -> Branch {
    let status = deployment.status.as_ref();
    let phase = status
        .and_then(|status| status.phase)
        .map(|phase| format!("{phase:?}"));
    let mut branch = Branch::new(title("ModelDeployment", deployment, phase));
    let conditions = status
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let observed = status.and_then(|status| status.observed_generation);
    branch.says = verdict(deployment.meta().generation, observed, conditions);
    if let Some(status) = status
        && let Some(model) = &status.model
    {
        let at = status
            .url
            .as_deref()
            .map(|url| format!(" at {url}"))
            .unwrap_or_default();
        branch.says.push(format!(
            "serves {model}{at}: {} of {} replicas answer",
            status.ready_replicas,
            policy::wanted(&deployment.spec, Some(status))
        ));
    }
    let label = (labels::DEPLOYMENT, deployment.name_any());
    for child in &found.deployments {
        let revision = child.annotations().get(labels::REVISION);
        let is_its = |pod: &Pod| revision.is_none_or(|_| pod.labels().get(labels::REVISION) == revision);
        branch.children.push(workload(
            format!("Deployment {} · {}", child.name_any(), replicas(child)),
            &pods_of(found, &label, is_its),
            now,
        ));
    }
    branch
}

fn of_training(training: &ModelTraining, found: &Gathered, now: Timestamp) -> Branch {
    let status = training.status.as_ref();
    let phase = status.and_then(|status| status.phase).map(|phase| {
        let summary = status
            .and_then(|status| status.progress.as_ref())
            .map(|progress| progress.summary.as_str());
        match summary {
            Some(summary) => format!("{phase:?} · {summary}"),
            None => format!("{phase:?}"),
        }
    });
    let mut branch = Branch::new(title("ModelTraining", training, phase));
    let conditions = status
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let observed = status.and_then(|status| status.observed_generation);
    branch.says = verdict(training.meta().generation, observed, conditions);
    let job = status.and_then(|status| status.job.as_deref());
    let label = (labels::TRAINING, training.name_any());
    // The Job of the current run; an earlier one only while there is no other.
    let current = found
        .jobs
        .iter()
        .find(|child| Some(child.name_any().as_str()) == job);
    match (current.or(found.jobs.first()), job) {
        (Some(child), _) => {
            let own = child.name_any();
            let is_own = |pod: &Pod| pod.labels().get(labels::JOB_NAME).is_none_or(|name| *name == own);
            let title = format!("Job {own} · {}", attempts(child));
            branch
                .children
                .push(workload(title, &pods_of(found, &label, is_own), now));
        }
        (None, Some(job)) => {
            branch.children.push(Branch::new(format!(
                "Job {job} · is gone, and its pods and logs with it"
            )));
        }
        (None, None) => {}
    }
    branch
}

fn title<K: Resource<DynamicType = ()>>(kind: &str, object: &K, phase: Option<String>) -> String {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    let phase = phase.unwrap_or_else(|| "no status yet".to_owned());
    format!("{kind} {namespace}/{} · {phase}", object.name_any())
}

/// The sentence of Ready, and of whatever else does not hold and says something else.
fn verdict(generation: Option<i64>, observed: Option<i64>, conditions: &[Condition]) -> Vec<String> {
    let mut says = Vec::new();
    if observed != generation {
        says.push(format!(
            "the operator has not seen this spec yet (generation {}, its status is of {})",
            generation.unwrap_or_default(),
            observed.map_or_else(|| "none".to_owned(), |observed| observed.to_string())
        ));
    }
    let Some(ready) = condition::find(conditions, condition::READY) else {
        return says;
    };
    says.push(told_condition(ready));
    let summaries = [
        condition::READY,
        condition::PROGRESSING,
        condition::DEGRADED,
        condition::STALLED,
    ];
    let others = conditions.iter().filter(|other| {
        let states = matches!(
            other.type_.as_str(),
            condition::SUSPENDED | condition::FAILED | condition::RUNNING
        );
        (!summaries.contains(&other.type_.as_str()) || is_trouble(other))
            && !states
            && (other.status == "False" || is_trouble(other))
            && other.reason != ready.reason
            && !ready.message.contains(&other.message)
    });
    says.extend(others.map(told_condition));
    says
}

/// Conditions by which something else is to be mended than what Ready speaks of.
fn is_trouble(condition: &Condition) -> bool {
    let asks = [
        (condition::FITS_ACCELERATOR, "Unknown"),
        (condition::SCALING_ACTIVE, "False"),
        (condition::SCALING_LIMITED, "True"),
        (condition::MODEL_RESOLVED, "True"),
        (condition::DEGRADED, "True"),
    ];
    let quiet = Names {
        namespace: "",
        of: Kind::Deployment,
        name: "",
        pod: "",
        job: "",
    };
    asks.contains(&(condition.type_.as_str(), condition.status.as_str()))
        && next(&Reason::told(&condition.reason), &quiet).is_some()
}

fn told_condition(condition: &Condition) -> String {
    format!(
        "{}={} {}: {}",
        condition.type_, condition.status, condition.reason, condition.message
    )
}

/// When an event was last seen.
pub(super) fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref().map(|time| time.0));
    series
        .or(event.last_timestamp.as_ref().map(|time| time.0))
        .or(event.event_time.as_ref().map(|time| time.0))
        .or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn told(event: &Event, now: Timestamp) -> String {
    let when = last_seen(event).map(|seen| age(seen, now)).unwrap_or_default();
    let count = event
        .series
        .as_ref()
        .and_then(|series| series.count)
        .or(event.count)
        .unwrap_or(1);
    let times = if count > 1 {
        format!(", {count} times")
    } else {
        String::new()
    };
    let about = &event.involved_object;
    format!(
        "{when} {} {} ({} {}{times}): {}",
        event.type_.as_deref().unwrap_or("Normal"),
        event.reason.as_deref().unwrap_or_default(),
        about.kind.as_deref().unwrap_or_default(),
        about.name.as_deref().unwrap_or_default(),
        event.message.as_deref().unwrap_or_default().trim_end()
    )
}

/// For the deployment, or where it only waits for its training, for that: the one step, and what is to be mended besides.
fn steps(found: &Gathered) -> (String, Vec<String>) {
    let training = found.training.as_ref();
    if let Some(deployment) = &found.deployment {
        let status = deployment.status.as_ref();
        let seen = Seen {
            of: Kind::Deployment,
            observed: status.and_then(|status| status.observed_generation),
            conditions: status
                .map(|status| status.conditions.as_slice())
                .unwrap_or_default(),
        };
        let of_training = seen.reason().is_some_and(|reason| {
            matches!(
                reason,
                Reason::NoArtifactYet | Reason::TrainingFailed | Reason::TrainingRejected
            )
        });
        if seen.observed != deployment.meta().generation || !of_training || training.is_none() {
            return of_object(found, deployment, &seen);
        }
    }
    let Some(training) = training else {
        return Default::default();
    };
    let status = training.status.as_ref();
    let queued = status.and_then(|status| status.phase) == Some(Phase::Queued);
    let seen = Seen {
        of: if queued { Kind::Queued } else { Kind::Training },
        observed: status.and_then(|status| status.observed_generation),
        conditions: status
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default(),
    };
    of_object(found, training, &seen)
}

/// What the operator says of an object, and of which generation.
struct Seen<'a> {
    of: Kind,
    observed: Option<i64>,
    conditions: &'a [Condition],
}

impl Seen<'_> {
    fn reason(&self) -> Option<Reason> {
        let ready = condition::find(self.conditions, condition::READY)?;
        Some(Reason::told(&ready.reason))
    }
}

fn of_object<K: Resource<DynamicType = ()>>(
    found: &Gathered,
    object: &K,
    seen: &Seen<'_>,
) -> (String, Vec<String>) {
    let Some(reason) = seen
        .reason()
        .filter(|_| seen.observed == object.meta().generation)
    else {
        let step = "wait a moment and look again; if this stays, whoever runs the cluster looks at the operator: \
                    `kubectl -n sconce-system logs deployment/sconce`";
        return (step.to_owned(), Vec::new());
    };
    // Those of a deployment's training are among the pods, and often the newest.
    let label = match seen.of {
        Kind::Deployment => labels::DEPLOYMENT,
        Kind::Training | Kind::Queued => labels::TRAINING,
    };
    let own = telling(&pods_of(found, &(label, object.name_any()), |_| true));
    let pod = own.first().copied().map(ResourceExt::name_any);
    let job = found.jobs.first().map(ResourceExt::name_any);
    let names = Names {
        namespace: object.meta().namespace.as_deref().unwrap_or_default(),
        of: seen.of,
        name: object.meta().name.as_deref().unwrap_or_default(),
        pod: pod.as_deref().unwrap_or("POD"),
        job: job.as_deref().unwrap_or("JOB"),
    };
    let step = next(&reason, &names).unwrap_or_else(|| "nothing: no fault is told".to_owned());
    let others = seen.conditions.iter().filter(|other| is_trouble(other));
    let further = others.filter_map(|other| next(&Reason::told(&other.reason), &names));
    let further = further.filter(|other| *other != step).collect();
    (step, further)
}
