//! Mutual TLS for agents: certificates that are reloaded, handshakes that cannot hold up each other, and who it was.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use plimsoll_identity::{
    FileError, Files, NodeIdentity, Trust, TrustError, certificates, fault, key, revocation_lists,
};
use rustls::{ServerConfig, crypto::aws_lc_rs, server::NoServerSessionStorage};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::{Admitted, Door, PREFACE},
    config::{Connections, Tls},
    metrics::{Metrics, Reason},
};

/// Handshakes at once. Each takes a signature; further connections wait, no longer than a handshake may take.
const HANDSHAKES: usize = 256;
/// How long one may take, up to the first bytes of HTTP/2.
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
    let mut lists = Vec::new();
    for path in &tls.revocation_lists {
        lists.extend(revocation_lists(path)?);
    }
    let trust = Arc::new(Trust::with_revocations(domains, &lists)?);
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
    let files = Files::new(paths.into_iter().chain(tls.trust_domains.values().chain(&tls.revocation_lists).cloned()));
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
    limits: &Connections,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Admitted<TlsStream<TcpStream>>>> {
    let (accepted, incoming) = mpsc::channel(HANDSHAKES);
    let door = Door::new(limits);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let taking = async {
            loop {
                let (connection, address) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(BREATH).await;
                        continue;
                    }
                };
                // Whoever is one too many costs nothing more than this.
                let place = match door.enter(address.ip()) {
                    Ok(place) => place,
                    Err(full) => {
                        metrics.refused_connections.get_or_create(&Reason { reason: full.name() }).inc();
                        tracing::debug!(%address, "a connection was closed: {full}");
                        continue;
                    }
                };
                let acceptor = TlsAcceptor::from(Arc::clone(&loaded.borrow().config));
                let (accepted, metrics, handshakes) = (accepted.clone(), Arc::clone(&metrics), Arc::clone(&handshakes));
                tokio::spawn(async move {
                    if let Some(stream) = handshake(connection, address, &acceptor, &handshakes, &metrics).await
                        && accepted.send(Ok(Admitted::new(stream, place))).await.is_err()
                    {
                        tracing::debug!("the collector stopped during a handshake");
                    }
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

type Greeted = (TlsStream<TcpStream>, [u8; PREFACE.len()]);

/// A handshake, and the first bytes of HTTP/2: a client that goes no further than one of them must not stay.
async fn handshake(
    connection: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    handshakes: &Semaphore,
    metrics: &Metrics,
) -> Option<Greeted> {
    if let Err(error) = connection.set_nodelay(true) {
        tracing::debug!(%peer, %error, "small packets of a connection may wait");
    }
    let greeted = async {
        // Never closed.
        let permit = handshakes.acquire().await.map_err(io::Error::other)?;
        let mut stream = acceptor.accept(connection).await?;
        drop(permit);
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await?;
        Ok::<_, io::Error>((stream, preface))
    };
    let (reason, error) = match timeout(HANDSHAKE, greeted).await {
        Ok(Ok((_, preface))) if preface != *PREFACE => ("protocol", "the other end does not speak HTTP/2".to_owned()),
        Ok(Ok(greeted)) => return Some(greeted),
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
    tracing::warn!(%peer, reason, error, "a connection was refused");
    None
}
