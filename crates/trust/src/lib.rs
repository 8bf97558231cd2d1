//! Who says what an image contains, and whether to believe it.
//!
//! ```text
//! document as found ── Trust::open(image digests) ──> Content (SBOM or allowlist), signer
//! signed policies ── PolicyBundle::open(keys, now) ─> policies, version, expiry
//! Inventory ── Allowlist::of ── sign ──> an in-toto statement, the same bytes for the same input
//! ```
//!
//! Signatures are checked over the bytes that are then read, never over a copy that was parsed and written again.
//! Nothing here reads a file or asks a server, except [`Memory`], which keeps the highest versions seen on disk.
//!
//! Keyless signatures are verified by `sigstore-verify`, which is kept by the sigstore project, checks certificates with
//! `rustls-webpki`, and without its downloads adds a dozen small crates to what TLS brings in anyway. The `sigstore`
//! crate verifies no attestations. Plain keys need no more than one call to `aws-lc-rs`, through the same crate.
#![forbid(unsafe_code)]

mod allowlist;
mod bundle;
mod envelope;
mod error;
mod key;
mod keyless;
mod memory;
mod signer;
mod statement;
mod verify;

pub use allowlist::{Allowlist, AllowlistError, AllowlistFile, Binding};
pub use bundle::{BundleError, BundledPolicy, PolicyBundle};
pub use envelope::MAX_DOCUMENT;
pub use error::TrustError;
pub use key::{KeyError, PublicKey, SigningKey};
pub use keyless::{Root, RootError};
pub use memory::{Memory, MemoryError, Seen};
pub use signer::{IdentityPattern, Proof, Signer};
pub use verify::{Candidate, Content, Opened, Trust};
