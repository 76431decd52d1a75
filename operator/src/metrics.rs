//! What the operator counts, in OpenMetrics text on `/metrics`.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    kind: String,
    error: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    kind: String,
    verb: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Scaling {
    direction: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Crd {
    crd: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    outcome: &'static str,
}

/// The operator's metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<Kind, Counter>,
    failures: Family<Failure, Counter>,
    duration: Family<Kind, Histogram>,
    writes: Family<Write, Counter>,
    leader: Gauge<i64, AtomicI64>,
    scalings: Family<Scaling, Counter>,
    asked: Family<Asked, Counter>,
    lacking: Family<Crd, Gauge<i64, AtomicI64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sconce_operator");
        let reconciles = Family::default();
        registry.register("reconciles", "Reconciles that ended, by kind", reconciles.clone());
        let failures = Family::default();
        registry.register(
            "reconcile_errors",
            "Reconciles that failed and are tried again",
            failures.clone(),
        );
        let duration: Family<Kind, Histogram> =
            Family::new_with_constructor(|| Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]));
        registry.register_with_unit(
            "reconcile_duration",
            "How long a reconcile takes",
            Unit::Seconds,
            duration.clone(),
        );
        let writes = Family::default();
        registry.register(
            "writes",
            "Writes to the API server, by kind and verb",
            writes.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "Whether this replica holds the lease", leader.clone());
        let scalings = Family::default();
        registry.register(
            "scale_decisions",
            "Changes of the number of replicas by load, by direction and reason",
            scalings.clone(),
        );
        let asked = Family::default();
        registry.register(
            "load_polls",
            "Times that a server was asked for its load, by outcome",
            asked.clone(),
        );
        let lacking = Family::default();
        registry.register(
            "crd_fields_missing",
            "Fields of this operator that a CRD in the cluster lacks, because it is older",
            lacking.clone(),
        );
        Metrics {
            registry: Arc::new(registry),
            reconciles,
            failures,
            duration,
            writes,
            leader,
            scalings,
            asked,
            lacking,
        }
    }
}

impl Metrics {
    /// A reconcile of this kind ended after this time, well or with the error that has this label.
    pub fn reconciled(&self, kind: &str, took: Duration, error: Option<&'static str>) {
        let label = Kind {
            kind: kind.to_owned(),
        };
        self.reconciles.get_or_create(&label).inc();
        self.duration.get_or_create(&label).observe(took.as_secs_f64());
        if let Some(error) = error {
            self.failures
                .get_or_create(&Failure {
                    kind: kind.to_owned(),
                    error: error.to_owned(),
                })
                .inc();
        }
    }

    /// A write was sent.
    pub fn write(&self, kind: &str, verb: &str) {
        self.writes
            .get_or_create(&Write {
                kind: kind.to_owned(),
                verb: verb.to_owned(),
            })
            .inc();
    }

    /// This replica holds the lease, or not.
    pub fn leading(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// The number of a deployment's replicas is another, for this reason.
    pub fn scaled(&self, up: bool, reason: &'static str) {
        let direction = if up { "up" } else { "down" };
        self.scalings.get_or_create(&Scaling { direction, reason }).inc();
    }

    /// A server was asked for its load, and answered or not.
    pub fn asked_for_load(&self, answered: bool) {
        let outcome = if answered { "answered" } else { "silent" };
        self.asked.get_or_create(&Asked { outcome }).inc();
    }

    /// A CRD in the cluster lacks so many fields.
    pub fn crd_lacks(&self, name: &str, fields: usize) {
        let label = Crd { crd: name.to_owned() };
        let fields = i64::try_from(fields).unwrap_or(i64::MAX);
        self.lacking.get_or_create(&label).set(fields);
    }

    /// Everything, as text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::default();
        metrics.write("Job", "apply");
        metrics.reconciled("ModelTraining", Duration::from_millis(3), Some("timeout"));
        let text = metrics.encode();
        assert!(
            text.contains("sconce_operator_writes_total{kind=\"Job\",verb=\"apply\"} 1"),
            "{text}"
        );
        assert!(
            text.contains(
                "sconce_operator_reconcile_errors_total{kind=\"ModelTraining\",error=\"timeout\"} 1"
            ),
            "{text}"
        );
    }
}
