//! What a person sees: a bar on a terminal, lines in a log.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use sconce_contract::{Metric, Report};
use tracing_subscriber::EnvFilter;

use crate::watch::Observed;

/// Shortest time between two lines about epochs.
const QUIET: Duration = Duration::from_secs(1);

/// Shows how far the loop is.
pub(crate) enum Display {
    /// On a terminal.
    Bar(ProgressBar),
    /// Not at all: one of many trials.
    Nowhere,
    /// In a log: epochs, but not more than one a second.
    Lines {
        /// When the last line was written.
        last: Option<Instant>,
    },
}

impl Display {
    pub(crate) fn new(total_steps: u64, epochs: u32) -> Self {
        if !std::io::stderr().is_terminal() {
            return Display::Lines { last: None };
        }
        let bar = ProgressBar::new(total_steps);
        let template = format!("epoch {{prefix}}/{epochs} {{bar:30}} {{percent:>3}} % {{eta:>4}} {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_prefix("0");
        Display::Bar(bar)
    }

    pub(crate) fn step(&mut self, step: u64) {
        if let Display::Bar(bar) = self {
            bar.set_position(step);
        }
    }

    pub(crate) fn epoch(&mut self, seen: &Observed) {
        let progress = &seen.progress;
        let (loss, validation) = (progress.loss, progress.validation_loss);
        match self {
            Display::Bar(bar) => {
                bar.set_prefix(progress.epoch.to_string());
                let validation = validation
                    .map(|loss| format!(", validation {loss:.4}"))
                    .unwrap_or_default();
                bar.set_message(format!("loss {:.4}{validation}", loss.unwrap_or_default()));
            }
            Display::Nowhere => {}
            Display::Lines { last } => {
                let done = progress.epoch == progress.epochs;
                if done || last.is_none_or(|last| last.elapsed() >= QUIET) {
                    *last = Some(Instant::now());
                    tracing::info!(
                        epoch = progress.epoch,
                        epochs = progress.epochs,
                        step = progress.step,
                        total_steps = progress.total_steps,
                        loss,
                        validation_loss = validation,
                        eta_seconds = progress.eta_seconds,
                        "epoch finished"
                    );
                }
            }
        }
    }

    pub(crate) fn finish(&mut self) {
        if let Display::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Logs to the standard error: lines for a person on a terminal, JSON elsewhere; `RUST_LOG` chooses what.
pub fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber can only exist in a test, where the first is as good.
    let _ = if std::io::stderr().is_terminal() {
        log.without_time().with_target(false).try_init()
    } else {
        log.json().flatten_event(true).with_target(false).try_init()
    };
}

/// Says what was trained: a table for a person on a terminal, a line in a log.
pub fn trained(report: &Report) {
    let Report::Trained {
        metrics,
        artifact,
        steps,
        loss,
        seconds,
        ..
    } = report
    else {
        return;
    };
    if !std::io::stderr().is_terminal() {
        let metrics: Vec<String> = metrics
            .iter()
            .map(|metric| format!("{}={:.6}", metric.name, metric.value))
            .collect();
        let metrics = metrics.join(" ");
        tracing::info!(
            uri = artifact.uri,
            digest = artifact.digest,
            steps,
            loss,
            seconds,
            metrics,
            "trained"
        );
        return;
    }
    let mut text = String::new();
    for Metric { name, value, split } in metrics {
        let rows = format!("{split:?}").to_lowercase();
        text.push_str(&format!(
            "  {:<10} {value:>12.6}  on the {rows} rows\n",
            name.as_str()
        ));
    }
    text.push_str(&format!(
        "  model      {}\n  after      {seconds:.1} s, {steps} steps\n",
        artifact.uri
    ));
    // Nobody to read it is no reason to fail.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
