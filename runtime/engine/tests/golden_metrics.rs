//! Every metric has the value that scikit-learn measures (`golden/metrics.py`).

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::collections::{BTreeMap, BTreeSet};

use sconce_contract::MetricName;
use sconce_engine::metrics::{self, Predictions, TargetKind, Targets};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    width: usize,
    outputs: Vec<f32>,
    #[serde(default)]
    classes: Vec<u32>,
    #[serde(default)]
    numbers: Vec<f32>,
    expected: BTreeMap<String, f64>,
    #[serde(default)]
    confusion: Vec<Vec<u64>>,
}

#[test]
fn golden_values_of_every_metric_are_those_of_scikit_learn() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/metrics.json")).unwrap();
    let mut compared = BTreeSet::new();
    for case in &cases {
        let targets = if case.numbers.is_empty() {
            Targets::Classes(&case.classes)
        } else {
            Targets::Numbers(&case.numbers)
        };
        let predictions = Predictions {
            outputs: &case.outputs,
            width: case.width,
            targets,
        };
        for (name, expected) in &case.expected {
            let metric: MetricName = serde_json::from_value(name.clone().into()).unwrap();
            let found = metrics::measure(metric, &predictions).unwrap();
            let close = (found - expected).abs() <= 1e-6 * expected.abs().max(1.0);
            assert!(close, "{}: {name} is {found}, not {expected}", case.name);
            compared.insert(metric);
        }
        if !case.confusion.is_empty() {
            let classes = case.confusion.len();
            assert_eq!(
                metrics::matrix(&predictions, classes),
                case.confusion,
                "{}",
                case.name
            );
        }
    }
    for metric in [TargetKind::Classes, TargetKind::Numbers]
        .map(metrics::fitting)
        .concat()
    {
        assert!(
            metric == MetricName::Loss || compared.contains(&metric),
            "{metric} is in no case"
        );
    }
}
