//! Opens a document: who signed it, which image it is about, what is inside.

use std::collections::BTreeMap;

use plimsoll_sbom::Sha256;

use crate::{
    allowlist::{self, Allowlist},
    envelope::{Envelope, IN_TOTO, Wrapping},
    error::TrustError,
    key::PublicKey,
    keyless::{self, Root},
    signer::{Proof, Signer, named},
    statement::Statement,
};

/// A document as it was found, with the annotations of its place in a registry.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Where `cosign` keeps the certificate of an envelope; empty elsewhere.
    pub annotations: &'a BTreeMap<String, String>,
}

/// A document that may be used as far as its signer goes.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What is inside.
    pub content: Content,
    /// The accepted signer who signed it; none if nobody was asked for, or nobody signed.
    pub signer: Option<String>,
    /// The digest of the image that the document names; none if it names no image.
    pub subject: Option<Sha256>,
}

/// What a document holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// An SBOM, not parsed yet.
    Sbom(Vec<u8>),
    /// An allowlist that was compiled elsewhere.
    Allowlist(Box<Allowlist>),
}

/// The accepted signers.
#[derive(Debug, Default)]
pub struct Trust {
    signers: Vec<Signer>,
    root: Option<Root>,
}

impl Trust {
    /// `root` is needed for signers with certificates. Without `signers`, signatures are not looked at.
    pub fn new(signers: Vec<Signer>, root: Option<Root>) -> Self {
        Self { signers, root }
    }

    /// Whether anybody must sign.
    pub fn asks_for_signatures(&self) -> bool {
        !self.signers.is_empty()
    }

    /// The accepted signers, for messages.
    pub fn asked(&self) -> String {
        named(&self.signers)
    }

    /// Opens a document that should be about the image with one of the digests `image`.
    ///
    /// A document without any signature is opened too, with no signer; what that is worth is the policy's to say. A
    /// signature that does not hold is an error, and so is a statement about another image, signed or not.
    pub fn open(&self, candidate: Candidate<'_>, image: &[Sha256]) -> Result<Opened, TrustError> {
        match Wrapping::of(candidate.bytes)? {
            Wrapping::Bare => {
                Ok(Opened { content: Content::Sbom(candidate.bytes.to_vec()), signer: None, subject: None })
            }
            Wrapping::Statement => read(candidate.bytes, image, None),
            Wrapping::Envelope(envelope) => {
                let signer = self.signer_of(&envelope, || keyless::bundle_of(candidate))?;
                payload(&envelope, image, signer)
            }
            Wrapping::Bundle(envelope) => {
                let signer = self.signer_of(&envelope, || keyless::bundle(candidate.bytes))?;
                payload(&envelope, image, signer)
            }
        }
    }

    /// Keys first, since they cost little; then the certificate, if there is one.
    fn signer_of(
        &self,
        envelope: &Envelope,
        bundle: impl FnOnce() -> Result<Option<keyless::Bundle>, TrustError>,
    ) -> Result<Option<String>, TrustError> {
        if self.signers.is_empty() || envelope.signatures.is_empty() {
            return Ok(None);
        }
        let by_key = by_key(envelope, &self.signers);
        if let Ok(signer) = by_key {
            return Ok(Some(signer.to_owned()));
        }
        match (bundle()?, &self.root) {
            (Some(bundle), Some(root)) => root.signer(&bundle, &envelope.payload, &self.signers).map(Some),
            (Some(_), None) if self.signers.iter().any(|signer| matches!(signer.proof, Proof::Identity { .. })) => {
                Err(TrustError::NoRoot)
            }
            _ => by_key.map(|signer| Some(signer.to_owned())),
        }
    }
}

/// The first signer whose key made one of the signatures.
pub(crate) fn by_key<'s>(envelope: &Envelope, signers: &'s [Signer]) -> Result<&'s str, TrustError> {
    let message = envelope.signed_bytes();
    let keys = signers.iter().filter_map(|signer| match &signer.proof {
        Proof::Key(key) => Some((signer, key)),
        Proof::Identity { .. } => None,
    });
    let mut tampered = None;
    for (signer, key) in keys {
        if envelope.signatures.iter().any(|signature| key.verifies(&message, &signature.bytes)) {
            return Ok(&signer.name);
        }
        if tampered.is_none() && names(envelope, key) {
            tampered = Some(TrustError::Tampered { signer: signer.name.clone() });
        }
    }
    Err(tampered.unwrap_or_else(|| TrustError::UnknownSigner { asked: named(signers) }))
}

fn names(envelope: &Envelope, key: &PublicKey) -> bool {
    let id = key.id();
    envelope.signatures.iter().any(|signature| {
        let named = signature.keyid.strip_prefix("SHA256:").unwrap_or(&signature.keyid);
        named.eq_ignore_ascii_case(&id)
    })
}

fn payload(envelope: &Envelope, image: &[Sha256], signer: Option<String>) -> Result<Opened, TrustError> {
    if envelope.payload_type != IN_TOTO {
        let reason = format!("its payload is of type `{}`, not an in-toto statement", envelope.payload_type);
        return Err(TrustError::Malformed { what: "DSSE envelope", reason });
    }
    read(&envelope.payload, image, signer)
}

fn read(bytes: &[u8], image: &[Sha256], signer: Option<String>) -> Result<Opened, TrustError> {
    let statement = Statement::read(bytes)?;
    let content = if statement.predicate_type == allowlist::PREDICATE_TYPE {
        Content::Allowlist(Box::new(Allowlist::read(statement.predicate())?))
    } else if statement.is_sbom() {
        Content::Sbom(statement.document()?)
    } else {
        return Err(TrustError::Predicate(statement.predicate_type.chars().take(120).collect()));
    };
    let subject = statement.about(image)?;
    Ok(Opened { content, signer, subject: Some(subject) })
}
