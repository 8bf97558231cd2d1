//! The pods of a node, as far as events and policies ask about them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use crate::watch::Sink;

/// What a deployment's pods carry, and its replica sets' names end in.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Who made it, if somebody did.
    pub owner: Option<Owner>,
    /// The service account it runs as.
    pub service_account: String,
    /// The node it is on.
    pub node: String,
    /// Its containers by their names, the initial and ephemeral ones too.
    pub containers: BTreeMap<String, ContainerFacts>,
}

/// Who made a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `Deployment`, `DaemonSet`, `Job`, ...
    pub kind: String,
    /// Its name, in the pod's namespace.
    pub name: String,
}

/// One container, as far as it was started already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// The runtime's id, without the runtime's name; empty before it is made.
    pub id: String,
    /// The image's reference.
    pub image: String,
    /// The image's digest, `sha256:...`, if the runtime tells the one of the registry.
    pub digest: Option<String>,
}

impl PodFacts {
    /// What an object says; `None` for one without name or uid, which no API server sends.
    pub fn of(pod: Pod) -> Option<Self> {
        let (metadata, spec, status) = (pod.metadata, pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
        let labels = metadata.labels.unwrap_or_default();
        let owner = owner(metadata.owner_references.unwrap_or_default(), &labels);
        let statuses = [status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses];
        Some(Self {
            uid: metadata.uid?,
            name: metadata.name?,
            namespace: metadata.namespace.unwrap_or_default(),
            labels,
            owner,
            service_account: spec.service_account_name.unwrap_or_default(),
            node: spec.node_name.unwrap_or_default(),
            containers: statuses.into_iter().flatten().flatten().map(container).collect(),
        })
    }
}

/// The controller; for a deployment's replica set, the deployment: its name is the replica set's without the hash.
fn owner(references: Vec<OwnerReference>, labels: &BTreeMap<String, String>) -> Option<Owner> {
    let OwnerReference { kind, name, .. } = references.into_iter().find(|owner| owner.controller == Some(true))?;
    let hash = labels.get(TEMPLATE_HASH).filter(|_| kind == "ReplicaSet");
    let deployment = hash.and_then(|hash| name.strip_suffix(hash.as_str())).and_then(|name| name.strip_suffix('-'));
    Some(match deployment {
        Some(name) => Owner { kind: "Deployment".to_owned(), name: name.to_owned() },
        None => Owner { kind, name },
    })
}

fn container(status: ContainerStatus) -> (String, ContainerFacts) {
    let id = status.container_id.unwrap_or_default();
    let id = id.split_once("://").map_or(id.as_str(), |(_, id)| id).to_owned();
    let digest = status.image_id.rsplit_once('@').map(|(_, digest)| digest.to_owned());
    (status.name, ContainerFacts { id, image: status.image, digest })
}

/// The pods of the node that are known now.
#[derive(Clone, Debug, Default)]
pub struct Pods(Arc<RwLock<HashMap<String, Arc<PodFacts>>>>);

impl Pods {
    /// The pod with this uid. Reads memory alone.
    pub fn find(&self, uid: &str) -> Option<Arc<PodFacts>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn write(&self, change: impl FnOnce(&mut HashMap<String, Arc<PodFacts>>)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Sink<Pod> for Pods {
    fn replaced(&mut self, all: Vec<Pod>) {
        let all = all.into_iter().filter_map(PodFacts::of);
        self.write(|pods| *pods = all.map(|pod| (pod.uid.clone(), Arc::new(pod))).collect());
    }

    fn applied(&mut self, object: Pod) {
        if let Some(pod) = PodFacts::of(object) {
            self.write(|pods| drop(pods.insert(pod.uid.clone(), Arc::new(pod))));
        }
    }

    fn deleted(&mut self, object: Pod) {
        if let Some(uid) = object.metadata.uid {
            self.write(|pods| drop(pods.remove(&uid)));
        }
    }
}
