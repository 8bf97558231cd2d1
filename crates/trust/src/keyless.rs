//! Signatures by short-lived certificates: the certificate chains to a configured root, and was valid at a time that a
//! transparency log or a timestamp authority of the root vouches for.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use sigstore_verify::{
    CertificateError, Error, VerificationPolicy, VerificationResult, Verifier,
    crypto::{CertificateInfo, parse_certificate_info},
    trust_root::TrustedRoot,
    types::{DerCertificate, Sha256Hash},
};

use crate::{
    error::TrustError,
    signer::{Proof, Signer, named},
    statement::Statement,
    verify::Candidate,
};

pub(crate) use sigstore_verify::types::Bundle;

const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";

/// Certificate authorities, transparency logs and timestamp authorities that keyless signatures are checked against.
pub struct Root {
    verifier: Verifier,
    has_certificate_logs: bool,
    has_transparency_logs: bool,
}

/// Why a trust root cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("not a usable sigstore trust root (`trusted_root.json`): {0}")]
pub struct RootError(String);

impl Root {
    /// Reads a `trusted_root.json`. What the root lists is asked for: without certificate transparency logs no
    /// proof from one, and without transparency logs the time of signing must come from a timestamp authority.
    pub fn from_json(text: &str) -> Result<Self, RootError> {
        let failed = |error: &dyn fmt::Display| RootError(error.to_string());
        let root = TrustedRoot::from_json(text).map_err(|error| failed(&error))?;
        if root.certificate_authorities.is_empty() {
            return Err(RootError("it lists no certificate authority".to_owned()));
        }
        let verifier = Verifier::new(&root).map_err(|error| failed(&error))?;
        Ok(Self {
            verifier,
            has_certificate_logs: !root.ctlogs.is_empty(),
            has_transparency_logs: !root.tlogs.is_empty(),
        })
    }

    /// Which of `signers` made the bundle's signature over `payload`.
    pub(crate) fn signer(&self, bundle: &Bundle, payload: &[u8], signers: &[Signer]) -> Result<String, TrustError> {
        let statement = Statement::read(payload)?;
        // The subject is compared with the image later, so that a wrong signer and a wrong image are told apart.
        let subject = statement.subjects.first().ok_or_else(|| unproven(&"its statement names no image"))?;
        let policy = self.policy();
        let subject = Sha256Hash::new(subject.0);
        let result = match self.verifier.verify(subject, bundle, &policy) {
            Ok(result) => result,
            Err(error) => return Err(self.explain(error, bundle, subject)),
        };
        matching(&result, signers)
    }

    fn policy(&self) -> VerificationPolicy {
        let policy = VerificationPolicy::any_identity();
        let policy = if self.has_certificate_logs { policy } else { policy.skip_sct() };
        if self.has_transparency_logs { policy } else { policy.skip_tlog_unsafe() }
    }

    /// An expired certificate shows as a broken chain; the proven time tells the two apart.
    fn explain(&self, error: Error, bundle: &Bundle, subject: Sha256Hash) -> TrustError {
        match error {
            Error::SignatureInvalid(_) => TrustError::Tampered { signer: "certificate".to_owned() },
            Error::Certificate(CertificateError::Expired { time, not_after }) => {
                TrustError::Expired { not_after: not_after.to_string(), signed_at: time.to_string() }
            }
            Error::Certificate(CertificateError::ChainInvalid(_)) | Error::TransparencyLog(_) => {
                let unchained = self.policy().skip_certificate_chain().skip_tlog_unsafe();
                let times = self.verifier.verify(subject, bundle, &unchained);
                let certificate =
                    bundle.signing_certificate().and_then(|certificate| parse_certificate_info(certificate).ok());
                match (times, certificate) {
                    (Ok(times), Some(certificate)) => outside(&times, &certificate).unwrap_or_else(|| unproven(&error)),
                    _ => unproven(&error),
                }
            }
            other => unproven(&other),
        }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("has_certificate_logs", &self.has_certificate_logs)
            .field("has_transparency_logs", &self.has_transparency_logs)
            .finish_non_exhaustive()
    }
}

/// The proven time that lies outside the certificate's validity, as an error.
fn outside(result: &VerificationResult, certificate: &CertificateInfo) -> Option<TrustError> {
    result.verified_timestamps().iter().find_map(|time| {
        let signed_at = time.to_string();
        if *time > certificate.not_after {
            Some(TrustError::Expired { not_after: certificate.not_after.to_string(), signed_at })
        } else if *time < certificate.not_before {
            Some(TrustError::NotYetValid { not_before: certificate.not_before.to_string(), signed_at })
        } else {
            None
        }
    })
}

fn matching(result: &VerificationResult, signers: &[Signer]) -> Result<String, TrustError> {
    let actual = result.identity().map(|identity| identity.as_str().to_owned()).unwrap_or_default();
    let vouched = result.issuer().unwrap_or_default();
    let found = signers.iter().find(|signer| match &signer.proof {
        Proof::Identity { identity, issuer } => identity.matches(&actual) && issuer == vouched,
        Proof::Key(_) => false,
    });
    found.map(|signer| signer.name.clone()).ok_or_else(|| TrustError::OtherIdentity {
        identity: actual.chars().take(200).collect(),
        issuer: vouched.chars().take(200).collect(),
        asked: named(signers),
    })
}

/// The bundle, if a certificate is in it.
pub(crate) fn bundle(bytes: &[u8]) -> Result<Option<Bundle>, TrustError> {
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(&error))?;
    let bundle = Bundle::from_json(text).map_err(|error| malformed(&error))?;
    Ok(bundle.signing_certificate().is_some().then_some(bundle))
}

/// The bundle that an envelope with `cosign`'s annotations amounts to, if a certificate is among them. Its log entry comes
/// with the log's signed promise, without a proof of inclusion.
pub(crate) fn bundle_of(candidate: Candidate<'_>) -> Result<Option<Bundle>, TrustError> {
    let Some(certificate) = candidate.annotations.get(CERTIFICATE) else { return Ok(None) };
    let chain = candidate.annotations.get(CHAIN).map_or("", String::as_str);
    let certificates = certificates(certificate)?.into_iter().chain(certificates(chain)?);
    let certificates: Vec<Value> =
        certificates.map(|one| json!({ "rawBytes": STANDARD.encode(one.as_bytes()) })).collect();
    let entries: Vec<Value> =
        candidate.annotations.get(LOG_ENTRY).map(|entry| log_entry(entry)).transpose()?.into_iter().collect();
    let envelope: &RawValue = serde_json::from_slice(candidate.bytes).map_err(|error| malformed(&error))?;
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "verificationMaterial": {
            "x509CertificateChain": { "certificates": certificates },
            "tlogEntries": entries,
        },
        "dsseEnvelope": envelope,
    });
    bundle_from(&bundle).map(Some)
}

fn bundle_from(value: &Value) -> Result<Bundle, TrustError> {
    Bundle::from_json(&value.to_string()).map_err(|error| malformed(&error))
}

/// Every certificate of a PEM text.
fn certificates(pem: &str) -> Result<Vec<DerCertificate>, TrustError> {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = pem.split_inclusive(END).filter(|block| block.contains(END));
    blocks.map(|block| DerCertificate::from_pem(block.trim()).map_err(|error| malformed(&error))).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CosignEntry {
    signed_entry_timestamp: String,
    payload: CosignPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CosignPayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryKind {
    kind: String,
    api_version: String,
}

fn log_entry(text: &str) -> Result<Value, TrustError> {
    let entry: CosignEntry = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let body = STANDARD.decode(&entry.payload.body).map_err(|error| malformed(&error))?;
    let kind: EntryKind = serde_json::from_slice(&body).map_err(|error| malformed(&error))?;
    let log = hex::decode(&entry.payload.log_id).map_err(|error| malformed(&error))?;
    Ok(json!({
        "logIndex": entry.payload.log_index.to_string(),
        "logId": { "keyId": STANDARD.encode(log) },
        "kindVersion": { "kind": kind.kind, "version": kind.api_version },
        "integratedTime": entry.payload.integrated_time.to_string(),
        "inclusionPromise": { "signedEntryTimestamp": entry.signed_entry_timestamp },
        "canonicalizedBody": entry.payload.body,
    }))
}

fn malformed(error: &dyn fmt::Display) -> TrustError {
    TrustError::Malformed { what: "keyless signature", reason: error.to_string() }
}

fn unproven(error: &dyn fmt::Display) -> TrustError {
    TrustError::Keyless(error.to_string())
}
