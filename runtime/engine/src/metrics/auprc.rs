//! Area under the precision-recall curve as average precision: `Σ (Rₙ − Rₙ₋₁) Pₙ` over the thresholds from the
//! highest score down, without interpolation. With more than two classes the mean over one class against the rest.

use super::{Predictions, mean};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    if predictions.width == 1 {
        return one_against_rest(predictions, 0, 1);
    }
    let areas: Option<Vec<f64>> = (0..predictions.width)
        .map(|class| one_against_rest(predictions, class, class as u32))
        .collect();
    mean(areas?.into_iter())
}

/// Nothing where no row is of the class, or every one.
fn one_against_rest(predictions: &Predictions<'_>, output: usize, class: u32) -> Option<f64> {
    let mut rows: Vec<(f32, bool)> = predictions
        .classes()
        .map(|(outputs, is)| (outputs[output], is == class))
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = rows.iter().filter(|row| row.1).count() as f64;
    if positives == 0.0 || positives == rows.len() as f64 {
        return None;
    }
    let (mut area, mut hits, mut seen) = (0.0, 0.0, 0.0);
    for equal in rows.chunk_by(|a, b| a.0 == b.0) {
        let positive = equal.iter().filter(|row| row.1).count() as f64;
        hits += positive;
        seen += equal.len() as f64;
        area += positive / positives * (hits / seen);
    }
    Some(area)
}
