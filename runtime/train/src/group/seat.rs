//! Where a worker sits: its number, and where the first one is found.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use sconce_contract::Nodes;

use crate::TrainError;

/// A place in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its number, from 0.
    pub worker: u32,
    /// Host and port of the first worker.
    pub leader: String,
    /// Where it listens itself.
    pub listen: SocketAddr,
    /// What nobody else knows.
    pub token: String,
    /// With how many workers the first one begins once it has waited.
    pub least: u32,
    /// How long it waits for all before it begins with fewer.
    pub settle: Duration,
    /// How long workers wait for each other.
    pub wait: Duration,
}

/// The same on the command line.
#[derive(Clone, Debug, Default, Args)]
pub struct SeatArguments {
    /// Number of this worker, from 0, where the plan has several (`nodes.count`).
    #[arg(long, env = "SCONCE_GROUP_WORKER")]
    group_worker: Option<u32>,
    /// Host and port of worker 0.
    #[arg(long, env = "SCONCE_GROUP_LEADER")]
    group_leader: Option<String>,
    /// Address on which this worker listens to the others; the port of worker 0 is the one of `--group-leader`.
    #[arg(long, env = "SCONCE_GROUP_LISTEN")]
    group_listen: Option<SocketAddr>,
    /// What the workers of a group know and nobody else.
    #[arg(long, env = "SCONCE_GROUP_TOKEN", hide_env_values = true)]
    group_token: Option<String>,
    /// Seconds that workers wait for each other.
    #[arg(long, env = "SCONCE_GROUP_WAIT", default_value = "600")]
    group_wait: u64,
    /// Seconds that worker 0 waits for all before it begins with fewer, where the plan allows that (`nodes.minCount`).
    #[arg(long, env = "SCONCE_GROUP_SETTLE", default_value = "60")]
    group_settle: u64,
}

impl SeatArguments {
    /// The seat in a group; nothing where one works alone.
    ///
    /// # Errors
    /// An argument that a group needs is missing.
    pub fn seat(&self, nodes: Nodes) -> Result<Option<Seat>, TrainError> {
        let (count, least) = (nodes.count, nodes.least());
        if !nodes.is_group() {
            return Ok(None);
        }
        let (Some(worker), Some(leader), Some(listen), Some(token)) = (
            self.group_worker,
            self.group_leader.clone(),
            self.group_listen,
            self.group_token.clone(),
        ) else {
            let problem = format!(
                "the plan has {count} workers: start as many trainers, each with --group-worker, --group-leader, \
                 --group-listen and --group-token"
            );
            return Err(TrainError::setting("nodes.count", problem));
        };
        if worker >= count {
            let problem = format!("there is no worker {worker}, they count from 0 to {}", count - 1);
            return Err(TrainError::setting("nodes.count", problem));
        }
        Ok(Some(Seat {
            worker,
            leader,
            listen,
            token,
            least,
            settle: Duration::from_secs(self.group_settle),
            wait: Duration::from_secs(self.group_wait),
        }))
    }
}
