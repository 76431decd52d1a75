//! The rooms use one another only as the architecture's table allows, and heavy crates stay where they belong.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// What each crate of ours may use of ours; what is not named here must not exist.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("sconce-chart", &[]),
    ("sconce-contract", &[]),
    ("sconce-crds", &["sconce-contract"]),
    (
        "sconce-operator",
        &["sconce-crds", "sconce-chart", "sconce-contract"],
    ),
    ("sconce-store", &["sconce-contract"]),
    ("sconce-engine", &["sconce-contract"]),
    (
        "sconce-model",
        &["sconce-engine", "sconce-store", "sconce-contract"],
    ),
    (
        "sconce-train",
        &[
            "sconce-model",
            "sconce-engine",
            "sconce-store",
            "sconce-chart",
            "sconce-contract",
        ],
    ),
    (
        "sconce-serve",
        &["sconce-model", "sconce-engine", "sconce-store", "sconce-contract"],
    ),
    (
        "sconce-tests",
        &[
            "sconce-crds",
            "sconce-operator",
            "sconce-model",
            "sconce-train",
            "sconce-serve",
            "sconce-engine",
            "sconce-store",
            "sconce-contract",
        ],
    ),
];

/// What must not be linked into a crate, however many crates lie between.
const NEVER: [(&str, &[&str]); 7] = [
    (
        "sconce-contract",
        &["kube", "kube-client", "k8s-openapi", "candle-core", "tokio"],
    ),
    ("sconce-operator", &["candle-core", "candle-nn", "safetensors"]),
    (
        "sconce-store",
        &["kube", "kube-client", "k8s-openapi", "candle-core"],
    ),
    ("sconce-engine", &["kube", "kube-client", "k8s-openapi"]),
    ("sconce-model", &["kube", "kube-client", "k8s-openapi"]),
    ("sconce-train", &["kube", "kube-client", "k8s-openapi"]),
    ("sconce-serve", &["kube", "kube-client", "k8s-openapi"]),
];

#[test]
fn arrows_point_only_where_the_architecture_says() -> Outcome {
    let uses = uses()?;
    let ours: BTreeSet<&String> = uses.keys().filter(|name| name.starts_with("sconce-")).collect();
    let known: BTreeSet<String> = MAY_USE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        ours,
        known.iter().collect(),
        "a crate of ours is in one list and not in the other"
    );
    for (name, allowed) in MAY_USE {
        for used in uses[name].iter().filter(|used| used.starts_with("sconce-")) {
            assert!(
                allowed.contains(&used.as_str()),
                "{name} must not use {used}: the table at the top of this file is the architecture's"
            );
        }
    }
    Ok(())
}

#[test]
fn the_operator_never_links_candle_and_the_runtime_never_links_kube() -> Outcome {
    let uses = uses()?;
    for (name, banned) in NEVER {
        let linked = linked(&uses, name);
        for other in banned {
            assert!(
                !linked.contains(*other),
                "{name} links {other}: `cargo tree -p {name} -i {other}` says through what"
            );
        }
    }
    // What is looked for can be found: these are where they belong.
    assert!(linked(&uses, "sconce-train").contains("candle-core"));
    assert!(linked(&uses, "sconce-operator").contains("kube-client"));
    Ok(())
}

/// Everything that is linked into a crate.
fn linked(uses: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([name.to_owned()]);
    let mut next = vec![name.to_owned()];
    while let Some(current) = next.pop() {
        let found = uses.get(&current).into_iter().flatten();
        next.extend(found.filter(|used| reached.insert((*used).clone())).cloned());
    }
    reached
}

/// Each package with the packages that it is built from; what only tests use does not count.
fn uses() -> Outcome<BTreeMap<String, BTreeSet<String>>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = String::from_utf8(
        Command::new("rustc")
            .args(["--print", "host-tuple"])
            .output()?
            .stdout,
    )?;
    // For this machine: what only other platforms need has not been downloaded.
    let arguments = [
        "metadata",
        "--format-version=1",
        "--offline",
        "--filter-platform",
        host.trim(),
    ];
    let output = Command::new(cargo).args(arguments).output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|package| (name(&package["id"]), name(&package["name"])))
        .collect();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let built_from = list(&node["deps"])
            .into_iter()
            .filter(|used| list(&used["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"))
            .map(|used| names[&name(&used["pkg"])].clone());
        uses.entry(names[&name(&node["id"])].clone())
            .or_default()
            .extend(built_from);
    }
    Ok(uses)
}
