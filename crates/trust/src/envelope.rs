//! What a document is wrapped in: a sigstore bundle, a DSSE envelope, an in-toto statement, or nothing.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    error::TrustError,
    key::{KeyError, SigningKey},
};

/// Bytes of a document with its wrapping. Base64 makes the 64 MiB of the largest SBOM a third larger.
pub const MAX_DOCUMENT: usize = 96 << 20;
/// Signatures of one envelope; each costs a public-key operation per signer.
const MAX_SIGNATURES: usize = 16;
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";

const INDIFFERENT: GeneralPurposeConfig =
    general_purpose::NO_PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD_BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, INDIFFERENT);
const URL_SAFE_BASE64: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, INDIFFERENT);

/// A document as found.
#[derive(Debug)]
pub(crate) enum Wrapping {
    /// An SBOM as it is.
    Bare,
    /// An unsigned in-toto statement.
    Statement,
    /// Signed with keys, or with a certificate that stands beside it.
    Envelope(Envelope),
    /// With all that is needed to check it.
    Bundle(Envelope),
}

/// A DSSE envelope whose payload is decoded and not yet believed.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) payload_type: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) signatures: Vec<Signature>,
}

#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) keyid: String,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    payload_type: String,
    payload: String,
    signatures: Vec<WireSignature>,
}

#[derive(Deserialize, Serialize)]
struct WireSignature {
    #[serde(default)]
    keyid: Option<String>,
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBundle {
    dsse_envelope: Wire,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    payload_type: Option<IgnoredAny>,
    predicate_type: Option<IgnoredAny>,
    dsse_envelope: Option<IgnoredAny>,
    message_signature: Option<IgnoredAny>,
}

impl Wrapping {
    /// Tells by content. What is no JSON object is for the SBOM's parser to judge.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, TrustError> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(TrustError::TooLarge { size: bytes.len(), limit: MAX_DOCUMENT });
        }
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Ok(Self::Bare);
        }
        let Ok(probe) = serde_json::from_slice::<Probe>(bytes) else { return Ok(Self::Bare) };
        if probe.message_signature.is_some() {
            let reason = "it signs a blob; an attestation holds a DSSE envelope".to_owned();
            return Err(TrustError::Malformed { what: "sigstore bundle", reason });
        }
        if probe.dsse_envelope.is_some() {
            let bundle: WireBundle = read("sigstore bundle", bytes)?;
            return Ok(Self::Bundle(Envelope::of(bundle.dsse_envelope)?));
        }
        if probe.payload_type.is_some() {
            return Ok(Self::Envelope(Envelope::read(bytes)?));
        }
        Ok(if probe.predicate_type.is_some() { Self::Statement } else { Self::Bare })
    }
}

impl Envelope {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, TrustError> {
        Self::of(read("DSSE envelope", bytes)?)
    }

    fn of(wire: Wire) -> Result<Self, TrustError> {
        if wire.signatures.len() > MAX_SIGNATURES {
            return Err(malformed(format!("{} signatures, the limit is {MAX_SIGNATURES}", wire.signatures.len())));
        }
        let signature = |wire: WireSignature| {
            Ok(Signature { keyid: wire.keyid.unwrap_or_default(), bytes: decode("signature", &wire.sig)? })
        };
        Ok(Self {
            payload_type: wire.payload_type,
            payload: decode("payload", &wire.payload)?,
            signatures: wire.signatures.into_iter().map(signature).collect::<Result<_, TrustError>>()?,
        })
    }

    /// The bytes that were signed.
    pub(crate) fn signed_bytes(&self) -> Vec<u8> {
        pre_authentication_encoding(&self.payload_type, &self.payload)
    }
}

/// Signs `payload`, and names the key so that a reader can tell a wrong key from changed content.
pub(crate) fn seal(payload_type: &str, payload: &[u8], key: &SigningKey) -> Result<Vec<u8>, KeyError> {
    let signature = key.sign(&pre_authentication_encoding(payload_type, payload))?;
    let wire = Wire {
        payload_type: payload_type.to_owned(),
        payload: general_purpose::STANDARD.encode(payload),
        signatures: vec![WireSignature {
            keyid: Some(key.public()?.id()),
            sig: general_purpose::STANDARD.encode(signature),
        }],
    };
    match serde_json::to_vec(&wire) {
        Ok(bytes) => Ok(bytes),
        Err(_impossible) => Err(KeyError::Failed),
    }
}

/// DSSE's PAE.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    sigstore_verify::types::pae(payload_type, payload)
}

fn read<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, TrustError> {
    serde_json::from_slice(bytes).map_err(|error| TrustError::Malformed { what, reason: error.to_string() })
}

/// DSSE allows both alphabets.
fn decode(what: &str, text: &str) -> Result<Vec<u8>, TrustError> {
    let decoded = STANDARD_BASE64.decode(text).or_else(|_| URL_SAFE_BASE64.decode(text));
    decoded.map_err(|error| malformed(format!("its {what} is not base64: {error}")))
}

fn malformed(reason: String) -> TrustError {
    TrustError::Malformed { what: "DSSE envelope", reason }
}
