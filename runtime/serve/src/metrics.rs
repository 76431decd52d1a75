//! What is counted and measured, for Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use sconce_contract::{CacheOutcome, CacheReport, LoadSnapshot};

use crate::served::Served;

/// Labels of a request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    protocol: &'static str,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Protocol {
    protocol: &'static str,
}

/// Counters and histograms of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Protocol, Histogram>,
    in_flight: Gauge,
    queued: Gauge,
    load_seconds: Gauge<f64, AtomicU64>,
    model: Family<Vec<(&'static str, String)>, Gauge>,
    cache: Cache,
}

/// Of the model cache; all 0 where there is none.
#[derive(Debug, Default)]
struct Cache {
    hits: Counter,
    misses: Counter,
    evictions: Counter,
    bytes: Gauge,
}

impl Cache {
    fn register(&self, registry: &mut Registry) {
        let mut count = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        count("model_cache_hits", "Models found in the cache", &self.hits);
        count(
            "model_cache_misses",
            "Models that were not in the cache, or could not be read from it",
            &self.misses,
        );
        count(
            "model_cache_evictions",
            "Models that this server took out of the cache to make room",
            &self.evictions,
        );
        let help = "All models in the cache when this server had loaded its own";
        registry.register_with_unit("model_cache", help, Unit::Bytes, self.bytes.clone());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sconce");
        let requests = Family::default();
        registry.register(
            "requests",
            "Requests answered, by protocol and status",
            requests.clone(),
        );
        // 100 µs to 26 s: a small model answers in microseconds, a large batch in seconds.
        let buckets = || Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let seconds = Family::new_with_constructor(buckets as fn() -> Histogram);
        let help = "Time from the request's header to its answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, seconds.clone());
        let in_flight = Gauge::default();
        registry.register("requests_in_flight", "Requests being computed", in_flight.clone());
        let queued = Gauge::default();
        registry.register(
            "requests_queued",
            "Requests that wait for their turn",
            queued.clone(),
        );
        let load_seconds = Gauge::default();
        let help = "Time to read, check and warm up the model";
        registry.register_with_unit("model_load", help, Unit::Seconds, load_seconds.clone());
        let model = Family::default();
        registry.register("model_info", "The model that is served; always 1", model.clone());
        let cache = Cache::default();
        cache.register(&mut registry);
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the server", build);
        Metrics {
            registry,
            requests,
            seconds,
            in_flight,
            queued,
            load_seconds,
            model,
            cache,
        }
    }
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, protocol: &'static str, code: u16, took: Duration) {
        self.requests.get_or_create(&Request { protocol, code }).inc();
        self.seconds
            .get_or_create(&Protocol { protocol })
            .observe(took.as_secs_f64());
    }

    /// Tells of the model.
    pub fn loaded(&self, served: &Served, took: Duration) {
        self.load_seconds.set(took.as_secs_f64());
        let labels = vec![
            ("name", served.names.name.clone()),
            ("revision", served.names.revision.clone()),
            ("digest", served.model.manifest().digest()),
        ];
        self.model.get_or_create(&labels).set(1);
    }

    /// Tells of the look into the cache.
    pub fn cached(&self, report: &CacheReport) {
        match report.outcome {
            CacheOutcome::Hit => self.cache.hits.inc(),
            CacheOutcome::Fetched | CacheOutcome::NotCached => self.cache.misses.inc(),
        };
        self.cache.evictions.inc_by(report.evicted);
        self.cache
            .bytes
            .set(i64::try_from(report.bytes).unwrap_or(i64::MAX));
    }

    /// All of it as OpenMetrics text.
    pub fn text(&self, load: LoadSnapshot) -> String {
        self.in_flight
            .set(i64::try_from(load.in_flight).unwrap_or(i64::MAX));
        self.queued.set(i64::try_from(load.queued).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
