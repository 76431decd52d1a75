//! What the tools that look at Sconce from outside make of an object or a query: Argo CD's interpreter of Lua, the
//! status library of Flux and kpt, and Prometheus' own parser, in one program built from `tests/judges`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Error, Result, tools};

/// What a judge says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// `Healthy`, `Degraded`, …; `Current`, `Failed`, …
    pub status: String,
    /// Its words.
    pub message: String,
    /// Metrics that a query asks for.
    pub selects: Vec<Selector>,
    /// Labels that it groups by.
    pub groups: Vec<String>,
    /// Why there is no verdict.
    pub error: String,
}

/// A metric with the labels that a query matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Selector {
    /// Name of the metric.
    pub metric: String,
    /// Names of the labels.
    pub labels: BTreeSet<String>,
}

/// Argo CD's health of each object, by the script for its kind in `docs/argocd`.
///
/// # Errors
/// When a script fails, or there is none for a kind.
pub fn argo_cd(objects: &[Value]) -> Result<Vec<Verdict>> {
    let questions = objects.iter().map(|object| {
        let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/argocd/health-{kind}.lua"));
        let script = std::fs::read_to_string(&script).map_err(Error::file("read", &script))?;
        Ok(json!({"lua": script, "object": object}))
    });
    ask(&questions.collect::<Result<Vec<_>>>()?)
}

/// kstatus' verdict on each object.
///
/// # Errors
/// When it cannot compute one.
pub fn kstatus(objects: &[Value]) -> Result<Vec<Verdict>> {
    let questions: Vec<Value> = objects.iter().map(|object| json!({"object": object})).collect();
    ask(&questions)
}

/// What each query asks Prometheus for.
///
/// # Errors
/// When one is none.
pub fn prometheus(queries: &[String]) -> Result<Vec<Verdict>> {
    let questions: Vec<Value> = queries.iter().map(|query| json!({"query": query})).collect();
    ask(&questions)
}

fn ask(questions: &[Value]) -> Result<Vec<Verdict>> {
    let program = tools::judges()?;
    let failed = |error: std::io::Error| Error::Unmet(format!("the judges do not answer: {error}"));
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    // A thread of its own: neither side may wait for the other with a full pipe.
    let writer = child
        .stdin
        .take()
        .map(|mut stdin| std::thread::spawn(move || stdin.write_all(lines.as_bytes())));
    let output = child.wait_with_output().map_err(failed)?;
    let _ = writer.map(std::thread::JoinHandle::join);
    let said = String::from_utf8_lossy(&output.stdout);
    let verdicts: std::result::Result<Vec<Verdict>, _> = said.lines().map(serde_json::from_str).collect();
    let verdicts = verdicts.map_err(|error| Error::Unmet(format!("the judges said {said:?}: {error}")))?;
    if verdicts.len() != questions.len() {
        return Err(Error::Unmet(format!(
            "{} answers to {} questions",
            verdicts.len(),
            questions.len()
        )));
    }
    match verdicts
        .iter()
        .zip(questions)
        .find(|(verdict, _)| !verdict.error.is_empty())
    {
        Some((verdict, question)) => Err(Error::Unmet(format!("{}: {question}", verdict.error))),
        None => Ok(verdicts),
    }
}
