//! Prometheus metrics. Label values come from closed sets; nothing a container can name becomes a label.

use std::sync::{Arc, atomic::AtomicU64};

use plimsoll_abi::Stat;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{sensor::maps::Stats, workload::examine::Examined};

/// What became of a container that a hook introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Admission {
    /// Under a policy.
    Admitted,
    /// No policy selects it; it runs without enforcement.
    Unselected,
    /// It was not allowed to start.
    Refused,
}

/// Labels of admissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AdmissionLabels {
    /// The outcome.
    pub outcome: Admission,
}

/// What became of a container that the runtime told of, beside those that its hooks introduce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Reconciled {
    /// It was a workload before.
    AlreadyKnown,
    /// Under a policy from now on.
    Admitted,
    /// No policy selects it; it runs without enforcement.
    Unselected,
    /// It runs without enforcement although a policy may select it; one that was about to start does not.
    Failed,
}

/// Labels of containers that the runtime told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReconciledLabels {
    /// The outcome.
    pub outcome: Reconciled,
}

/// What the agent answered when the runtime created a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Creation {
    /// It has the agent's hooks.
    Adjusted,
    /// It is not created.
    Refused,
}

/// Labels of creations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CreationLabels {
    /// The outcome.
    pub outcome: Creation,
}

/// What happens with the registration at the container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Registration {
    /// Registered.
    Begun,
    /// Registered no longer, or an attempt failed.
    Ended,
}

/// Labels of registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RegistrationLabels {
    /// What happened.
    pub outcome: Registration,
}

/// What came of asking for an image's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum DigestLookup {
    /// The runtime told.
    Resolved,
    /// It is not a container of the runtime that is asked.
    NotOfCri,
    /// The digest is not known: a container that a policy could select does not start.
    Failed,
}

/// Labels of questions for digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DigestLabels {
    /// The outcome.
    pub outcome: DigestLookup,
}

/// Labels of code that was loaded before a policy was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExaminedLabels {
    /// What was found.
    pub outcome: Examined,
}

/// What the agent counts itself.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Containers introduced.
    pub admissions: Family<AdmissionLabels, Counter>,
    /// Containers the runtime told of that no hook introduces.
    pub reconciled: Family<ReconciledLabels, Counter>,
    /// Containers created while the agent was registered with the runtime.
    pub nri_creations: Family<CreationLabels, Counter>,
    /// 1 while the agent is registered with the runtime.
    pub nri_registered: Gauge,
    /// Registrations and their ends.
    pub nri_registrations: Family<RegistrationLabels, Counter>,
    /// Images whose digest was asked for.
    pub digest_lookups: Family<DigestLabels, Counter>,
    /// Programs and executable mappings that were there before a policy was in force.
    pub examined: Family<ExaminedLabels, Counter>,
    /// Deviations among them for which there was no room on the way to the collector.
    pub examined_unreported: Counter,
    /// Policy reloads that were taken.
    pub reloads: Counter,
    /// Policy reloads that were refused; the earlier policies stay in force.
    pub reloads_rejected: Counter,
    /// Workloads under a policy.
    pub workloads: Gauge,
    /// Allowlist entries in the kernel.
    pub entries: Gauge,
    /// Cgroups of pods that nobody has introduced, the pods' own among them.
    pub pending_cgroups: Gauge,
    /// Kernel records that could not be decoded.
    pub undecodable: Counter,
    /// Denials and audits read from the kernel's ring.
    pub denials_read: Counter,
    /// Allowed executions read from the kernel's ring.
    pub telemetry_read: Counter,
    /// 1 once the canary was denied.
    pub ready: Gauge,
    /// Seconds without an agent before this one.
    pub absence_seconds: Gauge<u64, AtomicU64>,
    /// Denials and audits of that time.
    pub absence_denials: Gauge<u64, AtomicU64>,
    /// Those of them that found the ring full.
    pub absence_denials_lost: Gauge<u64, AtomicU64>,
    /// Times that the kernel left a program out that no hook stands behind.
    pub recursion_misses: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// Registers everything, the kernel's and the exporter's counters included.
    pub fn registry(&self, stats: Arc<Stats>, exporter: Option<Box<dyn Collector>>) -> Registry {
        let mut registry = self.registered();
        registry.register_collector(Box::new(KernelCounters(stats)));
        if let Some(exporter) = exporter {
            registry.register_collector(exporter);
        }
        registry
    }

    fn registered(&self) -> Registry {
        let mut registry = Registry::with_prefix("plimsoll");
        let all = self.clone();
        registry.register("admissions", "Containers introduced by a hook, by outcome", all.admissions);
        registry.register("reconciled", "Containers that the runtime told of, by outcome", all.reconciled);
        registry.register("nri_creations", "Containers created under the agent's eyes, by outcome", all.nri_creations);
        registry.register("nri_registered", "1 while registered with the container runtime", all.nri_registered);
        registry.register("nri_registrations", "Registrations with the container runtime", all.nri_registrations);
        registry.register("image_digest_lookups", "Images whose digest was asked for", all.digest_lookups);
        registry.register("examined_mappings", "Code loaded before a policy was in force", all.examined);
        registry.register("examined_unreported", "Deviations of it that became no event", all.examined_unreported);
        registry.register("policy_reloads", "Policy reloads taken", all.reloads);
        registry.register(
            "policy_reloads_rejected",
            "Policy reloads refused; the earlier policies stay",
            all.reloads_rejected,
        );
        registry.register("workloads", "Workloads under a policy", all.workloads);
        registry.register("allowlist_entries", "Allowlist entries in the kernel", all.entries);
        registry.register(
            "pending_cgroups",
            "Cgroups of pods that nobody has introduced, the pods' own among them",
            all.pending_cgroups,
        );
        registry.register("events_undecodable", "Kernel records that could not be decoded", all.undecodable);
        registry.register("denial_events_read", "Denials and audits read from the kernel", all.denials_read);
        registry.register("telemetry_events_read", "Allowed executions read from the kernel", all.telemetry_read);
        registry.register("ready", "1 once a canary was really denied", all.ready);
        registry.register("absence_seconds", "Seconds without an agent before this one", all.absence_seconds);
        registry.register("absence_denials", "Denials and audits while no agent was there", all.absence_denials);
        registry.register("absence_denials_lost", "Those that found the ring full", all.absence_denials_lost);
        registry.register(
            "program_recursion_misses",
            "Times that the kernel left out a program which no LSM hook stands behind",
            all.recursion_misses,
        );
        registry
    }
}

/// The kernel's counters, read when they are scraped.
struct KernelCounters(Arc<Stats>);

impl std::fmt::Debug for KernelCounters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KernelCounters")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CounterLabels {
    counter: &'static str,
}

impl Collector for KernelCounters {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        encode_kernel_counters(encoder, |stat| match self.0.get(stat) {
            Ok(value) => Some(value),
            // An absent series is what a scraper must see for a value that is not known.
            Err(error) => {
                tracing::error!(counter = stat.name(), %error, "a kernel counter cannot be read");
                None
            }
        })
    }
}

fn encode_kernel_counters(
    mut encoder: DescriptorEncoder<'_>,
    read: impl Fn(Stat) -> Option<u64>,
) -> Result<(), std::fmt::Error> {
    let help = "Exact counters of the kernel programs, by name";
    let mut family = encoder.encode_descriptor("kernel_counter", help, None, MetricType::Counter)?;
    for stat in Stat::ALL {
        if let Some(value) = read(*stat) {
            ConstCounter::new(value).encode(family.encode_family(&CounterLabels { counter: stat.name() })?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::exporter::{Counters, ExporterMetrics};

    const HEAD: &str = "# Metrics of the agent\n\nWritten by the tests of plimsoll-agent: with `UPDATE_EXPECT=1` they write it, \
                        without they fail if it is not what the\nagent registers. It is served at `/metrics`, in OpenMetrics. Label \
                        values come from closed sets in the code; nothing that a\ncontainer can name becomes one, so that the \
                        number of series is bounded. [Fail modes](fail-modes.md) says when each counts.\n\n\
                        | Metric | Type | Labels | Meaning |\n|---|---|---|---|\n";

    /// The kernel's counters, without a kernel.
    #[derive(Debug)]
    struct Zeros;

    impl Collector for Zeros {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
            encode_kernel_counters(encoder, |_| Some(0))
        }
    }

    /// What a scrape says, with one series in every family.
    fn scrape() -> String {
        let metrics = Metrics::default();
        metrics.admissions.get_or_create(&AdmissionLabels { outcome: Admission::Admitted }).inc();
        let mut registry = metrics.registered();
        registry.register_collector(Box::new(Zeros));
        registry.register_collector(Box::new(ExporterMetrics::new(Arc::new(Counters::default()))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
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
        document.push_str("\n`plimsoll_kernel_counter_total` counts, as `counter`:\n\n");
        for stat in Stat::ALL {
            writeln!(document, "- `{}`", stat.name()).unwrap();
        }
        expect_test::expect_file!["../../docs/metrics-agent.md"].assert_eq(&document);
    }
}
