//! Policies of the API server: the last right one of each object, and what is wrong with the newest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use plimsoll_policy::{Limits, Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::watch::Sink;

const GROUP: &str = "plimsoll.dev";
const VERSION: &str = "v1alpha1";
/// Objects of both kinds together that are read: who may make policies may not fill the agent's memory.
const MAX_POLICIES: usize = 5000;
/// Characters of what is wrong with an object that are kept and told.
const MAX_REFUSAL: usize = 2000;

/// Whose policies they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// `ClusterEnforcementPolicy`.
    #[serde(rename = "ClusterEnforcementPolicy")]
    Cluster,
    /// `EnforcementPolicy`.
    #[serde(rename = "EnforcementPolicy")]
    Namespaced,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cluster, Self::Namespaced];

    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "ClusterEnforcementPolicy",
            Self::Namespaced => "EnforcementPolicy",
        }
    }

    /// What the API server calls it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Cluster => "clusterenforcementpolicies",
            Self::Namespaced => "enforcementpolicies",
        }
    }

    /// How the API server is asked for it.
    pub fn resource(self) -> ApiResource {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, self.name()), self.plural())
    }
}

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Whose it is.
    pub kind: Kind,
    /// Empty for the cluster's.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}", self.kind.name(), self.namespace, self.name)
    }
}

/// One object.
#[derive(Clone, Debug)]
pub struct Entry {
    uid: String,
    /// The newest `metadata.generation`.
    pub generation: i64,
    /// The newest one that is right, with its generation: it is in force.
    pub accepted: Option<(Policy, i64)>,
    /// What is wrong with the newest.
    pub refused: Option<String>,
    /// What agents have reported.
    pub status: Value,
    text: String,
}

/// What outlives the agent of an object: with it, the next one needs no API server to go on.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    key: Key,
    uid: String,
    generation: i64,
    text: String,
}

/// How many objects there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whose newest generation is in force.
    pub accepted: u64,
    /// Whose newest generation is wrong, so that an older one is in force, or none.
    pub refused: u64,
    /// Generations that were refused since the start.
    pub refusals: u64,
}

/// All objects that are known.
#[derive(Debug, Default)]
pub struct Policies {
    entries: BTreeMap<Key, Entry>,
    refusals: u64,
}

impl Policies {
    /// What is in force, in the order of kinds and names.
    pub fn in_force(&self) -> Vec<Policy> {
        self.entries.values().filter_map(|entry| entry.accepted.as_ref()).map(|(policy, _)| policy.clone()).collect()
    }

    /// Every object.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// How many there are.
    pub fn counts(&self) -> Counts {
        let refused = self.entries.values().filter(|entry| entry.refused.is_some()).count() as u64;
        Counts { accepted: self.entries.len() as u64 - refused, refused, refusals: self.refusals }
    }

    /// What is in force, as [`Shared::restore`] reads it.
    pub fn keep(&self) -> Result<Vec<u8>, serde_json::Error> {
        let kept = self.entries.iter().filter_map(|(key, entry)| {
            let (_, generation) = entry.accepted.as_ref()?;
            Some(Kept { key: key.clone(), uid: entry.uid.clone(), generation: *generation, text: entry.text.clone() })
        });
        serde_json::to_vec(&kept.collect::<Vec<_>>())
    }

    /// Takes an object's newest state. Returns whether what is in force, or refused, is another one now.
    fn take(&mut self, kind: Kind, object: &DynamicObject) -> bool {
        let Some((key, uid)) = key(kind, object) else { return false };
        let generation = object.metadata.generation.unwrap_or(0);
        let status = object.data.get("status").cloned().unwrap_or_default();
        let full = self.entries.len() >= MAX_POLICIES;
        let known = self.entries.get_mut(&key).filter(|entry| entry.uid == uid);
        if let Some(entry) = known {
            entry.status = status;
            if entry.generation == generation {
                return false;
            }
        } else {
            // One of the same name that was deleted meanwhile says nothing about this one.
            let fresh = Entry { uid, generation, accepted: None, refused: None, status, text: String::new() };
            if full && !self.entries.contains_key(&key) {
                self.refusals += 1;
                tracing::error!(policy = %key, "more than {MAX_POLICIES} policies; this one is not in force");
                return false;
            }
            self.entries.insert(key.clone(), fresh);
        }
        let text = document(&key, &object.data);
        let parsed = plimsoll_policy::parse(&key.to_string(), text.as_bytes(), &Limits::default());
        let Some(entry) = self.entries.get_mut(&key) else { return false };
        entry.generation = generation;
        match parsed {
            Ok(policy) => {
                (entry.accepted, entry.refused, entry.text) = (Some((policy, generation)), None, text);
            }
            Err(diagnostics) => {
                let refused: String = diagnostics.to_string().chars().take(MAX_REFUSAL).collect();
                tracing::error!(policy = %key, generation, error = %refused, "refused; what was in force of it stays");
                entry.refused = Some(refused);
                self.refusals += 1;
            }
        }
        true
    }

    fn replace(&mut self, kind: Kind, all: &[DynamicObject]) -> bool {
        let listed: BTreeSet<Key> = all.iter().filter_map(|object| key(kind, object)).map(|(key, _)| key).collect();
        let before = self.entries.len();
        self.entries.retain(|key, _| key.kind != kind || listed.contains(key));
        let removed = self.entries.len() < before;
        // Every object is taken, whatever became of the others.
        all.iter().fold(removed, |changed, object| self.take(kind, object) || changed)
    }
}

fn key(kind: Kind, object: &DynamicObject) -> Option<(Key, String)> {
    let metadata = &object.metadata;
    let namespace = metadata.namespace.clone().unwrap_or_default();
    // An object of a namespace without one would be the node's policy: no API server sends it.
    if (kind == Kind::Namespaced) == namespace.is_empty() {
        tracing::error!(name = metadata.name, "an object whose namespace does not fit its kind is left out");
        return None;
    }
    Some((Key { kind, namespace, name: metadata.name.clone()? }, metadata.uid.clone()?))
}

/// The object as a document of a directory: its name, its namespace, what it says, and nothing of what the API server added.
fn document(key: &Key, data: &Value) -> String {
    let metadata = match &*key.namespace {
        "" => json!({ "name": key.name }),
        namespace => json!({ "name": key.name, "namespace": namespace }),
    };
    let spec = data.get("spec").cloned().unwrap_or_default();
    let document = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": key.kind.name(), "metadata": metadata, "spec": spec,
    });
    format!("{document:#}\n")
}

/// The policies, between watches that fill them and the agent that enforces them.
#[derive(Clone, Debug)]
pub struct Shared {
    policies: Arc<Mutex<Policies>>,
    changed: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { policies: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl Shared {
    /// The policies at this moment.
    pub fn lock(&self) -> MutexGuard<'_, Policies> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What a watch of one kind fills.
    pub fn sink(&self, kind: Kind) -> impl Sink<DynamicObject> + Send + use<> {
        Filling { shared: self.clone(), kind }
    }

    /// Takes what [`Policies::keep`] gave, before the first list comes.
    pub fn restore(&self, kept: &[u8]) -> Result<usize, serde_json::Error> {
        let kept: Vec<Kept> = serde_json::from_slice(kept)?;
        let mut policies = self.lock();
        for Kept { key, uid, generation, text } in kept.into_iter().take(MAX_POLICIES) {
            match plimsoll_policy::parse(&key.to_string(), text.as_bytes(), &Limits::default()) {
                Ok(policy) => {
                    let accepted = Some((policy, generation));
                    let entry = Entry { uid, generation, accepted, refused: None, status: Value::Null, text };
                    policies.entries.insert(key, entry);
                }
                Err(error) => tracing::error!(policy = %key, %error, "kept, but cannot be read any more"),
            }
        }
        Ok(policies.entries.len())
    }

    fn change(&self, change: impl FnOnce(&mut Policies) -> bool) {
        let changed = change(&mut self.lock());
        if changed {
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

struct Filling {
    shared: Shared,
    kind: Kind,
}

impl Sink<DynamicObject> for Filling {
    fn replaced(&mut self, all: Vec<DynamicObject>) {
        self.shared.change(|policies| policies.replace(self.kind, &all));
    }

    fn applied(&mut self, object: DynamicObject) {
        self.shared.change(|policies| policies.take(self.kind, &object));
    }

    fn deleted(&mut self, object: DynamicObject) {
        self.shared
            .change(|policies| key(self.kind, &object).is_some_and(|(key, _)| policies.entries.remove(&key).is_some()));
    }
}
