//! How far a run is, in the words of the status; and how often that is worth a write.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sconce_contract::{CheckpointMark, Progress, Report, TrainingPhase};
use sconce_crds::ModelTrainingStatus;
use sconce_crds::training::{LastCheckpoint, TrainingProgress};

use super::gates::short;
use super::situation::{Finding, Situation};
use crate::observed;
use crate::seen::Pod;

/// An unchanged percentage is written again only after this long, to show that the trainer still answers.
const STALE: SignedDuration = SignedDuration::from_secs(10);
/// Nothing is written more often than this: each write is seen by the operator's own watch, upon which it asks again.
const FRESH: SignedDuration = SignedDuration::from_secs(1);

/// Puts what the trainer says, or what a finished run took, into the status.
pub fn update(
    status: &mut ModelTrainingStatus,
    before: Option<&ModelTrainingStatus>,
    said: Option<&Progress>,
    pods: &[Arc<Pod>],
    found: &Finding,
    now: Timestamp,
) {
    let same_run = before.filter(|before| before.run == status.run);
    let told = same_run.and_then(|before| before.progress.clone());
    // It knows neither how much there is to do, nor yet what an earlier pod has done of it.
    let loading = said.is_some_and(|said| said.phase == TrainingPhase::Loading && said.total_steps == 0);
    status.progress = match (&found.trained, said) {
        (Some(trained), _) => Some(TrainingProgress {
            summary: format!(
                "100% ({} epochs{})",
                trained.epochs,
                resumed(trained.resumed_from)
            ),
            epoch: trained.epochs,
            step: trained.steps,
            total_steps: trained.steps,
            percent: 100,
            eta: None,
            loss: trained.loss.map(rounded),
            nodes: told.as_ref().and_then(|told| told.nodes),
            resumed_from: trained.resumed_from,
            last_reported: Some(Time(now)),
        }),
        (None, Some(said)) if !loading => Some(newer(told.clone(), said, now)),
        _ => told.clone(),
    };
    let fresh = status.progress != told;
    status.last_checkpoint = match (&found.trained, said) {
        // They are deleted with the end of the run.
        (Some(_), _) => None,
        (None, Some(said)) if !loading && (fresh || status.last_checkpoint.is_none()) => {
            said.work.last_checkpoint.as_ref().and_then(saved)
        }
        (None, None) => pods
            .iter()
            .rfind(|pod| observed::leads(pod))
            .and_then(|pod| reported(pod))
            .or(status.last_checkpoint.take()),
        _ => status.last_checkpoint.take(),
    };
    let nobody_steps = !matches!(
        found.situation,
        Situation::Training { .. }
            | Situation::Stopping
            | Situation::Evaluating
            | Situation::Ending
            | Situation::Outlived(_)
            | Situation::Finished(_)
            | Situation::Failed { .. }
    );
    if nobody_steps || loading {
        // Where a pod goes on that takes over; from the beginning, it begins at nothing.
        let held = status.progress.take().zip(status.last_checkpoint.as_ref());
        status.progress = held.map(|(told, checkpoint)| rewound(told, checkpoint));
    }
}

/// The checkpoint that a pod told of when it ended.
fn reported(pod: &Pod) -> Option<LastCheckpoint> {
    let ending = observed::has_ended(pod)
        .then(|| observed::last_ending(pod))
        .flatten()?;
    match ending.report {
        Report::Failed(failure) => saved(failure.work?.last_checkpoint.as_ref()?),
        Report::Trained { .. } | Report::Helped { .. } => None,
    }
}

fn saved(mark: &CheckpointMark) -> Option<LastCheckpoint> {
    Some(LastCheckpoint {
        step: mark.step,
        epoch: mark.epoch,
        time: Time(Timestamp::from_second(mark.time).ok()?),
        uri: mark.uri.clone(),
    })
}

fn rewound(told: TrainingProgress, checkpoint: &LastCheckpoint) -> TrainingProgress {
    let percent = percent(checkpoint.step, told.total_steps);
    TrainingProgress {
        summary: format!("{percent}% (saved at step {})", checkpoint.step),
        epoch: checkpoint.epoch,
        step: checkpoint.step,
        percent,
        eta: None,
        loss: None,
        nodes: None,
        resumed_from: None,
        ..told
    }
}

fn percent(step: u64, total: u64) -> u32 {
    let percent = (step.min(total) * 100).checked_div(total).unwrap_or(0);
    u32::try_from(percent).unwrap_or(100)
}

fn newer(told: Option<TrainingProgress>, said: &Progress, now: Timestamp) -> TrainingProgress {
    let fresh = from(said, now);
    let Some(told) = told else { return fresh };
    let age = told
        .last_reported
        .as_ref()
        .map_or(SignedDuration::MAX, |time| now.duration_since(time.0));
    let unchanged = (told.percent, told.epoch) == (fresh.percent, fresh.epoch);
    if age < FRESH || (unchanged && age < STALE) {
        told
    } else {
        fresh
    }
}

fn from(said: &Progress, now: Timestamp) -> TrainingProgress {
    let percent = percent(said.step, said.total_steps);
    let summary = match said.trials {
        Some(trials) => format!(
            "{percent}% (trial {}/{})",
            (trials.finished + 1).min(trials.total.max(1)),
            trials.total
        ),
        None => format!(
            "{percent}% (epoch {}/{}{})",
            (said.epoch + 1).min(said.epochs.max(1)),
            said.epochs,
            resumed(said.work.resumed_from)
        ),
    };
    TrainingProgress {
        summary,
        epoch: said.epoch,
        step: said.step,
        total_steps: said.total_steps,
        percent,
        eta: said.eta_seconds.and_then(duration),
        loss: said.loss.filter(|loss| loss.is_finite()).map(rounded),
        nodes: said.workers,
        resumed_from: said.work.resumed_from,
        last_reported: Some(Time(now)),
    }
}

fn resumed(from: Option<u64>) -> String {
    from.map(|step| format!(", resumed from step {step}"))
        .unwrap_or_default()
}

/// Four significant digits: `kubectl get` shows a number as it is stored.
fn rounded(value: f64) -> f64 {
    short(value).parse().unwrap_or(value)
}

/// `2m10s`, as Kubernetes writes durations.
fn duration(seconds: f64) -> Option<String> {
    // Values beyond the check are not durations of a training.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let total = if (0.0..1e9).contains(&seconds) {
        seconds.ceil() as u64
    } else {
        return None;
    };
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    Some(match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_kubernetes_does() {
        for (seconds, text) in [(0.2, "1s"), (59.0, "59s"), (130.0, "2m10s"), (7_260.0, "2h1m")] {
            assert_eq!(duration(seconds).as_deref(), Some(text));
        }
        assert_eq!(duration(f64::NAN), None);
        assert_eq!(duration(-1.0), None);
    }

    #[test]
    fn an_unchanged_percentage_is_not_written_again_at_once() {
        let said = Progress {
            step: 50,
            total_steps: 1000,
            epoch: 1,
            epochs: 10,
            loss: Some(0.5),
            ..Progress::default()
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = newer(None, &said, at(0));
        let later = Progress {
            step: 51,
            loss: Some(0.4),
            ..said.clone()
        };
        assert_eq!(newer(Some(first.clone()), &later, at(5)), first);
        assert_ne!(newer(Some(first.clone()), &later, at(11)), first);
        assert_ne!(
            newer(
                Some(first.clone()),
                &Progress {
                    step: 60,
                    ..said.clone()
                },
                at(1)
            ),
            first
        );
        // However fast it goes: a write is seen by the operator's own watch, and must not be the reason for the next.
        assert_eq!(
            newer(
                Some(first.clone()),
                &Progress {
                    step: 60,
                    epoch: 2,
                    ..said
                },
                at(0)
            ),
            first
        );
    }
}
