//! What an earlier agent left in the spool, and where numbering goes on.

use std::{collections::BTreeMap, fs, path::Path};

use plimsoll_proof::Link;

use super::{
    SpoolError,
    numbering::{Numbering, State},
    seal::Keys,
    segment::{self, Ending, Recovered, Segment},
};

/// The spool as it was found.
pub(super) struct Found {
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) state: Option<State>,
    pub(super) numbering: Numbering,
    pub(super) next_sequence: u64,
    /// The chain before that number.
    pub(super) chain: Link,
    pub(super) next_segment: u64,
    /// Stretches of events that are gone.
    pub(super) corrupt: u64,
}

#[derive(Default)]
struct Scan {
    segments: BTreeMap<u64, Segment>,
    newest: Option<Newest>,
    /// Something behind the newest sound record could not be read.
    damaged: bool,
    /// The newest segment ended in the middle of a record.
    torn: bool,
    corrupt: u64,
}

/// The newest record.
#[derive(Clone)]
struct Newest {
    numbering: Numbering,
    sequence: u64,
    /// The chain after it.
    chain: Option<Link>,
}

/// What `directory` has for the node `node` in its boot `boot_id`.
pub(super) fn read(directory: &Path, node: &str, boot_id: &str, keys: &Keys) -> Result<Found, SpoolError> {
    let failed = |source| SpoolError::Directory { path: directory.to_owned(), source };
    let state = State::load(directory).map_err(failed)?;
    let mut paths = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(number) = segment::number(&path) {
            paths.insert(number, path);
        }
    }
    let mut scan = Scan::default();
    for (number, path) in &paths {
        let unreadable = |source| SpoolError::Read { path: path.clone(), source };
        let recovered = segment::recover(path, *number, keys)?;
        recovered.repair(path).map_err(unreadable)?;
        scan.take(recovered);
    }
    let last_segment = paths.keys().next_back().copied().unwrap_or(0);
    let acknowledged_segment = state.as_ref().map_or(0, |state| state.position.segment);
    let (numbering, next_sequence, chain) =
        if let Some((numbering, last, chain)) = scan.resumed(state.as_ref(), node, boot_id) {
            (numbering, last + 1, chain)
        } else {
            let fresh = Numbering::fresh(node, boot_id).map_err(failed)?;
            let start = fresh.start();
            (fresh, 1, start)
        };
    // A number that was used before must not come back: the state's position would be taken for one in the new file.
    let next_segment = last_segment.max(acknowledged_segment) + 1;
    let corrupt = scan.corrupt + u64::from(scan.damaged);
    Ok(Found { segments: scan.segments, state, numbering, next_sequence, chain, next_segment, corrupt })
}

impl Scan {
    fn take(&mut self, recovered: Recovered) {
        let Recovered { segment, first, last, chain, ending } = recovered;
        if let Some(segment) = segment {
            // A torn end is harmless unless records are missing before the next segment. Both kinds of damage were just
            // cut off, so the next start does not count them again.
            let gap = self.newest.as_ref().is_some_and(|newest| {
                newest.numbering == *segment.numbering && newest.sequence.saturating_add(1) != first
            });
            self.corrupt += u64::from(self.damaged || (self.torn && gap));
            self.torn = ending == Ending::Torn;
            self.damaged = false;
            self.newest = Some(Newest { numbering: Numbering::clone(&segment.numbering), sequence: last, chain });
            self.segments.insert(segment.number, segment);
        }
        self.damaged |= ending == Ending::Corrupt;
    }

    /// The numbering that can be continued, its last number, and the chain after that. Where the newest records are
    /// unreadable, nobody knows how far it went. One without a chain, or of another node, is sent and not continued.
    fn resumed(&self, state: Option<&State>, node: &str, boot_id: &str) -> Option<(Numbering, u64, Link)> {
        if self.damaged {
            return None;
        }
        let acknowledged = state.map(|state| Newest {
            numbering: state.numbering.clone(),
            sequence: state.acknowledged,
            chain: state.chain,
        });
        let last = match (self.newest.clone(), acknowledged) {
            // The collector has more than the disk.
            (Some(disk), Some(sent)) if disk.numbering == sent.numbering && sent.sequence > disk.sequence => {
                return None;
            }
            (Some(newest), _) => newest,
            (None, acknowledged) => acknowledged?,
        };
        let own = last.numbering.boot_id == boot_id && last.numbering.node == node;
        last.chain.filter(|_| own).map(|chain| (last.numbering, last.sequence, chain))
    }
}
