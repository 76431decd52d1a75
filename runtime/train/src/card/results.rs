//! What the model reaches, on which rows, and what it had to reach.

use sconce_contract::{Gate, Goal, Incumbent, Metric, MetricName, MetricSplit, Rival};

use super::Subject;
use super::markdown::{number, plain, table};

/// Most classes of a confusion matrix that a page has room for.
const CLASSES: usize = 12;

pub(super) fn section(subject: &Subject<'_>) -> String {
    let metrics = &subject.manifest.metrics;
    let mut text = "## Results\n\n".to_owned();
    if metrics.is_empty() {
        return text + "Nothing was held out to measure it on.\n";
    }
    let mut names: Vec<MetricName> = Vec::new();
    for metric in metrics {
        if !names.contains(&metric.name) {
            names.push(metric.name);
        }
    }
    let splits = [MetricSplit::Test, MetricSplit::Validation, MetricSplit::Train];
    let cell = |name, split| value(metrics, name, split).map_or_else(|| "–".to_owned(), number);
    let rows: Vec<Vec<String>> = names
        .iter()
        .map(|name| {
            let cells = splits.iter().map(|split| cell(*name, *split));
            std::iter::once(name.to_string()).chain(cells).collect()
        })
        .collect();
    text += &table(&["metric", "test:", "validation:", "training:"], &rows);
    text += &gates(subject, metrics);
    text += &confusion(subject);
    text
}

fn value(metrics: &[Metric], name: MetricName, split: MetricSplit) -> Option<f64> {
    let found = metrics
        .iter()
        .find(|metric| metric.name == name && metric.split == split);
    found.map(|metric| metric.value)
}

fn gates(subject: &Subject<'_>, metrics: &[Metric]) -> String {
    let gates = &subject.plan.evaluation.gates;
    if gates.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = gates
        .iter()
        .map(|gate| {
            // The first of a name is that on the held-out rows.
            let found = metrics.iter().find(|metric| metric.name == gate.metric);
            let found = found.map(|metric| metric.value);
            vec![
                gate.metric.to_string(),
                required(gate, subject.incumbent),
                found.map_or_else(|| "not measured".to_owned(), number),
                if holds(gate, found, subject.incumbent) {
                    "yes"
                } else {
                    "no"
                }
                .to_owned(),
            ]
        })
        .collect();
    let table = table(&["gate", "required", "reached:", "holds"], &rows);
    format!("\n{table}\nThe gates are those of the run; they can be changed afterwards.\n")
}

fn of_incumbent(gate: &Gate, incumbent: Option<&Incumbent>) -> Option<f64> {
    let metrics = &incumbent?.metrics;
    metrics
        .iter()
        .find(|metric| metric.name == gate.metric)
        .map(|metric| metric.value)
}

fn required(gate: &Gate, incumbent: Option<&Incumbent>) -> String {
    let mut all = Vec::new();
    all.extend(gate.min.map(|min| format!("at least {min}")));
    all.extend(gate.max.map(|max| format!("at most {max}")));
    if let Some(Rival::Incumbent) = gate.beats {
        let reached = of_incumbent(gate, incumbent);
        all.push(match reached {
            Some(value) => format!("better than {}, the incumbent's", number(value)),
            None => "better than the incumbent, of which there was none".to_owned(),
        });
    }
    all.join(", ")
}

fn holds(gate: &Gate, value: Option<f64>, incumbent: Option<&Incumbent>) -> bool {
    let Some(value) = value else {
        return false;
    };
    let beats = match (gate.beats, of_incumbent(gate, incumbent), gate.metric.goal()) {
        (Some(Rival::Incumbent), Some(other), Goal::Maximize) => value > other,
        (Some(Rival::Incumbent), Some(other), Goal::Minimize) => value < other,
        _ => true,
    };
    gate.min.is_none_or(|min| value >= min) && gate.max.is_none_or(|max| value <= max) && beats
}

fn confusion(subject: &Subject<'_>) -> String {
    let (matrix, classes) = (&subject.manifest.facts.confusion, subject.classes());
    if matrix.is_empty() || matrix.len() > CLASSES || matrix.len() != classes.len() {
        return String::new();
    }
    let titles: Vec<String> = classes.iter().map(|name| format!("{}:", plain(name))).collect();
    let titles: Vec<&str> = std::iter::once("held-out rows of ↓ taken for →")
        .chain(titles.iter().map(String::as_str))
        .collect();
    let rows: Vec<Vec<String>> = classes
        .iter()
        .zip(matrix)
        .map(|(name, counts)| {
            let counts = counts.iter().map(ToString::to_string);
            std::iter::once(plain(name)).chain(counts).collect()
        })
        .collect();
    format!("\n{}", table(&titles, &rows))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gate_holds_as_the_operator_judges_it() {
        let incumbent = |value: f64| Incumbent {
            digest: Some("sha256:ab".to_owned()),
            metrics: vec![Metric {
                name: MetricName::Accuracy,
                value,
                split: MetricSplit::Test,
            }],
        };
        for (gate, value, rival, expected) in [
            (json!({"min": 0.9}), Some(0.9), None, true),
            (json!({"min": 0.9}), Some(0.89), None, false),
            (json!({"max": 0.9}), Some(0.91), None, false),
            (json!({"min": 0.1}), None, None, false),
            (json!({"min": 0.1}), Some(f64::NAN), None, false),
            (json!({"beats": "Incumbent"}), Some(0.5), None, true),
            (json!({"beats": "Incumbent"}), Some(0.5), Some(0.5), false),
            (
                json!({"beats": "Incumbent", "min": 0.9}),
                Some(0.6),
                Some(0.5),
                false,
            ),
            (json!({"beats": "Incumbent"}), Some(0.6), Some(0.5), true),
        ] {
            let mut gate = gate;
            gate["metric"] = json!("accuracy");
            let read: Gate = serde_json::from_value(gate.clone()).unwrap();
            let rival = rival.map(incumbent);
            assert_eq!(holds(&read, value, rival.as_ref()), expected, "{gate} {value:?}");
        }
    }
}
