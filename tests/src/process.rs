//! Runs other programs: quietly when they are quick, with a line of progress when they are
//! not, and with their last words when they fail.

use std::env;
use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How much of a failed program's output is worth showing.
const TAIL_LINES: usize = 30;
/// How often a log that is not a terminal gets a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Says one line to whoever waits, on standard error: standard output belongs to the command.
pub fn say(line: &str) {
    eprintln!("[cluster] {line}");
}

/// The program's path, where the PATH has it.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Runs a quick command and returns its standard output, trimmed.
///
/// # Errors
/// When it cannot be started or exits with another status than 0.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Start {
            command: line(command),
            source,
        })?;
    if !output.status.success() {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        return Err(Error::Failed {
            command: line(command),
            status: output.status,
            tail: tail(&text),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a quick command can be run and exits with status 0.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a slow command under a label, with the time that it has taken so far.
///
/// # Errors
/// When it cannot be started or exits with another status than 0.
pub fn run(label: &str, command: &mut Command) -> Result<()> {
    let log_failed = |source| Error::Start {
        command: label.to_owned(),
        source,
    };
    let mut log = tempfile::tempfile().map_err(log_failed)?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(log_failed)?)
        .stderr(log.try_clone().map_err(log_failed)?);
    let mut child = command.spawn().map_err(|source| Error::Start {
        command: line(command),
        source,
    })?;

    let mut progress = Progress::start(label);
    let status = loop {
        match child.try_wait().map_err(|source| Error::Start {
            command: line(command),
            source,
        })? {
            Some(status) => break status,
            None => sleep(Duration::from_millis(50)),
        }
        progress.tick();
    };
    progress.end(status.success());
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        command: line(command),
        status,
        tail: tail_of(&mut log),
    })
}

/// The last lines of a log file; empty when there is no such file.
pub(crate) fn tail_of_path(path: &Path) -> String {
    File::open(path)
        .map(|mut file| tail_of(&mut file))
        .unwrap_or_default()
}

fn tail_of(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes));
    read.map(|_| tail(&String::from_utf8_lossy(&bytes)))
        .unwrap_or_default()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// One line that is rewritten on a terminal, and repeated now and then in a log.
struct Progress<'a> {
    label: &'a str,
    started: Instant,
    said: Instant,
    terminal: bool,
}

impl<'a> Progress<'a> {
    fn start(label: &'a str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            say(&format!("{label} …"));
        }
        Self {
            label,
            started: Instant::now(),
            said: Instant::now(),
            terminal,
        }
    }

    fn tick(&mut self) {
        let every = if self.terminal {
            Duration::from_secs(1)
        } else {
            HEARTBEAT
        };
        if self.said.elapsed() < every {
            return;
        }
        self.said = Instant::now();
        let line = format!("[cluster] {} … {}", self.label, elapsed(self.started.elapsed()));
        if self.terminal {
            eprint!("\r{line}");
            // A line of progress that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    fn end(self, success: bool) {
        let outcome = if success { "done in" } else { "failed after" };
        let start = if self.terminal { "\r" } else { "" };
        eprintln!(
            "{start}[cluster] {}: {outcome} {}",
            self.label,
            elapsed(self.started.elapsed())
        );
    }
}

fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1}s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_last_words() {
        let error = output(Command::new("sh").args(["-c", "echo it broke >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("it broke") && text.contains("exit status: 3"),
            "{text}"
        );
    }

    #[test]
    fn only_the_tail_is_shown() {
        let long: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(tail(&long.join("\n")).lines().next(), Some("70"));
    }

    #[test]
    fn time_is_told_as_a_person_would() {
        assert_eq!(elapsed(Duration::from_millis(1_540)), "1.5s");
        assert_eq!(elapsed(Duration::from_secs(42)), "42s");
        assert_eq!(elapsed(Duration::from_secs(200)), "3m20s");
    }
}
