//! Events as JSON: the protocol's fields in snake_case, enumerations as the words of `plimsoll-abi`.

use plimsoll_proto::v1;
use serde_json::{Value, json};

/// The number of an enumeration's value, from its word (`not-listed`). `unspecified` is a word too.
pub(crate) fn number(kind: Kind, word: &str) -> Option<i32> {
    if word.bytes().any(|byte| !byte.is_ascii_lowercase() && byte != b'-') {
        return None;
    }
    let name = format!("{}_{}", kind.prefix(), word.replace('-', "_").to_ascii_uppercase());
    match kind {
        Kind::Verdict => v1::Verdict::from_str_name(&name).map(i32::from),
        Kind::Reason => v1::Reason::from_str_name(&name).map(i32::from),
        Kind::Hook => v1::Hook::from_str_name(&name).map(i32::from),
        Kind::Origin => v1::Origin::from_str_name(&name).map(i32::from),
        Kind::Mode => v1::Mode::from_str_name(&name).map(i32::from),
        Kind::LossCause => v1::LossCause::from_str_name(&name).map(i32::from),
    }
}

/// The word of a number; `unknown` for one that a newer agent sent.
pub(crate) fn word(kind: Kind, number: i32) -> String {
    let name = match kind {
        Kind::Verdict => v1::Verdict::try_from(number).map(|value| value.as_str_name()),
        Kind::Reason => v1::Reason::try_from(number).map(|value| value.as_str_name()),
        Kind::Hook => v1::Hook::try_from(number).map(|value| value.as_str_name()),
        Kind::Origin => v1::Origin::try_from(number).map(|value| value.as_str_name()),
        Kind::Mode => v1::Mode::try_from(number).map(|value| value.as_str_name()),
        Kind::LossCause => v1::LossCause::try_from(number).map(|value| value.as_str_name()),
    };
    let Ok(name) = name else { return "unknown".to_owned() };
    name.trim_start_matches(kind.prefix()).trim_start_matches('_').to_ascii_lowercase().replace('_', "-")
}

/// The protocol's enumerations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Verdict,
    Reason,
    Hook,
    Origin,
    Mode,
    LossCause,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Verdict => "VERDICT",
            Self::Reason => "REASON",
            Self::Hook => "HOOK",
            Self::Origin => "ORIGIN",
            Self::Mode => "MODE",
            Self::LossCause => "LOSS_CAUSE",
        }
    }
}

/// Who sent an event, and when it was stored.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) node: String,
    pub(crate) boot_id: String,
    pub(crate) spool_id: String,
    pub(crate) received_unix_ns: i64,
}

/// One event. A message that the agent left out is `null`.
pub(crate) fn event(source: &Source, event: &v1::Event) -> Value {
    json!({
        "node": source.node,
        "boot_id": source.boot_id,
        "spool_id": source.spool_id,
        "received_unix_ns": source.received_unix_ns,
        "sequence": event.sequence,
        "kernel_sequence": event.kernel_sequence,
        "time_unix_ns": event.time_unix_ns,
        "verdict": word(Kind::Verdict, event.verdict),
        "reason": word(Kind::Reason, event.reason),
        "hook": word(Kind::Hook, event.hook),
        "process": event.process.as_ref().map(process),
        "file": event.file.as_ref().map(file),
        "package": event.package.as_ref().map(|package| json!({
            "name": package.name,
            "version": package.version,
            "purl": package.purl,
        })),
        "evidence": event.evidence,
        "sbom_digest": event.sbom_digest,
        "image": event.image.as_ref().map(|image| json!({
            "digest": image.digest,
            "reference": image.reference,
        })),
        "workload": event.workload.as_ref().map(|workload| json!({
            "id": workload.id,
            "namespace": workload.namespace,
            "labels": workload.labels,
            "cgroup": workload.cgroup,
        })),
        "policy": event.policy.as_ref().map(|policy| json!({
            "name": policy.name,
            "generation": policy.generation,
            "rule": policy.rule,
        })),
        "mode": word(Kind::Mode, event.mode),
        "network": event.network.as_ref().map(|network| json!({
            "address": network.address,
            "port": network.port,
            "protocol": network.protocol,
        })),
        "operation": event.operation,
    })
}

fn process(process: &v1::Process) -> Value {
    let ancestors: Vec<_> =
        process.ancestors.iter().map(|ancestor| json!({ "tgid": ancestor.tgid, "comm": ancestor.comm })).collect();
    json!({
        "tgid": process.tgid,
        "tid": process.tid,
        "uid": process.uid,
        "comm": process.comm,
        "ancestors": ancestors,
    })
}

fn file(file: &v1::File) -> Value {
    json!({
        "path": file.path,
        "path_raw": hex::encode(&file.path_raw),
        "path_is_name_only": file.path_is_name_only,
        "dev": file.dev,
        "ino": file.ino,
        "size": file.size,
        "sha256": file.sha256,
        "origin": word(Kind::Origin, file.origin),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_kernel_contract_and_lead_back() {
        for (kind, known, expected) in [
            (Kind::Verdict, 3, "deny"),
            (Kind::Reason, 5, "anonymous-exec"),
            (Kind::Hook, 3, "protect"),
            (Kind::Origin, 1, "image-file"),
            (Kind::Mode, 2, "enforce"),
            (Kind::LossCause, 1, "denial-ring"),
            (Kind::Verdict, 0, "unspecified"),
        ] {
            assert_eq!(word(kind, known), expected);
            assert_eq!(number(kind, expected), Some(known));
        }
        assert_eq!(word(Kind::Reason, 99), "unknown");
        assert_eq!(number(Kind::Reason, "NOT_LISTED"), None);
        assert_eq!(number(Kind::Reason, "not_listed"), None);
    }
}
