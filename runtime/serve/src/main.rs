//! `sconce-server`: serves one model over HTTP, see the library.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use sconce_contract::report::REPORT_PATH;
use sconce_contract::{Failure, FailureClass, Report};
use sconce_serve::options::{Command, Options};
use tracing_subscriber::EnvFilter;

// glibc's allocator costs a small inference more than the arithmetic does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Slots that have a thread each at most.
const MOST_WORKERS: usize = 512;

fn main() -> ExitCode {
    let threads = sconce_engine::threads::ensure();
    let options = Options::parse();
    let report = options.report.clone();
    let outcome = log(&options.log).and_then(|()| match &options.command {
        Some(Command::PrepareCache { path, user, stay }) => sconce_serve::prepare::run(path, *user, *stay),
        None => serve(options, threads),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(failure, &report),
    }
}

fn serve(options: Options, threads: std::io::Result<()>) -> Result<(), Failure> {
    if let Err(error) = threads {
        tracing::warn!(%error, "the number of threads could not be set: set RAYON_NUM_THREADS");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers(&options))
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                FailureClass::Internal,
                format!("threads cannot be started: {error}"),
            )
        })?;
    let result = runtime.block_on(sconce_serve::life::run(options));
    // A model that is still being loaded would be waited for.
    runtime.shutdown_background();
    result
}

/// Threads that read requests, and compute what is small: one more than may compute at a time. It reads on where all others
/// compute, so that who waits is counted, which scaling goes by, or turned away, and probes are answered.
fn workers(options: &Options) -> usize {
    let processors = sconce_engine::threads::available();
    let slots = options.max_in_flight.map_or(processors, |slots| slots as usize);
    slots.clamp(processors, processors.max(MOST_WORKERS)) + 1
}

/// Structured lines on standard error.
fn log(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::new(
            FailureClass::BadInput,
            format!("--log {filter:?} is not a filter ({error}): try info"),
        )
    })?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .init();
    Ok(())
}

/// Says why, where Kubernetes and people look for it.
fn fail(failure: Failure, path: &Path) -> ExitCode {
    tracing::error!(class = ?failure.class, field = failure.field, "{}", failure.message);
    let report = Report::Failed(failure);
    // The kubelet puts its file there; elsewhere none must appear under /dev.
    let create = path != Path::new(REPORT_PATH);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .create(create)
        .open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(report.to_json().as_bytes())) {
        tracing::debug!(%error, path = %path.display(), "the report could not be written");
    }
    ExitCode::from(report.exit_code())
}
