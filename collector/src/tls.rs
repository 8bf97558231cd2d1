//! Mutual TLS for agents: certificates that are reloaded, handshakes that cannot hold up each other, and who it was.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use plimsoll_identity::{FileError, Files, NodeIdentity, Trust, TrustError, certificates, fault, key};
use rustls::{ServerConfig, crypto::aws_lc_rs, server::NoServerSessionStorage};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Tls,
    metrics::{Metrics, Reason},
};

/// Handshakes at once. Each takes a signature; further connections wait in the kernel.
const HANDSHAKES: usize = 256;
/// How long one may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait after the kernel refused a connection: out of files, most likely.
const BREATH: Duration = Duration::from_millis(100);

/// Why the files of `tls` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the certificate and key of `tls` do not go together")]
    Pair(#[source] rustls::Error),
}

/// What the files of `tls` say now.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    config: Arc<ServerConfig>,
    trust: Arc<Trust>,
}

impl Loaded {
    /// Whether `chain` still proves a node; `None` if not.
    pub(crate) fn identity(&self, chain: &[CertificateDer<'_>]) -> Result<NodeIdentity, rustls::Error> {
        self.identity_at(chain, UnixTime::now())
    }

    /// Whether it proved a node at `time`.
    pub(crate) fn identity_at(
        &self,
        chain: &[CertificateDer<'_>],
        time: UnixTime,
    ) -> Result<NodeIdentity, rustls::Error> {
        self.trust.verify(chain, time)
    }
}

fn load(tls: &Tls) -> Result<Loaded, TlsError> {
    let mut domains = BTreeMap::new();
    for (domain, path) in &tls.trust_domains {
        domains.insert(domain.clone(), certificates(path)?);
    }
    let trust = Arc::new(Trust::new(domains)?);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?
        .with_client_cert_verifier(Arc::<Trust>::clone(&trust));
    let chain = certificates(&tls.certificate)?;
    let mut config = builder.with_single_cert(chain, key(&tls.key)?).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would not be verified again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded { config: Arc::new(config), trust })
}

/// Loads the files, and again whenever they change.
pub(crate) fn watch(tls: Tls, metrics: Arc<Metrics>) -> Result<watch::Receiver<Loaded>, TlsError> {
    let paths = [tls.certificate.clone(), tls.key.clone()];
    let files = Files::new(paths.into_iter().chain(tls.trust_domains.values().cloned()));
    let seen = files.contents();
    let first = load(&tls)?;
    let counted = Arc::clone(&metrics);
    let reload = move || {
        let loaded = load(&tls)?;
        metrics.tls_reloads.inc();
        tracing::info!("the certificates of `tls` were reloaded");
        Ok(loaded)
    };
    Ok(files.watch(seen, first, reload, move |error: TlsError| {
        counted.tls_reload_failures.inc();
        tracing::error!(error = ?error, "the certificates of `tls` changed and cannot be used, the old ones stay: {error}");
    }))
}

/// Takes connections until `stop`; those that prove to be nodes come out.
pub(crate) fn accept(
    listener: TcpListener,
    loaded: watch::Receiver<Loaded>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
    let (accepted, incoming) = mpsc::channel(HANDSHAKES);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let taking = async {
            while let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await {
                let connection = match listener.accept().await {
                    Ok((connection, _address)) => connection,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(BREATH).await;
                        continue;
                    }
                };
                let acceptor = TlsAcceptor::from(Arc::clone(&loaded.borrow().config));
                let (accepted, metrics) = (accepted.clone(), Arc::clone(&metrics));
                tokio::spawn(async move {
                    if let Some(stream) = handshake(connection, &acceptor, &metrics).await
                        && accepted.send(Ok(stream)).await.is_err()
                    {
                        tracing::debug!("the collector stopped during a handshake");
                    }
                    drop(permit);
                });
            }
        };
        tokio::select! {
            () = taking => {}
            () = stop.cancelled() => {}
        }
    });
    ReceiverStream::new(incoming)
}

async fn handshake(connection: TcpStream, acceptor: &TlsAcceptor, metrics: &Metrics) -> Option<TlsStream<TcpStream>> {
    let peer = connection.peer_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
    if let Err(error) = connection.set_nodelay(true) {
        tracing::debug!(peer, %error, "small packets of a connection may wait");
    }
    let (reason, error) = match timeout(HANDSHAKE, acceptor.accept(connection)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => {
            let reason = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => fault(error),
                None => "connection",
            };
            (reason, error.to_string())
        }
        Err(_elapsed) => ("timeout", format!("no handshake within {} s", HANDSHAKE.as_secs())),
    };
    metrics.refused_connections.get_or_create(&Reason { reason }).inc();
    tracing::warn!(peer, reason, error, "a connection was refused");
    None
}
