//! The programs that a cluster is made of and driven with, built from source through Go's own
//! module proxy and checksum database: a few minutes once, then a look into the cache.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{self, Key};
use crate::process::{self, say};
use crate::{Error, Result};

/// The version of Kubernetes in `tests/cluster/go.mod`, without its `v`.
pub const KUBERNETES: &str = "1.34.4";

/// The container runtime of a node image of ours. Debian's is older, and mounts no images as volumes.
const CONTAINERD: (&str, &str) = ("github.com/containerd/containerd/v2", "v2.1.5");

/// The names by which the one binary acts as a component (`tests/cluster/main.go`).
const COMPONENTS: [&str; 9] = [
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubeadm",
    "kubectl",
    "kubelet",
];

/// A program that `go install` builds as it is.
pub struct Tool {
    /// The binary's name.
    pub name: &'static str,
    package: &'static str,
    version: &'static str,
    /// What to expect on two cores with an empty cache.
    minutes: &'static str,
    /// `go install` asks for the list of all versions too, which a proxy may keep to itself where it has the one.
    in_its_source: bool,
}

/// Creates and deletes the cluster in containers.
pub const KIND: Tool = Tool {
    name: "kind",
    package: "sigs.k8s.io/kind",
    version: "v0.33.0",
    minutes: "10 s",
    in_its_source: false,
};
/// Installs the chart.
pub const HELM: Tool = Tool {
    name: "helm",
    package: "helm.sh/helm/v3/cmd/helm",
    version: "v3.19.5",
    minutes: "2 minutes",
    in_its_source: false,
};
/// Gives the claims of a node image of ours their volumes.
pub const LOCAL_PATH_PROVISIONER: Tool = Tool {
    name: "local-path-provisioner",
    package: "github.com/rancher/local-path-provisioner",
    version: "v0.0.30",
    minutes: "90 s",
    in_its_source: false,
};

/// What `make bench-operator` holds our operator against.
pub const JOBSET: Tool = Tool {
    name: "jobset",
    package: "sigs.k8s.io/jobset",
    version: "v0.12.0",
    minutes: "4 minutes",
    in_its_source: true,
};

/// Lets Jobs in by queues and quotas. Its proxy serves no list of its versions, which `go install` asks for:
/// [`crate::kueue`] builds it in its own folder.
pub const KUEUE: Tool = Tool {
    name: "kueue",
    package: "sigs.k8s.io/kueue",
    version: "v0.19.0",
    minutes: "8 minutes",
    in_its_source: false,
};

/// Speaks Amazon's S3 over a folder.
pub const VERSITYGW: Tool = Tool {
    name: "versitygw",
    package: "github.com/versity/versitygw/cmd/versitygw",
    version: "v1.8.0",
    minutes: "1 minute",
    in_its_source: false,
};

/// Speaks Google's storage protocol, as far as reading goes: it refuses an upload by Google's XML interface.
pub const FAKE_GCS_SERVER: Tool = Tool {
    name: "fake-gcs-server",
    package: "github.com/fsouza/fake-gcs-server",
    version: "v1.56.1",
    minutes: "2 minutes",
    in_its_source: false,
};

/// Speaks the interface that Amazon's storage and Google's (in XML) have in common, and asks nobody who he is.
pub const GOFAKES3: Tool = Tool {
    name: "gofakes3",
    package: "github.com/johannesboyne/gofakes3/cmd/gofakes3",
    version: "v1.2.0",
    minutes: "20 s",
    in_its_source: false,
};

impl Tool {
    /// The binary, built when it is not in the cache yet.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn path(&self) -> Result<PathBuf> {
        let folder = cache::entry(&self.key(), |folder| {
            let label = format!(
                "building {} {} from source (once; about {})",
                self.name, self.version, self.minutes
            );
            let mut build = go()?;
            if self.in_its_source {
                build
                    .current_dir(self.source()?)
                    .args(["build", "-trimpath", "-buildvcs=false"]);
                build
                    .args(["-ldflags=-s -w", "-o"])
                    .arg(folder.join(self.name))
                    .arg(".");
            } else {
                let package = format!("{}@{}", self.package, self.version);
                build.env("GOBIN", folder);
                build.args(["install", "-trimpath", "-ldflags=-s -w", &package]);
            }
            process::run(&label, &mut build)
        })?;
        Ok(folder.join(self.name))
    }

    /// The binary: built where it has been, else the PATH's, else built now.
    ///
    /// # Errors
    /// When there is neither and it cannot be built.
    pub fn path_or_installed(&self) -> Result<PathBuf> {
        match (cache::find(&self.key())?, installed(self.name)) {
            (None, Some(installed)) => Ok(installed),
            _ => self.path(),
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(self.name).text(self.package).text(self.version)
    }

    /// The module's source, as it lies in Go's module cache.
    ///
    /// # Errors
    /// When Go is missing or the module cannot be downloaded.
    pub fn source(&self) -> Result<PathBuf> {
        source(self.package, self.version)
    }
}

fn source(module: &str, version: &str) -> Result<PathBuf> {
    let module = format!("{module}@{version}");
    let answer = process::output(go()?.args(["mod", "download", "-json", &module]).current_dir("/"))?;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    let folder = answer["Dir"].as_str().map(PathBuf::from);
    folder.ok_or_else(|| {
        Error::Unmet(format!(
            "`go mod download {module}` named no folder: update Go to 1.24 or newer"
        ))
    })
}

/// The folder with `containerd`, its shim and `ctr`.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn containerd() -> Result<PathBuf> {
    let (module, version) = CONTAINERD;
    cache::entry(&Key::new("containerd").text(module).text(version), |folder| {
        let label = format!("building containerd {version} from source (once; about 3 minutes)");
        let mut build = go()?;
        // `go install` refuses a module that leaves out versions of others; the list of its packages in the module's
        // cache is no vendor folder.
        build.current_dir(source(module, version)?).args([
            "build",
            "-trimpath",
            "-mod=readonly",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "-o",
        ]);
        build
            .arg(folder)
            .args(["containerd", "containerd-shim-runc-v2", "ctr"].map(|program| format!("./cmd/{program}")));
        process::run(&label, &mut build)
    })
}

/// The folder with every Kubernetes component under its own name, beside `k8s` (the one binary
/// behind them), `pause` and `runc` (without CAP_SYS_RESOURCE).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn kubernetes() -> Result<PathBuf> {
    let module = cluster_folder();
    let flags = link_flags();
    let key = kubernetes_key()?;
    cache::entry(&key, |folder| {
        let label =
            format!("building Kubernetes {KUBERNETES} from source (once; about 10 minutes on 2 cores)");
        let mut build = go()?;
        build.current_dir(&module).args([
            "build",
            "-trimpath",
            "-mod=readonly",
            "-buildvcs=false",
            &flags,
            "-o",
        ]);
        process::run(&label, build.arg(folder).args([".", "./pause", "./runc"]))?;
        let binary = folder.join("k8s");
        fs::rename(folder.join("cluster"), &binary).map_err(Error::file("name", &binary))?;
        for component in COMPONENTS {
            let link = folder.join(component);
            symlink("k8s", &link).map_err(Error::file("link", &link))?;
        }
        Ok(())
    })
}

/// The program of `tests/judges`: what Argo CD, kstatus and Prometheus make of what they are given.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn judges() -> Result<PathBuf> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges");
    let folder = cache::entry(&Key::new("judges").folder(&module)?, |folder| {
        let label =
            "building Argo CD's Lua, kstatus and Prometheus' parser from source (once; about 1 minute)";
        let mut build = go()?;
        build.current_dir(&module).args([
            "build",
            "-trimpath",
            "-mod=readonly",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "-o",
        ]);
        process::run(label, build.arg(folder).arg("."))
    })?;
    Ok(folder.join("judges"))
}

/// A kubectl: the one built from source where it has been, else the PATH's, as nobody should wait ten
/// minutes for a client that they have.
///
/// # Errors
/// When there is neither and it cannot be built.
pub fn kubectl() -> Result<PathBuf> {
    match (cache::find(&kubernetes_key()?)?, installed("kubectl")) {
        (Some(built), _) => Ok(built.join("kubectl")),
        (None, Some(installed)) => Ok(installed),
        (None, None) => Ok(kubernetes()?.join("kubectl")),
    }
}

/// The PATH's program, followed to where it is: the PATH may hold links of ours.
fn installed(program: &str) -> Option<PathBuf> {
    process::find(program).and_then(|found| fs::canonicalize(found).ok())
}

fn kubernetes_key() -> Result<Key> {
    let module = cluster_folder();
    Key::new("kubernetes")
        .text(&link_flags())
        .file(&module.join("go.mod"))?
        .file(&module.join("go.sum"))?
        .file(&module.join("main.go"))?
        .folder(&module.join("pause"))?
        .folder(&module.join("runc"))
}

/// Everything that a person's cluster needs, and says where it is.
///
/// # Errors
/// When one of the builds fails.
pub fn prepare() -> Result<()> {
    kubernetes()?;
    for tool in [KIND, HELM, LOCAL_PATH_PROVISIONER] {
        tool.path()?;
    }
    say(&format!(
        "Kubernetes {KUBERNETES}, kind and helm are in {}",
        cache::root()?.display()
    ));
    Ok(())
}

/// `tests/cluster` of the checkout that this crate was built in.
#[must_use]
pub fn cluster_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}

/// The kubelet, kube-proxy and kubeadm refuse to run as version v0.0.0.
fn link_flags() -> String {
    let mut numbers = KUBERNETES.split('.');
    let (major, minor) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    let version = "-X k8s.io/component-base/version.git";
    format!("-ldflags=-s -w {version}Version=v{KUBERNETES} {version}Major={major} {version}Minor={minor}")
}

pub(crate) fn go() -> Result<Command> {
    let Some(go) = process::find("go") else {
        return Err(Error::Missing {
            program: "go".to_owned(),
            purpose: "to build Kubernetes from source".to_owned(),
            remedy: "install Go 1.24 or newer (https://go.dev/doc/install)".to_owned(),
        });
    };
    let mut command = Command::new(go);
    // Static binaries: they run in images that hold nothing else.
    command.env("CGO_ENABLED", "0");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_modules() {
        let module = fs::read_to_string(cluster_folder().join("go.mod")).unwrap();
        assert!(module.contains(&format!("k8s.io/kubernetes v{KUBERNETES}\n")));
        assert!(link_flags().contains("gitMinor=34"));
    }

    #[test]
    fn every_component_has_its_case() {
        let main = fs::read_to_string(cluster_folder().join("main.go")).unwrap();
        for component in COMPONENTS {
            assert!(main.contains(&format!("\"{component}\":")), "{component}");
        }
    }
}
