//! Where the collector is, and how to open a connection to it.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use plimsoll_identity::{Files, SignatureError, Signer};
use tokio::sync::watch;
use tonic::transport::{self, Certificate, Channel, ClientTlsConfig, Identity, Uri};

use crate::config::{Collector, Tls};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection whose other end is gone without a word is noticed after this, twice.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("`collector.endpoint`: `{endpoint}` is not an address such as `https://collector.example:7443`")]
    Address { endpoint: String },
    #[error("`collector.endpoint`: `{endpoint}` would send events unencrypted; use `https://` with `collector.tls`")]
    Unencrypted { endpoint: String },
    #[error("`collector.endpoint`: `{endpoint}` needs `collector.tls` with `ca`, `certificate` and `key`")]
    TlsMissing { endpoint: String },
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the certificates of `collector.tls` cannot be used")]
    Tls(#[source] transport::Error),
    #[error("the key of `collector.tls` cannot sign checkpoints")]
    Signer(#[from] SignatureError),
    #[error("cannot connect to `{endpoint}`")]
    Connect {
        endpoint: String,
        #[source]
        source: transport::Error,
    },
}

/// The collector's address. Unencrypted on loopback; elsewhere both ends show a certificate.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `http://127.0.0.1:port` or `https://host:port`.
    pub address: String,
    /// Needed for `https://`.
    pub tls: Option<Tls>,
}

impl From<&Collector> for Endpoint {
    fn from(collector: &Collector) -> Self {
        Self { address: collector.endpoint.clone(), tls: collector.tls.clone() }
    }
}

impl Endpoint {
    /// Whether a connection could be tried: the address is allowed and the certificates can be read.
    pub(super) fn check(&self) -> Result<(), EndpointError> {
        self.prepare().map(drop)
    }

    /// Tells when the certificates were replaced by others that can be used; must be called inside a tokio runtime.
    pub(super) fn renewals(&self) -> watch::Receiver<()> {
        let paths = self.tls.iter().flat_map(|tls| [&tls.ca, &tls.certificate, &tls.key]);
        let files = Files::new(paths.cloned());
        let (seen, endpoint) = (files.contents(), self.clone());
        files.watch(
            seen,
            (),
            move || endpoint.check(),
            |error| {
                tracing::error!(error = ?error, "the files of `collector.tls` changed and cannot be used yet: {error}");
            },
        )
    }

    /// Connects. Certificates are read anew every time, since they are replaced while the agent runs. The signer has the
    /// certificate that the connection shows; there is none without TLS.
    pub(super) async fn connect(&self) -> Result<(Channel, Option<Signer>), EndpointError> {
        let (prepared, signer) = self.prepare()?;
        let connected = prepared.connect().await;
        let failed = |source| EndpointError::Connect { endpoint: self.address.clone(), source };
        Ok((connected.map_err(failed)?, signer))
    }

    fn prepare(&self) -> Result<(transport::Endpoint, Option<Signer>), EndpointError> {
        let endpoint = self.address.clone();
        let Ok(uri) = endpoint.parse::<Uri>() else { return Err(EndpointError::Address { endpoint }) };
        let Some(host) = uri.host().map(str::to_owned) else { return Err(EndpointError::Address { endpoint }) };
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(&host) => false,
            Some("http") => return Err(EndpointError::Unencrypted { endpoint }),
            _ => return Err(EndpointError::Address { endpoint }),
        };
        let plain = transport::Endpoint::from(uri)
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        match (&self.tls, encrypted) {
            (_, false) => Ok((plain, None)),
            (None, true) => Err(EndpointError::TlsMissing { endpoint }),
            (Some(tls), true) => {
                let (config, signer) = certificates(tls)?;
                Ok((plain.tls_config(config).map_err(EndpointError::Tls)?, Some(signer)))
            }
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn certificates(tls: &Tls) -> Result<(ClientTlsConfig, Signer), EndpointError> {
    let authorities = Certificate::from_pem(read(&tls.ca)?);
    let (certificate, key) = (read(&tls.certificate)?, read(&tls.key)?);
    let signer = Signer::from_pem(&certificate, &key)?;
    let config = ClientTlsConfig::new().ca_certificate(authorities).identity(Identity::from_pem(certificate, key));
    Ok((config, signer))
}

fn read(path: &Path) -> Result<Vec<u8>, EndpointError> {
    fs::read(path).map_err(|source| EndpointError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str) -> Result<(), EndpointError> {
        Endpoint { address: address.to_owned(), tls: None }.check()
    }

    #[test]
    fn unencrypted_only_on_loopback() {
        for address in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "http://127.8.8.8"] {
            check(address).unwrap();
        }
        for address in ["http://10.0.0.1:1", "http://localhost.example:1", "http://127.0.0.1.example"] {
            assert!(matches!(check(address), Err(EndpointError::Unencrypted { .. })), "{address}");
        }
    }

    #[test]
    fn encrypted_needs_certificates_that_can_be_read() {
        assert!(matches!(check("https://127.0.0.1:1"), Err(EndpointError::TlsMissing { .. })));
        let tls = Tls { ca: "/none/ca".into(), certificate: "/none/c".into(), key: "/none/k".into() };
        let error = Endpoint { address: "https://a:1".into(), tls: Some(tls) }.check().unwrap_err();
        assert_eq!(error.to_string(), "cannot read `/none/ca`");
    }

    #[test]
    fn other_addresses_are_refused() {
        for address in ["", "127.0.0.1:1", "ftp://127.0.0.1", "unix:/x", "http://"] {
            assert!(matches!(check(address), Err(EndpointError::Address { .. })), "{address}");
        }
    }
}
