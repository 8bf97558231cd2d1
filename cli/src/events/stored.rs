//! One stored event, as far as what is counted over many of them needs it. What an event leaves out is empty.

use serde_json::Value;

use super::table::subject;

/// Characters kept of what an event is about: enough to tell files apart on a screen.
const SUBJECT: usize = 300;

/// An event, read from the JSON that a collector answers with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) node: String,
    /// With `node` and `sequence`, what makes the event this one and no other.
    pub(crate) boot_id: String,
    pub(crate) spool_id: String,
    pub(crate) sequence: u64,
    pub(crate) time_unix_ns: u64,
    pub(crate) verdict: String,
    pub(crate) reason: String,
    pub(crate) hook: String,
    /// The file, the far end of a connection, or the operation; shortened.
    pub(crate) subject: String,
    pub(crate) package: String,
    pub(crate) evidence: String,
    pub(crate) digest: String,
    pub(crate) reference: String,
    pub(crate) workload: String,
    pub(crate) namespace: String,
}

impl Stored {
    pub(crate) fn of(event: &Value) -> Self {
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |pointer| event.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        Self {
            node: text("/node"),
            boot_id: text("/boot_id"),
            spool_id: text("/spool_id"),
            sequence: number("/sequence"),
            time_unix_ns: number("/time_unix_ns"),
            verdict: text("/verdict"),
            reason: text("/reason"),
            hook: text("/hook"),
            subject: subject(event).chars().take(SUBJECT).collect(),
            package: text("/package/name"),
            evidence: text("/evidence"),
            digest: text("/image/digest"),
            reference: text("/image/reference"),
            workload: text("/workload/id"),
            namespace: text("/workload/namespace"),
        }
    }
}
