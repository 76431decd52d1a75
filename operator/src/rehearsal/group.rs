//! Several trainers that learn together, each a process of its own on this machine.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use sconce_contract::digest::short_hash;
use tokio::process::{Child, Command};

use super::{RehearsalError, at};

/// Seconds that they wait for each other: all are started at once.
const WAIT: &str = "60";

/// The others of a group, which end with it: they are killed when this goes.
#[derive(Debug, Default)]
pub struct Group {
    leader: String,
    others: Vec<Child>,
}

impl Group {
    /// Starts all but the first of `count` trainers; nothing where there is one. What they say is in
    /// `<name>.worker-<number>.log`.
    ///
    /// # Errors
    /// A program that cannot be started, or a file that cannot be written.
    pub fn start(
        program: &Path,
        folder: &Path,
        name: &str,
        plan: &Path,
        count: u32,
    ) -> Result<Self, RehearsalError> {
        if count < 2 {
            return Ok(Group::default());
        }
        // Free now; who takes it meanwhile keeps the first trainer from starting, which is told.
        let leader = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let leader = leader.map_err(at(folder))?.to_string();
        let mut group = Group {
            leader,
            others: Vec::new(),
        };
        for worker in 1..count {
            let log = folder.join(format!("{name}.worker-{worker}.log"));
            let file = File::create(&log).map_err(at(&log))?;
            let mut command = Command::new(program);
            command
                .arg("--plan")
                .arg(plan)
                .args(["--report", "none", "--listen", "127.0.0.1:0"])
                .args(group.place(worker))
                .stdout(Stdio::null())
                .stderr(file)
                .kill_on_drop(true);
            group.others.push(command.spawn().map_err(at(program))?);
        }
        Ok(group)
    }

    /// The arguments of a trainer's place; none where it is alone.
    pub fn place(&self, worker: u32) -> Vec<String> {
        if self.leader.is_empty() {
            return Vec::new();
        }
        let listen = if worker == 0 { &self.leader } else { "127.0.0.1:0" };
        let number = worker.to_string();
        // Whoever may see it in the list of processes is on this machine already.
        let token = short_hash(&(&self.leader, std::process::id()));
        [
            ("--group-worker", number.as_str()),
            ("--group-leader", &self.leader),
            ("--group-listen", listen),
            ("--group-token", &token),
            ("--group-wait", WAIT),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
        .collect()
    }
}
