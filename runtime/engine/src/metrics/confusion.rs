//! Which class was predicted for which.

use super::{Predictions, accuracy::predicted};

/// Rows by their class and the one predicted, `[true][predicted]`, each of `classes` long.
pub fn matrix(predictions: &Predictions<'_>, classes: usize) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; classes]; classes];
    for (outputs, class) in predictions.classes() {
        let row = counts.get_mut(class as usize);
        if let Some(count) = row.and_then(|row| row.get_mut(predicted(outputs) as usize)) {
            *count += 1;
        }
    }
    counts
}

/// What a class was right and wrong in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Rows of the class that were predicted as it.
    pub(super) hits: f64,
    /// Rows that were predicted as it.
    pub(super) predicted: f64,
    /// Rows of it.
    pub(super) actual: f64,
}

/// A share by class: of the second of two, else the mean over the classes that occur, as truth or as prediction.
/// That is scikit-learn's `average='binary'` and `'macro'`, with 0 for a share of nothing.
pub(super) fn averaged(predictions: &Predictions<'_>, share: fn(Counts) -> (f64, f64)) -> Option<f64> {
    predictions.classes().next()?;
    let classes = predictions.width.max(2);
    let matrix = matrix(predictions, classes);
    let counts = |class: usize| Counts {
        hits: matrix[class][class] as f64,
        predicted: matrix.iter().map(|row| row[class]).sum::<u64>() as f64,
        actual: matrix[class].iter().sum::<u64>() as f64,
    };
    let of = |class: usize| match share(counts(class)) {
        (_, 0.0) => 0.0,
        (part, whole) => part / whole,
    };
    if classes == 2 {
        return Some(of(1));
    }
    let occurs = |class: &usize| counts(*class).predicted + counts(*class).actual > 0.0;
    super::mean((0..classes).filter(occurs).map(of))
}

#[cfg(test)]
mod tests {
    use super::{super::Targets, *};

    #[test]
    fn rows_are_counted_by_truth_and_prediction() {
        let predictions = Predictions {
            outputs: &[0.2, 0.9, 0.7, 0.4],
            width: 1,
            targets: Targets::Classes(&[0, 0, 1, 1]),
        };
        assert_eq!(matrix(&predictions, 2), [[1, 1], [1, 1]]);
    }
}
