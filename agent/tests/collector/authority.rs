//! Certificates of a trust domain, made as they are needed.

use std::{fs, path::Path, time::Duration};

use plimsoll_agent::config::Tls;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes a certificate and its key; `lives` from now, or already over if zero.
    pub(crate) fn issue(&self, certificate: &Path, key_file: &Path, name: SanType, lives: Duration) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        let now = std::time::SystemTime::now();
        params.not_before = (now - Duration::from_hours(1)).into();
        params.not_after = (now + lives - Duration::from_secs(u64::from(lives.is_zero()))).into();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(key_file, key.serialize_pem()).unwrap();
        fs::write(certificate, signed.pem()).unwrap();
    }

    pub(crate) fn node(&self, tls: &Tls, id: &str, lives: Duration) {
        self.issue(&tls.certificate, &tls.key, SanType::URI(id.try_into().unwrap()), lives);
    }
}
