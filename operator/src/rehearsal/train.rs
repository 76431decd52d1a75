//! One training: plan, process, report, gates.

use std::path::Path;

use kube::ResourceExt;
use sconce_contract::{Artifact, BestTrial, Device, Metric, Report};
use sconce_crds::ModelTraining;
use tokio::process::Command;

use super::folders::Folders;
use super::group::Group;
use super::{RehearsalError, at, process};
use crate::observed;
use crate::training::gates::{self, Judgement};
use crate::training::identity::Identity;
use crate::training::validate;
use crate::volumes::Volumes;
use crate::{labels, names};

/// What a training left behind.
#[derive(Debug)]
pub struct Trained {
    /// What it reached.
    pub metrics: Vec<Metric>,
    /// What it wrote.
    pub artifact: Artifact,
    /// What the gates say of it.
    pub judgement: Judgement,
    /// The trial of a search that it is.
    pub best_trial: Option<BestTrial>,
}

/// Trains, with the trainer's own progress on the terminal.
///
/// # Errors
/// What the trainer reports.
pub async fn train(
    program: &Path,
    folder: &Path,
    folders: &Folders,
    training: &ModelTraining,
) -> Result<Trained, RehearsalError> {
    let name = training.name_any();
    if training.spec.model.custom.is_some() {
        let message = "spec.model.custom: a rehearsal starts no container; run the image's program by hand with \
                       SCONCE_PLAN set to a plan.json (docs/custom.md)";
        return Err(failed(&name, message.to_owned()));
    }
    validate::search_fits(&training.spec)
        .and_then(|()| validate::nodes_fit(&training.spec))
        .map_err(|problem| failed(&name, problem.sentence()))?;
    let output = training
        .spec
        .output
        .uri
        .clone()
        .unwrap_or_else(|| format!("pvc://{}", names::artifacts_claim(&name)));
    let mut plan = validate::plan(
        &name,
        &Identity::of(training),
        &training.spec,
        output.clone(),
        Device::Cpu,
        &Volumes::default(),
    );
    let checkpoints = validate::checkpoints(&name, &training.spec, &output);
    let tables = training.spec.dataset.uris().into_iter().map(|(_, uri)| uri);
    let uris: Vec<&str> = tables.chain([output.as_str(), &checkpoints]).collect();
    plan.mounts = folders.mounts(&uris)?;

    let plan_file = folder.join(format!("{name}.{}.json", labels::TRAINER));
    let report_file = folder.join(format!("{name}.report.json"));
    let json = serde_json::to_vec_pretty(&plan).map_err(|error| failed(&name, error.to_string()))?;
    std::fs::write(&plan_file, json).map_err(at(&plan_file))?;
    process::remove_earlier(&report_file)?;
    let group = Group::start(program, folder, &name, &plan_file, training.spec.nodes.count)?;
    let status = Command::new(program)
        .arg("--plan")
        .arg(&plan_file)
        .arg("--report")
        .arg(&report_file)
        .args(["--listen", "127.0.0.1:0"])
        .args(group.place(0))
        .kill_on_drop(true)
        .status()
        .await
        .map_err(at(program))?;

    let text = std::fs::read_to_string(&report_file).unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(Report::Trained {
            metrics,
            artifact,
            incumbent,
            search,
            ..
        }) => {
            let judgement = gates::judge(&training.spec.evaluation.gates, &metrics, incumbent.as_ref());
            Ok(Trained {
                metrics,
                artifact,
                judgement,
                best_trial: search.map(|search| search.best),
            })
        }
        Ok(Report::Failed(failure)) => Err(failed(&name, observed::sentence(&failure))),
        Ok(Report::Helped { .. }) | Err(_) => Err(failed(
            &name,
            format!("the trainer ended with {status} and left no report"),
        )),
    }
}

fn failed(name: &str, message: String) -> RehearsalError {
    RehearsalError::Training {
        name: name.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::rehearsal::manifests::Manifests;

    #[tokio::test]
    async fn the_report_of_an_earlier_rehearsal_is_not_taken_for_this_ones() {
        let folder = tempfile::tempdir().unwrap();
        let earlier = json!({
            "outcome": "trained", "run": "r", "metrics": [], "epochs": 1, "steps": 1, "seconds": 1.0,
            "artifact": {"uri": "pvc://iris-artifacts/r", "digest": "sha256:0", "sizeBytes": 1},
        });
        let report: Report = serde_json::from_value(earlier.clone()).unwrap();
        assert!(matches!(report, Report::Trained { .. }));
        std::fs::write(folder.path().join("iris.report.json"), earlier.to_string()).unwrap();
        let training: ModelTraining = serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": "iris"},
            "spec": {
                "model": {"network": {"layers": [{"dense": {"units": 3, "activation": "Softmax"}}]}},
                "dataset": {"uri": "file:///iris.csv", "target": "species"},
            },
        }))
        .unwrap();
        let folders = Folders::prepare(folder.path(), BTreeMap::new(), &Manifests::default()).unwrap();
        // A program that ends at once, and reports nothing.
        let ended = train(Path::new("false"), folder.path(), &folders, &training).await;
        let said = ended.unwrap_err().to_string();
        assert!(said.contains("left no report"), "{said}");
    }
}
