//! A training of several pods without a cluster: as many processes on this machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sconce_contract::{Report, TrainingPlan};
use sconce_tests::binaries;
use sconce_tests::objects::with;
use sconce_tests::workload::{FLOWERS, of_flowers, table};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Rehearses a training, and keeps what it leaves in `kept`.
fn rehearse(folder: &Path, training: &Value) -> Outcome<Output> {
    let manifests = folder.join("manifests");
    fs::create_dir(&manifests)?;
    fs::write(
        manifests.join("flowers.yaml"),
        table("flowers", FLOWERS).to_string(),
    )?;
    fs::write(manifests.join("training.yaml"), training.to_string())?;
    Ok(Command::new(binaries::path("kubectl-sconce")?)
        .args(["rehearse", "-f"])
        .arg(&manifests)
        .arg("--keep")
        .arg(folder.join("kept"))
        .arg("--sconce-trainer")
        .arg(binaries::path("sconce-trainer")?)
        .arg("--sconce-server")
        .arg(binaries::path("sconce-server")?)
        .output()?)
}

fn reached(folder: &Path) -> Outcome<Vec<f64>> {
    let report = fs::read_to_string(folder.join("kept/iris.report.json"))?;
    let Report::Trained { metrics, .. } = serde_json::from_str(&report)? else {
        return Err(report.into());
    };
    Ok(metrics.iter().map(|metric| metric.value).collect())
}

#[test]
fn several_pods_are_rehearsed_as_processes_and_reach_what_one_does() -> Outcome {
    let (alone, together) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let output = rehearse(alone.path(), &of_flowers("iris"))?;
    assert!(output.status.success(), "{output:?}");
    let three = json!({"spec": {"nodes": {"count": 3}, "output": {"accessMode": "ReadWriteMany"}}});
    let output = rehearse(together.path(), &with(of_flowers("iris"), &three))?;
    assert!(output.status.success(), "{output:?}");

    let plan = fs::read_to_string(together.path().join("kept/iris.trainer.json"))?;
    let plan: TrainingPlan = serde_json::from_str(&plan)?;
    assert_eq!(plan.nodes.map(|nodes| nodes.count), Some(3));
    for worker in [1, 2] {
        let log = fs::read_to_string(together.path().join(format!("kept/iris.worker-{worker}.log")))?;
        assert!(log.contains("the group has met"), "{log}");
    }
    let (expected, found) = (reached(alone.path())?, reached(together.path())?);
    assert!(!expected.is_empty());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
    }
    Ok(())
}

#[test]
fn a_search_in_several_pods_is_rehearsed_as_processes_and_finds_what_one_does() -> Outcome {
    let (alone, together) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let search = json!({"spec": {
        "hyperparameters": {"epochs": 150, "batchSize": 2}, "dataset": {"split": {"validation": 0.2}},
        "search": {
            "algorithm": "Random", "objective": {"metric": "accuracy"}, "maxTrials": 12, "parallelTrials": 4,
            "space": [{"path": "hyperparameters.optimizer.learningRate", "logUniform": {"min": 0.0001, "max": 0.1}}],
        },
    }});
    let searched = with(of_flowers("iris"), &search);
    let output = rehearse(alone.path(), &searched)?;
    assert!(output.status.success(), "{output:?}");
    let two = json!({"spec": {"nodes": {"count": 2}, "output": {"accessMode": "ReadWriteMany"}}});
    let output = rehearse(together.path(), &with(searched, &two))?;
    assert!(output.status.success(), "{output:?}");
    let log = fs::read_to_string(together.path().join("kept/iris.worker-1.log"))?;
    assert!(log.contains("taking trials"), "{log}");
    let (expected, found) = (reached(alone.path())?, reached(together.path())?);
    assert!(!expected.is_empty());
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn what_several_pods_cannot_learn_is_refused_in_a_rehearsal_too() -> Outcome {
    let folder = tempfile::tempdir()?;
    let layers = json!([{"batchNorm": {}}, {"dense": {"units": 3, "activation": "Softmax"}}]);
    let normed = json!({"spec": {
        "model": {"network": {"layers": layers}}, "nodes": {"count": 2}, "output": {"accessMode": "ReadWriteMany"},
    }});
    let output = rehearse(folder.path(), &with(of_flowers("iris"), &normed))?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("spec.nodes.count: model.network.layers[0].batchNorm"),
        "{said}"
    );
    Ok(())
}
