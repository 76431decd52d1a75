//! Share of the rows predicted as a class that are of it.

use super::{Predictions, confusion::averaged};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    averaged(predictions, |counts| (counts.hits, counts.predicted))
}
