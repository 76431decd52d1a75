//! Searches in a folder of their own, and what they leave.

use std::{collections::BTreeMap, fs, time::SystemTime};

use sconce_contract::{Artifact, Manifest, Metric, Report, SearchReport, Work};
use serde_json::{Value, json};

use super::{Rehearsal, separable};

pub const RATE: &str = "hyperparameters.optimizer.learningRate";
pub const UNITS: &str = "model.network.layers[0].dense.units";

pub fn search(algorithm: &str, trials: u32) -> Value {
    json!({
        "algorithm": algorithm, "objective": {"metric": "logLoss"}, "maxTrials": trials, "parallelTrials": 3,
        "space": [
            {"path": RATE, "logUniform": {"min": 0.0001, "max": 0.3}},
            {"path": UNITS, "choice": [2, 8, 24]},
        ],
    })
}

/// Two classes; each trial takes some milliseconds.
pub fn searching(search: Value) -> Rehearsal {
    Rehearsal::of(&separable(400))
        .with(
            "network.layers",
            json!([
                {"dense": {"units": 4, "activation": "Tanh"}}, {"dropout": {"rate": 0.1}},
                {"dense": {"units": 1, "activation": "Sigmoid"}},
            ]),
        )
        .with("hyperparameters", json!({"epochs": 9, "batchSize": 16}))
        .with(
            "checkpoint",
            json!({"uri": "pvc://data/saved", "every": {"steps": 40}, "keep": 2}),
        )
        .with("search", search)
}

/// What a search came to.
#[derive(Debug)]
pub struct Outcome {
    pub metrics: Vec<Metric>,
    pub artifact: Artifact,
    pub search: SearchReport,
    pub epochs: u32,
    pub work: Work,
}

pub fn trained(report: Report) -> Outcome {
    match report {
        Report::Trained {
            metrics,
            artifact,
            search,
            epochs,
            work,
            ..
        } => Outcome {
            metrics,
            artifact,
            search: *search.unwrap(),
            epochs,
            work,
        },
        other => panic!("{other:?}"),
    }
}

/// What is in the report of that name.
pub fn reported(rehearsal: &Rehearsal, name: &str) -> Outcome {
    let text = fs::read_to_string(rehearsal.path(name)).unwrap();
    trained(serde_json::from_str(&text).unwrap())
}

pub fn manifest(rehearsal: &Rehearsal, artifact: &Artifact) -> Manifest {
    let folder = artifact.digest.trim_start_matches("sha256:");
    let text = fs::read(rehearsal.path("models").join(folder).join("manifest.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The records of trials that are there, with the times at which they were written.
pub fn records(rehearsal: &Rehearsal) -> BTreeMap<String, SystemTime> {
    let entries = fs::read_dir(rehearsal.path("saved/abc/trials"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let written = fs::metadata(entry.path().join("job.json"))
                .ok()?
                .modified()
                .ok()?;
            name.starts_with("job-").then_some((name, written))
        })
        .collect()
}
