//! From decoded records to the exporter: explained, counted, never waited for.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use plimsoll_abi::Stat;
use plimsoll_proto::v1;
use prometheus_client::collector::Collector as Metric;
use tokio::sync::watch;

use crate::{
    config::{Collector, Config},
    event::Decoded,
    explain::explain,
    exporter::{Endpoint, Exporter, ExporterConfig, ExporterHandle, ExporterMetrics, KernelLosses},
    kubernetes::Cluster,
    sensor::maps::Stats,
    workload::{Workload, pending},
};

/// The way out for events; without a collector in the configuration they are explained to nobody.
#[derive(Debug)]
pub struct Export {
    exporter: Option<(ExporterHandle, ExporterMetrics)>,
    boot_ns: u64,
    cluster: Option<Cluster>,
}

impl Export {
    /// Opens the spool and starts sending.
    pub fn start(config: &Config, cluster: Option<Cluster>, stop: watch::Receiver<()>) -> anyhow::Result<Self> {
        let exporter = if let Some(collector) = &config.collector {
            Some(Exporter::start(exporter_config(config, collector)?, stop)?)
        } else {
            tracing::warn!("no collector is configured: events are counted and dropped");
            None
        };
        Ok(Self { exporter, boot_ns: boot_time()?, cluster })
    }

    /// The exporter's metrics.
    pub fn metrics(&self) -> Option<Box<dyn Metric>> {
        self.exporter.as_ref().map(|(_, metrics)| -> Box<dyn Metric> { Box::new(metrics.clone()) })
    }

    /// Explains an event and hands it on; `pending` if it is of a container that nobody has introduced. What does not fit is
    /// counted by the exporter.
    pub fn submit(&self, event: &Decoded, workload: Option<&Workload>, pending: bool) {
        let Some((exporter, _)) = &self.exporter else { return };
        let mut explained = explain(event, workload, self.boot_ns);
        if pending {
            explained.policy = Some(unknown_container());
        }
        if let Some(cluster) = &self.cluster {
            cluster.describe(&mut explained, workload);
        }
        if let Err(dropped) = exporter.submit(explained) {
            tracing::debug!(%dropped, "an event was dropped");
        }
    }

    /// Tells the collector what was lost before it came here.
    pub fn report_losses(&self, stats: &Stats, undecodable: u64) {
        let Some((exporter, _)) = &self.exporter else { return };
        match (stats.get(Stat::DenialsLost), stats.get(Stat::TelemetryLost)) {
            (Ok(denial_ring), Ok(telemetry_ring)) => exporter.losses(KernelLosses {
                denial_ring,
                telemetry_ring,
                rings_since_unix_ns: stats.since_unix_ns(),
                undecodable,
            }),
            (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "the kernel's loss counters cannot be read"),
        }
    }

    /// Waits, a bounded time, until what was submitted is safe.
    pub async fn finish(self) {
        if let Some((exporter, _)) = self.exporter {
            let left = exporter.finish().await;
            tracing::info!(sent = left.sent, acked = left.acked, "the exporter has finished");
        }
    }
}

/// What decides over containers that nobody has introduced.
fn unknown_container() -> v1::Policy {
    let rule = "no agent was told of this container when it started".to_owned();
    v1::Policy { name: pending::POLICY.to_owned(), rule, ..v1::Policy::default() }
}

fn exporter_config(config: &Config, collector: &Collector) -> anyhow::Result<ExporterConfig> {
    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    Ok(ExporterConfig {
        node: config.node.clone(),
        boot_id: fs::read_to_string(BOOT_ID).with_context(|| format!("cannot read `{BOOT_ID}`"))?.trim().to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        directory: config.state.join("spool"),
        spool_key: collector.spool_key.clone().unwrap_or_else(|| config.state.join("spool.key")),
        spool_bytes: collector.spool_bytes,
        endpoint: Some(Endpoint::from(collector)),
    })
}

/// The wall clock when the machine started, nanoseconds since 1970: what the kernel's event times count from.
fn boot_time() -> anyhow::Result<u64> {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = Duration::new(u64::try_from(up.tv_sec)?, u32::try_from(up.tv_nsec)?);
    let booted = SystemTime::now().checked_sub(up).context("the clock stands before the machine's start")?;
    Ok(u64::try_from(booted.duration_since(UNIX_EPOCH)?.as_nanos())?)
}
