//! Helm, and what it renders, for the tests of the chart.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use sconce_tests::tools::HELM;
use serde::Deserialize;
use serde_json::Value;

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Helm has no cluster to ask while it renders.
const KUBERNETES: [&str; 2] = ["--kube-version", "1.34.0"];

/// A file of the checkout.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs helm; what it printed, or as an error what it complained about.
pub fn helm(arguments: &[&str]) -> Outcome<String> {
    run(Command::new(HELM.path()?).args(arguments).current_dir(file("")))
}

/// Runs a program; what it printed, or as an error what it complained about.
pub fn run(command: &mut Command) -> Outcome<String> {
    let output = command.output()?;
    let said = String::from_utf8(output.stdout)?;
    if output.status.success() {
        return Ok(said);
    }
    Err(format!(
        "{command:?} failed: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

/// What `helm template` makes of the chart.
pub fn rendered(arguments: &[&str]) -> Outcome<String> {
    let fixed = [
        "template",
        "sconce",
        "charts/sconce",
        "--namespace",
        "sconce-system",
    ];
    helm(&[&fixed, KUBERNETES.as_slice(), arguments].concat())
}

/// The objects of a rendering.
pub fn objects(yaml: &str) -> Outcome<Vec<Value>> {
    let documents = serde_norway::Deserializer::from_str(yaml).map(Value::deserialize);
    let objects: Vec<Value> = documents.collect::<Result<_, _>>()?;
    Ok(objects.into_iter().filter(Value::is_object).collect())
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}
