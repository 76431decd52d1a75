//! Share of the rows of a class that are predicted as it.

use super::{Predictions, confusion::averaged};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    averaged(predictions, |counts| (counts.hits, counts.actual))
}
