//! How the loss went, in at most [`SERIES_LIMIT`] points: small enough for a termination message and a status.
//!
//! ```text
//! values     v₁      v₂      v₃          vₙ        mean over a stretch each
//! steps  from  +every  +every  +every … last       each value stands at the end of its stretch
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Path of [`History`] on [`crate::progress::OBSERVABILITY_PORT`] of a trainer.
pub const HISTORY_PATH: &str = "/v1/history";
/// Most values of a [`Series`]. Two full ones take about 1.2 KiB of a report.
pub const SERIES_LIMIT: usize = 64;

/// How the losses of a run went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// Loss on the rows that are learned from.
    #[serde(skip_serializing_if = "Series::is_empty")]
    pub loss: Series,
    /// Loss on the validation rows.
    #[serde(skip_serializing_if = "Series::is_empty")]
    pub validation_loss: Series,
}

impl History {
    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.loss.is_empty() && self.validation_loss.is_empty()
    }
}

/// Values at even distances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Series {
    /// The step after which the first stretch begins.
    pub from: u64,
    /// Steps of a stretch.
    pub every: u64,
    /// The last step that a value speaks of.
    pub last: u64,
    /// Means over the stretches, to four significant digits.
    #[schemars(length(max = 64))]
    pub values: Vec<f64>,
}

impl Series {
    /// Whether there is no value yet.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Each value with the step at the end of its stretch.
    pub fn points(&self) -> impl Iterator<Item = (u64, f64)> + '_ {
        (1..).zip(&self.values).map(|(index, value)| {
            let end = self.from.saturating_add(self.every.saturating_mul(index));
            (end.min(self.last), *value)
        })
    }
}

/// Gathers a [`Series`]: when it is full, neighbours become one and a stretch is twice as long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gatherer {
    from: u64,
    every: u64,
    last: u64,
    done: Vec<f64>,
    sum: f64,
    count: u64,
}

impl Gatherer {
    /// Adds the value at a step; steps only grow, and `distance` (in steps) lies between two of them.
    pub fn add(&mut self, step: u64, distance: u64, value: f64) {
        if self.every == 0 {
            self.every = distance.max(1);
            self.from = step.saturating_sub(self.every);
        }
        self.last = step;
        self.sum += value;
        self.count += 1;
        let stretches = self.done.len() as u64 + 1;
        if step - self.from < self.every * stretches {
            return;
        }
        self.done.push(self.sum / self.count as f64);
        (self.sum, self.count) = (0.0, 0);
        if self.done.len() == SERIES_LIMIT {
            self.done = self.done.chunks(2).map(mean).collect();
            self.every *= 2;
        }
    }

    /// Whether the value at the step is there already.
    pub fn has(&self, step: u64) -> bool {
        self.every > 0 && self.last >= step
    }

    /// What was gathered so far.
    pub fn series(&self) -> Series {
        let open = (self.count > 0).then(|| self.sum / self.count as f64);
        Series {
            from: self.from,
            every: self.every,
            last: self.last,
            values: self.done.iter().copied().chain(open).map(rounded).collect(),
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// To four significant digits: nobody reads more off a curve.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(steps: u64, distance: u64) -> Series {
        let mut gatherer = Gatherer::default();
        for step in (distance..=steps).step_by(distance as usize) {
            gatherer.add(step, distance, step as f64);
        }
        gatherer.series()
    }

    #[test]
    fn however_long_a_run_is_its_curve_stays_small_and_ends_at_its_last_step() {
        for (steps, distance) in [(1, 1), (63, 1), (64, 1), (65, 1), (100_003, 1), (5_000, 20)] {
            let series = gathered(steps, distance);
            assert!(
                series.values.len() <= SERIES_LIMIT,
                "{steps}: {}",
                series.values.len()
            );
            let points: Vec<_> = series.points().collect();
            assert_eq!(points.last().map(|point| point.0), Some(steps - steps % distance));
            assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0), "{points:?}");
            // A value is the mean of its stretch, here of the steps themselves.
            let (end, value) = points[0];
            assert!(
                (value - (end + distance) as f64 / 2.0).abs() <= 0.001 * value,
                "{points:?}"
            );
        }
    }

    #[test]
    fn a_resumed_run_begins_where_it_resumed() {
        let mut gatherer = Gatherer::default();
        gatherer.add(501, 1, 0.123_456);
        let series = gatherer.series();
        assert_eq!(series.points().collect::<Vec<_>>(), [(501, 0.1235)]);
    }

    #[test]
    fn two_full_series_fit_a_report() {
        let values = (0..SERIES_LIMIT)
            .map(|at| rounded(0.000_123_4 * (at + 1) as f64))
            .collect();
        let series = Series {
            from: 0,
            every: 1 << 20,
            last: 1 << 26,
            values,
        };
        let json = serde_json::to_string(&History {
            loss: series.clone(),
            validation_loss: series,
        })
        .unwrap();
        assert!(json.len() < 1600, "{} bytes", json.len());
    }
}
