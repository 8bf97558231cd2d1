//! Prometheus metrics. Label values come from closed sets or the configuration; nothing an agent can name becomes a label.

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

/// What the collector noticed about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Finding {
    pub(crate) kind: &'static str,
}

/// An output, by its name in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutputLabel {
    pub(crate) output: String,
}

/// What the collector counts, since it started.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) stored: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) missing: Counter,
    pub(crate) pruned: Counter,
    pub(crate) findings: Family<Finding, Counter>,
    pub(crate) refused_events: Family<Reason, Counter>,
    pub(crate) refused_batches: Family<Reason, Counter>,
    pub(crate) refused_queries: Family<Reason, Counter>,
    pub(crate) refused_connections: Family<Reason, Counter>,
    pub(crate) checkpoints: Counter,
    pub(crate) refused_checkpoints: Family<Reason, Counter>,
    pub(crate) tls_reloads: Counter,
    pub(crate) tls_reload_failures: Counter,
    pub(crate) losses: Family<Cause, Counter>,
    pub(crate) queries: Counter,
    pub(crate) streams: Gauge,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_failures: Counter,
    pub(crate) output_delivered: Family<OutputLabel, Counter>,
    pub(crate) output_dead: Family<OutputLabel, Counter>,
    pub(crate) output_skipped: Family<OutputLabel, Counter>,
    pub(crate) output_retries: Family<OutputLabel, Counter>,
    pub(crate) output_lag: Family<OutputLabel, Gauge>,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            stored: Counter::default(),
            duplicates: Counter::default(),
            missing: Counter::default(),
            pruned: Counter::default(),
            findings: Family::default(),
            refused_events: Family::default(),
            refused_batches: Family::default(),
            refused_queries: Family::default(),
            refused_connections: Family::default(),
            checkpoints: Counter::default(),
            refused_checkpoints: Family::default(),
            tls_reloads: Counter::default(),
            tls_reload_failures: Counter::default(),
            losses: Family::default(),
            queries: Counter::default(),
            streams: Gauge::default(),
            commit_seconds: Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]),
            commit_failures: Counter::default(),
            output_delivered: Family::default(),
            output_dead: Family::default(),
            output_skipped: Family::default(),
            output_retries: Family::default(),
            output_lag: Family::default(),
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
        registry.register(
            "findings",
            "Gaps, rollbacks, forks and silent nodes that were noticed",
            self.findings.clone(),
        );
        registry.register("events_refused", "Events refused for good, by reason", self.refused_events.clone());
        registry.register("batches_refused", "Batches that ended their stream, by reason", {
            self.refused_batches.clone()
        });
        registry.register("checkpoints_stored", "Signed checkpoints that were verified", self.checkpoints.clone());
        registry.register("checkpoints_refused", "Signed checkpoints that were not believed, by reason", {
            self.refused_checkpoints.clone()
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
        self.register_outputs(&mut registry);
        registry
    }

    fn register_outputs(&self, registry: &mut Registry) {
        registry.register("output_events_delivered", "Events that an output's receiver took", {
            self.output_delivered.clone()
        });
        registry.register("output_dead_letters", "Events that an output's receiver refused for good", {
            self.output_dead.clone()
        });
        registry.register(
            "output_events_skipped",
            "Events that retention removed before an output could deliver them",
            self.output_skipped.clone(),
        );
        registry.register("output_retries", "Deliveries that failed and are tried again", self.output_retries.clone());
        registry.register("output_lag_events", "Stored events that an output has not dealt with", {
            self.output_lag.clone()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const HEAD: &str = "# Metrics of the collector\n\nWritten by the tests of plimsoll-collector: with `UPDATE_EXPECT=1` they \
                        write it, without they fail if it is not what the\ncollector registers. It is served at `/metrics`, in \
                        OpenMetrics. Label values come from closed sets in the code, or are names \
                        of\noutputs, of which there are at most 16; nothing that an agent can name becomes one, so that the number \
                        of series is bounded.\n[Events](events.md) has the values.\n\n\
                        | Metric | Type | Labels | Meaning |\n|---|---|---|---|\n";

    /// What a scrape says, with one series in every family.
    fn scrape() -> String {
        let metrics = Metrics::new();
        let Metrics { refused_events, refused_batches, refused_queries, .. } = &*metrics;
        let Metrics { refused_connections, refused_checkpoints, .. } = &*metrics;
        for family in [refused_events, refused_batches, refused_queries, refused_connections, refused_checkpoints] {
            family.get_or_create(&Reason { reason: "x" }).inc();
        }
        metrics.findings.get_or_create(&Finding { kind: "x" }).inc();
        metrics.losses.get_or_create(&Cause { cause: "x".to_owned() }).inc();
        let Metrics { output_delivered, output_dead, output_skipped, output_retries, output_lag, .. } = &*metrics;
        for family in [output_delivered, output_dead, output_skipped, output_retries] {
            family.get_or_create(&OutputLabel { output: "x".to_owned() }).inc();
        }
        output_lag.get_or_create(&OutputLabel { output: "x".to_owned() }).inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
        text
    }

    #[test]
    fn the_document_has_what_is_registered() {
        let text = scrape();
        let mut document = HEAD.to_owned();
        for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
            let (name, help) = line.split_once(' ').unwrap();
            let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} "))).unwrap();
            let shown = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            let series = text.lines().find_map(|line| line.strip_prefix(&format!("{shown}{{")));
            let label =
                series.and_then(|rest| rest.split_once('=')).map_or(String::new(), |(label, _)| format!("`{label}`"));
            writeln!(document, "| `{shown}` | {kind} | {label} | {} |", help.trim_end_matches('.')).unwrap();
        }
        assert!(document.lines().count() > 15, "{document}");
        expect_test::expect_file!["../../docs/metrics.md"].assert_eq(&document);
    }
}
