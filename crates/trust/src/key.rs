//! Keys that are not in certificates.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use plimsoll_sbom::Sha256;
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use sigstore_verify::{
    crypto::{KeyAlgorithm, verify_signature},
    types::{DerPublicKey, SignatureBytes},
};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a public key in PEM.
    #[error("not a public key in PEM (`-----BEGIN PUBLIC KEY-----`): {0}")]
    Public(String),
    /// An algorithm that no verifier here has.
    #[error("neither ECDSA P-256 or P-384, Ed25519 nor RSA of 2048 to 8192 bits: {0}")]
    Algorithm(String),
    /// Not a private key in PEM.
    #[error("not an unencrypted private key in PKCS #8 PEM (`-----BEGIN PRIVATE KEY-----`)")]
    Private,
    /// A private key of another algorithm.
    #[error("signing takes an Ed25519 or ECDSA P-256 key; make one with `openssl genpkey -algorithm ed25519`")]
    Signing,
    /// The library failed.
    #[error("the key did not sign")]
    Failed,
}

/// A key that signatures are checked with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    der: DerPublicKey,
    algorithm: KeyAlgorithm,
}

impl PublicKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`, as `cosign` and `openssl` write it.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::from_der(DerPublicKey::from_pem(pem).map_err(|error| KeyError::Public(error.to_string()))?)
    }

    fn from_der(der: DerPublicKey) -> Result<Self, KeyError> {
        let algorithm = KeyAlgorithm::from_spki(&der).map_err(|error| KeyError::Algorithm(error.to_string()))?;
        Ok(Self { der, algorithm })
    }

    /// The key in PEM.
    pub fn to_pem(&self) -> String {
        self.der.to_pem()
    }

    /// SHA-256 of the key's DER form in hex: the `keyid` that envelopes may name it by.
    pub fn id(&self) -> String {
        Sha256::of(self.der.as_bytes()).hex()
    }

    /// Whether this key made `signature` over `message`. RSA means PKCS #1 v1.5 with SHA-256, as `cosign` signs.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = SignatureBytes::from_bytes(signature);
        verify_signature(&self.der, message, &signature, self.algorithm.default_signing_scheme()).is_ok()
    }
}

/// A key that signs allowlists and policy bundles.
pub struct SigningKey(Pair);

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(Box<EcdsaKeyPair>),
}

impl SigningKey {
    /// Reads an unencrypted PKCS #8 key. With Ed25519 equal input gives equal signatures; ECDSA draws a number each time.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let Ok(key) = PrivatePkcs8KeyDer::from_pem_slice(pem) else { return Err(KeyError::Private) };
        let der = key.secret_pkcs8_der();
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self(Pair::Ed25519(pair)));
        }
        match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der) {
            Ok(pair) => Ok(Self(Pair::Ecdsa(Box::new(pair)))),
            Err(_rejected) => Err(KeyError::Signing),
        }
    }

    /// The other half.
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        let der: Result<PublicKeyX509Der<'_>, _> = match &self.0 {
            Pair::Ed25519(pair) => pair.public_key().as_der(),
            Pair::Ecdsa(pair) => pair.public_key().as_der(),
        };
        match der {
            Ok(der) => PublicKey::from_der(DerPublicKey::from_bytes(der.as_ref())),
            Err(_unspecified) => Err(KeyError::Failed),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.0 {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Ecdsa(pair) => match pair.sign(&SystemRandom::new(), message) {
                Ok(signature) => Ok(signature.as_ref().to_vec()),
                Err(_unspecified) => Err(KeyError::Failed),
            },
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}
