//! What an earlier agent left in the spool, and where numbering goes on.

use std::{collections::BTreeMap, fs, path::Path};

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
    pub(super) next_segment: u64,
    /// Stretches of events that are gone.
    pub(super) corrupt: u64,
}

#[derive(Default)]
struct Scan {
    segments: BTreeMap<u64, Segment>,
    /// Numbering and number of the newest record.
    newest: Option<(Numbering, u64)>,
    /// Something behind the newest sound record could not be read.
    damaged: bool,
    /// The newest segment ended in the middle of a record.
    torn: bool,
    corrupt: u64,
}

pub(super) fn read(directory: &Path, boot_id: &str, keys: &Keys) -> Result<Found, SpoolError> {
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
    let (numbering, next_sequence) = match scan.resumed(state.as_ref(), boot_id) {
        Some((numbering, last)) => (numbering, last + 1),
        None => (Numbering::fresh(boot_id).map_err(failed)?, 1),
    };
    // A number that was used before must not come back: the state's position would be taken for one in the new file.
    let next_segment = last_segment.max(acknowledged_segment) + 1;
    let corrupt = scan.corrupt + u64::from(scan.damaged);
    Ok(Found { segments: scan.segments, state, numbering, next_sequence, next_segment, corrupt })
}

impl Scan {
    fn take(&mut self, recovered: Recovered) {
        let Recovered { segment, first, last, ending } = recovered;
        if let Some(segment) = segment {
            // A torn end is harmless unless records are missing before the next segment. Both kinds of damage were just
            // cut off, so the next start does not count them again.
            let gap = self.newest.as_ref().is_some_and(|(numbering, newest)| {
                *numbering == *segment.numbering && newest.saturating_add(1) != first
            });
            self.corrupt += u64::from(self.damaged || (self.torn && gap));
            self.torn = ending == Ending::Torn;
            self.damaged = false;
            self.newest = Some((Numbering::clone(&segment.numbering), last));
            self.segments.insert(segment.number, segment);
        }
        self.damaged |= ending == Ending::Corrupt;
    }

    /// The numbering that can be continued, and its last number. Where the newest records are unreadable, nobody
    /// knows how far it went.
    fn resumed(&self, state: Option<&State>, boot_id: &str) -> Option<(Numbering, u64)> {
        if self.damaged {
            return None;
        }
        let acknowledged = state.map(|state| (state.numbering.clone(), state.acknowledged));
        let (numbering, last) = match (self.newest.clone(), acknowledged) {
            // The collector has more than the disk.
            (Some((newest, last)), Some((numbering, sequence))) if newest == numbering && sequence > last => {
                return None;
            }
            (Some(newest), _) => newest,
            (None, acknowledged) => acknowledged?,
        };
        (numbering.boot_id == boot_id).then_some((numbering, last))
    }
}
