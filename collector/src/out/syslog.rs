//! A connection that syslog messages go through. Syslog has no acknowledgement: what the receiver's kernel took counts as
//! delivered.

use std::{io, path::Path, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::sink::{Failure, SinkError};
use crate::config::outputs::Cef;

/// How long connecting, and one delivery, may take.
const DEADLINE: Duration = Duration::from_secs(30);

trait Connection: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Connection for T {}

/// One receiver.
pub(super) struct Syslog {
    address: String,
    tls: Option<TlsConnector>,
    connection: Option<Box<dyn Connection>>,
}

impl Syslog {
    pub(super) fn new(cef: &Cef) -> Result<Self, SinkError> {
        let tls = cef.ca.as_deref().map(connector).transpose()?;
        Ok(Self { address: cef.address.clone(), tls, connection: None })
    }

    pub(super) async fn send(&mut self, messages: &[u8]) -> Result<(), Failure> {
        let outcome = match timeout(DEADLINE, self.deliver(messages)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, "the receiver takes nothing")),
        };
        outcome.map_err(|error| {
            // Half a message may have gone: what follows must not be read as its rest.
            self.connection = None;
            Failure::retry(&error)
        })
    }

    async fn deliver(&mut self, messages: &[u8]) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        ensure_open(&mut connection).await?;
        connection.write_all(messages).await?;
        connection.flush().await?;
        ensure_open(&mut connection).await?;
        self.connection = Some(connection);
        Ok(())
    }

    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let connection = TcpStream::connect(&self.address).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(connection)) };
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, connection).await?))
    }
}

/// A receiver says nothing; the end of what it says is that it closed the connection.
async fn ensure_open(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut said = [0; 256];
    loop {
        tokio::select! {
            biased;
            read = connection.read(&mut said) => if read? == 0 {
                return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the receiver closed the connection"));
            },
            () = std::future::ready(()) => return Ok(()),
        }
    }
}

fn connector(ca: &Path) -> Result<TlsConnector, SinkError> {
    let tls = |error: rustls::Error| SinkError::Tls(Box::new(error));
    let mut roots = RootCertStore::empty();
    for authority in plimsoll_identity::certificates(ca)? {
        roots.add(authority).map_err(tls)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
