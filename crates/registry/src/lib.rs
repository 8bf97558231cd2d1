//! Finds what a registry holds about an image: SBOMs and attestations attached in any of the usual ways, by digest.
//!
//! ```text
//! image digest ── index or platform manifest ─> subjects
//! each subject ─┬─ referrers API, else the tag sha256-<digest>
//!               ├─ tags sha256-<digest>.att and .sbom, as cosign writes them
//!               └─ attestation manifests of BuildKit, in the index
//!                     └─> documents, each checked against its digest, none believed yet
//! ```
//!
//! What a registry answers is hostile: every body, count and wait has a bound. HTTP is `ureq`. The usual crate for
//! registries, `oci-client`, reads manifests, token answers and lists of referrers without any bound and takes a failed
//! login for an anonymous one; its types come from `oci-spec`, which is used here too.
#![forbid(unsafe_code)]

mod cache;
mod config;
mod credentials;
mod discover;
mod error;
mod manifest;
mod transport;

pub use config::Config;
pub use discover::{Client, Document, Found, Origin, Platform};
pub use error::RegistryError;
pub use oci_spec::distribution::Reference;
