//! Which authorities may vouch for the nodes of which trust domain. An authority of one domain cannot name nodes of
//! another.

use std::{collections::BTreeMap, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::{IdentityError, NodeIdentity};

/// Why authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("no trust domain is named")]
    NoDomain,
    #[error("an authority of trust domain `{domain}` cannot be used")]
    Authority {
        domain: String,
        #[source]
        source: Error,
    },
    #[error("the authorities of trust domain `{domain}` cannot be used")]
    Verifier {
        domain: String,
        #[source]
        source: VerifierBuilderError,
    },
}

/// What makes a certificate of the other end unacceptable, before its signatures are looked at.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerFault {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("trust domain `{domain}` is not one of `tls.trustDomains`")]
    TrustDomain { domain: String },
}

/// Verifies certificates of nodes.
#[derive(Debug)]
pub struct Trust {
    domains: BTreeMap<String, Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
}

impl Trust {
    /// `domains` has the authorities of each trust domain.
    pub fn new(domains: BTreeMap<String, Vec<CertificateDer<'static>>>) -> Result<Self, TrustError> {
        Self::with_revocations(domains, &[])
    }

    /// The same, without the certificates that `lists` name. A certificate whose authority has no list is not revoked; a list
    /// whose time is over still counts, since what it names stays revoked.
    pub fn with_revocations(
        domains: BTreeMap<String, Vec<CertificateDer<'static>>>,
        lists: &[CertificateRevocationListDer<'static>],
    ) -> Result<Self, TrustError> {
        if domains.is_empty() {
            return Err(TrustError::NoDomain);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut trust = Self { domains: BTreeMap::new(), hints: Vec::new() };
        for (domain, authorities) in domains {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority).map_err(|source| TrustError::Authority { domain: domain.clone(), source })?;
            }
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .with_crls(lists.to_vec())
                .allow_unknown_revocation_status();
            let verifier = builder.build().map_err(|source| TrustError::Verifier { domain: domain.clone(), source })?;
            trust.hints.extend_from_slice(verifier.root_hint_subjects());
            trust.domains.insert(domain, verifier);
        }
        Ok(trust)
    }

    /// The node that `chain`, its own certificate first, proves to be at `now`.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<NodeIdentity, Error> {
        let (own, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let identity = NodeIdentity::of(own).map_err(PeerFault::from).map_err(refused)?;
        let domain = identity.trust_domain();
        let verifier =
            self.domains.get(domain).ok_or_else(|| refused(PeerFault::TrustDomain { domain: domain.to_owned() }))?;
        verifier.verify_client_cert(own, intermediates, now)?;
        Ok(identity)
    }

    fn any(&self) -> Result<&Arc<dyn ClientCertVerifier>, Error> {
        self.domains.values().next().ok_or(Error::NoCertificatesPresented)
    }
}

fn refused(fault: PeerFault) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
}

/// The word in metrics for a handshake that failed.
pub fn fault(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "no-certificate",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => "expired",
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "not-valid-yet"
        }
        Error::InvalidCertificate(CertificateError::Revoked) => "revoked",
        // A bad signature is that of an authority that only has the name of one that is known.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "unknown-authority"
        }
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            match other.downcast_ref::<PeerFault>() {
                Some(PeerFault::TrustDomain { .. }) => "trust-domain",
                Some(PeerFault::Identity(_)) => "identity",
                None => "certificate",
            }
        }
        Error::InvalidCertificate(_) => "certificate",
        _ => "protocol",
    }
}

impl ClientCertVerifier for Trust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity.clone()).chain(intermediates.iter().cloned()).collect();
        self.verify(&chain, now).map(|_identity| ClientCertVerified::assertion())
    }

    // A signature by the key in the certificate has nothing to do with who vouches for it: any verifier can tell.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any()?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any().map(|verifier| verifier.supported_verify_schemes()).unwrap_or_default()
    }
}
