//! Events in the Open Cybersecurity Schema Framework, one JSON object in a line. docs/outputs.md has the mapping.

use serde_json::{Map, Value, json};

use crate::{
    event::{Event, File, Process},
    store::Stored,
};

/// The schema that events follow.
const VERSION: &str = "1.8.0";
pub(super) const CONTENT_TYPE: &str = "application/x-ndjson";

/// A class of the schema and one of its activities.
struct Class {
    uid: u32,
    activity: u32,
}

pub(super) fn lines(events: &[Stored]) -> Vec<u8> {
    let mut lines = Vec::new();
    for stored in events {
        lines.extend_from_slice(event(&stored.event).to_string().as_bytes());
        lines.push(b'\n');
    }
    lines
}

/// What kind of activity it was. What the schema has no activity for, or what lacks the class's object, is a finding.
fn class(event: &Event) -> Class {
    let has_file = event.file.as_ref().is_some_and(|file| !file.path.is_empty());
    let has_peer = event.network.as_ref().is_some_and(|network| !network.address.is_empty());
    let (uid, activity) = match (event.hook.as_str(), has_file, has_peer) {
        ("exec", ..) => (1007, 1),
        ("inject", ..) => (1007, 4),
        ("map", true, _) => (1005, 1),
        ("protect", ..) => (1004, 2),
        ("script", true, _) => (1001, 14),
        ("create" | "link", true, _) => (1001, 1),
        ("read", true, _) => (1001, 2),
        ("write", true, _) => (1001, 3),
        ("remove", true, _) => (1001, 4),
        ("rename", true, _) => (1001, 5),
        ("attribute", true, _) => (1001, 6),
        ("connect" | "accept", _, true) => (4001, 1),
        ("send", _, true) => (4001, 6),
        ("listen", _, true) => (4001, 7),
        ("bind", _, true) => (4001, 99),
        _ => (2004, 1),
    };
    Class { uid, activity }
}

/// Whether it was allowed, in the schema's numbers: severity, status, action, disposition.
fn decision(verdict: &str) -> [u32; 4] {
    match verdict {
        "allow" => [1, 1, 1, 1],
        "deny" => [4, 2, 2, 2],
        // Enforcement would have denied it; it was let through and reported.
        "audit" => [3, 1, 3, 15],
        _ => [0, 0, 0, 0],
    }
}

pub(super) fn event(event: &Event) -> Value {
    let Class { uid, activity } = class(event);
    let [severity, status, action, disposition] = decision(&event.verdict);
    let id = format!("{}/{}/{}/{}", event.node, event.boot_id, event.spool_id, event.sequence);
    let mut found = json!({
        "class_uid": uid,
        "category_uid": uid / 1000,
        "activity_id": activity,
        "type_uid": uid * 100 + activity,
        "severity_id": severity,
        "status_id": status,
        "action_id": action,
        "disposition_id": disposition,
        "time": event.time_unix_ns / 1_000_000,
        "message": event.summary(),
        "metadata": {
            "version": VERSION,
            "product": { "name": "Plimsoll", "vendor_name": "Plimsoll", "version": env!("CARGO_PKG_VERSION") },
            "profiles": ["container", "host", "security_control"],
            "uid": id,
            "sequence": event.sequence,
            "logged_time": event.received_unix_ns / 1_000_000,
            "log_name": "plimsoll",
        },
        "device": { "hostname": event.node, "type_id": 0 },
        "unmapped": unmapped(event),
    });
    if let Some(fields) = found.as_object_mut() {
        if let Some(policy) = event.policy.as_ref().filter(|policy| !policy.name.is_empty()) {
            let is_applied = event.mode == "enforce";
            let policy = json!({ "name": policy.name, "version": policy.generation, "is_applied": is_applied });
            fields.insert("policy".to_owned(), policy);
        }
        subject(event, uid, &id, fields);
    }
    found
}

/// The workload, which the schema has beside the process that acts in it.
fn container(event: &Event) -> Option<Value> {
    let workload = event.workload.as_ref().filter(|workload| !workload.id.is_empty())?;
    let mut container = json!({ "uid": workload.id });
    if let Some(image) = event.image.as_ref().filter(|image| !image.digest.is_empty())
        && let Some(fields) = container.as_object_mut()
    {
        fields.insert("image".to_owned(), json!({ "uid": image.digest, "name": image.reference }));
    }
    Some(container)
}

/// Who acted, and on what, as the class wants it.
fn subject(event: &Event, class: u32, id: &str, fields: &mut Map<String, Value>) {
    let mut acting = event.process.as_ref().map_or_else(|| json!({ "pid": 0 }), process);
    if let (Some(container), Some(fields)) = (container(event), acting.as_object_mut()) {
        fields.insert("container".to_owned(), container);
    }
    let file = event.file.as_ref().filter(|file| !file.path.is_empty()).map(file);
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("actor", json!({ "process": acting }));
    match class {
        1001 => put("file", file.unwrap_or_default()),
        1005 => put("module", json!({ "file": file, "load_type_id": 1 })),
        1004 => put("process", acting),
        1007 => {
            let mut target = acting;
            if let (Some(file), Some(target)) = (file, target.as_object_mut()) {
                target.insert("file".to_owned(), file);
            }
            put("process", target)
        }
        4001 => {
            let network = event.network.as_ref();
            let end = network.map(|network| json!({ "ip": network.address, "port": network.port }));
            let is_inbound = ["accept", "listen", "bind"].contains(&event.hook.as_str());
            let protocol = network.map_or("", |network| &network.protocol);
            let direction = if is_inbound { 1 } else { 2 };
            put("connection_info", json!({ "direction_id": direction, "protocol_name": protocol }));
            // The own end where a socket is bound, else the peer's.
            put(if is_inbound { "src_endpoint" } else { "dst_endpoint" }, end.unwrap_or_default())
        }
        _ => {
            let mut evidence = json!({ "actor": { "process": acting } });
            if let (Some(file), Some(evidence)) = (file, evidence.as_object_mut()) {
                evidence.insert("file".to_owned(), file);
            }
            put("evidences", json!([evidence]));
            put("finding_info", json!({ "uid": id, "title": event.summary(), "types": [event.reason] }))
        }
    };
}

fn process(process: &Process) -> Value {
    let mut found = json!({
        "pid": process.tgid,
        "tid": process.tid,
        "name": process.comm,
        "user": { "uid": process.uid.to_string() },
    });
    let ancestors = process.ancestors.iter().rev();
    let parent = ancestors.fold(None, |child: Option<Value>, ancestor| {
        let mut found = json!({ "pid": ancestor.tgid, "name": ancestor.comm });
        if let (Some(child), Some(fields)) = (child, found.as_object_mut()) {
            fields.insert("parent_process".to_owned(), child);
        }
        Some(found)
    });
    if let (Some(parent), Some(fields)) = (parent, found.as_object_mut()) {
        fields.insert("parent_process".to_owned(), parent);
    }
    found
}

fn file(file: &File) -> Value {
    let name = file.path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&file.path);
    let mut found = json!({ "name": name, "path": file.path, "type_id": 0, "size": file.size });
    if let Some(digest) = file.sha256.strip_prefix("sha256:")
        && let Some(fields) = found.as_object_mut()
    {
        fields.insert("hashes".to_owned(), json!([{ "algorithm_id": 3, "value": digest }]));
    }
    found
}

/// What the schema has no place for.
fn unmapped(event: &Event) -> Value {
    json!({
        "hook": event.hook,
        "reason": event.reason,
        "verdict": event.verdict,
        "mode": event.mode,
        "operation": event.operation,
        "evidence": event.evidence,
        "sbom_digest": event.sbom_digest,
        "origin": event.file.as_ref().map(|file| &file.origin),
        "package": event.package,
        "namespace": event.workload.as_ref().map(|workload| &workload.namespace),
        "labels": event.workload.as_ref().map(|workload| &workload.labels),
        "rule": event.policy.as_ref().map(|policy| &policy.rule),
    })
}
