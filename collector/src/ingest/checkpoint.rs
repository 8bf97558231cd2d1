//! Whether a checkpoint was signed by the node that the connection belongs to.

use std::{sync::Arc, time::Duration};

use plimsoll_proof::{CheckpointError, Statement, export::MAX_CHAIN};
use plimsoll_proto::{limits, v1};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::peer::Peer;

/// Bytes of a statement, or of a signature.
const MAX_BYTES: usize = 8 * limits::NAME;
/// What a checkpoint is acknowledged by that was refused: so the agent does not wait for it.
pub(super) const REFUSED: u64 = u64::MAX;

/// A checkpoint that the node has signed.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) statement: Statement,
    /// As it was sent.
    pub(crate) signed: v1::Checkpoint,
    /// What the connection showed, the node's own certificate first.
    pub(crate) chain: Arc<Vec<CertificateDer<'static>>>,
}

/// Why a checkpoint is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointFault {
    #[error("without TLS nobody can tell who signed")]
    Unauthenticated,
    #[error("it is larger than a checkpoint may be")]
    Oversized,
    #[error(transparent)]
    Signature(#[from] CheckpointError),
    #[error("it is about another numbering than the batch that it came with")]
    OtherNumbering,
    #[error("its time is not within that of the certificate; is the node's clock right?")]
    Time(#[source] rustls::Error),
}

impl CheckpointFault {
    /// The word in metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Oversized => "oversized",
            Self::Signature(_) => "signature",
            Self::OtherNumbering => "other-numbering",
            Self::Time(_) => "time",
        }
    }
}

pub(super) fn verify(peer: &Peer, node: &v1::Node, signed: v1::Checkpoint) -> Result<Checkpoint, CheckpointFault> {
    let Peer::Node { chain, tls, .. } = peer else { return Err(CheckpointFault::Unauthenticated) };
    let own = chain.first().ok_or(CheckpointFault::Unauthenticated)?;
    if signed.statement.len() > MAX_BYTES || signed.signature.len() > MAX_BYTES || chain.len() > MAX_CHAIN {
        return Err(CheckpointFault::Oversized);
    }
    let statement = Statement::open(&signed, own)?;
    if statement.node != *node {
        return Err(CheckpointFault::OtherNumbering);
    }
    // Whoever checks an export years later judges the certificate at this time, and would find it bad.
    let time = UnixTime::since_unix_epoch(Duration::from_nanos(statement.time_unix_ns));
    tls.borrow().identity_at(chain, time).map_err(CheckpointFault::Time)?;
    Ok(Checkpoint { statement, signed, chain: Arc::clone(chain) })
}
