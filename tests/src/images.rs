//! The project's own images: built from the Dockerfiles beside their code and loaded into the
//! cluster, each only when its content has changed.
//!
//! An image is `FROM scratch`: the release binary, the shared libraries that the dynamic linker
//! would load with it (ldd(1)), the certificates of the public authorities, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Key;
use crate::docker::Docker;
use crate::kind::{self, Kind};
use crate::{Error, Result, process};

/// The tag of what is built from the tree. It never changes: nodes use what is loaded
/// (`imagePullPolicy: IfNotPresent`).
pub const TAG: &str = "dev";
const REGISTRY: &str = "ghcr.io/sconce-dev";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// An image of ours.
pub struct Image {
    /// The binary's name, and the image's.
    pub name: &'static str,
    package: &'static str,
    folder: &'static str,
}

/// All of them.
pub const IMAGES: [Image; 3] = [
    Image {
        name: "sconce-operator",
        package: "sconce-operator",
        folder: "operator",
    },
    Image {
        name: "sconce-trainer",
        package: "sconce-train",
        folder: "runtime/train",
    },
    Image {
        name: "sconce-server",
        package: "sconce-serve",
        folder: "runtime/serve",
    },
];

impl Image {
    /// The name by which a manifest asks for it.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{REGISTRY}/{}:{TAG}", self.name)
    }
}

/// Compiles the binaries, builds the images whose content has changed, and loads those that the
/// cluster's nodes do not have.
///
/// # Errors
/// When a step fails.
pub fn ensure(cluster: &Kind) -> Result<()> {
    build_all(cluster.docker())?;
    load(cluster, &IMAGES.map(|image| image.reference()))
}

/// Writes each image into this folder, as an archive that tools for registries take.
///
/// # Errors
/// When a step fails.
pub fn archive(docker: &Docker, folder: &Path) -> Result<()> {
    build_all(docker)?;
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    for image in &IMAGES {
        let file = folder.join(image.name).with_extension("tar");
        let mut save = docker.command("docker");
        save.args(["image", "save", "--output"])
            .arg(&file)
            .arg(image.reference());
        process::run(&format!("writing {}", file.display()), &mut save)?;
    }
    Ok(())
}

fn build_all(docker: &Docker) -> Result<()> {
    let root = workspace();
    process::run("compiling the release binaries", &mut cargo(&root))?;
    for image in &IMAGES {
        build(
            docker,
            image,
            &root.join("target/release").join(image.name),
            &root.join(image.folder),
        )?;
    }
    Ok(())
}

fn cargo(root: &Path) -> Command {
    // Cargo tells its children which one it is.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["build", "--release", "--bins"]);
    // What `make rehearse` builds as well: the same selection, so that dependencies are compiled once for both.
    command.args(["--features", "sconce-operator/plugin"]);
    // The images are built from here whatever the caller's target directory is.
    command.arg("--target-dir").arg(root.join("target"));
    for image in &IMAGES {
        command.args(["--package", image.package]);
    }
    command
}

/// Builds one image from a binary and the folder of its Dockerfile, unless the one in the store
/// has that content already.
///
/// # Errors
/// When the binary is not there or the build fails.
pub fn build(docker: &Docker, image: &Image, binary: &Path, folder: &Path) -> Result<()> {
    let context = tempfile::tempdir().map_err(Error::file("create", &std::env::temp_dir()))?;
    let root = context.path().join("rootfs");
    copy(binary, &root.join("usr/local/bin").join(image.name))?;
    for library in libraries(binary)? {
        copy(&library, &below(&root, &library))?;
    }
    copy(Path::new(CERTIFICATES), &below(&root, Path::new(CERTIFICATES)))?;
    // glibc asks DNS before /etc/hosts when nobody tells it the order.
    write(&root.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
    copy(&folder.join("Dockerfile"), &context.path().join("Dockerfile"))?;

    let digest = Key::new(image.name).folder(context.path())?.digest();
    let reference = image.reference();
    if label(docker, &reference).as_deref() == Some(digest.as_str()) {
        return Ok(());
    }
    let content = format!("{LABEL}={digest}");
    docker.build(
        &format!("building {reference}"),
        &["--tag", &reference, "--label", &content],
        context.path(),
    )
}

const LABEL: &str = "dev.sconce.content";

fn label(docker: &Docker, reference: &str) -> Option<String> {
    let format = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
    process::output(
        docker
            .command("docker")
            .args(["image", "inspect", "--format", &format, reference]),
    )
    .ok()
}

/// Loads those images into the nodes that changed since they were loaded last.
///
/// # Errors
/// When an image has not been built, or a node refuses it.
pub fn load(cluster: &Kind, references: &[String]) -> Result<()> {
    let state = kind::state("loaded.json")?;
    let loaded: BTreeMap<String, String> = fs::read_to_string(&state)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let mut present = BTreeMap::new();
    for reference in references {
        let id = process::output(
            cluster
                .docker()
                .command("docker")
                .args(["image", "inspect", "--format", "{{.Id}}", reference]),
        )?;
        present.insert(reference.clone(), id);
    }
    let changed: Vec<&str> = present
        .iter()
        .filter(|(name, id)| loaded.get(*name) != Some(id))
        .map(|(name, _)| name.as_str())
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    cluster.load(&changed)?;
    let all: BTreeMap<&String, &String> = loaded.iter().chain(&present).collect();
    // The file goes with the cluster, so that a new one is loaded anew.
    write(&state, &serde_json::to_string_pretty(&all).unwrap_or_default())
}

/// The shared libraries that a binary is loaded with, the dynamic linker among them.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    Ok(parse(&process::output(Command::new("ldd").arg(binary))?))
}

/// ldd prints `name => path (address)` or `path (address)`; the vDSO has no path.
fn parse(ldd: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let target = line.split_once("=>").map_or(line, |(_, target)| target);
        target
            .split_whitespace()
            .next()
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from)
    };
    ldd.lines().filter_map(path).collect()
}

fn below(root: &Path, absolute: &Path) -> PathBuf {
    root.join(absolute.strip_prefix("/").unwrap_or(absolute))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    create_parent(to)?;
    fs::copy(from, to).map(|_| ()).map_err(Error::file("copy", from))
}

fn write(file: &Path, text: &str) -> Result<()> {
    create_parent(file)?;
    fs::write(file, text).map_err(Error::file("write", file))
}

fn create_parent(file: &Path) -> Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).map_err(Error::file("create", folder))
}

fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_names_paths_in_two_ways() {
        let ldd = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(
            parse(ldd),
            [
                Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
        assert!(parse("\tstatically linked\n").is_empty());
    }

    #[test]
    fn every_image_has_its_dockerfile() {
        for image in &IMAGES {
            let file = workspace().join(image.folder).join("Dockerfile");
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                text.contains(&format!("/usr/local/bin/{}", image.name)),
                "{}",
                file.display()
            );
        }
    }
}
