//! The agent's end of the API server: what it hears goes into events and policies, and what became of policies goes back.
//!
//! No verdict, and no container's start, waits for anything here. What was heard once is in force until something else is.

mod metrics;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use plimsoll_kubernetes::{
    Api, Client, Coverage, Freshness, Kind, Node, OwnNode, Pod, Pods, Shared, connect, follow, report,
};
use plimsoll_policy::Policy;
use plimsoll_proto::{limits, v1};
use tokio::{sync::watch, time::timeout};

pub use self::metrics::ClusterMetrics;
use crate::{
    config::Config,
    workload::{Registry, Reloaded, Workload},
};

/// How often what changed of the policies' coverage is reported.
const REPORTS: Duration = Duration::from_secs(15);
/// How long the first lists may take before the agent goes on without.
const FIRST_LISTS: Duration = Duration::from_secs(10);
/// Set by the downward API in a pod, whose host name is its own.
const NODE_NAME: &str = "NODE_NAME";

/// What an API server has said so far.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    node: String,
    pods: Pods,
    own: OwnNode,
    policies: Option<Shared>,
    /// By the resource that is watched.
    watches: Vec<(&'static str, Arc<Freshness>)>,
    /// Where policies outlive the agent.
    kept: PathBuf,
    /// Why workloads could not be put under the policies of these names.
    refused: Arc<Mutex<HashMap<String, String>>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("node", &self.node).field("watches", &self.watches).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Begins to watch, if the configuration says so. Waits a few seconds for the first lists, and goes on without them: what an
    /// earlier agent has kept is in force until they come.
    pub async fn start(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(wanted) = &config.kubernetes else { return Ok(None) };
        let client = connect(wanted.kubeconfig.as_deref()).await.context("the API server cannot be asked")?;
        let node = [wanted.node.clone(), std::env::var(NODE_NAME).unwrap_or_default(), config.node.clone()];
        let node = node.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        let mut cluster = Self {
            client,
            node,
            pods: Pods::default(),
            own: OwnNode::default(),
            policies: wanted.policies.then(Shared::default),
            watches: Vec::new(),
            kept: config.state.join("kubernetes-policies.json"),
            refused: Arc::default(),
        };
        cluster.restore();
        cluster.watch();
        let first = async {
            while !cluster.watches.iter().all(|(_, freshness)| freshness.is_synced()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(FIRST_LISTS, first).await.is_err() {
            tracing::error!("the API server has not said everything yet; the agent starts with what is known");
        }
        Ok(Some(cluster))
    }

    fn restore(&self) {
        let Some(policies) = &self.policies else { return };
        let kept = match fs::read(&self.kept) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            read => read.map_err(anyhow::Error::from),
        };
        match kept.and_then(|kept| Ok(policies.restore(&kept)?)) {
            Ok(restored) => tracing::info!(restored, "policies of the API server are known from before"),
            Err(error) => {
                tracing::error!(path = %self.kept.display(), %error, "kept policies cannot be read; those of the API server come anew");
            }
        }
    }

    fn watch(&mut self) {
        let of_node = Some(format!("spec.nodeName={}", self.node));
        let itself = Some(format!("metadata.name={}", self.node));
        let (pods, own) = (self.pods.clone(), self.own.clone());
        let (all_pods, all_nodes): (Api<Pod>, Api<Node>) =
            (Api::all(self.client.clone()), Api::all(self.client.clone()));
        self.spawn("pods", |heard| async move { follow(all_pods, of_node, &heard, pods).await });
        self.spawn("nodes", |heard| async move { follow(all_nodes, itself, &heard, own).await });
        let Some(policies) = self.policies.clone() else { return };
        for kind in Kind::ALL {
            let (api, sink) = (Api::all_with(self.client.clone(), &kind.resource()), policies.sink(kind));
            self.spawn(kind.plural(), |heard| async move { follow(api, None, &heard, sink).await });
        }
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        resource: &'static str,
        watching: impl FnOnce(Arc<Freshness>) -> F,
    ) {
        let heard = Arc::new(Freshness::default());
        self.watches.push((resource, Arc::clone(&heard)));
        tokio::spawn(watching(heard));
    }

    /// The pods of this node, as far as they are known.
    pub fn pods(&self) -> Pods {
        self.pods.clone()
    }

    /// Policies of the API server that are in force.
    pub fn policies(&self) -> Vec<Policy> {
        self.policies.as_ref().map(|policies| policies.lock().in_force()).unwrap_or_default()
    }

    /// Tells when they change.
    pub fn changes(&self) -> Option<watch::Receiver<u64>> {
        self.policies.as_ref().map(Shared::changes)
    }

    /// Metrics of all that is watched.
    pub fn metrics(&self) -> ClusterMetrics {
        ClusterMetrics::new(self)
    }

    /// Remembers what new policies came to: what is in force, for the next agent, and what could not be switched, for the
    /// status of the policies that are meant.
    pub fn note(&self, registry: &Registry, outcome: &Reloaded) {
        let policies = registry.policies();
        let workloads = registry.all();
        let refused = outcome.kept.iter().filter_map(|(id, error)| {
            let workload = workloads.iter().find(|workload| workload.id == *id)?;
            let wanted = plimsoll_policy::select(&policies, &workload.facts)?;
            let why = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
            Some((wanted.name.clone(), why.map(ToString::to_string).collect::<Vec<_>>().join(": ")))
        });
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused.collect();
        let Some(policies) = &self.policies else { return };
        let kept = policies.lock().keep().map_err(io::Error::from).and_then(|kept| replace(&self.kept, &kept));
        if let Err(error) = kept {
            tracing::error!(%error, "policies cannot be kept; the next agent needs the API server to know them");
        }
    }

    /// Reports, for ever, what became of the policies.
    pub async fn report(self, registry: Arc<Registry>) {
        let Some(policies) = &self.policies else { return };
        loop {
            tokio::time::sleep(REPORTS).await;
            let coverage = coverage(&registry);
            let of = |name: &str, digest: &str| Coverage {
                refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned(),
                ..coverage.get(&(name.to_owned(), digest.to_owned())).cloned().unwrap_or_default()
            };
            if let Err(error) = report(&self.client, &self.node, policies, of).await {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(%error, "what became of policies is reported later");
            }
        }
    }

    /// Adds to an event what the API server says about its pod and node.
    pub fn describe(&self, event: &mut v1::Event, workload: Option<&Workload>) {
        event.cloud = self.own.facts().map(|node| v1::Cloud {
            provider: node.provider.name().to_owned(),
            region: node.region.clone(),
            zone: node.zone.clone(),
            account: node.account.clone(),
            instance: node.instance.clone(),
        });
        let pod = workload.and_then(|workload| workload.pod.as_ref()).and_then(|pod| self.pods.find(&pod.uid));
        let (Some(pod), Some(described)) = (pod, &mut event.workload) else { return };
        described.service_account.clone_from(&pod.service_account);
        described.owner =
            pod.owner.as_ref().map(|owner| v1::Owner { kind: owner.kind.clone(), name: owner.name.clone() });
        if described.labels.is_empty() {
            let labels = pod.labels.iter().take(limits::LABELS);
            described.labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
        }
    }
}

/// What workloads and files are under each policy, by its name and digest.
fn coverage(registry: &Registry) -> HashMap<(String, String), Coverage> {
    let mut all: HashMap<_, Coverage> = HashMap::new();
    for workload in registry.all() {
        let policy = &workload.policy;
        let covered = all.entry((policy.name.clone(), policy.generation.to_string())).or_default();
        covered.workloads += 1;
        covered.files_allowed += policy.entries.len() as u64;
        covered.files_refused += policy.refused.len() as u64;
    }
    all
}

/// Puts a file there whole or not at all.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}
