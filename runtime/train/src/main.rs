//! `sconce-trainer`: see the crate `sconce-train`.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use sconce_contract::Report;
use sconce_train::{
    TrainError,
    arguments::Arguments,
    display, observe, plan,
    report::Destination,
    run,
    supervise::supervise,
    watch::{Stop, Watch},
};

/// glibc's allocator costs a small training step more than the arithmetic does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all: it may start the program again.
    let threads = sconce_engine::threads::ensure();
    let start = Instant::now();
    let arguments = Arguments::parse();
    display::start_log();
    if let Err(error) = threads {
        tracing::warn!(%error, "the number of threads could not be set; arithmetic may be slower");
    }
    let (watch, stop) = (Watch::default(), Stop::default());
    // Signals are heard before anything is read.
    match observe::start(arguments.listen, &watch, &stop) {
        Ok(address) => tracing::info!(%address, "progress and metrics can be asked for"),
        Err(error) => {
            tracing::warn!(listen = %arguments.listen, %error, "training without a progress endpoint");
        }
    }

    let work = {
        let (path, watch, stop) = (arguments.plan.clone(), watch.clone(), stop.clone());
        move || plan::read(&path).and_then(|plan| run::run(&plan, start, &watch, &stop))
    };
    let report = supervise(&watch, &stop, work).unwrap_or_else(|error| failed(&error));
    display::trained(&report);
    arguments.report.unwrap_or_else(Destination::found).write(&report);
    ExitCode::from(report.exit_code())
}

fn failed(error: &TrainError) -> Report {
    let failure = error.failure();
    tracing::error!(class = ?failure.class, field = failure.field, "{}", failure.message);
    Report::Failed(failure)
}
