//! Who is at the other end: SPIFFE IDs in certificates, the authorities that may vouch for them, and files that change.
#![forbid(unsafe_code)]

mod files;
mod node;
mod signature;
mod trust;

pub use self::{
    files::{FileError, Files, certificates, key, revocation_lists},
    node::{IdentityError, NodeIdentity, TrustDomain},
    signature::{Signature, SignatureError, Signer, verify_signature},
    trust::{PeerFault, Trust, TrustError, fault},
};
