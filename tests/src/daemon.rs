//! A private Docker daemon for machines without one: Debian, root.
//!
//! It has its own data, sockets and network namespace, so that it changes no interface, route or
//! firewall rule of the machine, and everything that a cluster sends stays in that namespace.
//! Images are kept in the cache between one life of the daemon and the next.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;

use crate::process::{self, say};
use crate::{Error, Result, cache, leftovers, packages, tools};

/// Sockets and mounts; short, because a socket's path has at most 107 bytes (unix(7)).
const RUN: &str = "/run/sconce";
/// CAP_SYS_RESOURCE's number (capabilities(7), linux/capability.h).
const SYS_RESOURCE: u32 = 24;
const PATIENCE: Duration = Duration::from_secs(30);

/// The private daemon, running or not.
pub struct Daemon {
    run: PathBuf,
    data: PathBuf,
}

impl Daemon {
    /// The daemon's place on this machine, whether it runs or not.
    ///
    /// # Errors
    /// When the cache has no place.
    pub fn at_its_place() -> Result<Self> {
        Ok(Self {
            run: PathBuf::from(RUN),
            data: cache::root()?.join("docker"),
        })
    }

    /// Starts the daemon, unless it runs.
    ///
    /// # Errors
    /// When this is not Linux, not root, or a package is missing and cannot be installed.
    pub fn start() -> Result<Self> {
        if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
            return Err(Error::Unmet(
                "no Docker daemon answers `docker info`: start Docker, or run this as root on Debian, \
                 where a private daemon can be started"
                    .to_owned(),
            ));
        }
        let daemon = Self::at_its_place()?;
        let _lock = cache::lock("docker")?;
        if daemon.answers() {
            return Ok(daemon);
        }
        packages::ensure("a private Docker daemon", &packages::DAEMON)?;
        // What a crash may have left: a dead daemon's files, mounts and namespace.
        daemon.clean()?;
        daemon.configure()?;
        daemon.add_namespace()?;
        daemon.launch()?;
        Ok(daemon)
    }

    /// Whether the daemon runs and answers.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.socket().exists() && process::succeeds(self.command("docker").arg("info"))
    }

    /// Stops the daemon and takes back all that it has made but its images.
    ///
    /// # Errors
    /// When something it made cannot be removed.
    pub fn stop(&self) -> Result<()> {
        let _lock = cache::lock("docker")?;
        if let Some(pid) = self.pid() {
            // It may end between our look and the signal.
            let _ = kill_process(pid, Signal::TERM);
            let started = Instant::now();
            while test_kill_process(pid).is_ok() && started.elapsed() < PATIENCE {
                sleep(Duration::from_millis(50));
            }
            if test_kill_process(pid).is_ok() {
                say("the private Docker daemon ignores SIGTERM, killing it");
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        self.clean()
    }

    /// A command in the daemon's network namespace. `nsenter`, as `ip netns exec` would mount a
    /// new /sys without the cgroups, and dockerd stops with "Devices cgroup isn't mounted".
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace().display()))
            .arg(program)
            .envs(self.environment());
        command
    }

    /// What a program needs in its environment to reach the daemon.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        // Debian packages no BuildKit front end, and the daemon has no registry to pull one from.
        [
            ("DOCKER_HOST", format!("unix://{}", self.socket().display())),
            ("DOCKER_BUILDKIT", "0".to_owned()),
        ]
    }

    fn socket(&self) -> PathBuf {
        self.run.join("docker.sock")
    }

    /// The network namespace, mounted on a file. Not under /run/netns: `ip netns add` turns that
    /// folder into a mount of its own, for good.
    fn namespace(&self) -> PathBuf {
        self.run.join("net")
    }

    fn pid_file(&self) -> PathBuf {
        self.run.join("docker.pid")
    }

    /// The daemon's process, if the one with that number is a dockerd of ours.
    fn pid(&self) -> Option<Pid> {
        let number: i32 = fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()?;
        let line = fs::read_to_string(format!("/proc/{number}/cmdline")).ok()?;
        (line.contains("dockerd") && line.contains(RUN))
            .then(|| Pid::from_raw(number))
            .flatten()
    }

    fn configure(&self) -> Result<()> {
        fs::create_dir_all(&self.run).map_err(Error::file("create", &self.run))?;
        let mut config = json!({
            "data-root": self.data,
            "exec-root": self.run.join("exec"),
            "pidfile": self.pid_file(),
            "hosts": [format!("unix://{}", self.socket().display())],
            "storage-driver": "overlay2",
        });
        if !has_capability(SYS_RESOURCE) {
            say("root lacks CAP_SYS_RESOURCE here: containers go without it");
            config["runtimes"] =
                json!({ "without-sys-resource": { "path": tools::kubernetes()?.join("runc") } });
            config["default-runtime"] = json!("without-sys-resource");
        }
        let file = self.run.join("docker.json");
        fs::write(&file, config.to_string()).map_err(Error::file("write", &file))
    }

    fn add_namespace(&self) -> Result<()> {
        let file = self.namespace();
        fs::write(&file, "").map_err(Error::file("create", &file))?;
        let mut unshare = Command::new("unshare");
        unshare.arg(format!("--net={}", file.display()));
        process::output(unshare.args(["ip", "link", "set", "lo", "up"])).map(|_| ())
    }

    fn launch(&self) -> Result<()> {
        let log_path = self.run.join("docker.log");
        let log = fs::File::create(&log_path).map_err(Error::file("create", &log_path))?;
        let errors = log.try_clone().map_err(Error::file("open", &log_path))?;
        let mut child = self
            .command("dockerd")
            .arg("--config-file")
            .arg(self.run.join("docker.json"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // An interrupt at the terminal is for the command that waits, not for the daemon.
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Start {
                command: "dockerd".to_owned(),
                source,
            })?;
        let started = Instant::now();
        while !self.answers() {
            let stopped = child.try_wait().map_err(|source| Error::Start {
                command: "dockerd".to_owned(),
                source,
            })?;
            let problem = match stopped {
                Some(status) => format!("stopped ({status})"),
                None if started.elapsed() > PATIENCE => {
                    format!("did not answer within {} s", PATIENCE.as_secs())
                }
                None => {
                    sleep(Duration::from_millis(50));
                    continue;
                }
            };
            let tail = process::tail_of_path(&log_path);
            return Err(Error::Component {
                component: "dockerd".to_owned(),
                problem,
                tail,
            });
        }
        say(&format!(
            "started a private Docker daemon in {:.1}s",
            started.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Removes mounts, namespace, cgroups and files of a daemon that has ended.
    fn clean(&self) -> Result<()> {
        leftovers::remove(&[&self.run, &self.data])?;
        if self.run.exists() {
            fs::remove_dir_all(&self.run).map_err(Error::file("remove", &self.run))?;
        }
        Ok(())
    }
}

fn has_capability(number: u32) -> bool {
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| effective_capabilities(&status) >> number & 1 == 1)
}

/// The bits of `CapEff` in /proc/PID/status (proc(5)).
fn effective_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_bit_by_bit() {
        let without = effective_capabilities("Name:\tsh\nCapEff:\t000001fffeffffff\n");
        let with = effective_capabilities("CapEff:\t000001ffffffffff\n");
        assert_eq!((without >> SYS_RESOURCE & 1, with >> SYS_RESOURCE & 1), (0, 1));
        assert_eq!(effective_capabilities(""), 0);
    }
}
