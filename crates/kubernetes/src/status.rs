//! What an agent tells of a policy: its own coverage, and conditions on which all agents agree.
//!
//! Every agent applies its own entry of `nodes` as a field manager of its own (server-side apply), so that agents do not
//! overwrite each other. The conditions follow from the object and from all entries alone: whichever agent writes them, they
//! are the same, and nobody writes what is there already.

use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::policies::{Entry, Key, Kind, Shared};

/// Characters of a message in a condition.
const MAX_MESSAGE: usize = 1000;

/// What one node can say of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Workloads under it.
    pub workloads: u64,
    /// Files that may run in them, all together.
    pub files_allowed: u64,
    /// Files of their images that could run, and may not.
    pub files_refused: u64,
    /// Why a workload of it could not be put under it.
    pub refused: Option<String>,
}

/// Why a status was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the status of {policy} cannot be reported")]
pub struct ReportError {
    policy: String,
    #[source]
    source: Box<kube::Error>,
}

/// Reports what is not yet known of all policies, as `node`. `coverage` is asked for each policy by the name and digest that
/// events have. Returns how many were reported; one that fails does not keep the others from being reported.
pub async fn report(
    client: &Client,
    node: &str,
    shared: &Shared,
    mut coverage: impl FnMut(&str, &str) -> Coverage,
) -> Result<usize, ReportError> {
    let mut due = Vec::new();
    for (key, entry) in shared.lock().entries() {
        let own = entry.accepted.as_ref().map(|(policy, _)| coverage(&policy.name, &policy.generation.to_string()));
        if let Some(status) = status(node, entry, &own.unwrap_or_default(), Timestamp::now()) {
            due.push((key.clone(), status));
        }
    }
    let (mut reported, mut failed) = (0, None);
    for (key, status) in due {
        match apply(client, node, &key, status).await {
            Ok(()) => reported += 1,
            Err(source) => failed = Some(ReportError { policy: key.to_string(), source: Box::new(source) }),
        }
    }
    failed.map_or(Ok(reported), Err)
}

async fn apply(client: &Client, node: &str, key: &Key, status: Value) -> Result<(), kube::Error> {
    let resource = key.kind.resource();
    let api: Api<DynamicObject> = match key.kind {
        Kind::Cluster => Api::all_with(client.clone(), &resource),
        Kind::Namespaced => Api::namespaced_with(client.clone(), &key.namespace, &resource),
    };
    let patch = json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": { "name": key.name }, "status": status,
    });
    // The conditions are every agent's.
    let parameters = PatchParams::apply(&format!("plimsoll-agent/{node}")).force();
    let answer = api.patch_status(&key.name, &parameters, &Patch::Apply(patch)).await;
    match answer {
        // Deleted meanwhile: there is nothing left to report about.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        answer => answer.map(drop),
    }
}

/// What is to be applied; `None` if the object says it already.
fn status(node: &str, entry: &Entry, coverage: &Coverage, now: Timestamp) -> Option<Value> {
    let nodes = entry.status.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let said = nodes.iter().find(|other| other.get("node").and_then(Value::as_str) == Some(node));
    let own = own(node, entry, coverage, said, now);
    let others = nodes.iter().filter(|other| other.get("node").and_then(Value::as_str) != Some(node));
    let all: Vec<&Value> = others.chain(&own).collect();
    let conditions = [accepted(entry), enforced(entry, &all)].map(|wanted| wanted.over(entry, now));
    let observed = json!(entry.generation);
    let is_said = said == own.as_ref()
        && conditions.iter().all(|(_, is_new)| !is_new)
        && entry.status.get("observedGeneration") == Some(&observed);
    let conditions: Vec<_> = conditions.into_iter().map(|(condition, _)| condition).collect();
    let nodes: Vec<_> = own.into_iter().collect();
    (!is_said).then(|| json!({ "observedGeneration": observed, "conditions": conditions, "nodes": nodes }))
}

/// The node's own entry; none without workloads and trouble. Its time is the one it was first said at.
fn own(node: &str, entry: &Entry, coverage: &Coverage, said: Option<&Value>, now: Timestamp) -> Option<Value> {
    let Coverage { workloads, files_allowed, files_refused, refused } = coverage;
    let (policy, generation) = entry.accepted.as_ref()?;
    if *workloads == 0 && refused.is_none() {
        return None;
    }
    let refused: String = refused.iter().flat_map(|text| text.chars()).take(MAX_MESSAGE).collect();
    let told = |reported: Value| {
        json!({
            "node": node, "observedGeneration": generation, "digest": policy.generation.to_string(),
            "workloads": workloads, "filesAllowed": files_allowed, "filesRefused": files_refused, "refused": refused,
            "reported": reported,
        })
    };
    let before = told(said.and_then(|said| said.get("reported")).cloned().unwrap_or_default());
    Some(if said == Some(&before) { before } else { told(json!(seconds(now))) })
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

struct Condition {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Condition {
    /// With the time since which it is so, and whether it is news.
    fn over(self, entry: &Entry, now: Timestamp) -> (Value, bool) {
        let Self { kind, status, reason, message } = self;
        let conditions = entry.status.get("conditions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let said = conditions.iter().find(|other| other.get("type").and_then(Value::as_str) == Some(kind));
        let since = said.filter(|said| said.get("status").and_then(Value::as_str) == Some(status));
        let since =
            since.and_then(|said| said.get("lastTransitionTime")).cloned().unwrap_or_else(|| json!(seconds(now)));
        let condition = json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since, "observedGeneration": entry.generation,
        });
        let is_new = said != Some(&condition);
        (condition, is_new)
    }
}

fn accepted(entry: &Entry) -> Condition {
    let (status, reason, message) = match &entry.refused {
        None => ("True", "Valid", "it is a policy".to_owned()),
        Some(refused) => ("False", "Invalid", refused.chars().take(MAX_MESSAGE).collect()),
    };
    Condition { kind: "Accepted", status, reason, message }
}

/// Counts are in the entries alone: a message that changed with each would make every agent write for each.
fn enforced(entry: &Entry, nodes: &[&Value]) -> Condition {
    let refusing =
        nodes.iter().find(|node| node.get("refused").and_then(Value::as_str).is_some_and(|text| !text.is_empty()));
    let covered = nodes.iter().any(|node| node.get("workloads").and_then(Value::as_u64).unwrap_or(0) > 0);
    let named = |node: &Value| node.get("node").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (status, reason, message) = match (&entry.accepted, &entry.refused, refusing) {
        (None, _, _) => ("False", "NotAccepted", "nothing of it is in force".to_owned()),
        (Some((_, generation)), Some(_), _) => {
            ("False", "OlderGeneration", format!("generation {generation} stays in force"))
        }
        (_, _, Some(node)) => ("False", "Refused", format!("node {} could not put a workload under it", named(node))),
        _ if covered => ("True", "InForce", "it decides about workloads".to_owned()),
        _ => (
            "False",
            "NoWorkloads",
            "no workload is under it: none is selected, or another policy goes before it".to_owned(),
        ),
    };
    Condition { kind: "Enforced", status, reason, message }
}
