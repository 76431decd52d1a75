//! Area under the receiver operating characteristic: how likely a row of the class is ranked above one that is
//! not, ties counting half (Mann and Whitney). With more than two classes the mean over one class against the
//! rest, each class counting the same.

use super::{Predictions, Scored, one_against_rest};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    one_against_rest(predictions, area)
}

fn area(mut rows: Vec<Scored>, positives: f64) -> f64 {
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let negatives = rows.len() as f64 - positives;
    // Rank sum of the positives, where equal scores share the mean of their ranks.
    let mut rank_sum = 0.0;
    let mut below = 0.0;
    for equal in rows.chunk_by(|a, b| a.0 == b.0) {
        let count = equal.len() as f64;
        let positive = equal.iter().filter(|row| row.1).count() as f64;
        rank_sum += positive * (below + (count + 1.0) / 2.0);
        below += count;
    }
    (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}

#[cfg(test)]
mod tests {
    use super::{super::Targets, *};

    /// By scikit-learn's `roc_auc_score` (`multi_class='ovr'`, `average='macro'` for three classes).
    #[test]
    fn values_are_those_of_scikit_learn() {
        for (outputs, width, classes, expected) in [
            (&[0.1, 0.4, 0.35, 0.8][..], 1, &[0, 0, 1, 1][..], 0.75),
            (&[0.5, 0.5, 0.5, 0.5], 1, &[0, 1, 0, 1], 0.5),
            (&[0.2, 0.5, 0.5, 0.5, 0.9, 0.1], 1, &[0, 0, 1, 1, 1, 0], 8.0 / 9.0),
            (&[0.1, 0.2, 0.8, 0.9], 1, &[0, 0, 1, 1], 1.0),
            (
                &[
                    0.7, 0.2, 0.1, 0.3, 0.4, 0.3, 0.2, 0.2, 0.6, 0.5, 0.3, 0.2, 0.1, 0.3, 0.6,
                ],
                3,
                &[0, 1, 2, 1, 0],
                0.763_888_888_9,
            ),
        ] {
            let targets = Targets::Classes(classes);
            let found = measure(&Predictions {
                outputs,
                width,
                targets,
            })
            .unwrap();
            assert!(
                (found - expected).abs() < 1e-6,
                "{outputs:?}: {found} is not {expected}"
            );
        }
    }

    #[test]
    fn one_class_alone_has_no_area() {
        let targets = Targets::Classes(&[1, 1]);
        assert_eq!(
            measure(&Predictions {
                outputs: &[0.1, 0.9],
                width: 1,
                targets
            }),
            None
        );
    }
}
