//! The progress in the OpenMetrics text format.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::text,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::watch::Observed;

/// Of [`encode`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Number = Gauge<f64, AtomicU64>;

/// All metrics. The registry is made anew for each scrape: there is one source of the figures, the watch.
pub(super) fn encode(seen: &Observed) -> String {
    let mut registry = Registry::with_prefix("sconce_training");
    let progress = &seen.progress;
    for (name, help, value) in [
        ("step", "Finished steps", Some(progress.step as f64)),
        (
            "total_steps",
            "Steps in all, 0 until the data set is read",
            Some(progress.total_steps as f64),
        ),
        ("epoch", "Finished epochs", Some(f64::from(progress.epoch))),
        ("epochs", "Epochs in all", Some(f64::from(progress.epochs))),
        (
            "loss",
            "Mean loss over the steps of the current epoch so far",
            progress.loss,
        ),
        (
            "validation_loss",
            "Loss on the validation rows after the last epoch",
            progress.validation_loss,
        ),
        (
            "eta_seconds",
            "Seconds until the last step at the present pace",
            progress.eta_seconds,
        ),
        (
            "busy_seconds",
            "Seconds that this pod spent computing steps",
            Some(progress.work.busy_milliseconds as f64 / 1000.0),
        ),
        (
            "checkpoint_step",
            "Finished steps in the newest checkpoint",
            progress
                .work
                .last_checkpoint
                .as_ref()
                .map(|mark| mark.step as f64),
        ),
        (
            "learning_rate",
            "Learning rate of the current epoch",
            Some(seen.learning_rate),
        ),
    ] {
        if let Some(value) = value {
            let gauge = Number::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        }
    }
    let rows = Family::<[(&str, &str); 1], Gauge>::default();
    for (split, count) in ["training", "validation", "test"].into_iter().zip(seen.rows) {
        rows.get_or_create(&[("split", split)])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("rows", "Rows of the table by what they are for", rows);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut text, &registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_there_and_nothing_else() {
        let mut seen = Observed {
            rows: [398, 57, 114],
            ..Observed::default()
        };
        seen.progress.step = 12;
        seen.progress.loss = Some(0.25);
        let text = encode(&seen);
        for line in [
            "sconce_training_step 12.0",
            "sconce_training_loss 0.25",
            "sconce_training_rows{split=\"test\"} 114",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
        assert!(!text.contains("validation_loss"), "{text}");
    }
}
