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
    // Not from the matrix, whose size is the square of a number of classes that nothing bounds.
    let mut all = vec![Counts::default(); classes];
    for (outputs, class) in predictions.classes() {
        let (class, taken_for) = (class as usize, predicted(outputs) as usize);
        // As there, a row of a class that has no output does not count.
        if class >= classes || taken_for >= classes {
            continue;
        }
        all[class].actual += 1.0;
        all[taken_for].predicted += 1.0;
        if class == taken_for {
            all[class].hits += 1.0;
        }
    }
    let of = |counts: &Counts| match share(*counts) {
        (_, 0.0) => 0.0,
        (part, whole) => part / whole,
    };
    if classes == 2 {
        return Some(of(&all[1]));
    }
    let occurring = all.iter().filter(|counts| counts.predicted + counts.actual > 0.0);
    super::mean(occurring.map(of))
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

    fn precision_and_recall(outputs: &[f32], width: usize, classes: &[u32]) -> [Option<f64>; 2] {
        let predictions = Predictions {
            outputs,
            width,
            targets: Targets::Classes(classes),
        };
        [
            averaged(&predictions, |counts| (counts.hits, counts.predicted)),
            averaged(&predictions, |counts| (counts.hits, counts.actual)),
        ]
    }

    #[test]
    fn shares_are_means_over_the_classes_that_occur() {
        // Taken for 0, 1 and 0.
        let outputs = [0.7, 0.2, 0.1, 0.1, 0.8, 0.1, 0.6, 0.3, 0.1];
        let [precision, recall] = precision_and_recall(&outputs, 3, &[0, 1, 2]);
        assert_eq!(precision, Some(0.5));
        assert_eq!(recall, Some(2.0 / 3.0));
        // A row of a class that has no output is in none.
        assert_eq!(precision_and_recall(&outputs, 3, &[0, 1, 7]), [Some(1.0); 2]);
    }

    #[test]
    fn many_classes_ask_for_as_many_counts_only() {
        // Their matrix would be 80 GB.
        let mut outputs = vec![0.0; 100_000];
        outputs[99_999] = 1.0;
        assert_eq!(precision_and_recall(&outputs, 100_000, &[99_999]), [Some(1.0); 2]);
    }
}
