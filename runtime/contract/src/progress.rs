//! What a running pod answers when it is asked how it is doing.

use serde::{Deserialize, Serialize};

use crate::Work;

/// Port of the trainer's and the server's probes, progress, load and metrics.
pub const OBSERVABILITY_PORT: u16 = 9090;
/// Port on which the server answers predictions over HTTP.
pub const HTTP_PORT: u16 = 8080;
/// Path of [`Progress`] on [`OBSERVABILITY_PORT`].
pub const PROGRESS_PATH: &str = "/v1/progress";
/// Path of [`LoadSnapshot`] on [`OBSERVABILITY_PORT`].
pub const LOAD_PATH: &str = "/v1/load";

/// How far a training is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The run that the pod works on, see [`crate::TrainingPlan::run`].
    pub run: String,
    /// What it does now.
    pub phase: TrainingPhase,
    /// Finished epochs.
    pub epoch: u32,
    /// Epochs in all.
    pub epochs: u32,
    /// Finished steps.
    pub step: u64,
    /// Steps in all; 0 until the data set is read.
    pub total_steps: u64,
    /// Mean loss over the steps of the current epoch so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Loss on the validation rows after the last finished epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Seconds until the last step at the present pace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<f64>,
    /// How far a search is; steps are then those of the spec's own batch size, over all trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<Trials>,
    /// How many trainers learn together or try trials, where the plan has several. In the phase `Loading` it is there
    /// (1) while this one waits for the others, and absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// What this pod did so far.
    #[serde(default)]
    pub work: Work,
    /// Why the last checkpoint could not be written, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_failure: Option<String>,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Trials {
    /// Trials that are done, have failed, or learn no further for now.
    pub finished: u32,
    /// Trials in all.
    pub total: u32,
    /// The best value of the objective so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<f64>,
}

/// What a trainer does at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainingPhase {
    /// Reading and checking the data set.
    #[default]
    Loading,
    /// Taking steps.
    Training,
    /// Measuring on the held-out rows.
    Evaluating,
    /// Writing the artifact.
    Saving,
}

/// How busy a server is, and has been.
///
/// The counters that end in `Micros` only grow. Of two snapshots, the difference of one of them over the difference of
/// `uptimeMicros` is the mean between the two, whatever happened in between and however late the second was taken:
/// `inFlightMicros` gives the mean number of requests being computed, `queuedMicros` that of those that waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadSnapshot {
    /// Requests being computed.
    pub in_flight: u64,
    /// Requests that wait for their turn.
    pub queued: u64,
    /// Requests answered since the start, whatever the answer.
    pub completed: u64,
    /// Requests that are computed at a time at most; 0 where the server does not say.
    pub slots: u64,
    /// Time since the start, in µs; 0 where the server keeps no counters.
    pub uptime_micros: u64,
    /// Time that requests have been computed for, summed over requests, in µs.
    pub in_flight_micros: u64,
    /// Time that requests have waited for their turn, summed over requests, in µs.
    pub queued_micros: u64,
}
