//! Area under the precision-recall curve as average precision: `Σ (Rₙ − Rₙ₋₁) Pₙ` over the thresholds from the
//! highest score down, without interpolation. With more than two classes the mean over one class against the rest.

use super::{Predictions, Scored, one_against_rest};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    one_against_rest(predictions, area)
}

fn area(mut rows: Vec<Scored>, positives: f64) -> f64 {
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut area, mut hits, mut seen) = (0.0, 0.0, 0.0);
    for equal in rows.chunk_by(|a, b| a.0 == b.0) {
        let positive = equal.iter().filter(|row| row.1).count() as f64;
        hits += positive;
        seen += equal.len() as f64;
        area += positive / positives * (hits / seen);
    }
    area
}
