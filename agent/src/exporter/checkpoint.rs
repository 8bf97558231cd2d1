//! What this node signs, and what it has not signed yet.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use plimsoll_identity::{SignatureError, Signer};
use plimsoll_proof::{Link, Statement};
use plimsoll_proto::v1;

use super::spool::Numbering;

/// Events after which a checkpoint is due.
const EVENTS: u64 = 4096;
/// Time after which one is due if any event came.
const TIME: Duration = Duration::from_mins(1);

/// A place in a numbering that the collector has been told of.
#[derive(Clone, Debug)]
pub(super) struct Tip {
    pub(super) numbering: Arc<Numbering>,
    pub(super) sequence: u64,
    /// The link behind that event.
    pub(super) link: Link,
}

/// The checkpoints of one stream. Without a key, as without TLS, there are none.
pub(super) struct Checkpoints {
    signer: Option<Signer>,
    tip: Option<Tip>,
    /// Events behind the newest checkpoint.
    unsigned: u64,
    /// The tip has not been signed on this stream.
    due: bool,
    signed: Instant,
    acknowledged: bool,
}

impl Checkpoints {
    /// `tip` is what was acknowledged on earlier streams. It is signed again: its checkpoint may have been lost with them.
    pub(super) fn new(signer: Option<Signer>, tip: Option<Tip>) -> Self {
        let due = tip.is_some();
        Self { signer, tip, unsigned: 0, due, signed: Instant::now(), acknowledged: false }
    }

    /// Notes that events up to `tip` are on their way; `None` for events outside of any chain.
    pub(super) fn advance(&mut self, tip: Option<Tip>, events: u64) {
        if let Some(tip) = tip {
            self.tip = Some(tip);
            self.unsigned += events;
            self.due = true;
        }
    }

    /// The tip, if it has to be signed before events of `next` follow.
    pub(super) fn before(&self, next: &Numbering) -> Option<&Tip> {
        self.unsigned_tip().filter(|tip| *tip.numbering != *next)
    }

    /// The tip, if there are many events behind the newest checkpoint.
    pub(super) fn after_events(&self) -> Option<&Tip> {
        self.unsigned_tip().filter(|_| self.unsigned >= EVENTS)
    }

    /// The tip, if the newest checkpoint is old.
    pub(super) fn after_time(&self) -> Option<&Tip> {
        self.unsigned_tip().filter(|_| self.signed.elapsed() >= TIME)
    }

    /// The tip, if it is not signed.
    pub(super) fn unsigned_tip(&self) -> Option<&Tip> {
        self.tip.as_ref().filter(|_| self.due && self.signer.is_some())
    }

    /// Whether the collector has the checkpoint of the tip, or there can be none.
    pub(super) fn settled(&self) -> bool {
        self.signer.is_none() || self.tip.is_none() || (!self.due && self.acknowledged)
    }

    /// Notes what the collector says about checkpoints: the number of its event, or a larger one for a refused one.
    pub(super) fn acknowledge(&mut self, acknowledgement: &v1::Acknowledgement) {
        let own = self.tip.as_ref().is_some_and(|tip| {
            tip.numbering.spool_id == acknowledgement.spool_id && tip.sequence <= acknowledgement.checkpoint
        });
        self.acknowledged |= own && !self.due;
    }

    /// Signs the tip.
    pub(super) fn sign(
        &mut self,
        node: v1::Node,
        lost_stretches: u64,
    ) -> Result<Option<v1::Checkpoint>, SignatureError> {
        let Some((signer, tip)) = self.signer.as_ref().zip(self.tip.as_ref()) else { return Ok(None) };
        // A clock before 1970 makes a checkpoint that the collector refuses and counts.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let statement = Statement {
            node,
            sequence: tip.sequence,
            link: tip.link,
            time_unix_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            lost_stretches,
        };
        let checkpoint = statement.sign(signer)?;
        (self.unsigned, self.due, self.acknowledged) = (0, false, false);
        self.signed = Instant::now();
        Ok(Some(checkpoint))
    }
}
