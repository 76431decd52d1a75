//! Root of the mean squared error, in the unit of the target.

use super::{Predictions, mean};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    mean(
        predictions
            .numbers()
            .map(|(predicted, target)| (predicted - target).powi(2)),
    )
    .map(f64::sqrt)
}
