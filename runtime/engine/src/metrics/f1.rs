//! Harmonic mean of precision and recall, `2·hits / (predicted + actual)`.

use super::{Predictions, confusion::averaged};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    averaged(predictions, |counts| {
        (2.0 * counts.hits, counts.predicted + counts.actual)
    })
}
