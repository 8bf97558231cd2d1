//! Whether what an agent sent keeps the protocol's bounds. Nothing here trusts the agent.

use bytes::Bytes;
use plimsoll_proof::Link;
use plimsoll_proto::{
    limits,
    v1::{Event, EventBatch, Node},
};
use prost::Message as _;

use super::checkpoint::Checkpoint;

/// Why a whole batch is refused. The stream ends, since no acknowledgement could name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchFault {
    #[error(
        "the batch says not whose it is; `node` needs a name, a boot id and a spool id of 1 to {} bytes",
        limits::NAME
    )]
    Node,
    #[error("`agent_version` is longer than {} bytes", limits::NAME)]
    Version,
    #[error("the batch has more than {} events", limits::BATCH_EVENTS)]
    TooManyEvents,
    #[error("the batch has more than {} loss counts", limits::LOSSES)]
    TooManyLosses,
    #[error("an event is no protobuf")]
    Undecodable,
    #[error(
        "the batch's links and events do not go together; both links have 32 bytes and the numbers are consecutive"
    )]
    Chain,
}

impl BatchFault {
    /// The word in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Version => "agent-version",
            Self::TooManyEvents => "too-many-events",
            Self::TooManyLosses => "too-many-losses",
            Self::Undecodable => "undecodable",
            Self::Chain => "chain",
        }
    }
}

/// Why one event is refused for good. It is acknowledged, since sending it again would change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventFault {
    /// The sequence number is 0, beyond what the store can hold, or not above the one before it.
    Sequence,
    /// The event is larger than an event may be.
    Oversized,
    /// The time is beyond the year 2262.
    Time,
    /// Verdict, reason or hook is not set.
    Incomplete,
    /// A text is longer than its bound.
    TooLong,
    /// There are more ancestors or labels than there may be.
    TooMany,
}

impl EventFault {
    /// The word in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Oversized => "oversized",
            Self::Time => "time",
            Self::Incomplete => "incomplete",
            Self::TooLong => "too-long",
            Self::TooMany => "too-many",
        }
    }
}

/// An event that may be stored, with the numbers in the store's type.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) sequence: i64,
    pub(crate) time_unix_ns: i64,
    pub(crate) event: Event,
    /// The event as it was sent.
    pub(crate) record: Bytes,
}

/// The links around the events of a batch.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Number of the first event.
    pub(crate) first: i64,
    /// One before each event, refused ones too, and one after the last.
    pub(crate) links: Vec<Link>,
}

impl Chain {
    /// The link before event `sequence`, or after the one before that.
    pub(crate) fn before(&self, sequence: i64) -> Option<Link> {
        let index = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.links.get(index).copied()
    }
}

/// A batch that was looked at.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) node: Node,
    pub(crate) agent_version: String,
    /// `None` for a heartbeat, and for events outside of any chain.
    pub(crate) chain: Option<Chain>,
    /// By ascending sequence.
    pub(crate) accepted: Vec<Accepted>,
    /// Sequence numbers that were used by refused events.
    pub(crate) refused: Vec<i64>,
    pub(crate) faults: Vec<EventFault>,
    pub(crate) losses: Vec<plimsoll_proto::v1::LossCount>,
    /// What the batch says that the node signed; not looked at yet.
    pub(crate) signed: Option<plimsoll_proto::v1::Checkpoint>,
    /// The same once it is verified.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The highest number in the batch, of refused events too; `None` for a heartbeat.
    pub(crate) last: Option<u64>,
}

/// Sorts a batch into what may be stored and what is refused for good.
pub(crate) fn batch(mut batch: EventBatch) -> Result<Checked, BatchFault> {
    let node = batch.node.take().ok_or(BatchFault::Node)?;
    if [&node.name, &node.boot_id, &node.spool_id].iter().any(|text| text.is_empty() || text.len() > limits::NAME) {
        return Err(BatchFault::Node);
    }
    if batch.agent_version.len() > limits::NAME {
        return Err(BatchFault::Version);
    }
    if batch.events.len() > limits::BATCH_EVENTS {
        return Err(BatchFault::TooManyEvents);
    }
    if batch.losses.len() > limits::LOSSES {
        return Err(BatchFault::TooManyLosses);
    }
    let events = batch.events.iter().map(|record| Event::decode(record.clone()));
    let events = events.collect::<Result<Vec<_>, _>>().map_err(|_no_protobuf| BatchFault::Undecodable)?;
    let mut checked = Checked {
        node,
        chain: chain(&batch, &events)?,
        agent_version: batch.agent_version,
        accepted: Vec::with_capacity(batch.events.len()),
        refused: Vec::new(),
        faults: Vec::new(),
        losses: batch.losses,
        signed: batch.checkpoint,
        checkpoint: None,
        last: events.iter().map(|event| event.sequence).max(),
    };
    let mut previous = 0;
    for (event, record) in events.into_iter().zip(batch.events) {
        checked.sort_in(event, record, &mut previous);
    }
    Ok(checked)
}

/// The links, worked out from the first one; they must lead to the last one that the batch names.
fn chain(batch: &EventBatch, events: &[Event]) -> Result<Option<Chain>, BatchFault> {
    let Some(first) = events.first().filter(|_| !batch.chain_before.is_empty()) else {
        let empty = batch.chain_before.is_empty() && batch.chain_after.is_empty();
        return if empty { Ok(None) } else { Err(BatchFault::Chain) };
    };
    let consecutive = events.iter().zip(first.sequence..).all(|(event, number)| event.sequence == number);
    let first =
        i64::try_from(first.sequence).ok().filter(|first| *first > 0 && consecutive).ok_or(BatchFault::Chain)?;
    let mut link = Link::from_bytes(&batch.chain_before).ok_or(BatchFault::Chain)?;
    let mut links = Vec::with_capacity(events.len() + 1);
    links.push(link);
    for record in &batch.events {
        link = link.next(record);
        links.push(link);
    }
    if link.as_bytes() == batch.chain_after { Ok(Some(Chain { first, links })) } else { Err(BatchFault::Chain) }
}

impl Checked {
    fn sort_in(&mut self, event: Event, record: Bytes, previous: &mut i64) {
        let Some(sequence) = i64::try_from(event.sequence).ok().filter(|sequence| sequence > previous) else {
            self.faults.push(EventFault::Sequence);
            return;
        };
        *previous = sequence;
        match content(&event, record.len()) {
            Ok(time_unix_ns) => self.accepted.push(Accepted { sequence, time_unix_ns, event, record }),
            Err(fault) => {
                self.faults.push(fault);
                self.refused.push(sequence);
            }
        }
    }
}

/// The event's time, if the rest is in order.
fn content(event: &Event, bytes: usize) -> Result<i64, EventFault> {
    if bytes > limits::EVENT_BYTES {
        return Err(EventFault::Oversized);
    }
    if event.verdict == 0 || event.reason == 0 || event.hook == 0 {
        return Err(EventFault::Incomplete);
    }
    let ancestors = event.process.as_ref().map_or(&[][..], |process| &process.ancestors);
    let labels = event.workload.as_ref().map(|workload| &workload.labels);
    if ancestors.len() > limits::ANCESTORS || labels.is_some_and(|labels| labels.len() > limits::LABELS) {
        return Err(EventFault::TooMany);
    }
    if !texts_fit(event) {
        return Err(EventFault::TooLong);
    }
    i64::try_from(event.time_unix_ns).map_err(|_beyond_2262| EventFault::Time)
}

fn texts_fit(event: &Event) -> bool {
    let within = |bound: usize, texts: &[&str]| texts.iter().all(|text| text.len() <= bound);
    let names = |texts: &[&str]| within(limits::NAME, texts);
    let references = |texts: &[&str]| within(limits::REFERENCE, texts);
    names(&[&event.evidence, &event.sbom_digest, &event.operation])
        && event.network.as_ref().is_none_or(|network| names(&[&network.address, &network.protocol]))
        && event.process.as_ref().is_none_or(|process| {
            names(&[&process.comm]) && process.ancestors.iter().all(|ancestor| names(&[&ancestor.comm]))
        })
        && event.file.as_ref().is_none_or(|file| {
            file.path.len() <= limits::PATH && file.path_raw.len() <= limits::PATH && names(&[&file.sha256])
        })
        && event
            .package
            .as_ref()
            .is_none_or(|package| names(&[&package.name, &package.version]) && references(&[&package.purl]))
        && event.image.as_ref().is_none_or(|image| names(&[&image.digest]) && references(&[&image.reference]))
        && event.policy.as_ref().is_none_or(|policy| {
            names(&[&policy.name, &policy.generation, &policy.authority]) && references(&[&policy.rule])
        })
        && event.workload.as_ref().is_none_or(|workload| {
            names(&[&workload.id, &workload.namespace, &workload.pod, &workload.pod_uid, &workload.container])
                && names(&[&workload.service_account])
                && workload.owner.as_ref().is_none_or(|owner| names(&[&owner.kind, &owner.name]))
                && workload.labels.iter().all(|(key, value)| within(limits::LABEL, &[key, value]))
        })
        && event
            .cloud
            .as_ref()
            .is_none_or(|cloud| names(&[&cloud.provider, &cloud.region, &cloud.zone, &cloud.account, &cloud.instance]))
}
