//! Signing with the key of a certificate, and telling whether that key has signed.

use std::sync::Arc;

use rustls::{SignatureScheme, crypto::aws_lc_rs, sign::SigningKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use webpki::EndEntityCert;

/// What is signed with, the first that the key can do. All of them are safe on their own, outside of a handshake.
const SCHEMES: [SignatureScheme; 5] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
];

/// Why something is not signed, or a signature is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error("there is no certificate and key in PEM")]
    Pem(#[source] pem::Error),
    #[error("there is no certificate beside the key")]
    NoCertificate,
    #[error("the key is of no kind that can sign; use ECDSA, Ed25519 or RSA")]
    Key(#[source] rustls::Error),
    #[error("the key is of no kind that is used here; use ECDSA, Ed25519 or RSA")]
    KeyKind,
    #[error("the key did not sign")]
    Signing(#[source] rustls::Error),
    #[error("signature scheme {0:#06x} is not one that is used here")]
    Scheme(u16),
    #[error("the certificate cannot be parsed")]
    Certificate,
    #[error("the certificate's key has not signed this")]
    Wrong,
}

/// A signature, and how it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// TLS's number of the scheme.
    pub scheme: u16,
    pub bytes: Vec<u8>,
}

/// The key of a certificate.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Arc<dyn SigningKey>,
    certificate: CertificateDer<'static>,
}

impl Signer {
    /// `chain` has the key's own certificate first.
    pub fn new(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'_>) -> Result<Self, SignatureError> {
        let certificate = chain.first().ok_or(SignatureError::NoCertificate)?.clone();
        let key = aws_lc_rs::sign::any_supported_type(key).map_err(SignatureError::Key)?;
        Ok(Self { key, certificate })
    }

    /// The same from files in PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, SignatureError> {
        let chain =
            CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(SignatureError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(SignatureError::Pem)?;
        Self::new(&chain, &key)
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub fn sign(&self, message: &[u8]) -> Result<Signature, SignatureError> {
        let signer = self.key.choose_scheme(&SCHEMES).ok_or(SignatureError::KeyKind)?;
        let bytes = signer.sign(message).map_err(SignatureError::Signing)?;
        Ok(Signature { scheme: signer.scheme().into(), bytes })
    }
}

/// Whether the key of `certificate` signed `message`. Who vouches for the certificate, and until when, is not looked at.
pub fn verify_signature(
    certificate: &CertificateDer<'_>,
    message: &[u8],
    signature: &Signature,
) -> Result<(), SignatureError> {
    let scheme = SignatureScheme::from(signature.scheme);
    if !SCHEMES.contains(&scheme) {
        return Err(SignatureError::Scheme(signature.scheme));
    }
    let certificate = EndEntityCert::try_from(certificate).map_err(|_unparsable| SignatureError::Certificate)?;
    let known = aws_lc_rs::default_provider().signature_verification_algorithms;
    let algorithms = known.mapping.iter().filter(|(name, _)| *name == scheme).flat_map(|(_, algorithms)| *algorithms);
    let mut tried = algorithms.map(|algorithm| certificate.verify_signature(*algorithm, message, &signature.bytes));
    if tried.any(|outcome| outcome.is_ok()) { Ok(()) } else { Err(SignatureError::Wrong) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    fn signer(key: &KeyPair) -> Signer {
        let certificate = CertificateParams::default().self_signed(key).unwrap().der().clone();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        Signer::new(&[certificate], &key).unwrap()
    }

    #[test]
    fn every_kind_of_key_signs_for_itself_alone() {
        for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let own = signer(&KeyPair::generate_for(kind).unwrap());
            let other = signer(&KeyPair::generate_for(kind).unwrap());
            let signature = own.sign(b"message").unwrap();
            verify_signature(own.certificate(), b"message", &signature).unwrap();
            let wrong = verify_signature(own.certificate(), b"massage", &signature);
            assert!(matches!(wrong, Err(SignatureError::Wrong)));
            let wrong = verify_signature(other.certificate(), b"message", &signature);
            assert!(matches!(wrong, Err(SignatureError::Wrong)));
            for at in 0..signature.bytes.len() {
                let mut changed = signature.clone();
                changed.bytes[at] ^= 1;
                assert!(verify_signature(own.certificate(), b"message", &changed).is_err(), "{kind:?} byte {at}");
            }
            for scheme in [0x0201, 0x0401, 0] {
                let changed = Signature { scheme, ..signature.clone() };
                let wrong = verify_signature(own.certificate(), b"message", &changed);
                assert!(matches!(wrong, Err(SignatureError::Scheme(_))), "{scheme}");
            }
        }
    }

    #[test]
    fn a_key_needs_its_certificate() {
        let key = KeyPair::generate().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        assert!(matches!(Signer::new(&[], &key), Err(SignatureError::NoCertificate)));
    }
}
