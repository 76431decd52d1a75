//! `e` to the log loss: among how many equally likely classes the model hesitates.

use super::{Predictions, log_loss};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    log_loss::measure(predictions).map(f64::exp)
}
