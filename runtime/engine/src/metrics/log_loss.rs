//! Mean of `−ln p` of each row's class, in nats. Probabilities are kept within F32's precision of 0 and 1, so that
//! one row that was surely wrong does not make it infinite.

use super::{Predictions, mean};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    const EDGE: f64 = f32::EPSILON as f64;
    mean(predictions.classes().map(|(outputs, class)| {
        let probability = match outputs {
            [second] if class == 0 => 1.0 - f64::from(*second),
            [second] => f64::from(*second),
            _ => outputs.get(class as usize).copied().map_or(0.0, f64::from),
        };
        -probability.clamp(EDGE, 1.0 - EDGE).ln()
    }))
}
