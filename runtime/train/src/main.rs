//! `sconce-trainer`: see the crate `sconce-train`.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use sconce_contract::{FailureClass, Report};
use sconce_train::{
    TrainError,
    arguments::Arguments,
    checkpoint, display, observe, plan,
    report::Destination,
    room::Room,
    run,
    supervise::supervise,
    watch::{Stop, Watch},
};

/// glibc's allocator costs a small training step more than the arithmetic does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a training that is done and could not say so: as of a failure that a retry may mend.
const UNREPORTED: u8 = 1;

fn main() -> ExitCode {
    use_small_pages();
    // First of all but that: it may start the program again.
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
        let (path, group) = (arguments.plan.clone(), arguments.group.clone());
        let (watch, stop) = (watch.clone(), stop.clone());
        let room = Room::found(arguments.memory, arguments.scratch);
        move || {
            let plan = plan::read(&path)?;
            let seat = group.seat(plan.nodes.unwrap_or_default())?;
            run::run_in(&plan, seat.as_ref(), &room, start, &watch, &stop)
        }
    };
    let report = supervise(&watch, &stop, work).unwrap_or_else(|error| failed(&error, &watch));
    display::trained(&report);
    let destination = arguments.report.unwrap_or_else(Destination::found);
    if let Err(error) = destination.write(&report) {
        // Whoever waits for the report has it tried again, from the checkpoints.
        tracing::error!(?destination, %error, "the report could not be written");
        return ExitCode::from(report.exit_code().max(UNREPORTED));
    }
    if needs_no_checkpoint(&report) {
        // After the report, so that a kill in between loses nothing: the next attempt would still find them.
        let discarded = plan::read(&arguments.plan).map(|plan| checkpoint::discard(&plan));
        if let Ok(Err(error)) = discarded {
            tracing::warn!(%error, "the checkpoints of the run could not be removed");
        }
    }
    ExitCode::from(report.exit_code())
}

/// A huge page is 2 MiB of which a small training uses a few: with them it takes twice its memory, and a large one is not
/// faster. What was given to the process before stays; a program that is started again has none from the beginning.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    // A kernel that knows no huge pages gives none.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn failed(error: &TrainError, watch: &Watch) -> Report {
    let mut failure = error.failure();
    failure.work = Some(Box::new(watch.snapshot().progress.work));
    tracing::error!(class = ?failure.class, field = failure.field, "{}", failure.message);
    Report::Failed(failure)
}

/// Whether nobody will go on from where the run was: it is done, or would go wrong again.
fn needs_no_checkpoint(report: &Report) -> bool {
    match report {
        Report::Trained { .. } => true,
        // The checkpoints are the first worker's.
        Report::Helped { .. } => false,
        Report::Failed(failure) => failure.class == FailureClass::Diverged,
    }
}
