//! What is known of a run after some of its epochs.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sconce_contract::MetricName;
use serde::{Deserialize, Serialize};

/// Most points of a curve; TensorBoard draws a thousand.
const MOST: u32 = 256;

/// What is known after an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Finished epochs.
    pub epoch: u32,
    /// Finished steps.
    pub step: u64,
    /// When, in milliseconds since 1970.
    pub time: i64,
    /// Mean loss over the steps of the epoch.
    pub loss: f64,
    /// Loss on the validation rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Rows learned in a second of computing, since the point before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<f64>,
    /// Metrics on the validation rows; those that are finite.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<MetricName, f64>,
}

impl Point {
    /// The time now.
    pub fn now() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    #[cfg(test)]
    pub(crate) fn at(step: u64) -> Self {
        Point {
            step,
            loss: 1.0 / step as f64,
            time: 1_700_000_000_000,
            ..Point::default()
        }
    }
}

/// Points in the order of their steps, each step once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Curve(Vec<Point>);

impl Curve {
    /// Whether there is a point after this epoch, counted from 1: of many epochs some, the same ones however often the
    /// run was interrupted, and the last.
    pub fn marks(epoch: u32, epochs: u32) -> bool {
        epoch == epochs || epoch.is_multiple_of(epochs.div_ceil(MOST).max(1))
    }

    /// Adds a point, unless its step is there.
    pub fn push(&mut self, point: Point) -> bool {
        let is_new = self.0.last().is_none_or(|last| last.step < point.step);
        if is_new {
            self.0.push(point);
        }
        is_new
    }

    /// All of them.
    pub fn points(&self) -> &[Point] {
        &self.0
    }
}

/// Rows learned, and the time that it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    rows: u64,
    busy: Duration,
}

impl Pace {
    /// Adds a step.
    pub fn add(&mut self, rows: usize, busy: Duration) {
        self.rows += rows as u64;
        self.busy += busy;
    }

    /// Rows in a second since this was asked the last time.
    pub fn take(&mut self) -> Option<f64> {
        let Pace { rows, busy } = std::mem::take(self);
        (rows > 0 && !busy.is_zero()).then(|| rows as f64 / busy.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_epochs_there_are_a_curve_has_few_points_and_the_last() {
        for epochs in [1, 2, 255, 256, 257, 3000, 100_000] {
            let marked: Vec<u32> = (1..=epochs)
                .filter(|epoch| Curve::marks(*epoch, epochs))
                .collect();
            assert!(marked.len() <= MOST as usize + 1, "{epochs}: {}", marked.len());
            assert!(
                marked.len() >= (epochs as usize).min(MOST as usize / 2),
                "{epochs}"
            );
            assert_eq!(marked.last(), Some(&epochs));
        }
    }

    #[test]
    fn a_step_is_there_once() {
        let mut curve = Curve::default();
        let added = [3, 5, 5, 4, 6].map(|step| curve.push(Point::at(step)));
        assert_eq!(added, [true, true, false, false, true]);
        let text = serde_json::to_string(&curve).unwrap();
        assert_eq!(serde_json::from_str::<Curve>(&text).unwrap(), curve);
    }

    #[test]
    fn a_pace_is_of_the_time_since_the_last_one() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(), None);
        pace.add(100, Duration::from_millis(500));
        pace.add(100, Duration::from_millis(500));
        assert_eq!((pace.take(), pace.take()), (Some(200.0), None));
    }
}
