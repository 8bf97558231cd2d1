//! The exporter's counters for Prometheus, read when they are scraped.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::counters::{Counters, Snapshot};

/// Registers as `exporter_...`; the registry adds its prefix.
#[derive(Clone, Debug)]
pub struct ExporterMetrics(Arc<Counters>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LossLabels {
    cause: &'static str,
}

impl ExporterMetrics {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self(counters)
    }

    /// The counters at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}

impl Collector for ExporterMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.snapshot();
        let counters = [
            ("exporter_spooled", "Events written to the spool", now.spooled),
            ("exporter_sent", "Events sent, repetitions included", now.sent),
            ("exporter_acked", "Events the collector has stored", now.acked),
            ("exporter_reconnects", "Streams to the collector that ended early or could not be opened", now.reconnects),
            ("exporter_renewals", "Streams opened anew because the certificates had changed", now.renewals),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let gauges = [
            ("exporter_queued", "Events waiting for the spool", now.queued),
            ("exporter_spool_bytes", "Bytes of the spool on disk", now.spool_bytes),
            ("exporter_connected", "1 while a stream to the collector is open", now.connected),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        encode_losses(&now, encoder)
    }
}

fn encode_losses(now: &Snapshot, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let help = "Events that will never arrive, by cause";
    let mut family = encoder.encode_descriptor("exporter_lost", help, None, MetricType::Counter)?;
    let causes = [
        ("queue_full", now.queue_full),
        ("spool_full", now.spool_full),
        ("spool_error", now.spool_error),
        ("spool_corrupt", now.spool_corrupt),
        ("oversized", now.oversized),
    ];
    for (cause, value) in causes {
        ConstCounter::new(value).encode(family.encode_family(&LossLabels { cause })?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn every_counter_has_a_series() {
        let counters = Arc::new(Counters::default());
        counters.spool_full.add(2);
        counters.queued.add(1);
        let mut registry = Registry::with_prefix("plimsoll");
        registry.register_collector(Box::new(ExporterMetrics::new(counters)));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(text.contains("plimsoll_exporter_lost_total{cause=\"spool_full\"} 2\n"), "{text}");
        assert!(text.contains("plimsoll_exporter_queued 1\n"), "{text}");
        assert!(text.contains("plimsoll_exporter_acked_total 0\n"), "{text}");
    }
}
