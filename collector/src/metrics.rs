//! Prometheus metrics. Label values come from closed sets; nothing an agent can name becomes a label.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// One closed set of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// Why an agent says events are lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Cause {
    pub(crate) cause: String,
}

/// What the collector counts, since it started.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) stored: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) missing: Counter,
    pub(crate) pruned: Counter,
    pub(crate) refused_events: Family<Reason, Counter>,
    pub(crate) refused_batches: Family<Reason, Counter>,
    pub(crate) refused_queries: Family<Reason, Counter>,
    pub(crate) refused_connections: Family<Reason, Counter>,
    pub(crate) tls_reloads: Counter,
    pub(crate) tls_reload_failures: Counter,
    pub(crate) losses: Family<Cause, Counter>,
    pub(crate) queries: Counter,
    pub(crate) streams: Gauge,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_failures: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            stored: Counter::default(),
            duplicates: Counter::default(),
            missing: Counter::default(),
            pruned: Counter::default(),
            refused_events: Family::default(),
            refused_batches: Family::default(),
            refused_queries: Family::default(),
            refused_connections: Family::default(),
            tls_reloads: Counter::default(),
            tls_reload_failures: Counter::default(),
            losses: Family::default(),
            queries: Counter::default(),
            streams: Gauge::default(),
            commit_seconds: Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]),
            commit_failures: Counter::default(),
        })
    }

    pub(crate) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("plimsoll_collector");
        registry.register("events_stored", "Events committed to disk", self.stored.clone());
        registry.register("events_duplicate", "Events that were stored before", self.duplicates.clone());
        registry.register("events_missing", "Sequence numbers that were skipped; some may come late", {
            self.missing.clone()
        });
        registry.register("events_pruned", "Events removed by retention", self.pruned.clone());
        registry.register("events_refused", "Events refused for good, by reason", self.refused_events.clone());
        registry.register("batches_refused", "Batches that ended their stream, by reason", {
            self.refused_batches.clone()
        });
        registry.register("connections_refused", "Connections whose TLS handshake failed, by reason", {
            self.refused_connections.clone()
        });
        registry.register("tls_reloads", "Times that changed certificates came into use", self.tls_reloads.clone());
        registry.register("tls_reload_failures", "Changed certificates that could not be used", {
            self.tls_reload_failures.clone()
        });
        registry.register("losses_reported", "Losses that agents reported, by cause", self.losses.clone());
        registry.register("queries", "Queries answered", self.queries.clone());
        registry.register("queries_refused", "Queries not answered, by reason", self.refused_queries.clone());
        registry.register("streams", "Agents' streams that are open", self.streams.clone());
        registry.register("commit_seconds", "Time to put batches on disk", self.commit_seconds.clone());
        registry.register("commit_failures", "Transactions that failed; their batches are sent again", {
            self.commit_failures.clone()
        });
        registry
    }
}
