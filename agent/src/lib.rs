//! The node agent: from an image's SBOM to the kernel's allowlist, and from the kernel's events to the collector.
//!
//! ```text
//! nri, hook ─> workload ─> (rootfs + sbom) ─> policy::compile ─> enforcer ─> kernel maps
//! kernel rings ─> sensor ─> event ─> explain ─> exporter ─> collector
//! ```
//! Policy goes down, facts go up; nothing on the lower line can change a verdict.

pub mod admin;
pub mod app;

pub mod config;
pub mod enforcer;
pub mod event;
pub mod explain;
pub mod export;
pub mod exporter;
pub mod kubernetes;
pub mod metrics;
pub mod nri;
pub mod policies;
pub mod sensor;
pub mod workload;
