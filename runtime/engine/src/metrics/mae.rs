//! Mean absolute error, in the unit of the target.

use super::{Predictions, mean};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    mean(
        predictions
            .numbers()
            .map(|(predicted, target)| (predicted - target).abs()),
    )
}

#[cfg(test)]
mod tests {
    use super::{super::Targets, *};

    /// The example of scikit-learn's `mean_absolute_error`.
    #[test]
    fn value() {
        let targets = Targets::Numbers(&[3.0, -0.5, 2.0, 7.0]);
        let predictions = Predictions {
            outputs: &[2.5, 0.0, 2.0, 8.0],
            width: 1,
            targets,
        };
        assert_eq!(measure(&predictions), Some(0.5));
    }
}
