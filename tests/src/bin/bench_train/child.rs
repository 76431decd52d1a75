//! One process from its start to its end: how long it took, and how much memory it and its children had.

use std::fs;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;

/// How often memory is looked at. The kernel keeps the peak, so only what a process takes just before its end is missed.
const LOOK: Duration = Duration::from_millis(20);

/// How it went.
pub struct Run {
    /// Seconds from start to end.
    pub seconds: f64,
    /// The most resident memory, in MiB: the sum of the peaks of all its processes.
    pub peak: f64,
    /// Its standard output.
    pub output: String,
}

/// Runs it.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(command: &mut Command) -> Result<Run> {
    let (mut output, mut said) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(said.try_clone()?);
    let start = Instant::now();
    let mut child = command.spawn()?;
    let (pid, ended) = (child.id(), AtomicBool::new(false));
    let (status, seconds, peak) = std::thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut peak = 0.0;
            while !ended.load(Ordering::Relaxed) {
                peak = f64::max(peak, memory(pid));
                std::thread::sleep(LOOK);
            }
            peak
        });
        let status = child.wait();
        let seconds = start.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (status, seconds, looker.join().unwrap_or(f64::NAN))
    });
    let mut text = String::new();
    if !status?.success() {
        said.rewind()?;
        said.read_to_string(&mut text)?;
        return Err(format!("{command:?} failed: {text}").into());
    }
    output.rewind()?;
    output.read_to_string(&mut text)?;
    Ok(Run {
        seconds,
        peak,
        output: text,
    })
}

/// Peaks of a process and of all its children so far, in MiB.
fn memory(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let children = tasks.flat_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect::<Vec<u32>>()
    });
    kib.unwrap_or_default() / 1024.0 + children.map(memory).sum::<f64>()
}
