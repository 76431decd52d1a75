//! The image that a kind node runs: the official one where it can be pulled, else one of our own,
//! built from source and Debian packages and named after a hash of everything in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cache::{self, Key};
use crate::docker::Docker;
use crate::process::{self, say};
use crate::storage;
use crate::tools::{self, KIND, KUBERNETES, LOCAL_PATH_PROVISIONER};
use crate::{Error, Result, packages};

/// The image of kind's release notes for v0.33.0 with the Kubernetes minor version of ours:
/// <https://github.com/kubernetes-sigs/kind/releases/tag/v0.33.0>.
const OFFICIAL: &str =
    "kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d";

const SUITE: &str = "bookworm";
/// A node's userland: init, network, what containerd calls, and what kind's scripts do.
const NODE_PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,iptables,nftables,conntrack,kmod,procps,mount,\
    ethtool,jq,ca-certificates,runc,containernetworking-plugins";
/// What the images of the components need besides the binary.
const COMPONENT_PACKAGES: &str = "nftables,busybox-static";

/// An image and whether it brings its own network plugin.
pub struct NodeImage {
    /// The name that `kind create cluster --image` takes.
    pub name: String,
    /// Whether the image is the project's own, which has its network plugin inside.
    pub ours: bool,
}

/// The node image in the daemon's store, pulled or built when it is not there yet.
///
/// # Errors
/// When it can neither be pulled nor built here.
pub fn ensure(docker: &Docker) -> Result<NodeImage> {
    let official = || NodeImage {
        name: OFFICIAL.to_owned(),
        ours: false,
    };
    if matches!(docker, Docker::AtHand) {
        let pull = ["pull", "--quiet", OFFICIAL];
        if docker.has_image(OFFICIAL)
            || process::run("pulling the node image", Command::new("docker").args(pull)).is_ok()
        {
            return Ok(official());
        }
        say("the official node image cannot be pulled here: building one");
    }
    let name = format!("sconce-node:{}", key()?.digest());
    let _lock = cache::lock("node-image")?;
    if !docker.has_image(&name) {
        build(docker, &name)?;
    }
    Ok(NodeImage { name, ours: true })
}

fn key() -> Result<Key> {
    let folder = tools::cluster_folder();
    Key::new("node-image")
        .text(&tools::kubernetes()?.display().to_string())
        .text(&tools::containerd()?.display().to_string())
        .text(&LOCAL_PATH_PROVISIONER.path()?.display().to_string())
        .text(&KIND.path()?.display().to_string())
        .text(NODE_PACKAGES)
        .text(COMPONENT_PACKAGES)
        .folder(&folder.join("images"))?
        .folder(&folder.join("node"))
}

fn build(docker: &Docker, name: &str) -> Result<()> {
    let root = cache::root()?;
    let context = tempfile::Builder::new().prefix(".node-image-").tempdir_in(&root);
    let context = context.map_err(Error::file("create a folder in", &root))?;
    let storage = storage::Storage::from_kind(&KIND.source()?)?;
    let images = context.path().join("images");
    let node = context.path().join("node");
    preload_context(&images)?;
    let archive = node.join("images.tar");
    node_context(&node, &storage)?;
    build_preloaded(docker, &images, &storage, &archive)?;
    docker.build("building the node image", &["--tag", name], &node)?;
    if matches!(docker, Docker::Private(_)) {
        // The stages that went into it hold twice its size; in a daemon of ours nobody else's.
        process::output(docker.command("docker").args(["image", "prune", "--force"]))?;
    }
    Ok(())
}

fn preload_context(folder: &Path) -> Result<()> {
    copy_folder(&tools::cluster_folder().join("images"), folder)?;
    let kubernetes = tools::kubernetes()?;
    place(&kubernetes.join("k8s"), &folder.join("k8s"))?;
    place(&kubernetes.join("pause"), &folder.join("pause"))?;
    place(
        &LOCAL_PATH_PROVISIONER.path()?,
        &folder.join("local-path-provisioner"),
    )?;
    place(
        &debian("component", "extract", COMPONENT_PACKAGES)?,
        &folder.join("component.tar"),
    )
}

fn node_context(folder: &Path, storage: &storage::Storage) -> Result<()> {
    copy_folder(&tools::cluster_folder().join("node"), folder)?;
    copy_folder(&KIND.source()?.join("images/base/files"), &folder.join("files"))?;
    let unit = folder.join("files/etc/systemd/system/containerd.service");
    let text = fs::read_to_string(&unit).map_err(Error::file("read", &unit))?;
    fs::write(&unit, containerd_unit(&text)).map_err(Error::file("write", &unit))?;
    for (name, text) in [
        ("version", format!("v{KUBERNETES}")),
        ("storage.yaml", storage.manifest.clone()),
    ] {
        let file = folder.join(name);
        fs::write(&file, text).map_err(Error::file("write", &file))?;
    }
    place(&tools::kubernetes()?.join("k8s"), &folder.join("k8s"))?;
    let containerd = tools::containerd()?;
    for program in ["containerd", "containerd-shim-runc-v2", "ctr"] {
        place(&containerd.join(program), &folder.join(program))?;
    }
    place(
        &debian("node", "minbase", NODE_PACKAGES)?,
        &folder.join("base.tar"),
    )
}

/// Builds the components' images under the very names that kubeadm and the storage class use, and
/// saves them all into one archive.
fn build_preloaded(
    docker: &Docker,
    context: &Path,
    storage: &storage::Storage,
    archive: &Path,
) -> Result<()> {
    let version = format!("v{KUBERNETES}");
    let mut kubeadm = Command::new(tools::kubernetes()?.join("kubeadm"));
    let listed =
        process::output(kubeadm.args(["config", "images", "list", "--kubernetes-version", &version]))?;
    let names: Vec<&str> = listed
        .lines()
        .chain(storage.images.iter().map(String::as_str))
        .collect();
    for target in ["component", "coredns", "pause"] {
        let tags = names
            .iter()
            .filter(|name| stage(name) == target)
            .flat_map(|name| ["--tag", name]);
        let arguments: Vec<&str> = ["--target", target].into_iter().chain(tags).collect();
        docker.build(&format!("building the {target} images"), &arguments, context)?;
    }
    let mut save = docker.command("docker");
    process::run(
        "saving the components' images",
        save.arg("save").arg("--output").arg(archive).args(&names),
    )
}

/// The stage of `images/Dockerfile` that an image is built from.
fn stage(image: &str) -> &'static str {
    if image.contains("/coredns:") {
        "coredns"
    } else if image.contains("/pause:") {
        "pause"
    } else {
        "component"
    }
}

/// An archive of Debian packages and what they depend on.
pub(crate) fn debian(name: &str, variant: &str, list: &str) -> Result<std::path::PathBuf> {
    let key = Key::new(&format!("debian-{name}"))
        .text(SUITE)
        .text(variant)
        .text(list);
    let folder = cache::entry(&key, |folder| {
        packages::ensure("a node image", &packages::BASE)?;
        let mut command = Command::new("mmdebstrap");
        command
            .arg(format!("--variant={variant}"))
            .arg(format!("--include={list}"))
            .args(
                ["doc", "man", "locale", "info"]
                    .map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*")),
            )
            .arg(SUITE)
            .arg(folder.join("root.tar"));
        process::run(
            &format!("collecting Debian packages for the {name} (once)"),
            &mut command,
        )
    })?;
    Ok(folder.join("root.tar"))
}

/// kind's unit, for where ours is, without the lines that raise a limit or lower the OOM
/// score: both take CAP_SYS_RESOURCE.
fn containerd_unit(text: &str) -> String {
    let refused = |line: &&str| !line.starts_with("Limit") && !line.starts_with("OOMScoreAdjust");
    let kept: Vec<&str> = text.lines().filter(refused).collect();
    kept.join("\n")
        .replace("/usr/local/bin/containerd", "/usr/bin/containerd")
        + "\n"
}

/// Puts a large file into a build context, without copying it where the file system allows.
fn place(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(|_| ()))
        .map_err(Error::file("create", to))
}

/// Copies a folder; the copies are writable, unlike the files in Go's module cache.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::file("create", to))?;
    for item in fs::read_dir(from).map_err(Error::file("list", from))? {
        let source = item.map_err(Error::file("list", from))?.path();
        let Some(name) = source.file_name() else { continue };
        let copy = to.join(name);
        if source.is_dir() {
            copy_folder(&source, &copy)?;
        } else {
            let content = fs::read(&source).map_err(Error::file("read", &source))?;
            fs::write(&copy, content).map_err(Error::file("write", &copy))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerd_asks_for_nothing_that_may_be_refused() {
        let unit = containerd_unit(
            "[Service]\nExecStart=/usr/local/bin/containerd\nLimitCORE=infinity\nOOMScoreAdjust=-999\n",
        );
        assert_eq!(unit, "[Service]\nExecStart=/usr/bin/containerd\n");
    }

    #[test]
    fn every_image_has_its_stage() {
        assert_eq!(stage("registry.k8s.io/coredns/coredns:v1.12.1"), "coredns");
        assert_eq!(stage("registry.k8s.io/pause:3.10.1"), "pause");
        assert_eq!(stage("registry.k8s.io/etcd:3.6.5-0"), "component");
    }
}
