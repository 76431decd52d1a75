//! Debian packages that a step needs: installed where we may, otherwise named in one line.

use std::path::Path;
use std::process::Command;

use crate::process;
use crate::{Error, Result};

/// A program and the Debian package that holds it.
pub struct Package {
    /// The program, as it is looked for on the PATH.
    pub program: &'static str,
    /// The package.
    pub name: &'static str,
}

/// For a private Docker daemon.
pub const DAEMON: [Package; 3] = [
    Package {
        program: "dockerd",
        name: "docker.io",
    },
    Package {
        program: "ip",
        name: "iproute2",
    },
    Package {
        program: "iptables",
        name: "iptables",
    },
];

/// For a node image: a Debian base made out of packages.
pub const BASE: [Package; 1] = [Package {
    program: "mmdebstrap",
    name: "mmdebstrap",
}];

/// Makes sure that every program is there.
///
/// # Errors
/// When a package is missing and cannot be installed: not Debian, or not root.
pub fn ensure(purpose: &str, packages: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|package| process::find(package.program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|package| package.name).collect::<Vec<_>>();
    if process::find("apt-get").is_none() {
        return Err(Error::Unmet(format!(
            "{purpose} needs what Debian packages as {}: install it, or start Docker and let the cluster use that",
            names.join(" ")
        )));
    }
    install(purpose, &names)
}

/// Installs packages.
///
/// # Errors
/// When they cannot be installed: not Debian, or not root.
pub fn install(purpose: &str, names: &[&str]) -> Result<()> {
    let list = names.join(" ");
    if process::find("apt-get").is_none() {
        return Err(Error::Unmet(format!(
            "{purpose} needs what Debian packages as {list}: install it"
        )));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Unmet(format!(
            "{purpose} needs {list}: run `sudo apt-get install --no-install-recommends {list}`"
        )));
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    if !lists_are_there() {
        process::run(
            "reading Debian's package lists (apt-get update)",
            apt().args(["update", "--quiet"]),
        )?;
    }
    let label = format!("installing {list} (apt-get install)");
    let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
    // An old list names versions that are gone: read it anew, once.
    if process::run(&label, apt().args(install).args(names)).is_err() {
        process::run(
            "reading Debian's package lists (apt-get update)",
            apt().args(["update", "--quiet"]),
        )?;
        process::run(&label, apt().args(install).args(names))?;
    }
    Ok(())
}

fn lists_are_there() -> bool {
    let lists = Path::new("/var/lib/apt/lists");
    std::fs::read_dir(lists).is_ok_and(|mut items| {
        items.any(|item| item.is_ok_and(|item| item.file_name().to_string_lossy().ends_with("_Packages")))
    })
}
