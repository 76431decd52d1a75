//! The operator that is installed in the cluster, with other values of its chart for a while.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::process::Command;

use futures::FutureExt;

use crate::process;
use crate::site::Outcome;

/// Runs a test while the release has these values (`name=JSON`) beside its own, which it gets back whatever becomes of
/// the test. Helm waits until every pod of the release is as the values say.
///
/// # Errors
/// When Helm or the test fails.
pub async fn with_values<Test>(values: &[String], test: Test) -> Outcome
where
    Test: AsyncFnOnce() -> Outcome,
{
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/sconce");
    let mut upgrade = helm(&["upgrade", "--reuse-values"]);
    upgrade.args(values.iter().flat_map(|value| ["--set-json", value]));
    wait(upgrade.args(["sconce"]).arg(chart))?;
    let outcome = AssertUnwindSafe(test()).catch_unwind().await;
    wait(helm(&["rollback"]).arg("sconce"))?;
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

fn helm(words: &[&str]) -> Command {
    let mut helm = Command::new("helm");
    helm.args(words)
        .args(["--namespace", "sconce-system", "--wait", "--timeout", "3m"]);
    helm
}

fn wait(helm: &mut Command) -> crate::Result<()> {
    tokio::task::block_in_place(|| process::output(helm)).map(drop)
}
