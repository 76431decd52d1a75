//! What a trained model is measured by. All sums are in f64.

mod accuracy;
mod auroc;
mod mae;
mod r2;

use sconce_contract::MetricName;

/// What a model said about some rows, and what is true.
#[derive(Clone, Copy, Debug)]
pub struct Predictions<'a> {
    /// Outputs with the last activation applied, row after row.
    pub outputs: &'a [f32],
    /// Outputs per row, at least 1.
    pub width: usize,
    /// What is true, one per row.
    pub targets: Targets<'a>,
}

/// What is true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a> {
    /// A number per row.
    Numbers(&'a [f32]),
    /// The index of a class per row. A model of one output says how likely class 1 is, else one output per class.
    Classes(&'a [u32]),
}

/// What a target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// Numbers.
    Numbers,
    /// Classes.
    Classes,
}

/// A metric that is computed from predictions.
struct Entry {
    name: MetricName,
    fits: TargetKind,
    /// Nothing where the rows leave it undefined.
    measure: fn(&Predictions<'_>) -> Option<f64>,
}

/// The metrics: one line each. The loss is not here: it is computed from logits, by [`crate::losses`].
const TABLE: &[Entry] = &[
    Entry {
        name: MetricName::Accuracy,
        fits: TargetKind::Classes,
        measure: accuracy::measure,
    },
    Entry {
        name: MetricName::Auroc,
        fits: TargetKind::Classes,
        measure: auroc::measure,
    },
    Entry {
        name: MetricName::Mae,
        fits: TargetKind::Numbers,
        measure: mae::measure,
    },
    Entry {
        name: MetricName::R2,
        fits: TargetKind::Numbers,
        measure: r2::measure,
    },
];

/// The metrics that fit a target, the loss first.
pub fn fitting(kind: TargetKind) -> Vec<MetricName> {
    let table = TABLE
        .iter()
        .filter(|entry| entry.fits == kind)
        .map(|entry| entry.name);
    std::iter::once(MetricName::Loss).chain(table).collect()
}

/// The value of a metric, or nothing where it does not fit the target or these rows leave it undefined
/// (auroc where a class has no row or all, r2 where all targets are the same). The loss is not measured here.
pub fn measure(name: MetricName, predictions: &Predictions<'_>) -> Option<f64> {
    let kind = match predictions.targets {
        Targets::Numbers(_) => TargetKind::Numbers,
        Targets::Classes(_) => TargetKind::Classes,
    };
    TABLE
        .iter()
        .find(|entry| entry.name == name && entry.fits == kind)
        .and_then(|entry| (entry.measure)(predictions))
        .filter(|value| value.is_finite())
}

impl Predictions<'_> {
    /// The outputs of each row with its class; none where the target is a number.
    fn classes(&self) -> impl Iterator<Item = (&[f32], u32)> {
        let classes: &[u32] = match self.targets {
            Targets::Classes(classes) => classes,
            Targets::Numbers(_) => &[],
        };
        self.outputs
            .chunks_exact(self.width.max(1))
            .zip(classes.iter().copied())
    }

    /// What was predicted and what is true of each row; none where the target is a class.
    fn numbers(&self) -> impl Iterator<Item = (f64, f64)> {
        let numbers: &[f32] = match self.targets {
            Targets::Numbers(numbers) => numbers,
            Targets::Classes(_) => &[],
        };
        let rows = self.outputs.chunks_exact(self.width.max(1)).zip(numbers);
        rows.map(|(outputs, &number)| (f64::from(outputs[0]), f64::from(number)))
    }
}

/// The mean, or nothing of nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_its_metrics() {
        use MetricName::{Accuracy, Auroc, Loss, Mae, R2};
        assert_eq!(fitting(TargetKind::Classes), [Loss, Accuracy, Auroc]);
        assert_eq!(fitting(TargetKind::Numbers), [Loss, Mae, R2]);
    }

    #[test]
    fn a_metric_that_does_not_fit_has_no_value() {
        let predictions = Predictions {
            outputs: &[1.0],
            width: 1,
            targets: Targets::Numbers(&[1.0]),
        };
        assert_eq!(measure(MetricName::Accuracy, &predictions), None);
        assert_eq!(measure(MetricName::Mae, &predictions), Some(0.0));
        let none = Predictions {
            outputs: &[],
            width: 1,
            targets: Targets::Numbers(&[]),
        };
        assert_eq!(measure(MetricName::Mae, &none), None);
    }
}
