//! Where a node runs, by what its object says: a pure function, no metadata service is asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::api::core::v1::Node;

use crate::watch::Sink;

const REGIONS: [&str; 2] = ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
const ZONES: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

/// Whose machine a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Google Cloud.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// Somebody else's, or it is not known.
    #[default]
    None,
}

impl Provider {
    /// The word that events and metrics have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
            Self::None => "none",
        }
    }
}

/// Where a node runs. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Whose machine it is.
    pub provider: Provider,
    /// `eu-central-1`, `europe-west3`, `westeurope`.
    pub region: String,
    /// `eu-central-1a`, `europe-west3-c`, `westeurope-1`.
    pub zone: String,
    /// Google's project or Azure's subscription; Amazon's account is not in the node's object.
    pub account: String,
    /// The machine, as the provider's tools name it.
    pub instance: String,
}

/// What `spec.providerID` and the labels of a node say. Labels go first; what they leave out is read from the id.
pub fn node_facts(provider_id: Option<&str>, labels: &BTreeMap<String, String>) -> NodeFacts {
    let label = |names: [&str; 2]| names.iter().find_map(|name| labels.get(*name)).cloned().unwrap_or_default();
    let (scheme, rest) = provider_id.and_then(|id| id.split_once("://")).unwrap_or_default();
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let named = match scheme {
        "aws" => aws(&parts),
        "gce" => gcp(&parts),
        "azure" => azure(&parts),
        _ => NodeFacts::default(),
    };
    let or = |said: String, read: String| if said.is_empty() { read } else { said };
    NodeFacts { region: or(label(REGIONS), named.region), zone: or(label(ZONES), named.zone), ..named }
}

/// `aws:///eu-central-1a/i-0123456789abcdef0`.
fn aws(parts: &[&str]) -> NodeFacts {
    let (zone, instance) = match *parts {
        [instance] => ("", instance),
        [zone, .., instance] => (zone, instance),
        [] => ("", ""),
    };
    NodeFacts {
        provider: Provider::Aws,
        region: aws_region(zone),
        zone: zone.to_owned(),
        account: String::new(),
        instance: instance.to_owned(),
    }
}

/// The parts up to the first that begins with a digit, of which the digits count: also of `us-gov-west-1a`, and of the local
/// zone `us-west-2-lax-1a`.
fn aws_region(zone: &str) -> String {
    let mut region = Vec::new();
    for part in zone.split('-') {
        if part.starts_with(|first: char| first.is_ascii_digit()) {
            region.push(part.trim_end_matches(|last: char| last.is_ascii_lowercase()));
            return region.join("-");
        }
        region.push(part);
    }
    String::new()
}

/// `gce://project/europe-west3-c/gke-pool-1`.
fn gcp(parts: &[&str]) -> NodeFacts {
    let (account, zone, instance) = match *parts {
        [account, zone, instance] => (account, zone, instance),
        _ => ("", "", parts.last().copied().unwrap_or_default()),
    };
    NodeFacts {
        provider: Provider::Gcp,
        region: zone.rsplit_once('-').map_or("", |(region, _)| region).to_owned(),
        zone: zone.to_owned(),
        account: account.to_owned(),
        instance: instance.to_owned(),
    }
}

/// `azure:///subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Compute/virtualMachines/NAME`, or
/// `.../virtualMachineScaleSets/SET/virtualMachines/NUMBER`. The parts are told apart in any spelling, as Azure does.
fn azure(parts: &[&str]) -> NodeFacts {
    let after = |name: &str| {
        let place = parts.iter().position(|part| part.eq_ignore_ascii_case(name))?;
        parts.get(place + 1).copied()
    };
    let machine = after("virtualMachines").unwrap_or_default();
    let instance = match after("virtualMachineScaleSets") {
        Some(set) => format!("{set}/{machine}"),
        None => machine.to_owned(),
    };
    let account = after("subscriptions").unwrap_or_default().to_owned();
    NodeFacts { provider: Provider::Azure, account, instance, ..NodeFacts::default() }
}

/// What is known of the agent's own node.
#[derive(Clone, Debug, Default)]
pub struct OwnNode(Arc<RwLock<Option<Arc<NodeFacts>>>>);

impl OwnNode {
    /// The facts, once the node's object was seen. Reads memory alone.
    pub fn facts(&self) -> Option<Arc<NodeFacts>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink<Node> for OwnNode {
    fn replaced(&mut self, all: Vec<Node>) {
        if let Some(node) = all.into_iter().next() {
            self.applied(node);
        }
    }

    fn applied(&mut self, object: Node) {
        let provider_id = object.spec.unwrap_or_default().provider_id;
        let facts = node_facts(provider_id.as_deref(), &object.metadata.labels.unwrap_or_default());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(facts));
    }

    /// The machine is still the same.
    fn deleted(&mut self, _: Node) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(region: &str, zone: &str) -> BTreeMap<String, String> {
        let pairs = [(REGIONS[0], region), (ZONES[0], zone)];
        pairs
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn providers_say_where_a_node_is() {
        use Provider::{Aws, Azure, Gcp, None};
        const SUBSCRIPTION: &str = "4e3d2c1b-0a9f-4e8d-b7c6-a5f4e3d2c1b0";
        let set = format!(
            "azure:///subscriptions/{SUBSCRIPTION}/resourceGroups/mc_shop_aks_westeurope/providers/Microsoft.Compute/\
             virtualMachineScaleSets/aks-nodepool1-17253417-vmss/virtualMachines/3"
        );
        let machine = format!(
            "azure:///subscriptions/{SUBSCRIPTION}/resourcegroups/shop/providers/microsoft.compute/virtualmachines/control-0"
        );
        for (id, labels, expected) in [
            (
                "aws:///eu-central-1a/i-0a1b2c3d4e5f60718",
                labels("eu-central-1", "eu-central-1a"),
                (Aws, "eu-central-1", "eu-central-1a", "", "i-0a1b2c3d4e5f60718"),
            ),
            ("aws:///us-gov-west-1b/i-0b", labels("", ""), (Aws, "us-gov-west-1", "us-gov-west-1b", "", "i-0b")),
            ("aws:///us-west-2-lax-1a/i-0c", labels("", ""), (Aws, "us-west-2", "us-west-2-lax-1a", "", "i-0c")),
            ("aws:////i-0d", labels("us-east-1", "us-east-1c"), (Aws, "us-east-1", "us-east-1c", "", "i-0d")),
            (
                "aws:///us-west-2b/7e5c5a7d11-2f6b/fargate-ip-10-0-1-2.us-west-2.compute.internal",
                labels("", ""),
                (Aws, "us-west-2", "us-west-2b", "", "fargate-ip-10-0-1-2.us-west-2.compute.internal"),
            ),
            (
                "gce://shop-prod-301/europe-west3-c/gke-shop-default-pool-2f1e9a3b-x7kq",
                labels("europe-west3", "europe-west3-c"),
                (Gcp, "europe-west3", "europe-west3-c", "shop-prod-301", "gke-shop-default-pool-2f1e9a3b-x7kq"),
            ),
            ("gce://p/us-central1-a/n", labels("", ""), (Gcp, "us-central1", "us-central1-a", "p", "n")),
            (
                &set,
                labels("westeurope", "westeurope-1"),
                (Azure, "westeurope", "westeurope-1", SUBSCRIPTION, "aks-nodepool1-17253417-vmss/3"),
            ),
            (&machine, labels("westeurope", "0"), (Azure, "westeurope", "0", SUBSCRIPTION, "control-0")),
            ("kind://docker/kind/kind-control-plane", labels("", ""), (None, "", "", "", "")),
            ("k3s://edge-7", labels("hall-2", "rack-9"), (None, "hall-2", "rack-9", "", "")),
            ("openstack:///7b0e", labels("", ""), (None, "", "", "", "")),
            ("", labels("lab", ""), (None, "lab", "", "", "")),
            ("aws://", labels("", ""), (Aws, "", "", "", "")),
            ("gce:///", labels("", ""), (Gcp, "", "", "", "")),
            ("azure://x", labels("", ""), (Azure, "", "", "", "")),
            ("no-scheme", labels("", ""), (None, "", "", "", "")),
        ] {
            let facts = node_facts(Some(id), &labels);
            let NodeFacts { provider, region, zone, account, instance } = &facts;
            assert_eq!((*provider, &**region, &**zone, &**account, &**instance), expected, "{id}");
        }
        assert_eq!(node_facts(Option::None, &labels("a", "a1")).region, "a");
        let old = [(REGIONS[1].to_owned(), "b".to_owned())].into();
        assert_eq!(node_facts(Option::None, &old).region, "b");
    }
}
