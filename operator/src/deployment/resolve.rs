//! Which artifact is to be served.
//!
//! ```text
//!   model.uri                      that one
//!   trainingRef, OnGatesPassed     the training's last that passed its gates
//!   trainingRef, Manual            the one whose digest the annotation names; without it, what is served now
//! ```
//!
//! Where there is no answer, what is served now goes on being served. A training of the same name with another
//! UID is another source: what an earlier one left behind was never promoted from it.

use kube::ResourceExt;
use sconce_crds::condition::{DEGRADED, FAILED, GATES_PASSED, READY, find, is_true};
use sconce_crds::deployment::{PROMOTE_ANNOTATION, Promotion, ServedModel, TrainingRef, TrainingSource};
use sconce_crds::training::GateResult;
use sconce_crds::{ModelDeployment, ModelTraining, ModelTrainingStatus};

use super::promote::{self, Promoted};
use super::revision::{Model, Served, short};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::training::gates;

/// Which artifact is to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// This one, and why.
    Known {
        /// The artifact.
        model: Model,
        /// CamelCase.
        reason: Reason,
        /// One sentence.
        message: String,
    },
    /// None yet; it will come by itself, or a person was expected to choose.
    Awaited(Problem),
    /// None, and something is wrong that a person must mend.
    Unknown(Problem),
}

/// Which artifact a deployment is to serve. `training` is what was found under the name that the spec gives,
/// `served` is what the live Deployment was made for.
pub fn resolve(
    deployment: &ModelDeployment,
    training: Option<&ModelTraining>,
    served: Option<&Served>,
) -> Resolution {
    match &deployment.spec.model {
        ServedModel {
            training_ref: Some(reference),
            ..
        } => match training {
            Some(training) => from_training(deployment, reference, training, served),
            None => missing(reference, served),
        },
        ServedModel { uri, digest, .. } => Resolution::Known {
            model: Model {
                uri: uri
                    .as_deref()
                    .unwrap_or_default()
                    .trim_end_matches('/')
                    .to_owned(),
                digest: digest.clone(),
                training: None,
            },
            reason: Reason::Given,
            message: "spec.model.uri names it".to_owned(),
        },
    }
}

/// Both objects are often created at once, so a training that is missing is waited for; but not while
/// something is served: then it was deleted, or the name is wrong.
fn missing(reference: &TrainingRef, served: Option<&Served>) -> Resolution {
    let problem = Problem::new(
        Reason::TrainingNotFound,
        "spec.model.trainingRef.name",
        format!(
            "there is no ModelTraining named {:?} in this namespace; create it, or correct the name",
            reference.name
        ),
    );
    if served.is_some() {
        Resolution::Unknown(problem)
    } else {
        Resolution::Awaited(problem)
    }
}

fn from_training(
    deployment: &ModelDeployment,
    reference: &TrainingRef,
    training: &ModelTraining,
    served: Option<&Served>,
) -> Resolution {
    let source = TrainingSource {
        name: training.name_any(),
        uid: training.uid().unwrap_or_default(),
    };
    let nothing = ModelTrainingStatus::default();
    let status = training.status.as_ref().unwrap_or(&nothing);
    match reference.promotion {
        Promotion::OnGatesPassed => match &status.artifact {
            Some(artifact) => passed(&source, status, &model(&source, &artifact.uri, &artifact.digest)),
            None => nothing_passed(&source, status),
        },
        Promotion::Manual => manual(deployment, &source, status, served),
    }
}

fn model(source: &TrainingSource, uri: &str, digest: &str) -> Model {
    Model {
        uri: uri.trim_end_matches('/').to_owned(),
        digest: Some(digest.to_owned()),
        training: Some(source.clone()),
    }
}

/// The last artifact that passed; it stays while a later run works, fails or is rejected.
fn passed(source: &TrainingSource, status: &ModelTrainingStatus, model: &Model) -> Resolution {
    let name = &source.name;
    let digest = model.digest.as_deref().map(short).unwrap_or_default();
    let (reason, message) = if let Some(why) = failed(status) {
        (
            Reason::LaterRunFailed,
            format!("{digest} stays: a later run of the ModelTraining {name:?} failed: {why}"),
        )
    } else if let Some(why) = rejected(status) {
        if status.candidate.as_ref().map(|candidate| &candidate.digest) == model.digest.as_ref() {
            (
                Reason::GatesRaised,
                format!(
                    "{digest} stays: it passed the gates of its time and would not pass those of now: {why}"
                ),
            )
        } else {
            (
                Reason::LaterRunRejected,
                format!("{digest} stays: a later run of the ModelTraining {name:?} was rejected: {why}"),
            )
        }
    } else {
        (
            Reason::GatesPassed,
            format!("{digest} is the last artifact of the ModelTraining {name:?} that passed its gates"),
        )
    };
    Resolution::Known {
        model: model.clone(),
        reason,
        message,
    }
}

fn nothing_passed(source: &TrainingSource, status: &ModelTrainingStatus) -> Resolution {
    let field = "spec.model.trainingRef";
    let name = &source.name;
    if let Some(why) = failed(status) {
        let message = format!("the ModelTraining {name:?} failed and left no artifact: {why}");
        return Resolution::Unknown(Problem::new(Reason::TrainingFailed, field, message));
    }
    if let Some(why) = rejected(status) {
        let message = format!("no artifact of the ModelTraining {name:?} has passed its gates: {why}");
        return Resolution::Unknown(Problem::new(Reason::TrainingRejected, field, message));
    }
    let message = match troubled(status) {
        Some(why) => {
            format!("the ModelTraining {name:?} has left no artifact yet, and something is in its way: {why}")
        }
        None => {
            format!("the ModelTraining {name:?} has left no artifact yet; this goes on by itself when it has")
        }
    };
    Resolution::Awaited(Problem::new(Reason::NoArtifactYet, field, message))
}

fn failed(status: &ModelTrainingStatus) -> Option<&str> {
    let failed = find(&status.conditions, FAILED)?;
    (failed.status == "True").then_some(failed.message.as_str())
}

fn rejected(status: &ModelTrainingStatus) -> Option<&str> {
    let gates = find(&status.conditions, GATES_PASSED)?;
    (gates.status == "False").then_some(gates.message.as_str())
}

/// Why the candidate missed its gates, if it did. Their results stay beside it while another run waits, is at work or has
/// failed; the condition, which has the better words, no longer speaks of the candidate by then.
pub(crate) fn missed(status: &ModelTrainingStatus) -> Option<String> {
    if let Some(why) = rejected(status) {
        return Some(why.to_owned());
    }
    let misses = status.gates.iter().filter(|gate| !gate.passed);
    let misses: Vec<String> = misses.map(miss).collect();
    (!misses.is_empty()).then(|| misses.join("; "))
}

fn miss(gate: &GateResult) -> String {
    let (metric, required) = (gate.metric, &gate.required);
    match gate.observed {
        Some(value) => format!("{metric} is {}, and {required} is required", gates::short(value)),
        None => format!("{metric} is not known, and {required} is required"),
    }
}

/// Not the message of a training that is well: that one changes with each step.
fn troubled(status: &ModelTrainingStatus) -> Option<&str> {
    let ready = find(&status.conditions, READY)?;
    is_true(&status.conditions, DEGRADED).then_some(ready.message.as_str())
}

fn manual(
    deployment: &ModelDeployment,
    source: &TrainingSource,
    status: &ModelTrainingStatus,
    served: Option<&Served>,
) -> Resolution {
    let stays = served
        .map(|served| &served.model)
        .filter(|model| model.training.as_ref() == Some(source));
    let offered = offered(source, status);
    let known = known(deployment, source, stays, status);
    match promote::choose(
        deployment
            .annotations()
            .get(PROMOTE_ANNOTATION)
            .map(String::as_str),
        &known,
    ) {
        Promoted::This(model) => {
            let digest = model.digest.as_deref().map(short).unwrap_or_default();
            let message = format!("{digest} is promoted by the annotation {PROMOTE_ANNOTATION}");
            Resolution::Known {
                message: message + &awaiting(deployment, &offered, model, status),
                reason: Reason::Promoted,
                model: model.clone(),
            }
        }
        Promoted::Wrong(problem) => Resolution::Unknown(problem),
        Promoted::Nothing => match (stays, &offered) {
            (Some(model), _) => Resolution::Known {
                message: "nothing is promoted, so what is served stays".to_owned()
                    + &awaiting(deployment, &offered, model, status),
                reason: Reason::Kept,
                model: model.clone(),
            },
            (None, Some(offered)) => Resolution::Awaited(Problem::new(
                Reason::AwaitingPromotion,
                format!("metadata.annotations[{PROMOTE_ANNOTATION}]"),
                invitation(deployment, offered, status),
            )),
            (None, None) => nothing_passed(source, status),
        },
    }
}

/// What the last finished run left behind, whether it passed or not: a person decides.
fn offered(source: &TrainingSource, status: &ModelTrainingStatus) -> Option<Model> {
    let artifact = status.candidate.as_ref().or(status.artifact.as_ref())?;
    Some(model(source, &artifact.uri, &artifact.digest))
}

/// Every artifact of the training that is still known of. What is served comes first: the same bits at another
/// place are no reason to restart.
fn known(
    deployment: &ModelDeployment,
    source: &TrainingSource,
    stays: Option<&Model>,
    status: &ModelTrainingStatus,
) -> Vec<Model> {
    let told = deployment
        .status
        .iter()
        .flat_map(|status| &status.revisions)
        .map(|revision| Served::from(revision).model);
    let left = status
        .artifact
        .iter()
        .chain(&status.candidate)
        .map(|artifact| model(source, &artifact.uri, &artifact.digest));
    stays
        .cloned()
        .into_iter()
        .chain(left)
        .chain(told.filter(|model| model.training.as_ref() == Some(source)))
        .collect()
}

/// A clause for a newer artifact than the one that is served.
fn awaiting(
    deployment: &ModelDeployment,
    offered: &Option<Model>,
    model: &Model,
    status: &ModelTrainingStatus,
) -> String {
    match offered {
        Some(offered) if offered.digest != model.digest => {
            format!("; {}", invitation(deployment, offered, status))
        }
        _ => String::new(),
    }
}

fn invitation(deployment: &ModelDeployment, offered: &Model, status: &ModelTrainingStatus) -> String {
    let digest = offered.digest.as_deref().unwrap_or_default();
    let but = missed(status)
        .map(|why| format!(" (it was rejected: {why})"))
        .unwrap_or_default();
    format!(
        "{digest} awaits promotion{but}: kubectl annotate mdep/{} -n {} --overwrite {PROMOTE_ANNOTATION}={digest}",
        deployment.name_any(),
        deployment.namespace().unwrap_or_default(),
    )
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
