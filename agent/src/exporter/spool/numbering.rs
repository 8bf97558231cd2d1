//! Whose numbers the records have, and what is remembered of them across restarts.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use plimsoll_proof::Link;
use serde::{Deserialize, Serialize};

use super::frame::{self, Frame};

/// Bytes a state or a segment's header may have.
pub(super) const HEADER_BYTES: usize = 4096;
const STATE: &str = "state";

/// Sequence numbers are consecutive from 1 within one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbering {
    /// Name of the node, which the chain begins with. Empty in spools of agents that kept no chain.
    #[serde(default)]
    pub node: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Random; see [`Numbering::fresh`].
    pub spool_id: String,
}

impl Numbering {
    /// A numbering that nobody has used. The random part keeps a wiped or damaged spool from giving new events the
    /// numbers of old ones, which the collector would take for duplicates.
    pub(super) fn fresh(node: &str, boot_id: &str) -> io::Result<Self> {
        let mut random = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        Ok(Self { node: node.to_owned(), boot_id: boot_id.to_owned(), spool_id: hex::encode(random) })
    }

    /// The chain before the first record.
    pub(super) fn start(&self) -> Link {
        Link::start(&self.node, &self.boot_id, &self.spool_id)
    }
}

/// A place between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Bytes into it.
    pub offset: u64,
}

/// How far the collector has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Numbering of the newest acknowledged record.
    pub(super) numbering: Numbering,
    /// Its number.
    pub(super) acknowledged: u64,
    /// The chain after it; `None` if it was written by an agent that kept none.
    #[serde(default)]
    pub(super) chain: Option<Link>,
    /// Where the first unacknowledged record is, or will be.
    pub(super) position: Position,
}

impl State {
    /// Reads the state; `None` if there is none that can be believed. Then everything on disk is sent again, which
    /// the collector recognises.
    pub(super) fn load(directory: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(directory.join(STATE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match frame::read(&bytes, HEADER_BYTES) {
            Frame::Whole { payload, .. } => Ok(serde_json::from_slice(payload).ok()),
            Frame::End | Frame::Torn | Frame::Corrupt => Ok(None),
        }
    }

    /// Replaces the state on disk, whole or not at all. Nothing is synced, since this happens for every
    /// acknowledgement: a killed agent finds what it wrote, and after a crash of the machine the boot id is new, so a
    /// state that is stale or empty then costs repetitions and no number is used twice.
    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        let temporary = directory.join("state.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&framed(self)?)?;
        fs::rename(&temporary, directory.join(STATE))
    }

    /// Forgets the state on disk.
    pub(super) fn remove(directory: &Path) -> io::Result<()> {
        match fs::remove_file(directory.join(STATE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A value as one record.
pub(super) fn framed(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    frame::write(&serde_json::to_vec(value)?, &mut bytes).ok_or(io::ErrorKind::FileTooLarge)?;
    Ok(bytes)
}
