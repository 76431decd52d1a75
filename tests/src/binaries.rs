//! The programs of this checkout, beside the tests; compiled where one is not there or is older than its sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::{Error, Result, process};

/// What programs that link kube are made of.
const OPERATOR: &[&str] = &[
    "Cargo.lock",
    "operator",
    "crds/src",
    "runtime/contract/src",
    "runtime/chart/src",
];
/// What programs that compute are made of.
const RUNTIME: &[&str] = &["Cargo.lock", "runtime"];

/// `sconce-operator`, `kubectl-sconce`, `sconce-trainer` or `sconce-server`.
///
/// # Errors
/// When it cannot be built.
pub fn path(name: &'static str) -> Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<&str, std::result::Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());
    // Whoever comes second waits for the first one's build.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built
        .entry(name)
        .or_insert_with(|| build(name).map_err(|error| error.to_string()))
        .clone()
        .map_err(|error| Error::Unmet(format!("{name} cannot be built: {error}")))
}

fn build(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().map_err(Error::file("find", Path::new("this executable")))?;
    // TARGET/PROFILE/deps/TEST
    let folder = test
        .parent()
        .and_then(Path::parent)
        .ok_or_else(|| Error::Unmet(format!("{} is in no target directory", test.display())))?;
    let binary = folder.join(name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = match name {
        "sconce-trainer" | "sconce-server" => RUNTIME,
        _ => OPERATOR,
    };
    let newest = sources
        .iter()
        .filter_map(|source| newest(&root.join(source)))
        .max();
    if modified(&binary).is_some_and(|built| newest.is_some_and(|changed| changed < built)) {
        return Ok(binary);
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--workspace", "--all-features", "--bin", name])
        .current_dir(&root);
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    process::output(&mut cargo)?;
    Ok(binary)
}

/// When a file, or the youngest file below a folder, was last changed.
fn newest(path: &Path) -> Option<SystemTime> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return modified(path);
    };
    entries.flatten().filter_map(|entry| newest(&entry.path())).max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
