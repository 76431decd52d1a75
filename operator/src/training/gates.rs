//! Whether a run is good enough: its metrics against the gates.

use sconce_contract::{Gate, Metric, MetricName};
use sconce_crds::training::GateResult;

/// What the gates say of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Each gate, in the order of the spec.
    pub results: Vec<GateResult>,
    /// Whether all hold. With no gate, all hold.
    pub passed: bool,
    /// One sentence: which missed and by how much, or that all hold.
    pub message: String,
}

/// Holds each gate against what was measured.
pub fn judge(gates: &[Gate], metrics: &[Metric]) -> Judgement {
    let results: Vec<GateResult> = gates.iter().map(|gate| result(gate, metrics)).collect();
    let misses: Vec<String> = gates.iter().filter_map(|gate| miss(gate, metrics)).collect();
    let message = match (gates.len(), misses.is_empty()) {
        (0, _) => "no gate is set".to_owned(),
        (1, true) => "the gate holds".to_owned(),
        (count, true) => format!("all {count} gates hold"),
        (_, false) => misses.join("; "),
    };
    Judgement {
        passed: misses.is_empty(),
        results,
        message,
    }
}

fn result(gate: &Gate, metrics: &[Metric]) -> GateResult {
    GateResult {
        metric: gate.metric,
        required: required(gate),
        observed: observed(gate.metric, metrics),
        passed: miss(gate, metrics).is_none(),
    }
}

fn observed(name: MetricName, metrics: &[Metric]) -> Option<f64> {
    metrics
        .iter()
        .find(|metric| metric.name == name)
        .map(|metric| metric.value)
}

fn required(gate: &Gate) -> String {
    match (gate.min, gate.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!(">= {min}"),
        (None, Some(max)) => format!("<= {max}"),
        (None, None) => "anything".to_owned(),
    }
}

fn miss(gate: &Gate, metrics: &[Metric]) -> Option<String> {
    let name = gate.metric;
    let Some(value) = observed(name, metrics) else {
        return Some(format!(
            "{name} was not measured by this run; a new value of the annotation {} runs it again (a trainer of your own \
             must report it)",
            crate::labels::RERUN
        ));
    };
    match (gate.min, gate.max) {
        _ if value.is_nan() => Some(format!("{name} is not a number")),
        (Some(min), _) if value < min => Some(format!(
            "{name} is {}, {} below the required {min}",
            short(value),
            short(min - value)
        )),
        (_, Some(max)) if value > max => Some(format!(
            "{name} is {}, {} above the allowed {max}",
            short(value),
            short(value - max)
        )),
        _ => None,
    }
}

/// Four significant digits: enough to see by how much a gate was missed.
pub fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    // log10 of any finite value other than 0 lies between -324 and 309.
    #[allow(clippy::cast_possible_truncation)]
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from((3 - magnitude).clamp(0, 17)).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sconce_contract::MetricSplit::Test;

    fn metric(name: MetricName, value: f64) -> Metric {
        Metric {
            name,
            value,
            split: Test,
        }
    }

    fn gate(metric: MetricName, min: Option<f64>, max: Option<f64>) -> Gate {
        Gate { metric, min, max }
    }

    #[test]
    fn no_gate_lets_everything_through() {
        let judgement = judge(&[], &[]);
        assert!(judgement.passed && judgement.results.is_empty());
    }

    #[test]
    fn a_bound_itself_passes() {
        let metrics = [metric(MetricName::Accuracy, 0.95), metric(MetricName::Loss, 0.2)];
        let gates = [
            gate(MetricName::Accuracy, Some(0.95), None),
            gate(MetricName::Loss, None, Some(0.2)),
        ];
        assert!(judge(&gates, &metrics).passed);
    }

    #[test]
    fn a_miss_says_which_metric_and_by_how_much() {
        let metrics = [
            metric(MetricName::Accuracy, 0.912_34),
            metric(MetricName::Loss, 0.1),
        ];
        let gates = [
            gate(MetricName::Accuracy, Some(0.95), None),
            gate(MetricName::Loss, None, Some(0.2)),
        ];
        let judgement = judge(&gates, &metrics);
        assert!(!judgement.passed);
        assert_eq!(
            judgement.message,
            "accuracy is 0.9123, 0.03766 below the required 0.95"
        );
        assert_eq!(judgement.results[0].required, ">= 0.95");
        assert!(judgement.results[1].passed);
    }

    #[test]
    fn what_was_not_measured_does_not_pass() {
        let judgement = judge(&[gate(MetricName::R2, Some(0.5), None)], &[]);
        assert!(!judgement.passed);
        assert!(
            judgement.message.contains("sconce.dev/rerun"),
            "{}",
            judgement.message
        );
    }

    #[test]
    fn a_nan_does_not_slip_through() {
        // NaN is below nothing and above nothing; a metric that is none must not pass a bound.
        let judgement = judge(
            &[gate(MetricName::Loss, None, Some(1.0))],
            &[metric(MetricName::Loss, f64::NAN)],
        );
        assert!(!judgement.passed);
    }
}
