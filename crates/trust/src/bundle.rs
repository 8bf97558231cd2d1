//! Signed sets of policies, with a version and an end.

use jiff::Timestamp;
use plimsoll_sbom::Sha256;
use serde::{Deserialize, Serialize};

use crate::{
    envelope::{Envelope, MAX_DOCUMENT, seal},
    error::TrustError,
    key::{KeyError, SigningKey},
    signer::Signer,
    verify::by_key,
};

const PAYLOAD_TYPE: &str = "application/vnd.plimsoll.policies.v1+json";
const MAX_POLICIES: usize = 10_000;

/// Why a bundle is not used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not by an accepted signer, or changed since.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A signed envelope of something else.
    #[error("its content is of type `{0}`, not a bundle of policies")]
    Type(String),
    /// Not a bundle's JSON.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// Its time is over.
    #[error("it expired at {expires}; sign a new one")]
    Expired {
        /// When.
        expires: Timestamp,
    },
    /// No key to sign with.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Policies that were signed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicyBundle {
    /// Versions of equal names are compared.
    pub name: String,
    /// Grows with every change.
    pub version: u64,
    /// After this no node takes the bundle in; one that has it keeps it.
    pub expires: Timestamp,
    /// The documents.
    pub policies: Vec<BundledPolicy>,
}

/// One policy document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BundledPolicy {
    /// Its file's name, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
}

impl PolicyBundle {
    /// Signs the bundle. Its encoding is the same for the same content.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, BundleError> {
        Ok(seal(PAYLOAD_TYPE, &self.encode()?, key)?)
    }

    /// Opens a bundle that one of `signers` signed with a key. Its expiry is not looked at.
    pub fn open(bytes: &[u8], signers: &[Signer]) -> Result<(Self, String), BundleError> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(TrustError::TooLarge { size: bytes.len(), limit: MAX_DOCUMENT }.into());
        }
        let envelope = Envelope::read(bytes)?;
        let signer = by_key(&envelope, signers)?.to_owned();
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(BundleError::Type(envelope.payload_type.chars().take(120).collect()));
        }
        let bundle: Self =
            serde_json::from_slice(&envelope.payload).map_err(|error| BundleError::Malformed(error.to_string()))?;
        if bundle.policies.len() > MAX_POLICIES {
            return Err(BundleError::Malformed(format!("more than {MAX_POLICIES} policies")));
        }
        Ok((bundle, signer))
    }

    /// Refuses a bundle whose time is over at `now`.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), BundleError> {
        if now < self.expires { Ok(()) } else { Err(BundleError::Expired { expires: self.expires }) }
    }

    /// Tells two bundles of one version apart.
    pub fn digest(&self) -> Result<Sha256, BundleError> {
        Ok(Sha256::of(&self.encode()?))
    }

    fn encode(&self) -> Result<Vec<u8>, BundleError> {
        serde_json::to_vec(self).map_err(|error| BundleError::Malformed(error.to_string()))
    }
}
