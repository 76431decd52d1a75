//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;
use sconce_contract::plan::PLAN_PATH;

use crate::{group::SeatArguments, report::Destination};

/// Trains a model as a plan says, and reports how it went.
///
/// Exit codes: 0 trained; 65 the plan or the data must change; 75 told to stop; 1 anything else.
#[derive(Clone, Debug, Parser)]
#[command(name = "sconce-trainer", version)]
pub struct Arguments {
    /// The plan, in JSON.
    #[arg(long, env = "SCONCE_PLAN", default_value = PLAN_PATH)]
    pub plan: PathBuf,
    /// File for the report, `-` for the standard output or `none`. Default: /dev/termination-log where it exists.
    #[arg(long, env = "SCONCE_REPORT")]
    pub report: Option<Destination>,
    /// Address of the progress, metrics and probe endpoints.
    #[arg(long, env = "SCONCE_LISTEN", default_value = "0.0.0.0:9090")]
    pub listen: SocketAddr,
    /// The place in a group.
    #[command(flatten)]
    pub group: SeatArguments,
    /// Bytes of memory that it may use. Default: the limit of its control group, or all memory of the machine.
    #[arg(long, env = "SCONCE_MEMORY")]
    pub memory: Option<u64>,
    /// Folder for temporary files: the rows of a table that is larger than the memory that it may take. Default:
    /// /mnt/sconce/scratch where it exists, else TMPDIR, /var/tmp or /tmp.
    #[arg(long, env = "SCONCE_SCRATCH")]
    pub scratch: Option<PathBuf>,
}
