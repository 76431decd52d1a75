//! `make bench-train`: how fast a model is trained, how much memory that takes, and Keras and PyTorch beside it in the same
//! run, on the same cores. `make bench-load`: likewise how fast a table becomes batches, pandas and polars beside it.
//!
//! ```text
//!   main ── one line per figure (figure)
//!    ├── seed ── whole processes: table (a CSV) → train, evaluate, save; time and memory of each (child)
//!    ├── steps ── processes that are asked for the time of a step, by turns; and for the speed of gemm
//!    └── load ── whole processes: a CSV or Parquet file → the batches of an epoch
//! ```
//!
//! What users of the others would write is in `bench/train` and `bench/load`. Read [`seed`] first.

mod child;
mod figure;
mod load;
mod seed;
mod steps;
mod table;

use std::path::PathBuf;
use std::process::Command;

use clap::Parser;
use sconce_tests::frameworks::{KERAS, PYTORCH};
use sconce_tests::process;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is measured.
#[derive(Parser)]
struct Options {
    /// Turns: ours, then each peer. The printed ratio is the median of the pairs.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Seconds for which one step is repeated, at each turn.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Rows of the table.
    #[arg(long, default_value_t = 20_000)]
    rows: u32,
    /// Megabytes of the table that is loaded.
    #[arg(long, default_value_t = 1_000)]
    megabytes: u32,
    /// Parts: seed (train-seed and train-memory), steps (the others of train), load (load-csv and load-parquet).
    #[arg(long, value_delimiter = ',', default_value = "seed,steps")]
    parts: Vec<String>,
    /// Processors that all contenders run on, as taskset(1) takes them.
    #[arg(long, default_value = "0,1")]
    cores: String,
    /// Where our programs are.
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
}

/// Interpreters of the peers.
struct Peers {
    keras: PathBuf,
    pytorch: PathBuf,
}

impl Options {
    /// A program on the cores that are measured on.
    fn pinned(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &self.cores]).arg(program);
        command
    }
}

fn main() -> Result {
    let options = Options::parse();
    if process::find("taskset").is_none() {
        return Err(
            "taskset is needed to keep all contenders on the same processors: install util-linux".into(),
        );
    }
    figure::note(&format!(
        "all on processors {} (taskset), {} turns",
        options.cores, options.pairs
    ));
    let wants = |part: &str| options.parts.iter().any(|asked| asked == part);
    // What fails does not keep the other parts from being measured.
    let mut measured = Vec::new();
    if wants("seed") || wants("steps") {
        let peers = Peers {
            keras: KERAS.python()?,
            pytorch: PYTORCH.python()?,
        };
        if wants("seed") {
            measured.push(seed::measure(&options, &peers));
        }
        if wants("steps") {
            measured.push(steps::measure(&options, &peers));
        }
    }
    if wants("load") {
        measured.push(load::measure(&options));
    }
    let asked = measured.len();
    let failures: Vec<_> = measured.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() {
        return Ok(());
    }
    for failure in &failures {
        figure::note(&format!("failed: {failure}"));
    }
    Err(format!("{} of {asked} parts failed", failures.len()).into())
}
