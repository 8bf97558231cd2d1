//! Events on disk until the collector has them: a directory of bounded size, written by one thread and read by another.
//!
//! Records are not synced one by one. What `write` has accepted survives the death of the agent, which is what is to
//! be survived here; a crash of the machine may take the last seconds with it, and the new boot id says so.

mod frame;
mod numbering;
mod reader;
mod recovery;
mod seal;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use plimsoll_proof::{LINK_BYTES, Link};
use plimsoll_proto::v1;
use prost::Message as _;

use self::{numbering::State, seal::Keys, segment::Segment};
pub use self::{
    numbering::{Numbering, Position},
    reader::{Acknowledged, Batch, Reader},
};

/// Bytes after which a segment is closed, if the bound leaves room for some of that size.
const SEGMENT_BYTES: u64 = 1 << 20;
/// The smallest spool that is of use.
pub const MINIMUM_BYTES: u64 = 1 << 20;

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("cannot use the spool directory `{path}`")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the spool directory `{path}` is in use by another agent")]
    InUse { path: PathBuf },
    #[error("cannot read `{path}`; move it away to go on without the events in it")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use the spool's key file `{path}`")]
    Keys {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the spool's key file `{path}` can be read by others than its owner; `chmod 600` it")]
    KeysReadable { path: PathBuf },
    #[error(
        "`{path}` was sealed with key {key}, which the spool's key file no longer has; restore that file, or move the \
         segment away to go on without the events in it"
    )]
    KeyMissing { path: PathBuf, key: String },
    #[error("a spool of {bytes} bytes is too small, the least is {MINIMUM_BYTES}")]
    TooSmall { bytes: u64 },
}

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the spool is full")]
    Full,
    #[error("the spool cannot be written")]
    Write(#[from] io::Error),
}

/// What writer and reader share.
#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    bound: u64,
    contents: Mutex<Contents>,
    /// Held for as long as the spool is open.
    _lock: File,
}

#[derive(Debug)]
struct Contents {
    /// By number, oldest first.
    segments: BTreeMap<u64, Segment>,
    /// The segment that is being written.
    active: Option<u64>,
    /// `None` until something has been acknowledged, ever.
    state: Option<State>,
    /// Whose numbers new events get.
    newest: Arc<Numbering>,
    /// The collector knows another history of the newest numbering: the next event begins one of its own.
    renumber: bool,
}

/// Appends events.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    numbering: Arc<Numbering>,
    next_sequence: u64,
    /// The chain before that number.
    chain: Link,
    next_segment: u64,
    keys: Keys,
    file: Option<File>,
    record: Vec<u8>,
}

/// An opened spool.
#[derive(Debug)]
pub struct Opened {
    pub writer: Writer,
    pub reader: Reader,
    /// Stretches of earlier events that could not be read back and are gone.
    pub corrupt: u64,
}

/// Opens the spool in `directory`, which is made if it does not exist, for events of the node `node` in its boot `boot_id`.
/// All files together have at most `bound` bytes. Events are sealed with keys of the file `keys`, which is made if it does
/// not exist.
pub fn open(directory: &Path, keys: &Path, node: &str, boot_id: &str, bound: u64) -> Result<Opened, SpoolError> {
    if bound < MINIMUM_BYTES {
        return Err(SpoolError::TooSmall { bytes: bound });
    }
    let lock = lock(directory)?;
    let mut ring = Keys::open(keys)?;
    let found = recovery::read(directory, node, boot_id, &ring)?;
    let used: Vec<String> = found.segments.values().map(|segment| segment.key.clone()).collect();
    ring.retain(&used).map_err(|source| SpoolError::Keys { path: keys.to_owned(), source })?;
    let numbering = Arc::new(found.numbering);
    let newest = Arc::clone(&numbering);
    let contents = Contents { segments: found.segments, active: None, state: found.state, newest, renumber: false };
    let shared =
        Arc::new(Shared { directory: directory.to_owned(), bound, contents: Mutex::new(contents), _lock: lock });
    shared.contents().remove_acknowledged();
    let reader = Reader::new(Arc::clone(&shared));
    let writer = Writer {
        shared,
        numbering,
        next_sequence: found.next_sequence,
        chain: found.chain,
        next_segment: found.next_segment,
        keys: ring,
        file: None,
        record: Vec::new(),
    };
    Ok(Opened { writer, reader, corrupt: found.corrupt })
}

/// Two writers would give the same numbers to different events.
fn lock(directory: &Path) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Directory { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(directory.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(SpoolError::InUse { path: directory.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

impl Shared {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Every change under the lock is a single assignment, so a panicking thread leaves nothing half done.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.length).sum()
    }

    /// Deletes segments whose every event the collector has.
    fn remove_acknowledged(&mut self) {
        let Some(position) = self.state.as_ref().map(|state| state.position) else { return };
        let active = self.active;
        self.segments.retain(|number, segment| {
            let end = Position { segment: *number, offset: segment.length };
            if end > position || active == Some(*number) {
                return true;
            }
            match fs::remove_file(&segment.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %segment.path.display(), %error, "a segment that was sent cannot be removed");
                    true
                }
                _ => false,
            }
        });
    }
}

impl Writer {
    /// Gives the event its number and writes it. An event that is refused has no number, so it leaves no gap.
    ///
    /// A full spool refuses the newest events: the oldest are the ones that say how an incident began, they have
    /// numbers already, and a flood must not be a means to erase them.
    pub fn append(&mut self, mut event: v1::Event) -> Result<u64, AppendError> {
        self.renumber()?;
        event.sequence = self.next_sequence;
        let mut plain = Vec::with_capacity(LINK_BYTES + event.encoded_len());
        plain.extend_from_slice(self.chain.as_bytes());
        event.encode(&mut plain).map_err(io::Error::other)?;
        let length = (frame::HEADER + seal::OVERHEAD + plain.len()) as u64;
        let (bytes, active) = {
            let contents = self.shared.contents();
            (contents.bytes(), contents.active.and_then(|number| contents.segments.get(&number)).cloned())
        };
        let room = |segment: &Segment| segment.length + length <= self.segment_bytes();
        match (active.filter(room), self.file.take()) {
            (Some(segment), Some(file)) if bytes + length <= self.shared.bound => self.write(file, &segment, &plain),
            (Some(_), Some(file)) => {
                self.file = Some(file);
                Err(AppendError::Full)
            }
            _ if bytes + length + numbering::HEADER_BYTES as u64 > self.shared.bound => Err(AppendError::Full),
            _ => {
                let (file, segment) = self.start_segment()?;
                self.write(file, &segment, &plain)
            }
        }
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.shared.contents().bytes()
    }

    /// Whose numbers new events get.
    pub fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    /// Begins a new numbering if the collector has disowned this one.
    fn renumber(&mut self) -> io::Result<()> {
        let mut contents = self.shared.contents();
        if contents.renumber {
            let fresh = Numbering::fresh(&self.numbering.node, &self.numbering.boot_id)?;
            (self.next_sequence, self.chain) = (1, fresh.start());
            self.numbering = Arc::new(fresh);
            contents.newest = Arc::clone(&self.numbering);
            contents.renumber = false;
            contents.active = None;
            self.file = None;
        }
        Ok(())
    }

    /// Small against the bound: a segment is deleted whole, so what is acknowledged of the last one still takes room.
    fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES.min(self.shared.bound / 8)
    }

    fn start_segment(&mut self) -> io::Result<(File, Segment)> {
        self.shared.contents().active = None;
        let number = self.next_segment;
        let (file, segment) = segment::create(
            &self.shared.directory,
            number,
            &self.numbering,
            self.next_sequence,
            self.chain,
            &mut self.keys,
        )?;
        self.next_segment += 1;
        let mut contents = self.shared.contents();
        contents.segments.insert(number, segment.clone());
        contents.active = Some(number);
        contents.remove_acknowledged();
        Ok((file, segment))
    }

    fn write(&mut self, mut file: File, segment: &Segment, plain: &[u8]) -> Result<u64, AppendError> {
        let sealed = segment.sealer.seal(plain, &seal::place(segment.number, segment.length));
        self.record.clear();
        let framed = sealed.and_then(|sealed| {
            frame::write(&sealed, &mut self.record).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
        });
        if let Err(error) = framed {
            self.file = Some(file);
            return Err(error.into());
        }
        if let Err(error) = file.write_all(&self.record) {
            // Half a record may have been written. If it cannot be cut off, the next event begins a new segment.
            if file.set_len(segment.length).is_ok() {
                self.file = Some(file);
            }
            return Err(error.into());
        }
        self.file = Some(file);
        if let Some(published) = self.shared.contents().segments.get_mut(&segment.number) {
            published.length += self.record.len() as u64;
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.chain = self.chain.next(plain.get(LINK_BYTES..).unwrap_or_default());
        Ok(sequence)
    }
}
