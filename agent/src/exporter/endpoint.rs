//! Where the collector is, and how to be sure that it is the collector.

use std::{io, net::IpAddr, path::PathBuf, time::Duration};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity, Uri};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is noticed within the sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an endpoint is refused.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("`{endpoint}` is not a collector's address; write `https://host:port`, or `http://127.0.0.1:port`")]
    Malformed { endpoint: String },
    #[error("`{endpoint}` would send events in plain text to another machine; use `https://` with `tls` set")]
    PlainText { endpoint: String },
    #[error("`{endpoint}` needs `tls` with `ca`, `certificate` and `key`")]
    NoTls { endpoint: String },
    #[error("`tls` is set, and `{endpoint}` would not use it; write `https://`")]
    UnusedTls { endpoint: String },
}

/// Why the collector could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read `{path}`")]
    File { path: PathBuf, #[source] source: io::Error },
    #[error("cannot connect to `{endpoint}`")]
    Transport { endpoint: String, #[source] source: tonic::transport::Error },
}

/// Files in PEM; read again for every connection, so that renewed certificates are used without a restart.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Authorities that may have signed the collector's certificate.
    pub ca: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A collector's address: `https://` with a client certificate, or `http://` on loopback.
#[derive(Clone, Debug)]
pub struct Endpoint {
    uri: Uri,
    tls: Option<TlsFiles>,
}

impl Endpoint {
    /// Checks an address.
    pub fn new(endpoint: &str, tls: Option<TlsFiles>) -> Result<Self, EndpointError> {
        let named = || endpoint.to_owned();
        let uri: Uri = endpoint.parse().map_err(|_| EndpointError::Malformed { endpoint: named() })?;
        let host = uri.host().unwrap_or_default();
        match (uri.scheme_str(), tls) {
            (Some("https"), Some(tls)) if !host.is_empty() => Ok(Self { uri, tls: Some(tls) }),
            (Some("https"), None) if !host.is_empty() => Err(EndpointError::NoTls { endpoint: named() }),
            (Some("http"), _) if !is_loopback(host) => Err(EndpointError::PlainText { endpoint: named() }),
            (Some("http"), Some(_)) => Err(EndpointError::UnusedTls { endpoint: named() }),
            (Some("http"), None) => Ok(Self { uri, tls: None }),
            _ => Err(EndpointError::Malformed { endpoint: named() }),
        }
    }

    /// Connects, or says why not.
    pub(super) async fn connect(&self) -> Result<Channel, ConnectError> {
        let failed = |source| ConnectError::Transport { endpoint: self.uri.to_string(), source };
        let mut endpoint = tonic::transport::Endpoint::from(self.uri.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if let Some(tls) = &self.tls {
            let config = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(read(&tls.ca)?))
                .identity(Identity::from_pem(read(&tls.certificate)?, read(&tls.key)?));
            endpoint = endpoint.tls_config(config).map_err(failed)?;
        }
        endpoint.connect().await.map_err(failed)
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|source| ConnectError::File { path: path.clone(), source })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str, tls: bool) -> Result<Endpoint, EndpointError> {
        let files = TlsFiles { ca: "ca".into(), certificate: "cert".into(), key: "key".into() };
        Endpoint::new(endpoint, tls.then_some(files))
    }

    #[test]
    fn plain_text_stays_on_the_machine() {
        for endpoint in ["http://127.0.0.1:7443", "http://[::1]:7443", "http://localhost:7443", "http://127.9.9.9"] {
            assert!(check(endpoint, false).is_ok(), "{endpoint}");
            assert!(matches!(check(endpoint, true), Err(EndpointError::UnusedTls { .. })), "{endpoint}");
        }
        for endpoint in ["http://10.0.0.1:7443", "http://collector:7443", "http://localhost.example:1", "http://0.0.0.0:1"] {
            assert!(matches!(check(endpoint, false), Err(EndpointError::PlainText { .. })), "{endpoint}");
        }
    }

    #[test]
    fn another_machine_needs_certificates() {
        assert!(check("https://collector:7443", true).is_ok());
        assert!(matches!(check("https://collector:7443", false), Err(EndpointError::NoTls { .. })));
    }

    #[test]
    fn nonsense_is_refused() {
        for endpoint in ["", "collector:7443", "ftp://collector", "https://", "/run/collector.sock"] {
            assert!(matches!(check(endpoint, true), Err(EndpointError::Malformed { .. })), "{endpoint}");
        }
    }
}
