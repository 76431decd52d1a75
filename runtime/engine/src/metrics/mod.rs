//! What a trained model is measured by. All sums are in f64.

mod accuracy;
mod auprc;
mod auroc;
mod confusion;
mod f1;
mod log_loss;
mod mae;
mod perplexity;
mod precision;
mod r2;
mod recall;
mod rmse;

pub use confusion::matrix;
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

/// What the rows must hold for a metric to have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Any row.
    Rows,
    /// A row of each class, and of more than one.
    EachClass,
    /// Two numbers that differ.
    Spread,
}

/// A metric that is computed from predictions: its name, the target it fits, what the rows must hold, whether it is
/// measured where nobody asks, and its value, which is nothing where the rows leave it undefined.
struct Entry(
    MetricName,
    TargetKind,
    Needs,
    bool,
    fn(&Predictions<'_>) -> Option<f64>,
);

/// The metrics: one line each. The loss is not here: it is computed from logits, by [`crate::losses`].
#[rustfmt::skip] // A table.
const TABLE: &[Entry] = {
    use MetricName::*;
    use Needs::*;
    use TargetKind::*;
    &[
        Entry(Accuracy, Classes, Rows, true, accuracy::measure),
        Entry(Auroc, Classes, EachClass, true, auroc::measure),
        Entry(Precision, Classes, Rows, true, precision::measure),
        Entry(Recall, Classes, Rows, true, recall::measure),
        Entry(F1, Classes, Rows, true, f1::measure),
        Entry(Auprc, Classes, EachClass, true, auprc::measure),
        Entry(LogLoss, Classes, Rows, false, log_loss::measure),
        Entry(Perplexity, Classes, Rows, false, perplexity::measure),
        Entry(Mae, Numbers, Rows, true, mae::measure),
        Entry(R2, Numbers, Spread, true, r2::measure),
        Entry(Rmse, Numbers, Rows, true, rmse::measure),
    ]
};

/// The metrics that fit a target, the loss first.
pub fn fitting(kind: TargetKind) -> Vec<MetricName> {
    names(|entry| entry.1 == kind)
}

/// Those of them that are measured where nobody says which.
pub fn usual(kind: TargetKind) -> Vec<MetricName> {
    names(|entry| entry.1 == kind && entry.3)
}

fn names(wanted: impl Fn(&Entry) -> bool) -> Vec<MetricName> {
    let table = TABLE.iter().filter(|entry| wanted(entry)).map(|entry| entry.0);
    std::iter::once(MetricName::Loss).chain(table).collect()
}

/// Whether these rows alone, of a table with so many classes, let the metric have a value.
pub fn defined(name: MetricName, targets: Targets<'_>, classes: usize) -> bool {
    let needs = TABLE
        .iter()
        .find(|entry| entry.0 == name)
        .map_or(Needs::Rows, |entry| entry.2);
    match (needs, targets) {
        (Needs::Spread, Targets::Numbers(numbers)) => {
            numbers.iter().any(|number| Some(number) != numbers.first())
        }
        (Needs::EachClass, Targets::Classes(rows)) => {
            let mut seen = vec![false; classes];
            for row in rows {
                if let Some(seen) = seen.get_mut(*row as usize) {
                    *seen = true;
                }
            }
            seen.len() > 1 && seen.iter().all(|seen| *seen)
        }
        (_, Targets::Numbers(rows)) => !rows.is_empty(),
        (_, Targets::Classes(rows)) => !rows.is_empty(),
    }
}

/// The value of a metric, or nothing where it does not fit the target or these rows leave it undefined
/// (auroc where a class has no row or all, r2 where all targets are the same). The loss is not measured here. Where an
/// output is not finite no metric has a value: NaN would be taken for a class, and ranked, like any number.
pub fn measure(name: MetricName, predictions: &Predictions<'_>) -> Option<f64> {
    let kind = match predictions.targets {
        Targets::Numbers(_) => TargetKind::Numbers,
        Targets::Classes(_) => TargetKind::Classes,
    };
    if !predictions.outputs.iter().all(|output| output.is_finite()) {
        return None;
    }
    TABLE
        .iter()
        .find(|entry| entry.0 == name && entry.1 == kind)
        .and_then(|entry| (entry.4)(predictions))
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

/// A row's score, and whether it is of the class.
type Scored = (f32, bool);

/// An area under a curve: of two classes, with one output or two, that of the second; of more the mean over one class
/// against the rest. `area` is given the rows and how many are of the class; nothing where all rows or none are of one.
fn one_against_rest(predictions: &Predictions<'_>, area: fn(Vec<Scored>, f64) -> f64) -> Option<f64> {
    let of_class = |output: usize, class: u32| {
        let scored = predictions
            .classes()
            .map(|(outputs, is)| (outputs[output], is == class));
        let rows: Vec<Scored> = scored.collect();
        let positives = rows.iter().filter(|row| row.1).count();
        (positives > 0 && positives < rows.len()).then(|| area(rows, positives as f64))
    };
    if predictions.width <= 2 {
        return of_class(predictions.width.saturating_sub(1), 1);
    }
    let areas: Option<Vec<f64>> = (0..predictions.width)
        .map(|class| of_class(class, class as u32))
        .collect();
    mean(areas?.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_its_metrics() {
        use MetricName::{Accuracy, Auprc, Auroc, F1, Loss, Mae, Perplexity, Precision, R2, Recall, Rmse};
        let usual_ones = [Loss, Accuracy, Auroc, Precision, Recall, F1, Auprc];
        assert_eq!(usual(TargetKind::Classes), usual_ones);
        assert_eq!(usual(TargetKind::Numbers), [Loss, Mae, R2, Rmse]);
        assert!(fitting(TargetKind::Classes).contains(&Perplexity));
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

    #[test]
    fn the_area_of_two_outputs_is_that_of_the_second_class() {
        let seconds = [0.1f32, 0.6, 0.2, 0.5];
        let both: Vec<f32> = seconds
            .iter()
            .flat_map(|second| [1.0 - *second, *second])
            .collect();
        for (outputs, width) in [(&seconds[..], 1), (&both[..], 2)] {
            let predictions = Predictions {
                outputs,
                width,
                targets: Targets::Classes(&[0, 0, 0, 1]),
            };
            // The one row of the class is ranked second of four.
            assert_eq!(measure(MetricName::Auprc, &predictions), Some(0.5), "{width}");
            let area = measure(MetricName::Auroc, &predictions).unwrap();
            assert!((area - 2.0 / 3.0).abs() < 1e-12, "{width}: {area}");
        }
    }

    #[test]
    fn outputs_that_are_not_finite_have_no_value() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let outputs = [0.1, bad, 0.2, 0.7];
            for (targets, kind) in [
                (Targets::Classes(&[0, 1, 0, 1]), TargetKind::Classes),
                (Targets::Numbers(&[0.0, 1.0, 0.5, 1.5]), TargetKind::Numbers),
            ] {
                let predictions = Predictions {
                    outputs: &outputs,
                    width: 1,
                    targets,
                };
                for name in fitting(kind) {
                    assert_eq!(measure(name, &predictions), None, "{name} of {bad}");
                }
            }
        }
    }
}
