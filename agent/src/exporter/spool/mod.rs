//! Events on disk, between the kernel and a collector that may be away: bounded, in order, found again after SIGKILL.
//!
//! The spool is a directory of segments, written by a [`Writer`] and read by a [`Reader`], one thread each. A record is
//! *published* to the reader only once it is on the disk, so that no number the collector has seen is ever given to
//! another event, not even after a power cut.
//!
//! When the spool is full, the **newest** events are refused and counted. The oldest are the beginning of an incident,
//! already numbered and perhaps on their way; refusing the newest keeps the numbering consecutive, and nobody can flush
//! the record of how they got in by making noise afterwards.

mod frame;
mod numbering;
mod reader;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::VecDeque,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use plimsoll_proto::limits;
use tokio::sync::Notify;

use self::{
    numbering::State,
    segment::{Ending, Segment},
};
pub use self::{
    numbering::{Numbering, Position},
    reader::{Batch, Reader},
    writer::Writer,
};
use super::counters::Counters;

/// Smallest bound of a spool, in bytes; below it not even a few events of the largest size fit.
pub const MIN_BYTES: u64 = 4 * limits::EVENT_BYTES as u64;
const MAX_SEGMENT_BYTES: u64 = 4 << 20;
/// A full spool gains room when its oldest segment is acknowledged, so a segment is a small part of it.
const SEGMENTS: u64 = 16;

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("cannot use `{path}` as the event spool")]
    Io { path: PathBuf, #[source] source: io::Error },
    #[error("the event spool `{path}` is in use by another agent; stop it, or give this one another state directory")]
    InUse { path: PathBuf },
    #[error("a spool of {bytes} bytes is too small; it needs at least {MIN_BYTES}")]
    TooSmall { bytes: u64 },
}

/// What the reader may see, and what counts against the bound.
struct Index {
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// Bytes of all segments.
    total: u64,
}

/// What writer and reader share.
struct Shared {
    directory: PathBuf,
    index: Mutex<Index>,
    published: Notify,
    counters: Arc<Counters>,
    /// Held as long as either side lives.
    _lock: File,
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        // Every change to the index is complete before the guard is dropped, also if its holder panicked elsewhere.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens, or makes, the spool in `directory` for at most `max_bytes` of events.
///
/// Numbering goes on where it stopped within the same boot. Records of earlier boots keep their numbering and are read
/// first.
pub fn open(
    directory: &Path,
    max_bytes: u64,
    boot_id: &str,
    counters: &Arc<Counters>,
) -> Result<(Writer, Reader), SpoolError> {
    if max_bytes < MIN_BYTES {
        return Err(SpoolError::TooSmall { bytes: max_bytes });
    }
    let failed = |source| SpoolError::Io { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let lock = lock(directory)?;
    let state = State::load(directory).map_err(failed)?;
    let found = Found::read(directory, counters).map_err(failed)?;
    let (numbering, next) = found.resume(boot_id, state.as_ref()).map_err(failed)?;
    let total = found.segments.iter().map(|segment| segment.length).sum();
    let shared = Arc::new(Shared {
        directory: directory.to_owned(),
        index: Mutex::new(Index { segments: found.segments, total }),
        published: Notify::new(),
        counters: Arc::clone(counters),
        _lock: lock,
    });
    let numbering = Arc::new(numbering);
    let reader = Reader::new(Arc::clone(&shared), state, Arc::clone(&numbering), next);
    let sizes = writer::Sizes { spool: max_bytes, segment: (max_bytes / SEGMENTS).min(MAX_SEGMENT_BYTES) };
    Ok((Writer::new(shared, sizes, numbering, next, found.next_number), reader))
}

fn lock(directory: &Path) -> Result<File, SpoolError> {
    let path = directory.join("lock");
    let failed = |source| SpoolError::Io { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// What an earlier agent left behind.
struct Found {
    segments: VecDeque<Segment>,
    /// Number for the next segment.
    next_number: u64,
    /// Last record number and ending of the newest segment.
    newest: Option<(u64, Ending)>,
}

impl Found {
    fn read(directory: &Path, counters: &Counters) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            files.extend(segment::number(&path).map(|number| (number, path)));
        }
        files.sort();
        let mut found = Self { segments: VecDeque::new(), next_number: 0, newest: None };
        for (number, path) in files {
            let recovered = segment::recover(&path, number)?;
            found.next_number = number.saturating_add(1);
            if recovered.ending == Ending::Corrupt {
                counters.spool_corrupt.add(1);
                tracing::error!(path = %path.display(), "a part of the spool is damaged; its events are lost");
            }
            match recovered.segment {
                Some(segment) => {
                    found.newest = Some((recovered.last, recovered.ending));
                    found.segments.push_back(segment);
                }
                // The agent was stopped while it made the file; no record can have been in it.
                None if recovered.ending == Ending::Torn => {}
                None => found.newest = Some((0, Ending::Corrupt)),
            }
        }
        Ok(found)
    }

    /// The numbering to go on with, and the next number.
    fn resume(&self, boot_id: &str, state: Option<&State>) -> io::Result<(Numbering, u64)> {
        let state = state.filter(|state| state.numbering.boot_id == boot_id);
        let newest = self.segments.back().filter(|segment| segment.numbering.boot_id == boot_id);
        match (newest, self.newest) {
            // Records may be lost whose numbers the collector has seen, and nobody knows how many.
            (_, Some((_, Ending::Corrupt))) => Ok((Numbering::fresh(boot_id)?, 1)),
            (Some(segment), Some((last, ending))) => {
                // The torn record keeps its number, so that the collector sees that one is missing.
                let torn = u64::from(ending == Ending::Torn);
                let seen = state.filter(|state| state.numbering == *segment.numbering).map_or(0, |state| state.acknowledged);
                Ok((Numbering::clone(&segment.numbering), last.max(seen).saturating_add(1 + torn)))
            }
            _ => match state {
                Some(state) => Ok((state.numbering.clone(), state.acknowledged.saturating_add(1))),
                None => Ok((Numbering::fresh(boot_id)?, 1)),
            },
        }
    }
}
