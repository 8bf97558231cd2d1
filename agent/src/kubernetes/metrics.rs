//! Metrics of the watches: whether what they say is fresh, and what came of it.

use std::sync::Arc;

use plimsoll_kubernetes::{Counts, Freshness, OwnNode, Pods, Shared};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::Cluster;

/// Reads everything when it is scraped.
pub struct ClusterMetrics {
    watches: Vec<(&'static str, Arc<Freshness>)>,
    policies: Option<Shared>,
    pods: Pods,
    own: OwnNode,
}

impl std::fmt::Debug for ClusterMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterMetrics").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    provider: &'static str,
    region: String,
    zone: String,
    account: String,
    instance: String,
}

impl ClusterMetrics {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let Cluster { watches, policies, pods, own, .. } = cluster.clone();
        Self { watches, policies, pods, own }
    }

    fn watches(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&Freshness) -> i64,
    ) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (resource, freshness) in &self.watches {
            ConstGauge::new(value(freshness)).encode(family.encode_family(&Resource { resource })?)?;
        }
        Ok(())
    }

    fn totals(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&Freshness) -> u64,
    ) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (resource, freshness) in &self.watches {
            ConstCounter::new(value(freshness)).encode(family.encode_family(&Resource { resource })?)?;
        }
        Ok(())
    }
}

/// How policies fare.
fn policies_of(encoder: &mut DescriptorEncoder<'_>, counts: Counts) -> Result<(), std::fmt::Error> {
    let help = "Policies of the API server whose newest generation is in force, and is not";
    let mut family = encoder.encode_descriptor("kubernetes_policies", help, None, MetricType::Gauge)?;
    for (state, count) in [("accepted", counts.accepted), ("refused", counts.refused)] {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        ConstGauge::new(count).encode(family.encode_family(&State { state })?)?;
    }
    let help = "Generations of such policies that were refused; the earlier ones stay";
    let refusals = encoder.encode_descriptor("kubernetes_policy_refusals", help, None, MetricType::Counter)?;
    ConstCounter::new(counts.refusals).encode(refusals)
}

impl Collector for ClusterMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Since when, in seconds since 1970, nothing is heard about a resource; 0 while the watch is live";
        self.watches(&mut encoder, "kubernetes_watch_stale_since_seconds", help, Freshness::stale_since)?;
        let help = "1 once everything of a resource was listed";
        self.watches(&mut encoder, "kubernetes_watch_synced", help, |heard| i64::from(heard.is_synced()))?;
        let help = "Times that everything of a resource was listed";
        self.totals(&mut encoder, "kubernetes_lists", help, Freshness::lists)?;
        let help = "Times that the API server could not be reached, said no, or said nothing";
        self.totals(&mut encoder, "kubernetes_watch_failures", help, Freshness::failures)?;
        let pods = encoder.encode_descriptor("kubernetes_pods", "Pods of the node", None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(self.pods.len()).unwrap_or(i64::MAX)).encode(pods)?;
        if let Some(policies) = &self.policies {
            let counts = policies.lock().counts();
            policies_of(&mut encoder, counts)?;
        }
        if let Some(node) = self.own.facts() {
            let help = "Where the node runs, by its object in Kubernetes";
            let mut family = encoder.encode_descriptor("node_info", help, None, MetricType::Gauge)?;
            let place = Place {
                provider: node.provider.name(),
                region: node.region.clone(),
                zone: node.zone.clone(),
                account: node.account.clone(),
                instance: node.instance.clone(),
            };
            ConstGauge::new(1_i64).encode(family.encode_family(&place)?)?;
        }
        Ok(())
    }
}
