//! One file of the spool: a header that names the numbering, then events.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf as _, Bytes};
use plimsoll_proof::{LINK_BYTES, Link};
use plimsoll_proto::{limits, v1};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::{
    SpoolError,
    frame::{self, Frame},
    numbering::{HEADER_BYTES, Numbering, framed},
    seal::{self, Keys, OVERHEAD, Sealer, Wrapped},
};

#[derive(Serialize, Deserialize)]
struct Header {
    numbering: Numbering,
    /// Number of the first record.
    first: u64,
    /// The chain before the first record. Agents that kept no chain wrote neither this nor a link in each record.
    #[serde(default)]
    chain: Option<Link>,
    /// The key that the records are sealed with.
    key: Wrapped,
}

/// What a segment's key is bound to.
pub(super) fn place(number: u64, numbering: &Numbering, first: u64, chain: Option<Link>) -> Vec<u8> {
    let Numbering { node, boot_id, spool_id } = numbering;
    let chain = chain.map_or(String::new(), |link| format!("\0{node}\0{link}"));
    format!("{number}\0{first}\0{spool_id}\0{boot_id}{chain}").into_bytes()
}

/// Bytes of a sealed record.
pub(super) const RECORD_BYTES: usize = LINK_BYTES + limits::EVENT_BYTES + OVERHEAD;

/// One event as it lies in a segment. Each has the link before it, so that a lost one does not take those after it out
/// of the chain.
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) event: Bytes,
    /// `None` in segments of agents that kept no chain.
    pub(super) before: Option<Link>,
}

impl Record {
    /// What was sealed for this place; `None` if the bytes are other ones.
    pub(super) fn open(segment: &Segment, offset: u64, record: &[u8]) -> Option<Self> {
        let plain = segment.sealer.open(record, &seal::place(segment.number, offset))?;
        let mut event = Bytes::from(plain);
        let before = if segment.chain.is_some() {
            let link = Link::from_bytes(event.get(..LINK_BYTES)?)?;
            event.advance(LINK_BYTES);
            Some(link)
        } else {
            None
        };
        let sequence = v1::Numbered::decode(event.clone()).ok()?.sequence;
        Some(Self { sequence, event, before })
    }

    /// The chain after it.
    pub(super) fn after(&self) -> Option<Link> {
        self.before.map(|link| link.next(&self.event))
    }
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// After a whole record.
    Clean,
    /// In the middle of the record that was being written when the agent was stopped.
    Torn,
    /// In bytes that are not what was written; what follows them cannot be found.
    Corrupt,
}

/// A segment and the part of it that may be read.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) numbering: Arc<Numbering>,
    pub(super) sealer: Arc<Sealer>,
    /// Id of the key that its own key is sealed with.
    pub(super) key: String,
    /// The chain before the first record; `None` if an agent wrote it that kept none.
    pub(super) chain: Option<Link>,
    /// Offset of the first record.
    pub(super) start: u64,
    /// Bytes up to the end of the last published record.
    pub(super) length: u64,
}

/// What was found in a file.
pub(super) struct Recovered {
    /// `None` if the header was unusable.
    pub(super) segment: Option<Segment>,
    /// Number that the header promises for the first record.
    pub(super) first: u64,
    /// Number of the last record, or the one before the first if there is none.
    pub(super) last: u64,
    /// The chain after it.
    pub(super) chain: Option<Link>,
    pub(super) ending: Ending,
}

pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.seg"))
}

/// The segment's number if the file is one.
pub(super) fn number(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    (stem.len() == 16).then(|| u64::from_str_radix(stem, 16).ok())?
}

/// Makes a new file whose header is on disk.
pub(super) fn create(
    directory: &Path,
    number: u64,
    numbering: &Arc<Numbering>,
    first: u64,
    chain: Link,
    keys: &mut Keys,
) -> io::Result<(File, Segment)> {
    let (path, chain) = (path(directory, number), Some(chain));
    let (sealer, key) = keys.issue(&place(number, numbering, first, chain))?;
    let wrapped_with = key.key.clone();
    let header = framed(&Header { numbering: Numbering::clone(numbering), first, chain, key })?;
    let mut file = File::options().append(true).create_new(true).open(&path)?;
    let written =
        file.write_all(&header).and_then(|()| file.sync_data()).and_then(|()| File::open(directory)?.sync_all());
    if let Err(error) = written {
        // On a full disk the file exists without its header; it must not stand in the way of the next try.
        fs::remove_file(&path)?;
        return Err(error);
    }
    let start = header.len() as u64;
    let (numbering, sealer) = (Arc::clone(numbering), Arc::new(sealer));
    Ok((file, Segment { number, path, numbering, sealer, key: wrapped_with, chain, start, length: start }))
}

/// Reads a file from end to end. One whose key is not among `keys` is left as it is: the error says how to go on.
pub(super) fn recover(path: &Path, number: u64, keys: &Keys) -> Result<Recovered, SpoolError> {
    let bytes = fs::read(path).map_err(|source| SpoolError::Read { path: path.to_owned(), source })?;
    scan(&bytes, path, number, keys)
}

impl Recovered {
    /// Cuts what cannot be read, so that it is found, and counted, only once.
    pub(super) fn repair(&self, path: &Path) -> io::Result<()> {
        match (&self.segment, self.ending) {
            (None, _) => fs::remove_file(path),
            (Some(_), Ending::Clean) => Ok(()),
            (Some(segment), Ending::Torn | Ending::Corrupt) => {
                let file = OpenOptions::new().write(true).open(path)?;
                file.set_len(segment.length)?;
                file.sync_data()
            }
        }
    }
}

fn scan(bytes: &[u8], path: &Path, number: u64, keys: &Keys) -> Result<Recovered, SpoolError> {
    let unusable = |ending| Ok(Recovered { segment: None, first: 0, last: 0, chain: None, ending });
    let (header, start) = match frame::read(bytes, HEADER_BYTES) {
        Frame::Whole { payload, length } => (serde_json::from_slice::<Header>(payload).ok(), length),
        Frame::End | Frame::Torn => return unusable(Ending::Torn),
        Frame::Corrupt => return unusable(Ending::Corrupt),
    };
    let Some(header) = header else { return unusable(Ending::Corrupt) };
    if !keys.has(&header.key) {
        return Err(SpoolError::KeyMissing { path: path.to_owned(), key: header.key.key });
    }
    let opened = keys.unwrap(&header.key, &place(number, &header.numbering, header.first, header.chain));
    let Some(sealer) = opened else { return unusable(Ending::Corrupt) };
    let mut segment = Segment {
        number,
        path: path.to_owned(),
        numbering: Arc::new(header.numbering),
        sealer: Arc::new(sealer),
        key: header.key.key,
        chain: header.chain,
        start: start as u64,
        length: start as u64,
    };
    let (mut at, mut last, mut chain) = (start, header.first.saturating_sub(1), header.chain);
    let ending = loop {
        match frame::read(bytes.get(at..).unwrap_or_default(), RECORD_BYTES) {
            Frame::Whole { payload, length } => match Record::open(&segment, at as u64, payload) {
                Some(record) => (at, last, chain) = (at + length, record.sequence, record.after()),
                None => break Ending::Corrupt,
            },
            Frame::End => break Ending::Clean,
            Frame::Torn => break Ending::Torn,
            Frame::Corrupt => break Ending::Corrupt,
        }
    };
    segment.length = at as u64;
    Ok(Recovered { segment: Some(segment), first: header.first, last, chain, ending })
}
