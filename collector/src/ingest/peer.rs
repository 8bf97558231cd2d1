//! Who streams, and for how long that is believed.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use plimsoll_identity::NodeIdentity;
use rustls_pki_types::CertificateDer;
use tokio::{net::TcpStream, sync::watch, time::sleep};
use tokio_rustls::server::TlsStream;
use tonic::{Extensions, Status, transport::server::Connected};

use crate::tls::Loaded;

type Info = <TlsStream<TcpStream> as Connected>::ConnectInfo;

/// The other end of a stream.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// A process of this machine, which may write for any node.
    Loopback,
    Node {
        identity: NodeIdentity,
        chain: Arc<Vec<CertificateDer<'static>>>,
        tls: watch::Receiver<Loaded>,
    },
}

impl Peer {
    /// The node that the connection's certificate names. The handshake has verified it, with what was loaded then.
    pub(super) fn authenticate(extensions: &Extensions, mut tls: watch::Receiver<Loaded>) -> Result<Self, Status> {
        let chain = extensions.get::<Info>().and_then(Info::peer_certs);
        let chain = chain.ok_or_else(|| Status::unauthenticated("the connection has no certificate"))?;
        let identity = tls.borrow_and_update().identity(&chain).map_err(|error| doubt(&error.to_string()))?;
        Ok(Self::Node { identity, chain, tls })
    }

    pub(super) fn may_write(&self, node: &str) -> bool {
        match self {
            Self::Loopback => true,
            Self::Node { identity, .. } => identity.node() == node,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Loopback => "loopback",
            Self::Node { identity, .. } => identity.node(),
        }
    }

    /// Resolves once the certificate is no longer good: it expired, or its authority is no longer trusted.
    pub(super) async fn doubted(&mut self) -> Status {
        let Self::Node { identity, chain, tls } = self else { return std::future::pending().await };
        loop {
            tokio::select! {
                () = sleep(left(identity)) => {}
                changed = tls.changed() => if changed.is_err() { return doubt("the collector is stopping") },
            }
            if let Err(error) = tls.borrow_and_update().identity(chain) {
                return doubt(&error.to_string());
            }
        }
    }
}

/// Time until the certificate ends. At least a second, since a clock that was set back makes it good again.
fn left(identity: &NodeIdentity) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let end = Duration::from_secs(u64::try_from(identity.expires()).unwrap_or(0).saturating_add(1));
    end.saturating_sub(now).max(Duration::from_secs(1))
}

fn doubt(error: &str) -> Status {
    Status::unauthenticated(format!("the certificate is not accepted: {error}; connect again with a new one"))
}
