//! Coefficient of determination, `1 − Σ(y−ŷ)² / Σ(y−ȳ)²`.

use super::{Predictions, mean};

/// Nothing where all targets are the same: the mean explains them all already.
pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    let mean = mean(predictions.numbers().map(|(_, target)| target))?;
    let (residual, total) =
        predictions
            .numbers()
            .fold((0.0, 0.0), |(residual, total), (predicted, target)| {
                (
                    residual + (target - predicted).powi(2),
                    total + (target - mean).powi(2),
                )
            });
    (total > 0.0).then(|| 1.0 - residual / total)
}

#[cfg(test)]
mod tests {
    use super::{super::Targets, *};

    /// The example of scikit-learn's `r2_score`.
    #[test]
    fn value() {
        let targets = Targets::Numbers(&[3.0, -0.5, 2.0, 7.0]);
        let predictions = Predictions {
            outputs: &[2.5, 0.0, 2.0, 8.0],
            width: 1,
            targets,
        };
        assert!((measure(&predictions).unwrap() - 0.948_608_137_044_967_9).abs() < 1e-12);
    }

    #[test]
    fn equal_targets_leave_it_undefined() {
        let targets = Targets::Numbers(&[2.0, 2.0]);
        assert_eq!(
            measure(&Predictions {
                outputs: &[1.0, 2.0],
                width: 1,
                targets
            }),
            None
        );
    }
}
