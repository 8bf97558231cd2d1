//! What a node signs: a link of one of its numberings, and so everything before it.

use plimsoll_identity::{Signature, SignatureError, Signer, verify_signature};
use plimsoll_proto::v1;
use prost::Message as _;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::Link;

/// Before the statement, so that the signature is of use nowhere else: what TLS signs begins otherwise.
const PURPOSE: &[u8] = b"plimsoll checkpoint 1\0";

/// Why a checkpoint says nothing.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the checkpoint's statement cannot be read")]
    Statement,
    #[error("the checkpoint names another certificate than the one beside it")]
    Certificate,
    #[error("the checkpoint's signature does not hold")]
    Signature(#[from] SignatureError),
}

/// What a node states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub node: v1::Node,
    /// The event that the link stands behind.
    pub sequence: u64,
    pub link: Link,
    /// When it was signed, in nanoseconds since 1970.
    pub time_unix_ns: u64,
    /// Stretches of the node's spool, over all its numberings, that could not be read back.
    pub lost_stretches: u64,
}

impl Statement {
    pub fn sign(self, signer: &Signer) -> Result<v1::Checkpoint, SignatureError> {
        let statement = v1::Statement {
            node: Some(self.node),
            sequence: self.sequence,
            chain: self.link.as_bytes().to_vec(),
            time_unix_ns: self.time_unix_ns,
            certificate_sha256: fingerprint(signer.certificate()).to_vec(),
            lost_stretches: self.lost_stretches,
        };
        let statement = statement.encode_to_vec();
        let Signature { scheme, bytes } = signer.sign(&signed(&statement))?;
        Ok(v1::Checkpoint { statement, scheme: scheme.into(), signature: bytes })
    }

    /// What the key of `certificate` has signed. Who vouches for the certificate is not looked at.
    pub fn open(checkpoint: &v1::Checkpoint, certificate: &CertificateDer<'_>) -> Result<Self, CheckpointError> {
        let found = v1::Statement::decode(&*checkpoint.statement).map_err(|_no_protobuf| CheckpointError::Statement)?;
        if found.certificate_sha256 != fingerprint(certificate) {
            return Err(CheckpointError::Certificate);
        }
        let scheme = u16::try_from(checkpoint.scheme).map_err(|_large| SignatureError::Scheme(u16::MAX))?;
        let signature = Signature { scheme, bytes: checkpoint.signature.clone() };
        verify_signature(certificate, &signed(&checkpoint.statement), &signature)?;
        Ok(Self {
            node: found.node.ok_or(CheckpointError::Statement)?,
            sequence: found.sequence,
            link: Link::from_bytes(&found.chain).ok_or(CheckpointError::Statement)?,
            time_unix_ns: found.time_unix_ns,
            lost_stretches: found.lost_stretches,
        })
    }
}

/// SHA-256 of a certificate in DER.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

fn signed(statement: &[u8]) -> Vec<u8> {
    [PURPOSE, statement].concat()
}
