//! What a Kubernetes API server tells an agent: the pods of its node, the node itself, and policies. And what the agent
//! tells the API server: what became of the policies.
//!
//! ```text
//! API server ── list, watch ──> watch ──> Pods (memory) ──> events
//!                                  ├────> node_facts  ──> events, metrics
//!                                  └────> Policies ── changed ──> agent ── Coverage ──> report ──> status
//! ```
//! Nothing here is asked for by a verdict, and nothing polls. When the API server is away, all that was heard stays.
#![forbid(unsafe_code)]

mod connect;
mod node;
mod pod;
mod policies;
mod status;
mod watch;

pub use k8s_openapi::api::core::v1::{Node, Pod};
pub use kube::{Api, Client};

pub use self::{
    connect::{ConnectError, connect},
    node::{NodeFacts, OwnNode, Provider, node_facts},
    pod::{ContainerFacts, Owner, PodFacts, Pods},
    policies::{Counts, Entry, Key, Kind, Policies, Shared},
    status::{Coverage, ReportError, report},
    watch::{Freshness, Sink, follow},
};
