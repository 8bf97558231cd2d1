//! The end of the spool that grows.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::Arc,
};

use plimsoll_proto::{limits, v1};
use prost::Message as _;

use super::{
    Numbering, Shared,
    frame::{self, HEADER},
    segment::{self, Segment},
};

/// Bounds in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) spool: u64,
    pub(super) segment: u64,
}

/// Numbers events and puts them on disk.
pub struct Writer {
    shared: Arc<Shared>,
    sizes: Sizes,
    numbering: Arc<Numbering>,
    /// Number of the next event.
    next: u64,
    /// Number of the next segment.
    next_segment: u64,
    active: Option<Active>,
    /// Records on their way to the active segment.
    pending: Vec<u8>,
    pending_events: u64,
}

struct Active {
    file: File,
    number: u64,
    length: u64,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("numbering", &self.numbering).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, sizes: Sizes, numbering: Arc<Numbering>, next: u64, next_segment: u64) -> Self {
        Self { shared, sizes, numbering, next, next_segment, active: None, pending: Vec::new(), pending_events: 0 }
    }

    /// Numbers the events and writes them, with one flush for all of them. What cannot be written is counted.
    pub fn append(&mut self, events: impl IntoIterator<Item = v1::Event>) {
        for event in events {
            self.add(event);
        }
        self.flush();
    }

    fn add(&mut self, mut event: v1::Event) {
        event.sequence = u64::MAX;
        let length = HEADER + event.encoded_len();
        if length > HEADER + limits::EVENT_BYTES {
            self.shared.counters.oversized.add(1);
            return;
        }
        let occupied = self.active.as_ref().map_or(0, |active| active.length) + self.pending.len() as u64;
        if occupied > 0 && occupied + length as u64 > self.sizes.segment {
            self.flush();
            self.active = None;
        }
        let total = self.shared.index().total + self.pending.len() as u64;
        if total + length as u64 > self.sizes.spool {
            self.shared.counters.spool_full.add(1);
            return;
        }
        // Numbered only now: a flush that failed has taken numbers back.
        event.sequence = self.next;
        if frame::write(&event.encode_to_vec(), &mut self.pending).is_some() {
            self.next += 1;
            self.pending_events += 1;
        } else {
            self.shared.counters.oversized.add(1);
        }
    }

    /// Puts the pending records on disk and publishes them, or takes their numbers back and counts them.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.write_pending() {
            Ok(()) => self.shared.counters.spooled.add(self.pending_events),
            Err(error) => {
                self.shared.counters.spool_error.add(self.pending_events);
                tracing::error!(%error, lost = self.pending_events, "the spool cannot be written");
            }
        }
        self.pending.clear();
        self.pending_events = 0;
    }

    fn write_pending(&mut self) -> io::Result<()> {
        let first = self.next - self.pending_events;
        let mut active = match self.active.take() {
            Some(active) => active,
            None => self.create(first).inspect_err(|_| self.next = first)?,
        };
        match active.file.write_all(&self.pending).and_then(|()| active.file.sync_data()) {
            Ok(()) => {
                active.length += self.pending.len() as u64;
                self.publish(&active);
                self.active = Some(active);
                Ok(())
            }
            Err(error) => {
                // Once the bytes are gone, the numbers were never used. If they stay, so do the numbers: the gap tells.
                // The next events go to another segment either way.
                if active.file.set_len(active.length).and_then(|()| active.file.sync_data()).is_ok() {
                    self.next = first;
                }
                Err(error)
            }
        }
    }

    /// Begins a segment now, so that the numbering is on disk.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        self.active = Some(self.create(self.next)?);
        Ok(())
    }

    fn create(&mut self, first: u64) -> io::Result<Active> {
        let number = self.next_segment;
        let (file, segment) = segment::create(&self.shared.directory, number, &self.numbering, first)?;
        self.next_segment += 1;
        let length = segment.length;
        let mut index = self.shared.index();
        index.total += length;
        index.segments.push_back(segment);
        Ok(Active { file, number, length })
    }

    fn publish(&self, active: &Active) {
        let mut index = self.shared.index();
        index.total += self.pending.len() as u64;
        let newest = index.segments.back_mut().filter(|segment: &&mut Segment| segment.number == active.number);
        if let Some(segment) = newest {
            segment.length = active.length;
        }
        drop(index);
        self.shared.published.notify_one();
    }
}
