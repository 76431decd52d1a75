//! Whether a run is good enough: its metrics against the gates.

use sconce_contract::{Gate, Goal, Incumbent, Metric, MetricName, Rival};
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

/// Holds each gate against what was measured, of the new model and of the one that was served then.
pub fn judge(gates: &[Gate], metrics: &[Metric], incumbent: Option<&Incumbent>) -> Judgement {
    let misses: Vec<Option<String>> = gates.iter().map(|gate| miss(gate, metrics, incumbent)).collect();
    let results = gates.iter().zip(&misses).map(|(gate, miss)| GateResult {
        metric: gate.metric,
        required: required(gate, incumbent),
        observed: observed(gate.metric, metrics),
        passed: miss.is_none(),
    });
    let results = results.collect();
    let misses: Vec<String> = misses.into_iter().flatten().collect();
    let alone = gates.iter().any(|gate| gate.beats.is_some())
        && incumbent.is_some_and(|incumbent| incumbent.digest.is_none());
    let alone = if alone {
        "; no model was served yet that it would have to beat"
    } else {
        ""
    };
    let message = match (gates.len(), misses.is_empty()) {
        (0, _) => "no gate is set".to_owned(),
        (1, true) => format!("the gate holds{alone}"),
        (count, true) => format!("all {count} gates hold{alone}"),
        (_, false) => misses.join("; "),
    };
    Judgement {
        passed: misses.is_empty(),
        results,
        message,
    }
}

fn observed(name: MetricName, metrics: &[Metric]) -> Option<f64> {
    metrics
        .iter()
        .find(|metric| metric.name == name)
        .map(|metric| metric.value)
}

fn required(gate: &Gate, incumbent: Option<&Incumbent>) -> String {
    let bounds = match (gate.min, gate.max) {
        (Some(min), Some(max)) => Some(format!("{min} to {max}")),
        (Some(min), None) => Some(format!(">= {min}")),
        (None, Some(max)) => Some(format!("<= {max}")),
        (None, None) => None,
    };
    let sign = match gate.metric.goal() {
        Goal::Maximize => ">",
        Goal::Minimize => "<",
    };
    let reached = incumbent.and_then(|incumbent| observed(gate.metric, &incumbent.metrics));
    let beats = gate.beats.map(|Rival::Incumbent| match reached {
        Some(value) => format!("{sign} {} (incumbent)", short(value)),
        None => format!("{sign} incumbent"),
    });
    let all: Vec<String> = bounds.into_iter().chain(beats).collect();
    if all.is_empty() {
        "anything".to_owned()
    } else {
        all.join(", ")
    }
}

fn miss(gate: &Gate, metrics: &[Metric], incumbent: Option<&Incumbent>) -> Option<String> {
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
        _ => gate
            .beats
            .and_then(|Rival::Incumbent| beaten_by(name, value, incumbent)),
    }
}

/// Why the new model does not beat the incumbent; nothing where it does, or there is none.
fn beaten_by(name: MetricName, value: f64, incumbent: Option<&Incumbent>) -> Option<String> {
    let Some(incumbent) = incumbent else {
        return Some(format!(
            "{name} was not compared with the incumbent by this run; a new value of the annotation {} runs it again (a \
             trainer of your own must report it)",
            crate::labels::RERUN
        ));
    };
    let digest: String = incumbent
        .digest
        .as_deref()?
        .trim_start_matches("sha256:")
        .chars()
        .take(10)
        .collect();
    let Some(rival) = observed(name, &incumbent.metrics) else {
        return Some(format!(
            "{name} of the incumbent {digest} is not known on these held-out rows; take `beats` out of the gate"
        ));
    };
    let (better, worse_by) = match name.goal() {
        Goal::Maximize => (value > rival, rival - value),
        Goal::Minimize => (value < rival, value - rival),
    };
    if better {
        return None;
    }
    Some(if worse_by == 0.0 {
        format!(
            "{name} is {}, the same as that of the incumbent {digest}",
            short(value)
        )
    } else {
        format!(
            "{name} is {}, {} worse than the {} of the incumbent {digest}",
            short(value),
            short(worse_by),
            short(rival)
        )
    })
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
        Gate {
            metric,
            min,
            max,
            beats: None,
        }
    }

    #[test]
    fn no_gate_lets_everything_through() {
        let judgement = judge(&[], &[], None);
        assert!(judgement.passed && judgement.results.is_empty());
    }

    #[test]
    fn a_bound_itself_passes() {
        let metrics = [metric(MetricName::Accuracy, 0.95), metric(MetricName::Loss, 0.2)];
        let gates = [
            gate(MetricName::Accuracy, Some(0.95), None),
            gate(MetricName::Loss, None, Some(0.2)),
        ];
        assert!(judge(&gates, &metrics, None).passed);
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
        let judgement = judge(&gates, &metrics, None);
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
        let judgement = judge(&[gate(MetricName::R2, Some(0.5), None)], &[], None);
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
            None,
        );
        assert!(!judgement.passed);
    }

    #[test]
    fn a_model_must_be_better_than_the_one_that_is_served() {
        let beats = |metric| Gate {
            beats: Some(Rival::Incumbent),
            ..gate(metric, None, None)
        };
        let served = |name, value| Incumbent {
            digest: Some("sha256:0123456789abcdef".into()),
            metrics: vec![metric(name, value)],
        };
        let none = Incumbent::default();
        for (name, value, incumbent, passed, says) in [
            (
                MetricName::Auroc,
                0.97,
                Some(&served(MetricName::Auroc, 0.96)),
                true,
                "the gate holds",
            ),
            (
                MetricName::Auroc,
                0.95,
                Some(&served(MetricName::Auroc, 0.96)),
                false,
                "auroc is 0.95, 0.01 worse than the 0.96 of the incumbent 0123456789",
            ),
            (
                MetricName::Auroc,
                0.96,
                Some(&served(MetricName::Auroc, 0.96)),
                false,
                "auroc is 0.96, the same as that of the incumbent",
            ),
            (
                MetricName::Rmse,
                4.0,
                Some(&served(MetricName::Rmse, 5.0)),
                true,
                "the gate holds",
            ),
            (
                MetricName::Rmse,
                6.0,
                Some(&served(MetricName::Rmse, 5.0)),
                false,
                "rmse is 6, 1 worse than the 5 of the incumbent",
            ),
            (
                MetricName::Auroc,
                0.5,
                Some(&none),
                true,
                "the gate holds; no model was served yet",
            ),
            (
                MetricName::Auroc,
                0.5,
                None,
                false,
                "auroc was not compared with the incumbent by this run",
            ),
            (
                MetricName::Auroc,
                0.5,
                Some(&served(MetricName::Rmse, 5.0)),
                false,
                "auroc of the incumbent 0123456789 is not known",
            ),
        ] {
            let judgement = judge(&[beats(name)], &[metric(name, value)], incumbent);
            assert_eq!(judgement.passed, passed, "{}", judgement.message);
            assert!(judgement.message.starts_with(says), "{}", judgement.message);
        }
        let both = Gate {
            min: Some(0.9),
            ..beats(MetricName::Auroc)
        };
        let measured = [metric(MetricName::Auroc, 0.8)];
        let judgement = judge(&[both], &measured, Some(&served(MetricName::Auroc, 0.7)));
        assert_eq!(judgement.results[0].required, ">= 0.9, > 0.7 (incumbent)");
        assert!(!judgement.passed, "the bound counts too");
    }
}
