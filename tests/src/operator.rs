//! The operator under test: the real `sconce-operator run` as a process on this machine, with the rights of the
//! chart's own service account. It cannot outlive the process that started it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result, binaries, ports};

/// Image of the trainer in the pods of the operator under test; nothing pulls it.
pub const TRAINER_IMAGE: &str = "registry.example/sconce-trainer:test";
/// Image of the server.
pub const SERVER_IMAGE: &str = "registry.example/sconce-server:test";

/// What an operator is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// A kubeconfig with the rights of the chart's service account.
    pub kubeconfig: PathBuf,
    /// Where its log goes.
    pub log: PathBuf,
    /// Name of this replica. A container that is restarted in its pod keeps it.
    pub identity: String,
    /// Image of the server where a profile names none.
    pub server_image: String,
    /// The folder of nodes in which servers may keep models.
    pub node_cache: Option<String>,
    /// The one namespace to work in; all where it is absent.
    pub namespace: Option<String>,
    /// The program; absent: this checkout's, compiled where that is needed.
    pub program: Option<PathBuf>,
}

/// A running operator; killed and reaped when dropped.
pub struct Operator {
    process: Guarded,
    port: u16,
}

/// A process that cannot outlive this one; killed and reaped when dropped.
pub struct Guarded {
    child: Child,
    /// Kills the child when this process ends, however it ends: the kernel then closes its standard input.
    watchdog: Child,
}

impl Operator {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn start(options: &Options) -> Result<Self> {
        let binary = match &options.program {
            Some(program) => program.clone(),
            None => binaries::path("sconce-operator")?,
        };
        let port = ports::free()?;
        let mut command = Command::new(binary);
        command
            .args(["run", "--trainer-image", TRAINER_IMAGE, "--server-image"])
            .arg(&options.server_image)
            .args([
                "--identity",
                &options.identity,
                "--lease-namespace",
                "sconce-system",
            ])
            .arg(format!("--listen=127.0.0.1:{port}"))
            .args(
                options
                    .namespace
                    .iter()
                    .flat_map(|namespace| ["--watch-namespace", namespace]),
            )
            .args(
                options
                    .node_cache
                    .iter()
                    .flat_map(|path| ["--node-cache-path", path]),
            )
            // As in the chart.
            .env("MALLOC_ARENA_MAX", "1")
            .env("KUBECONFIG", &options.kubeconfig);
        let process = Guarded::start(&mut command, &options.log)?;
        Ok(Self { process, port })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.child.try_wait().map_err(|source| Error::Start {
            command: "wait for the operator".to_owned(),
            source,
        })
    }

    /// Asks it to end, as the kubelet does, and waits until it has; its exit status and how long it took.
    ///
    /// # Errors
    /// When it has not ended within 30 s, the grace period of its pod.
    pub fn terminate(mut self) -> Result<(ExitStatus, Duration)> {
        let asked = Instant::now();
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(|error| Error::Start {
                command: "kill -TERM".to_owned(),
                source: error.into(),
            })?;
        }
        while asked.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.ended()? {
                return Ok((status, asked.elapsed()));
            }
            sleep(Duration::from_millis(10));
        }
        Err(Error::Unmet(
            "the operator did not end within 30 s of SIGTERM".to_owned(),
        ))
    }

    /// What it answers to `GET path`: the whole response, head and body.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<String> {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().map_err(|source| Error::Start {
            command: format!("GET {path}"),
            source,
        })
    }
}

impl Guarded {
    /// Starts the command; what it says goes to the end of `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::file("create", log))?;
        let errors = file.try_clone().map_err(Error::file("open", log))?;
        let mut child = started(command.stdin(Stdio::null()).stdout(file).stderr(errors))?;
        let mut guard = Command::new("sh");
        guard
            .args(["-c", "cat; kill -9 \"$0\"", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match started(&mut guard) {
            Ok(watchdog) => Ok(Self { child, watchdog }),
            Err(error) => {
                // It fails only when the child has ended already.
                let _ = child.kill();
                Err(error)
            }
        }
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The watchdog first: it must not kill another process that the child's number was given to. Each of
        // these fails only when the process has ended already.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn started(command: &mut Command) -> Result<Child> {
    command.spawn().map_err(|source| Error::Start {
        command: format!("{command:?}"),
        source,
    })
}
