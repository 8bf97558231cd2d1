//! `GET /audit/export`: stored events in the format of `plimsoll_proof::export`, as they are read.

use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use plimsoll_proof::{
    Link,
    export::{Cause, End, Event, From, Gap, Head, Line, VERSION},
};
use rusqlite::Connection;
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use crate::store::{self, Certified, Numbering, Row};

/// Bytes sent at once.
const CHUNK: usize = 64 << 10;
/// How long the other end may take no chunk.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why an export broke off. Its last line is then missing, which whoever reads it notices.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("the database cannot be read")]
    Store(#[from] rusqlite::Error),
    #[error("a line cannot be written")]
    Line(#[from] serde_json::Error),
    #[error("the other end went away, or took nothing for {} s", PATIENCE.as_secs())]
    Receiver,
    #[error("retention removed events while they were being read")]
    Overtaken,
}

/// Writes everything; called on a thread of its own.
pub(super) fn write(
    database: &Path,
    node: Option<&str>,
    chunks: mpsc::Sender<Result<Bytes, ExportError>>,
) -> Result<(), ExportError> {
    let connection = store::reader(database)?;
    let mut export = Export { connection, chunks, buffer: Vec::new(), lines: 0, told: HashSet::new() };
    let outcome = export.everything(node);
    if let Err(ExportError::Store(_) | ExportError::Line(_) | ExportError::Overtaken) = outcome {
        // Tells the client that the answer is not whole.
        drop(export.chunks.try_send(Err(ExportError::Receiver)));
    }
    outcome
}

struct Export {
    connection: Connection,
    chunks: mpsc::Sender<Result<Bytes, ExportError>>,
    buffer: Vec<u8>,
    lines: u64,
    /// Certificates that were written.
    told: HashSet<Vec<u8>>,
}

impl Export {
    fn everything(&mut self, node: Option<&str>) -> Result<(), ExportError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let exported_unix_ns = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        self.line(&Line::Export(Head { version: VERSION, exported_unix_ns }))?;
        for numbering in store::numberings(&self.connection, node)? {
            self.numbering(&numbering)?;
        }
        for loss in store::losses(&self.connection, node)? {
            self.line(&Line::Loss(loss))?;
        }
        self.line(&Line::End(End { lines: self.lines + 1 }))?;
        self.flush()
    }

    fn numbering(&mut self, numbering: &Numbering) -> Result<(), ExportError> {
        let last = numbering.line.last_sequence;
        self.line(&Line::Numbering(numbering.line.clone()))?;
        let mut next = 1;
        // An event is written once it is known which link stands before the next one: that one has to follow from it.
        let mut held: Option<Row> = None;
        loop {
            let first = held.as_ref().map_or(next, |held| held.sequence + 1);
            let page = store::page(&self.connection, numbering.id, first, last)?;
            let Some(end) = page.last().map(|row| row.sequence) else { break };
            let signed = store::checkpoints(&self.connection, numbering.id, next.saturating_sub(1), end)?;
            for row in page {
                if let Some(before) = held.take() {
                    let follows = before.sequence + 1 == row.sequence;
                    next = self.event(before, if follows { row.chain } else { None }, &signed)?;
                }
                if row.sequence != next || next == 1 {
                    self.begin(numbering, next, &row, &signed)?;
                    next = row.sequence;
                }
                held = Some(row);
            }
        }
        if let Some(before) = held.take() {
            let after = if before.sequence == last { numbering.chain } else { None };
            let signed = store::checkpoints(&self.connection, numbering.id, before.sequence, before.sequence)?;
            next = self.event(before, after, &signed)?;
        }
        self.gap(numbering, next, last)
    }

    /// Where a stretch of events begins: what is missing before it, and the link that it goes on from.
    fn begin(&mut self, numbering: &Numbering, next: u64, row: &Row, signed: &[Certified]) -> Result<(), ExportError> {
        self.gap(numbering, next, row.sequence - 1)?;
        self.line(&Line::From(From { sequence: row.sequence, chain: row.chain }))?;
        self.signed(row.sequence - 1, signed)
    }

    /// Writes an event, and returns the next number.
    fn event(&mut self, row: Row, after: Option<Link>, signed: &[Certified]) -> Result<u64, ExportError> {
        let Row { sequence, chain, record } = row;
        // Behind the last one of a stretch nothing says otherwise.
        let chain = chain.map(|link| after.unwrap_or_else(|| link.next(&record)));
        let record = plimsoll_proof::export::Binary(record);
        self.line(&Line::Event(Event { sequence, record, chain }))?;
        self.signed(sequence, signed)?;
        Ok(sequence + 1)
    }

    fn signed(&mut self, sequence: u64, signed: &[Certified]) -> Result<(), ExportError> {
        for checkpoint in signed.iter().filter(|checkpoint| checkpoint.sequence == sequence) {
            if self.told.insert(checkpoint.certificate.clone()) {
                let chain = store::certificates(&self.connection, &checkpoint.certificate)?;
                self.line(&Line::Certificates(chain))?;
            }
            self.line(&Line::Checkpoint(checkpoint.line.clone()))?;
        }
        Ok(())
    }

    /// Says why there are no events from `first` to `last`.
    fn gap(&mut self, numbering: &Numbering, first: u64, last: u64) -> Result<(), ExportError> {
        let mut next = first;
        let known = store::gaps(&self.connection, numbering.id, first, last)?;
        // Of a numbering's beginning, all is too old that does not reach to its first event.
        let removed = first == 1 && known.last().is_none_or(|(_, end, _)| *end < last);
        for (from, end, accounted) in known.into_iter().filter(|_| !removed) {
            let (from, end) = (from.max(next), end.min(last));
            self.unlisted(numbering, next, from - 1)?;
            let cause = if accounted { Cause::SpoolCorrupt } else { Cause::Missing };
            self.line(&Line::Gap(Gap { first: from, last: end, cause }))?;
            next = end + 1;
        }
        self.unlisted(numbering, next, last)
    }

    /// Numbers that came, and have no event: they were removed, or never stored.
    fn unlisted(&mut self, numbering: &Numbering, first: u64, last: u64) -> Result<(), ExportError> {
        if first > last {
            return Ok(());
        }
        let cause = if first == 1 { Cause::Retention } else { Cause::Refused };
        if cause == Cause::Refused && store::oldest(&self.connection, numbering.id)?.is_none_or(|oldest| oldest > last)
        {
            return Err(ExportError::Overtaken);
        }
        self.line(&Line::Gap(Gap { first, last, cause }))
    }

    fn line(&mut self, line: &Line) -> Result<(), ExportError> {
        self.lines += 1;
        line.write(&mut self.buffer)?;
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        let sent = Handle::current().block_on(timeout(PATIENCE, self.chunks.send(Ok(chunk))));
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(ExportError::Receiver) }
    }
}
