//! The cluster that runs pods: Kubernetes in containers, by kind.
//!
//! Every step looks first and acts only where something is missing, so that `up` on a running
//! cluster is a quick check and an interrupted one is repaired by the next `up` or `down`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::daemon::Daemon;
use crate::docker::Docker;
use crate::process::{self, say};
use crate::tools::{self, HELM, KIND};
use crate::{Error, Result, cache, choice::Choice, network, node_image};

/// The cluster's name, as `kind get clusters` lists it.
pub const NAME: &str = "sconce";

/// A kind cluster and the way to it.
pub struct Kind {
    docker: Docker,
}

impl Kind {
    /// Brings the cluster up with that many nodes besides the control plane, or finds it up.
    ///
    /// # Errors
    /// When a step fails; the next `up` or `down` takes it from there.
    pub fn up(workers: usize) -> Result<Self> {
        let _lock = cache::lock("cluster")?;
        let started = Instant::now();
        let kind = Self {
            docker: Docker::find_or_start()?,
        };
        if kind.is_ready()? {
            place_tools()?;
            say("the cluster is up");
            return Ok(kind);
        }
        // An interrupted start, or nodes whose daemon has been stopped since.
        if kind.exists()? {
            kind.delete()?;
        }
        kind.create(workers)?;
        say(&format!(
            "the cluster is up after {:.0}s",
            started.elapsed().as_secs_f64()
        ));
        Ok(kind)
    }

    /// The cluster that is up.
    ///
    /// # Errors
    /// When there is none.
    pub fn running() -> Result<Self> {
        match Docker::find()?.map(|docker| Self { docker }) {
            Some(kind) if kind.is_ready()? => Ok(kind),
            _ => Err(Error::Unmet("no cluster is up: run `make cluster`".to_owned())),
        }
    }

    /// Takes the cluster down and, where the daemon is a private one, all of the daemon but its
    /// images. Nothing to take down is fine too.
    ///
    /// # Errors
    /// When something that was made cannot be removed.
    pub fn down() -> Result<()> {
        let _lock = cache::lock("cluster")?;
        if let Some(docker) = Docker::find()? {
            let kind = Self { docker };
            if kind.exists()? {
                kind.delete()?;
            }
        }
        // Also a daemon that no longer answers, and what a dead one has left.
        Daemon::at_its_place()?.stop()?;
        let folder = folder()?;
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
        }
        say("the cluster is down");
        Ok(())
    }

    /// The daemon in which the nodes run.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// A command that reaches the cluster: in its network namespace where it has one, with its
    /// kubeconfig, and with kubectl, kind and helm on the PATH.
    ///
    /// # Errors
    /// When the cache has no place.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = self.docker.command(program);
        command
            .env("KUBECONFIG", kubeconfig()?)
            .env("PATH", path_with_tools()?);
        Ok(command)
    }

    /// The nodes' names, which are their containers' too.
    ///
    /// # Errors
    /// When kind cannot list them.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let listed = process::output(self.kind()?.args(["get", "nodes", "--name", NAME]))?;
        // Without nodes it says "No kind nodes found…" on standard error.
        Ok(listed.split_whitespace().map(str::to_owned).collect())
    }

    /// Copies images from the daemon's store into every node.
    ///
    /// # Errors
    /// When an image is not in the store or a node refuses it.
    pub fn load(&self, images: &[&str]) -> Result<()> {
        let mut command = self.kind()?;
        command
            .args(["load", "docker-image", "--name", NAME])
            .args(images);
        process::run(
            &format!("loading {} into the cluster", images.join(", ")),
            &mut command,
        )
    }

    fn is_ready(&self) -> Result<bool> {
        if !kubeconfig()?.is_file() {
            return Ok(false);
        }
        let kubectl = tools::kubectl()?;
        let mut kubectl = self.command(&kubectl.to_string_lossy())?;
        kubectl.args(["get", "--raw", "/readyz", "--request-timeout=5s"]);
        Ok(process::succeeds(&mut kubectl))
    }

    fn exists(&self) -> Result<bool> {
        // Docker is asked, as kind may never have been built when there is nothing to take down.
        let label = format!("label=io.x-k8s.kind.cluster={NAME}");
        let containers = process::output(
            self.docker
                .command("docker")
                .args(["ps", "--all", "--quiet", "--filter", &label]),
        )?;
        Ok(!containers.is_empty())
    }

    fn delete(&self) -> Result<()> {
        process::run(
            "deleting the cluster",
            self.kind()?.args(["delete", "cluster", "--name", NAME]),
        )
    }

    fn create(&self, workers: usize) -> Result<()> {
        let image = node_image::ensure(&self.docker)?;
        // Now, as a node image of ours has been built out of the same binary as kubectl.
        place_tools()?;
        let config = folder()?.join("kind.yaml");
        let template = tools::cluster_folder().join("kind.yaml");
        let template = fs::read_to_string(&template).map_err(Error::file("read", &template))?;
        fs::write(&config, render(&template, image.ours, workers)).map_err(Error::file("write", &config))?;
        let mut create = self.kind()?;
        create.args([
            "create",
            "cluster",
            "--wait",
            "3m",
            "--name",
            NAME,
            "--image",
            &image.name,
        ]);
        create
            .arg("--config")
            .arg(&config)
            .arg("--kubeconfig")
            .arg(kubeconfig()?);
        process::run("creating the cluster", &mut create)?;
        if image.ours && workers > 0 {
            network::join_nodes(self)?;
        }
        Ok(())
    }

    fn kind(&self) -> Result<Command> {
        let mut command = self.command(&KIND.path()?.to_string_lossy())?;
        command.env("KIND_EXPERIMENTAL_PROVIDER", "docker");
        Ok(command)
    }
}

/// A command that reaches the cluster that CLUSTER names, with kubectl, kind and helm on the PATH.
///
/// # Errors
/// When no cluster is up, or CLUSTER has an unknown value.
pub fn command(choice: Choice, program: &str) -> Result<Command> {
    match choice {
        Choice::Kind => Kind::running()?.command(program),
        Choice::Current => {
            // The person's own, where they are there.
            if process::find("kubectl").is_none() || process::find("helm").is_none() {
                place_tools()?;
            }
            let mut command = Command::new(program);
            command.env("PATH", path_with_tools()?);
            Ok(command)
        }
    }
}

/// The kubeconfig of the cluster; there while it is up.
///
/// # Errors
/// When the cache has no place.
pub fn kubeconfig() -> Result<PathBuf> {
    Ok(folder()?.join("kubeconfig"))
}

fn folder() -> Result<PathBuf> {
    Ok(cache::root()?.join("cluster"))
}

fn tools_folder() -> Result<PathBuf> {
    Ok(folder()?.join("bin"))
}

/// One folder for the PATH, with links to the programs in the cache.
fn place_tools() -> Result<()> {
    let folder = tools_folder()?;
    fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    for (name, program) in [
        ("kubectl", tools::kubectl()?),
        ("kind", KIND.path()?),
        ("helm", HELM.path_or_installed()?),
    ] {
        let link = folder.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == program) {
            continue;
        }
        // A link to another version, or none: one that is not there cannot be removed.
        let _ = fs::remove_file(&link);
        symlink(&program, &link).map_err(Error::file("link", &link))?;
    }
    Ok(())
}

fn path_with_tools() -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools_folder()?).chain(std::env::split_paths(&path));
    std::env::join_paths(folders)
        .map_err(|error| Error::Unmet(format!("the cache's path cannot be on the PATH: {error}")))
}

/// The official node image brings kindnet; ours has its network plugin inside.
fn render(template: &str, ours: bool, workers: usize) -> String {
    let mut config = template.trim_end().to_owned();
    if ours {
        config.push_str("\n  disableDefaultCNI: true");
    }
    config.push_str("\nnodes:\n- role: control-plane\n");
    config + &"- role: worker\n".repeat(workers)
}

/// Whether the PATH's first kubectl answers for the kubeconfig in force.
///
/// # Errors
/// When it does not.
pub fn current_answers() -> Result<()> {
    let mut kubectl = command(Choice::Current, "kubectl")?;
    let answer = process::output(kubectl.args(["get", "--raw", "/readyz", "--request-timeout=10s"]));
    answer.map(|_| ()).map_err(|error| {
        Error::Unmet(format!(
            "CLUSTER=current, but the kubeconfig in force reaches no cluster: {error}"
        ))
    })
}

/// The folder for a file that lives as long as the cluster does.
pub(crate) fn state(name: &str) -> Result<PathBuf> {
    Ok(folder()?.join(Path::new(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_says_which_network_and_how_many_nodes() {
        let config = render("networking:\n  ipFamily: ipv4\n", true, 2);
        assert!(
            config.contains("  ipFamily: ipv4\n  disableDefaultCNI: true\nnodes:\n"),
            "{config}"
        );
        assert_eq!(config.matches("role: worker").count(), 2);
        assert!(!render("networking:\n", false, 0).contains("disableDefaultCNI"));
    }
}
