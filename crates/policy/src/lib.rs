//! The policy language: from a YAML document to the allowlist that the kernel enforces.
//!
//! ```text
//! bytes ── parse ──> Policy ── compile(+ Inventory) ──> CompiledPolicy ── evaluate(+ Access) ──> Verdict, Reason
//!                      └── select(+ WorkloadFacts)
//! ```
//! Nothing here reads a file or asks a kernel; every input is bounded before it is looked at. [`evaluate`] is the
//! reference for the kernel's own decision: both must give the same answer for every access.
#![forbid(unsafe_code)]

mod attempt;
mod compile;
mod diagnostic;
mod document;
mod evaluate;
mod evaluate_files;
mod hardening;
mod network;
mod policy;
mod reference;
mod selection;

pub use attempt::{Answer, Attempt, Image, Origin, Undecided, judge};
pub use compile::{
    CompileError, CompiledPolicy, Entry, Evidence, KernelFiles, MAX_ENTRIES, Refused, Rule, Warning, WhyRefused,
    compile, compiling_packages,
};
pub use diagnostic::{Diagnostic, Diagnostics, Place};
pub use document::{FormatError, Limits, format, parse, parse_all, scalar};
#[cfg(feature = "schema")]
pub use document::{crds, json_schema};
pub use evaluate::{Access, FileObject, evaluate};
pub use evaluate_files::{FileAccess, FilePath, ScriptAccess, evaluate_file, evaluate_script};
pub use hardening::{Capabilities, Forbidden, Hardening};
pub use network::{
    Cidr, Direction, InvalidCidr, InvalidName, Name, NamePattern, Network, NetworkAccess, NetworkRule, Peers, Ports,
    Prefix, Protocols, SOCKET_KINDS, evaluate_network,
};
pub use policy::{
    Addition, AnonymousExec, Authority, FileRule, LabelSelector, Mode, PathPattern, Policy, SbomTrust, Scripts,
    Selector, SignedBy, Unsigned,
};
pub use reference::ReferencePattern;
pub use selection::{Difference, Standing, Unmatched, WorkloadFacts, duplicate_names, select, standings};
