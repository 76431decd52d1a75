//! A Docker daemon to talk to: the one at hand, or a private one (`daemon.rs`).

use std::process::Command;

use crate::daemon::Daemon;
use crate::{Result, process};

/// Where containers run.
pub enum Docker {
    /// The daemon that `docker info` reaches in this environment.
    AtHand,
    /// A daemon of our own, in a network namespace of its own.
    Private(Daemon),
}

impl Docker {
    /// The daemon at hand, else the private one, started if need be.
    ///
    /// # Errors
    /// When there is none at hand and a private one cannot be started here.
    pub fn find_or_start() -> Result<Self> {
        if let Some(found) = Self::find()? {
            return Ok(found);
        }
        Ok(Self::Private(Daemon::start()?))
    }

    /// A daemon that already runs.
    ///
    /// # Errors
    /// When the cache has no place.
    pub fn find() -> Result<Option<Self>> {
        if process::succeeds(Command::new("docker").arg("info")) {
            return Ok(Some(Self::AtHand));
        }
        let private = Daemon::at_its_place()?;
        Ok(private.answers().then_some(Self::Private(private)))
    }

    /// A command that reaches the daemon and whatever it runs: in the daemon's network namespace
    /// and with its `DOCKER_HOST`, where it is a private one.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        match self {
            Self::AtHand => Command::new(program),
            Self::Private(daemon) => daemon.command(program),
        }
    }

    /// `docker build` of a folder, as one image.
    ///
    /// # Errors
    /// When the build fails.
    pub fn build(&self, label: &str, arguments: &[&str], context: &std::path::Path) -> Result<()> {
        process::run(
            label,
            self.command("docker")
                .args(["build", "--quiet", "--force-rm"])
                .args(arguments)
                .arg(context),
        )
    }

    /// Whether an image of that name is in the daemon's store.
    #[must_use]
    pub fn has_image(&self, name: &str) -> bool {
        process::succeeds(self.command("docker").args(["image", "inspect", name]))
    }
}
