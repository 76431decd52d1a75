//! Images that know nothing of Sconce, as users bring them: a web server and a language, unchanged.
//!
//! A cluster of one's own pulls them from Docker Hub. Ours has no registry: Debian's packages of the same programs
//! are made into images and loaded before the tests, which may have no way out.

use std::fs;

use crate::choice::Choice;
use crate::docker::Docker;
use crate::kind::Kind;
use crate::{Error, Result, images, node_image};

/// An image of somebody else's.
pub struct Borrowed {
    /// What it runs.
    program: &'static str,
    /// Debian's packages.
    packages: &'static str,
    /// Where others pull it.
    public: &'static str,
}

/// nginx.
pub const NGINX: Borrowed = Borrowed {
    program: "nginx",
    packages: "nginx-light,base-files",
    public: "docker.io/library/nginx:1.29",
};
/// Python, with its standard library and nothing else.
pub const PYTHON: Borrowed = Borrowed {
    program: "python",
    packages: "python3,base-files",
    public: "docker.io/library/python:3.13-slim",
};

impl Borrowed {
    /// The name by which a manifest asks for it in the cluster that CLUSTER names.
    ///
    /// # Errors
    /// When CLUSTER has an unknown value.
    pub fn reference(&self) -> Result<String> {
        Ok(match Choice::from_env()? {
            Choice::Kind => self.name(),
            Choice::Current => self.public.to_owned(),
        })
    }

    fn name(&self) -> String {
        format!("docker.io/borrowed/{}:dev", self.program)
    }

    fn build(&self, docker: &Docker) -> Result<()> {
        let name = self.name();
        if docker.has_image(&name) {
            return Ok(());
        }
        let archive = node_image::debian(self.program, "extract", self.packages)?;
        let context = tempfile::tempdir().map_err(Error::file("create", &std::env::temp_dir()))?;
        let root = context.path().join("root.tar");
        fs::copy(&archive, &root).map_err(Error::file("copy", &archive))?;
        let file = context.path().join("Dockerfile");
        fs::write(
            &file,
            "FROM scratch\nADD root.tar /\nENV PATH=/usr/sbin:/usr/bin\n",
        )
        .map_err(Error::file("write", &file))?;
        docker.build(&format!("building {name}"), &["--tag", &name], context.path())
    }
}

/// Makes them and loads those that the cluster's nodes do not have.
///
/// # Errors
/// When a step fails.
pub fn ensure(cluster: &Kind) -> Result<()> {
    let all = [&NGINX, &PYTHON];
    for image in all {
        image.build(cluster.docker())?;
    }
    images::load(cluster, &all.map(Borrowed::name))
}
