//! What agents report of a policy that came from an API server. Described here, beside the policy; they fill it elsewhere.

use schemars::JsonSchema;

/// What became of the policy; written by agents.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only described")]
pub(super) struct Status {
    /// The `metadata.generation` that the conditions are about.
    #[schemars(range(min = 0))]
    observed_generation: Option<i64>,
    /// Accepted: it is a policy. Enforced: it decides about workloads, on every node that has one of them.
    #[schemars(length(max = 8))]
    conditions: Option<Vec<Condition>>,
    /// Nodes that have workloads under it, or refuse it.
    #[schemars(length(max = 10_000))]
    nodes: Option<Vec<Coverage>>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only described")]
struct Condition {
    #[schemars(length(max = 316))]
    r#type: String,
    status: Answer,
    /// One word.
    #[schemars(length(max = 1024))]
    reason: String,
    #[schemars(length(max = 32_768))]
    message: String,
    #[schemars(extend("format" = "date-time"))]
    last_transition_time: String,
    #[schemars(range(min = 0))]
    observed_generation: Option<i64>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only described")]
enum Answer {
    True,
    False,
    Unknown,
}

/// What one node says.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only described")]
struct Coverage {
    #[schemars(length(max = 253))]
    node: String,
    /// The `metadata.generation` in force there.
    #[schemars(range(min = 0))]
    observed_generation: i64,
    /// Digest of the policy in force there, as events have it.
    #[schemars(length(max = 128))]
    digest: String,
    /// Workloads under it.
    #[schemars(range(min = 0))]
    workloads: i64,
    /// Files that may run in them, all workloads together.
    #[schemars(range(min = 0))]
    files_allowed: i64,
    /// Files of their images that could run, and may not.
    #[schemars(range(min = 0))]
    files_refused: i64,
    /// Why another generation is in force there; empty if none is.
    #[schemars(length(max = 4096))]
    refused: String,
    #[schemars(extend("format" = "date-time"))]
    reported: String,
}
