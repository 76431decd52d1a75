//! What the trained model is measured by, and on which rows.

use std::collections::BTreeMap;

use sconce_contract::artifact::CONFUSION_LIMIT;
use sconce_contract::{Evaluation, Metric, MetricName, MetricSplit};
use sconce_engine::{Learner, metrics};

use crate::{
    TrainError,
    data::{Batch, Data, Part},
    learn::mean_loss,
    split::Parts,
    watch::Stop,
};

/// Most outputs of rows that are measured for comparison only: those of a part are held all at once, in 64 MiB.
const MOST_FOR_COMPARISON: usize = 1 << 24;

/// What to measure, known to be possible.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The metrics, each once.
    pub metrics: Vec<MetricName>,
    /// The rows.
    pub split: MetricSplit,
}

/// Checks what is asked for against the held-out rows, before anything is learned: the test rows, or the
/// validation rows where there are none. Never the rows that were learned from.
pub fn plan(evaluation: &Evaluation, data: &Data) -> Result<Wanted, TrainError> {
    let kind = data.training.kind();
    let listed = evaluation.metrics.iter().enumerate();
    let listed = listed.map(|(index, name)| (*name, format!("evaluation.metrics[{index}]")));
    let gates = evaluation.gates.iter().enumerate();
    let gates = gates.map(|(index, gate)| (gate.metric, format!("evaluation.gates[{index}].metric")));
    let asked: Vec<(MetricName, String)> = listed.chain(gates).collect();
    for (name, field) in &asked {
        fits(*name, field, data)?;
    }
    let (split, part) = held_out(data);
    if part.rows() == 0 {
        if asked.is_empty() {
            return Ok(Wanted {
                metrics: Vec::new(),
                split,
            });
        }
        let problem =
            "there are neither test nor validation rows to measure metrics and gates on: set it above 0";
        return Err(TrainError::setting("dataset.split.test", problem));
    }
    let mut wanted = if evaluation.metrics.is_empty() {
        metrics::usual(kind)
    } else {
        evaluation.metrics.clone()
    };
    wanted.extend(evaluation.gates.iter().map(|gate| gate.metric));
    let mut metrics = Vec::new();
    for name in wanted {
        if metrics.contains(&name) {
            continue;
        }
        if defined(name, part) {
            metrics.push(name);
        } else if asked.iter().any(|(asked, _)| *asked == name) {
            let (field, rows, uri) = match split {
                MetricSplit::Validation => ("dataset.split.validation", "validation", "validationUri"),
                _ => ("dataset.split.test", "test", "testUri"),
            };
            let problem = format!(
                "{name} is undefined on the {} {rows} row(s), which do not hold each class (or hold one number \
                 only): raise the share, or change dataset.split.seed; where dataset.{uri} gives them, have it hold \
                 each class",
                part.rows()
            );
            return Err(TrainError::setting(field, problem));
        } else {
            tracing::warn!(metric = %name, rows = part.rows(), "left out: undefined on the held-out rows");
        }
    }
    Ok(Wanted { metrics, split })
}

/// The rows that metrics are measured on.
pub fn split(parts: &Parts) -> MetricSplit {
    match parts.test.is_empty() {
        true => MetricSplit::Validation,
        false => MetricSplit::Test,
    }
}

/// Those of the metrics that are measured on the validation rows after an epoch, beside the loss: none where the rows are
/// for comparison only and have too many outputs.
pub fn watched(wanted: &Wanted, data: &Data, outputs: usize) -> Vec<MetricName> {
    let part = &data.validation;
    let whole = wanted.split == MetricSplit::Validation || can_be_compared(part.rows(), outputs);
    let there =
        |name: &MetricName| whole && part.rows() > 0 && *name != MetricName::Loss && defined(*name, part);
    wanted.metrics.iter().copied().filter(there).collect()
}

/// The values of metrics for these outputs; without those that are not finite.
pub fn values(names: &[MetricName], part: &Part, width: usize, outputs: &[f32]) -> BTreeMap<MetricName, f64> {
    let predictions = metrics::Predictions {
        outputs,
        width,
        targets: part.truth(),
    };
    let value = |name: &MetricName| Some((*name, metrics::measure(*name, &predictions)?));
    let known = names.iter().filter_map(value);
    known.filter(|(_, value)| value.is_finite()).collect()
}

/// The rows that metrics are measured on.
fn held_out(data: &Data) -> (MetricSplit, &Part) {
    if data.test.rows() > 0 {
        (MetricSplit::Test, &data.test)
    } else {
        (MetricSplit::Validation, &data.validation)
    }
}

/// Refuses a metric that says nothing of what is predicted.
pub fn fits(name: MetricName, field: &str, data: &Data) -> Result<(), TrainError> {
    let kind = data.training.kind();
    let fitting = metrics::fitting(kind);
    if fitting.contains(&name) {
        return Ok(());
    }
    let what = match kind {
        metrics::TargetKind::Numbers => "a number",
        metrics::TargetKind::Classes => "classes",
    };
    let target = &data.preprocess.target.name;
    let names: Vec<String> = fitting.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    let problem = format!("{name} does not fit {target:?}, which holds {what}: choose from {names}");
    Err(TrainError::setting(field, problem))
}

/// The value of a metric on some rows; NaN where they leave it undefined.
pub fn value(learner: &mut Learner, part: &Part, name: MetricName, stop: &Stop) -> Result<f64, TrainError> {
    let value = match name {
        MetricName::Loss => mean_loss(learner, part, stop)?,
        _ => {
            let outputs = predict(learner, part, stop)?;
            let predictions = metrics::Predictions {
                outputs: &outputs,
                width: learner.outputs(),
                targets: part.truth(),
            };
            metrics::measure(name, &predictions)
        }
    };
    Ok(value.unwrap_or(f64::NAN))
}

/// Whether the targets alone let the metric have a value.
pub fn defined(name: MetricName, part: &Part) -> bool {
    metrics::defined(name, part.truth(), part.classes())
}

/// What the model reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// On the held-out rows.
    pub held_out: Vec<Metric>,
    /// On the rows that it learned from, and those watched where others are held out: what tells whether it learned too
    /// little or by heart. Without those that the rows leave undefined, and of very many rows the loss alone.
    pub others: Vec<Metric>,
    /// Held-out rows by their class and the one predicted, see [`sconce_contract::Facts::confusion`].
    pub confusion: Vec<Vec<u64>>,
}

/// Measures the model. A value on the held-out rows that is not finite is left to the caller, who knows that it
/// diverged.
pub fn measure(
    learner: &mut Learner,
    data: &Data,
    wanted: &Wanted,
    stop: &Stop,
) -> Result<Measured, TrainError> {
    let mut measured = Measured {
        held_out: Vec::new(),
        others: Vec::new(),
        confusion: Vec::new(),
    };
    for (split, part) in [
        (MetricSplit::Test, &data.test),
        (MetricSplit::Validation, &data.validation),
        (MetricSplit::Train, &data.training),
    ] {
        if part.rows() == 0 || wanted.metrics.is_empty() {
            continue;
        }
        let held_out = split == wanted.split;
        let whole = held_out || can_be_compared(part.rows(), learner.outputs());
        let outputs = if whole {
            predict(learner, part, stop)?
        } else {
            tracing::info!(
                ?split,
                rows = part.rows(),
                outputs = learner.outputs(),
                "only the loss is measured: the outputs for these rows, which are for comparison only, are more than 64 MiB"
            );
            Vec::new()
        };
        let predictions = metrics::Predictions {
            outputs: &outputs,
            width: learner.outputs(),
            targets: part.truth(),
        };
        for &name in wanted
            .metrics
            .iter()
            .filter(|name| whole || **name == MetricName::Loss)
            .filter(|name| held_out || defined(**name, part))
        {
            let value = match name {
                MetricName::Loss => mean_loss(learner, part, stop)?,
                _ => metrics::measure(name, &predictions),
            };
            let value = value.unwrap_or(f64::NAN);
            match held_out {
                true => measured.held_out.push(Metric { name, value, split }),
                false if value.is_finite() => measured.others.push(Metric { name, value, split }),
                false => {}
            }
        }
        if held_out && (1..=CONFUSION_LIMIT).contains(&part.classes()) {
            measured.confusion = metrics::matrix(&predictions, part.classes());
        }
    }
    Ok(measured)
}

/// Whether so many rows are measured though nothing is decided by them.
fn can_be_compared(rows: usize, outputs: usize) -> bool {
    rows.saturating_mul(outputs) <= MOST_FOR_COMPARISON
}

/// The outputs for all rows of a part.
fn predict(learner: &mut Learner, part: &Part, stop: &Stop) -> Result<Vec<f32>, TrainError> {
    let (mut outputs, mut batch) = (Vec::new(), Batch::default());
    for rows in part.pieces(learner.rows_at_once()) {
        if stop.asked() {
            return Err(TrainError::interrupted("while measuring"));
        }
        learner.predict(part.batch(&rows, &mut batch)?.x, &mut outputs)?;
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use sconce_contract::Dataset;
    use serde_json::json;

    use super::*;
    use crate::{room::Room, split, table, target};

    /// All rows of a target but the one that is learned from.
    fn held_out(values: &[&str]) -> Part {
        data(values, &json!({"validation": 0.0, "test": 0.9})).test
    }

    fn data(values: &[&str], split: &serde_json::Value) -> Data {
        let dataset = json!({"uri": "x.csv", "target": "y", "split": split});
        let dataset: Dataset = serde_json::from_value(dataset).unwrap();
        let lines: Vec<String> = values.iter().map(|value| format!("1,{value}")).collect();
        let csv = format!("a,y\n{}\n", lines.join("\n"));
        let table = table::read(csv.as_bytes(), &dataset).unwrap();
        let target = target::read(&table.target, "y", None).unwrap();
        let parts = split::parts([Some(table.rows()), None, None], &dataset.split).unwrap();
        Data::new(table, parts, &target, &dataset, &Room::found(None, None)).unwrap()
    }

    #[test]
    fn what_is_watched_after_an_epoch_is_bounded_unless_it_decides() {
        let many = MOST_FOR_COMPARISON;
        for (test, outputs, expected) in [(0.2, 1, 1), (0.2, many, 0), (0.0, many, 1)] {
            let data = data(&["a", "b"].repeat(20), &json!({"validation": 0.4, "test": test}));
            let wanted = Wanted {
                metrics: vec![MetricName::Loss, MetricName::Accuracy],
                split: super::held_out(&data).0,
            };
            let found = watched(&wanted, &data, outputs);
            assert_eq!(found.len(), expected, "{test} {outputs}: {found:?}");
        }
    }

    #[test]
    fn rows_are_compared_as_far_as_their_outputs_are_few() {
        for (rows, outputs, can) in [
            (1 << 24, 1, true),
            ((1 << 24) + 1, 1, false),
            (1 << 20, 16, true),
            (1 << 20, 17, false),
            (usize::MAX, 2, false),
        ] {
            assert_eq!(can_be_compared(rows, outputs), can, "{rows} × {outputs}");
        }
    }

    #[test]
    fn a_metric_is_defined_where_the_engine_has_a_value_for_it() {
        let (mut defined_ones, mut undefined_ones) = (0, 0);
        for values in [
            &["a", "b"].repeat(10)[..],
            &["a", "b", "c"].repeat(10),
            &[vec!["a"; 19], vec!["b"]].concat(),
            // One of them at least is learned from, and so not held out.
            &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
            &[["a", "b"].repeat(10), vec!["c"]].concat(),
            &["1", "2", "3"].repeat(7),
            &[vec!["1.5"; 19], vec!["2.5"]].concat(),
        ] {
            let part = held_out(values);
            let width = if part.classes() > 2 { part.classes() } else { 1 };
            let outputs = vec![0.0; part.rows() * width];
            for name in metrics::fitting(part.kind()) {
                let predictions = metrics::Predictions {
                    outputs: &outputs,
                    width,
                    targets: part.truth(),
                };
                let measured = metrics::measure(name, &predictions).is_some();
                // The loss is measured by the learner.
                let expected = measured || name == MetricName::Loss;
                assert_eq!(defined(name, &part), expected, "{name} of {values:?}");
                *if expected {
                    &mut defined_ones
                } else {
                    &mut undefined_ones
                } += 1;
            }
        }
        assert!(defined_ones > 0 && undefined_ones > 0);
    }
}
