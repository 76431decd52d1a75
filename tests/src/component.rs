//! One component as a child process that cannot outlive its parent.
//!
//! The child's standard input is a pipe that only this process holds, and the binary exits when
//! the pipe closes (`K8S_EXIT_WITH_STDIN`, `tests/cluster/main.go`): however this process ends,
//! SIGKILL included, the kernel closes the pipe. A parent-death signal would do the same on Linux
//! alone, needs unsafe code, and fires when the *thread* that spawned the child ends (prctl(2)).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::process::tail_of_path;
use crate::{Error, Result};

/// A running component; killed and reaped when dropped.
pub(crate) struct Component {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Component {
    /// Starts the component of that name out of the folder of binaries.
    pub(crate) fn start(
        binaries: &Path,
        name: &'static str,
        arguments: &[String],
        folder: &Path,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(Error::file("create", &log))?;
        let errors = file.try_clone().map_err(Error::file("open", &log))?;
        let child = Command::new(binaries.join(name))
            .args(arguments)
            .current_dir(folder)
            .env("K8S_EXIT_WITH_STDIN", "1")
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(|source| Error::Start {
                command: name.to_owned(),
                source,
            })?;
        Ok(Self { name, child, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails when the component has stopped by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.problem(format!("stopped ({status})"))),
            Err(source) => Err(Error::Start {
                command: self.name.to_owned(),
                source,
            }),
        }
    }

    pub(crate) fn problem(&self, problem: String) -> Error {
        Error::Component {
            component: self.name.to_owned(),
            problem,
            tail: tail_of_path(&self.log),
        }
    }

    /// Sends SIGKILL; the state is thrown away, so nothing is worth an orderly end.
    pub(crate) fn kill(&mut self) {
        // It fails only when the child has already been reaped.
        let _ = self.child.kill();
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.kill();
        // Reaps the child; it fails only when there is none.
        let _ = self.child.wait();
    }
}
