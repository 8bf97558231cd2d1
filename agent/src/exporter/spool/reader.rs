//! Reads events in the order of writing, and keeps how far the collector has acknowledged them.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

use bytes::Bytes;
use plimsoll_proof::Link;
use plimsoll_proto::limits;

use super::{
    Shared,
    frame::{self, Frame},
    numbering::{Numbering, Position, State},
    segment::{RECORD_BYTES, Record, Segment},
};

/// Bytes read at once. More than one record has, so that a whole one is always seen.
const READ_BYTES: usize = 512 << 10;
/// Events of one batch.
const BATCH_EVENTS: usize = 256;

const _: () = assert!(READ_BYTES > 2 * limits::EVENT_BYTES && READ_BYTES < limits::BATCH_BYTES / 2);
const _: () = assert!(BATCH_EVENTS <= limits::BATCH_EVENTS);

/// Events of one numbering, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    pub numbering: Arc<Numbering>,
    /// Encoded, as they were written; at least one.
    pub events: Vec<Bytes>,
    /// The chain before the first and after the last event; `None` if an agent wrote them that kept none.
    pub chain: Option<(Link, Link)>,
    /// Number of the last event.
    pub last: u64,
    /// Where the next event is.
    pub end: Position,
}

/// Reads events. Several calls may be ahead of what is acknowledged.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    position: Position,
    corrupt: u64,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let mut reader = Self { shared, position: Position::default(), corrupt: 0 };
        reader.rewind();
        reader
    }

    /// Goes back to the first event that is not acknowledged.
    pub fn rewind(&mut self) {
        self.position = self.shared.contents().state.as_ref().map(|state| state.position).unwrap_or_default();
    }

    /// The next events; `None` if there are none yet.
    pub fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        while let Some((segment, offset)) = self.unread() {
            let batch = match read(&segment, offset) {
                Ok(bytes) => decode(&bytes, &segment, offset),
                Err(error) if is_gone(&error) => None,
                Err(error) => return Err(error),
            };
            if let Some(batch) = batch {
                self.position = batch.end;
                return Ok(Some(batch));
            }
            tracing::error!(path = %segment.path.display(), offset, "events of the spool cannot be read back");
            self.corrupt += 1;
            self.position = Position { segment: segment.number, offset: segment.length };
        }
        Ok(None)
    }

    /// Whether every event on disk has been read.
    pub fn is_at_end(&self) -> bool {
        self.unread().is_none()
    }

    /// Stretches that could not be read back since this was last asked.
    pub fn take_corrupt(&mut self) -> u64 {
        std::mem::take(&mut self.corrupt)
    }

    /// The numbering that heartbeats name: the newest one.
    pub fn numbering(&self) -> Arc<Numbering> {
        Arc::clone(&self.shared.contents().newest)
    }

    /// The collector has another history of a numbering. If new events still get its numbers, they do no longer.
    pub fn disown(&self, boot_id: &str, spool_id: &str) {
        let mut contents = self.shared.contents();
        contents.renumber |= contents.newest.boot_id == boot_id && contents.newest.spool_id == spool_id;
    }

    /// The newest event that is acknowledged: its numbering, its number, and the chain behind it, if it is in one.
    pub fn acknowledged(&self) -> Option<(Arc<Numbering>, u64, Link)> {
        let contents = self.shared.contents();
        let state = contents.state.as_ref()?;
        Some((Arc::new(state.numbering.clone()), state.acknowledged, state.chain?))
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.shared.contents().bytes()
    }

    /// Remembers that the collector has `batch` and everything before it, and deletes what is no longer needed.
    pub fn acknowledge(&self, batch: &Acknowledged) -> io::Result<()> {
        let mut contents = self.shared.contents();
        let state = State {
            numbering: Numbering::clone(&batch.numbering),
            acknowledged: batch.last,
            chain: batch.chain,
            position: batch.end,
        };
        if let Err(error) = state.save(&self.shared.directory) {
            // On a full disk sent segments must go all the same, or it stays full. With an old state that would be
            // wrong, numbers could be used twice; with none, a restart sends again or begins a new numbering.
            tracing::warn!(%error, "the spool's state cannot be written");
            State::remove(&self.shared.directory)?;
        }
        contents.state = Some(state);
        contents.remove_acknowledged();
        Ok(())
    }

    /// The segment that the position is in, or the next that has something, and the offset to read from.
    fn unread(&self) -> Option<(Segment, u64)> {
        let contents = self.shared.contents();
        contents.segments.range(self.position.segment..).find_map(|(number, segment)| {
            let offset = if *number == self.position.segment { self.position.offset } else { 0 };
            let offset = offset.max(segment.start);
            (offset < segment.length).then(|| (segment.clone(), offset))
        })
    }
}

/// A batch without its events, as it is remembered until it is acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub numbering: Arc<Numbering>,
    pub last: u64,
    /// The chain after the last event.
    pub chain: Option<Link>,
    pub end: Position,
    /// Number of events.
    pub count: u64,
}

impl Batch {
    /// What to remember of it.
    pub fn mark(&self) -> Acknowledged {
        let count = self.events.len() as u64;
        let chain = self.chain.map(|(_, after)| after);
        Acknowledged { numbering: Arc::clone(&self.numbering), last: self.last, chain, end: self.end, count }
    }
}

/// Errors that stay however often one tries: the file was taken away, or its medium is broken.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(libc::EIO)
}

fn read(segment: &Segment, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(&segment.path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take((segment.length - offset).min(READ_BYTES as u64)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The sound records at the start of `bytes`; `None` if there is not even one.
fn decode(bytes: &[u8], segment: &Segment, offset: u64) -> Option<Batch> {
    let (mut events, mut at, mut last, mut before, mut after) = (Vec::new(), 0, 0, None, None);
    while events.len() < BATCH_EVENTS {
        let rest = bytes.get(at..).unwrap_or_default();
        // Whatever else is here is looked at again with the next batch, where it comes first.
        let Frame::Whole { payload, length } = frame::read(rest, RECORD_BYTES) else { break };
        let Some(record) = Record::open(segment, offset + at as u64, payload) else { break };
        // A number or a link that does not follow begins a batch of its own: some events before it are gone.
        let follows = events.is_empty() || (record.sequence == last + 1 && record.before == after);
        if !follows {
            break;
        }
        if events.is_empty() {
            before = record.before;
        }
        (last, after) = (record.sequence, record.after());
        events.push(record.event);
        at += length;
    }
    if events.is_empty() {
        return None;
    }
    let end = Position { segment: segment.number, offset: offset + at as u64 };
    Some(Batch { numbering: Arc::clone(&segment.numbering), events, chain: before.zip(after), last, end })
}
