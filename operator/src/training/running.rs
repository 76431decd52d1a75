//! What a trainer that runs says of itself, in a sentence.

use std::sync::Arc;

use sconce_contract::{Progress, Report, TrainingPhase, Trials};
use sconce_crds::ModelTraining;

use super::gates;
use super::situation::Situation;
use crate::observed::{self, Hindrance};
use crate::seen::{Job, Pod};

/// What is going on while the first worker runs. `kept_out` is what keeps another one from joining it.
pub fn situation(
    training: &ModelTraining,
    progress: Option<&Progress>,
    kept_out: Option<&Hindrance>,
) -> Situation {
    let Some(progress) = progress else {
        return Situation::Training {
            message: "the trainer has not said yet how far it is".to_owned(),
        };
    };
    match progress.phase {
        TrainingPhase::Loading => Situation::Training {
            message: loading(training) + &beside(kept_out),
        },
        TrainingPhase::Training => {
            let count = training.spec.nodes.count;
            let workers = progress.workers.filter(|_| count > 1);
            let workers =
                workers.map_or_else(String::new, |there| format!(" with {there} of {count} workers"));
            Situation::Training {
                message: match &progress.trials {
                    Some(trials) => searching(trials, &workers, kept_out) + &unsaved(progress),
                    None => learning(progress, &workers) + &unsaved(progress),
                },
            }
        }
        TrainingPhase::Evaluating | TrainingPhase::Saving => Situation::Evaluating,
    }
}

fn loading(training: &ModelTraining) -> String {
    match training.spec.nodes.count {
        // Trials begin as soon as one pod is there.
        count if count > 1 && training.spec.search.is_none() => {
            format!("reading the data set, and waiting until all of the {count} workers are there")
        }
        _ => "reading the data set".to_owned(),
    }
}

fn searching(trials: &Trials, workers: &str, kept_out: Option<&Hindrance>) -> String {
    let best = trials
        .best
        .map(|best| format!(", the best so far reached {}", gates::short(best)));
    format!(
        "searching{workers}: {} of {} trials are done{}{}",
        trials.finished,
        trials.total,
        best.unwrap_or_default(),
        beside(kept_out)
    )
}

/// The end of a sentence about a pod that is not held up by it.
fn beside(kept_out: Option<&Hindrance>) -> String {
    kept_out.map_or_else(String::new, |why| format!("; {}", why.message))
}

fn learning(progress: &Progress, workers: &str) -> String {
    let resumed = progress.work.resumed_from;
    let resumed = resumed.map(|step| format!(", resumed from step {step}"));
    format!(
        "training on {} epochs of data{workers}{}",
        progress.epochs,
        resumed.unwrap_or_default()
    )
}

/// The end of a sentence about work that would have to be done again.
fn unsaved(progress: &Progress) -> String {
    let why = progress.checkpoint_failure.as_ref();
    why.map_or_else(String::new, |why| {
        format!("; its state could not be saved, so work is lost if the pod stops: {why}")
    })
}

/// Whether the first worker waits for the others; a search begins without them. Before it does it reads the table as one
/// alone would, and says nothing of workers. A trainer of the user's own need not know of that.
pub fn waits_for_others(training: &ModelTraining, progress: Option<&Progress>) -> bool {
    if training.spec.search.is_some() {
        return false;
    }
    match progress {
        Some(progress) => {
            let tells = progress.workers.is_some() || training.spec.model.custom.is_some();
            progress.phase == TrainingPhase::Loading && tells
        }
        // One that does not answer this time has not lost those with whom it was seen to learn.
        None => {
            let told = training
                .status
                .as_ref()
                .and_then(|status| status.progress.as_ref());
            told.is_none_or(|told| told.nodes.is_none())
        }
    }
}

/// What keeps another worker from joining the first one.
pub fn kept_out(active: &[&Arc<Pod>]) -> Option<Hindrance> {
    let others = active.iter().filter(|pod| !observed::leads(pod));
    others.filter(|pod| !observed::is_running(pod)).find_map(|pod| {
        let found = observed::hindrance(pod)?;
        Some(Hindrance {
            message: observed::of_worker(pod, found.message),
            ..found
        })
    })
}

/// Another worker than the first one that failed and is not started again.
pub fn lost(job: &Job, pods: &[Arc<Pod>]) -> Option<Hindrance> {
    pods.iter().rev().find_map(|pod| {
        observed::worker(pod).filter(|&worker| worker > 0 && job.has_lost(worker))?;
        let Report::Failed(failure) = observed::last_ending(pod)?.report else {
            return None;
        };
        let sentence = observed::of_worker(pod, observed::sentence(&failure));
        Some(Hindrance {
            reason: observed::class_name(failure.class),
            message: format!("{sentence}; it is not started again"),
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reason::Reason;

    fn of(model: &serde_json::Value) -> ModelTraining {
        serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": "iris"},
            "spec": {
                "model": model, "dataset": {"uri": "file:///a.csv", "target": "y"}, "nodes": {"count": 2},
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_state_that_could_not_be_saved_is_told_of_a_search_too() {
        let training = of(&json!({"network": {"layers": [{"dense": {"units": 1}}]}}));
        for trials in [None, Some(Trials::default())] {
            let progress = Progress {
                phase: TrainingPhase::Training,
                checkpoint_failure: Some("the disk is full".to_owned()),
                trials,
                ..Progress::default()
            };
            let Situation::Training { message } = situation(&training, Some(&progress), None) else {
                panic!("it learns")
            };
            assert!(
                message.ends_with("could not be saved, so work is lost if the pod stops: the disk is full"),
                "{message}"
            );
        }
    }

    #[test]
    fn what_keeps_another_one_out_is_told_before_the_first_one_waits_for_it() {
        let training = of(&json!({"network": {"layers": [{"dense": {"units": 1}}]}}));
        let custom = of(&json!({"custom": {"image": "a"}}));
        let why = Hindrance {
            reason: Reason::Stalled,
            message: "worker 1: there is no room".to_owned(),
        };
        // It reads the table, which may hang: that it does must not be taken for waiting.
        let reading = Progress::default();
        assert!(!waits_for_others(&training, Some(&reading)));
        assert!(
            waits_for_others(&custom, Some(&reading)),
            "it need not tell them apart"
        );
        let Situation::Training { message } = situation(&training, Some(&reading), Some(&why)) else {
            panic!("it reads the table")
        };
        assert!(
            message.starts_with("reading the data set") && message.ends_with("; worker 1: there is no room"),
            "{message}"
        );
        let waiting = Progress {
            workers: Some(1),
            ..reading
        };
        assert!(waits_for_others(&training, Some(&waiting)));
    }
}
