//! The end of the spool that shrinks.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::Arc,
    time::{Duration, Instant},
};

use plimsoll_proto::{limits, v1};
use prost::Message as _;

use super::{
    Numbering, Position, Shared,
    frame::{self, Frame},
    numbering::State,
    segment::Segment,
};

/// How stale the state on disk may become; a stale one means that acknowledged events are sent once more.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Consecutive records of one numbering.
#[derive(Debug)]
pub struct Batch {
    /// Whose numbers they have.
    pub numbering: Arc<Numbering>,
    /// In order, at least one.
    pub events: Vec<v1::Event>,
    /// Number of the last.
    pub last: u64,
    /// Where the next batch begins.
    pub end: Position,
}

/// Reads published records in order, and removes those that were acknowledged.
pub struct Reader {
    shared: Arc<Shared>,
    /// The numbering of events that are written now.
    numbering: Arc<Numbering>,
    position: Position,
    state: State,
    saved: Instant,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("position", &self.position).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Reader {
    /// `next` is the number the next event will get.
    pub(super) fn new(shared: Arc<Shared>, state: Option<State>, numbering: Arc<Numbering>, next: u64) -> Self {
        let state = state.unwrap_or_else(|| State {
            numbering: Numbering::clone(&numbering),
            // With segments on disk this is not the whole truth, but then they are what numbering resumes from.
            acknowledged: next.saturating_sub(1),
            position: Position::default(),
        });
        let position = state.position;
        Self { shared, numbering, position, state, saved: Instant::now() }
    }

    /// The numbering of events that are written now.
    pub fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    /// Reads on, at most `max_events` and about `max_bytes` of them; `None` once everything published was read.
    ///
    /// # Errors
    /// If a file cannot be read. Damaged files are no error: what they had is counted and skipped.
    pub fn read(&mut self, max_events: usize, max_bytes: usize) -> io::Result<Option<Batch>> {
        while let Some(segment) = self.current() {
            let offset = if segment.number == self.position.segment { self.position.offset } else { 0 };
            let offset = offset.max(segment.start);
            let bytes = read_range(&segment, offset, max_bytes + limits::EVENT_BYTES)?;
            let (events, length, damaged) = decode(&bytes, max_events, max_bytes);
            if damaged {
                self.shared.counters.spool_corrupt.add(1);
                tracing::error!(path = %segment.path.display(), "a part of the spool is damaged; its events are lost");
            }
            let offset = if damaged { u64::MAX } else { offset + length as u64 };
            self.position = Position { segment: segment.number, offset };
            if let Some(last) = events.last().map(|event| event.sequence) {
                return Ok(Some(Batch { numbering: segment.numbering, events, last, end: self.position }));
            }
        }
        Ok(None)
    }

    /// The oldest segment with something unread.
    fn current(&self) -> Option<Segment> {
        let index = self.shared.index();
        let unread = |segment: &&Segment| {
            let at = Position { segment: segment.number, offset: segment.length };
            at > self.position && segment.length > segment.start
        };
        index.segments.iter().find(unread).cloned()
    }

    /// Whether everything published was acknowledged.
    pub fn is_drained(&self) -> bool {
        let end = |segment: &Segment| Position { segment: segment.number, offset: segment.length };
        let index = self.shared.index();
        let unread = |segment: &Segment| end(segment) > self.state.position && segment.length > segment.start;
        !index.segments.iter().any(unread)
    }

    /// Waits until more was published than there was at the last call.
    pub async fn published(&self) {
        self.shared.published.notified().await;
    }

    /// Reads again from the first record that was not acknowledged.
    pub fn rewind(&mut self) {
        self.position = self.state.position;
    }

    /// Everything up to the end of this batch is stored by the collector; segments that are not needed are removed.
    pub fn acknowledge(&mut self, batch: &Numbering, last: u64, end: Position) -> io::Result<()> {
        self.state = State { numbering: batch.clone(), acknowledged: last, position: end };
        let done = self.acknowledged_segments();
        if !done.is_empty() || self.saved.elapsed() >= SAVE_EVERY {
            self.save()?;
        }
        for segment in done {
            // Saved first: a state that points before a missing segment is fine, one that forgets its numbers is not.
            std::fs::remove_file(&segment.path)?;
            let mut index = self.shared.index();
            index.total = index.total.saturating_sub(segment.length);
            index.segments.retain(|kept| kept.number != segment.number);
        }
        Ok(())
    }

    /// Every wholly acknowledged segment but the newest, which may still grow.
    fn acknowledged_segments(&self) -> Vec<Segment> {
        let index = self.shared.index();
        let older = index.segments.len().saturating_sub(1);
        let done = |segment: &&Segment| Position { segment: segment.number, offset: segment.length } <= self.state.position;
        index.segments.iter().take(older).take_while(done).cloned().collect()
    }

    /// Puts the state on disk.
    pub fn save(&mut self) -> io::Result<()> {
        self.state.save(&self.shared.directory)?;
        self.saved = Instant::now();
        Ok(())
    }
}

fn read_range(segment: &Segment, offset: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(&segment.path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(segment.length.saturating_sub(offset).min(max_bytes as u64)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The events, the bytes they take, and whether something that is no event follows.
fn decode(bytes: &[u8], max_events: usize, max_bytes: usize) -> (Vec<v1::Event>, usize, bool) {
    let (mut events, mut at) = (Vec::new(), 0);
    while events.len() < max_events && at < max_bytes {
        match frame::read(bytes.get(at..).unwrap_or_default(), limits::EVENT_BYTES) {
            Frame::Whole { payload, length } => match v1::Event::decode(payload) {
                Ok(event) => {
                    events.push(event);
                    at += length;
                }
                Err(_) => return (events, at, true),
            },
            Frame::End => break,
            // The range always has room for the largest record, so that a cut one is damage here.
            Frame::Torn | Frame::Corrupt => return (events, at, true),
        }
    }
    (events, at, false)
}
