//! A Hadoop cluster: NameNode and DataNodes of the real thing, in one process.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{self, Key};
use crate::{Error, Result, packages, process};

const PARTS: &str = include_str!("../hadoop/pom.xml");
const PROGRAM: &str = include_str!("../hadoop/Hdfs.java");

/// What runs the cluster, with its NameNode on that port and all that it stores in that folder.
pub(crate) fn command(libraries: &Path, port: &str, folder: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-cp"])
        .arg(libraries.join("*"))
        .arg(libraries.join("Hdfs.java"))
        .arg(port)
        .arg(folder.join("hadoop"));
    command
}

/// Hadoop's libraries, from Maven's registry, with the program beside them.
pub(crate) fn libraries() -> Result<PathBuf> {
    if process::find("java").is_none() || process::find("mvn").is_none() {
        packages::install(
            "a Hadoop cluster",
            &["ca-certificates-java", "default-jdk-headless", "maven"],
        )?;
    }
    cache::entry(&Key::new("hadoop").text(PARTS).text(PROGRAM), |folder| {
        for (name, text) in [("pom.xml", PARTS), ("Hdfs.java", PROGRAM)] {
            let file = folder.join(name);
            std::fs::write(&file, text).map_err(Error::file("write", &file))?;
        }
        let mut copy = Command::new("mvn");
        copy.args(["--batch-mode", "--quiet", "dependency:copy-dependencies"])
            .arg(format!("-DoutputDirectory={}", folder.display()))
            .current_dir(folder);
        process::run(
            "taking Hadoop from its registry (once; about 1 minute)",
            &mut copy,
        )
    })
}
