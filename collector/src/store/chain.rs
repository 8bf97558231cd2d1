//! Whether a batch goes together with what its numbering has stored. Nothing that was stored is ever replaced.

use std::collections::BTreeMap;

use plimsoll_proof::Link;
use rusqlite::{Connection, params};

use super::{findings::Kind, insert::Numbering};
use crate::ingest::check::{Chain, Checked};

/// Events kept aside for each numbering; beyond it they are only counted.
const MAX_QUARANTINED: i64 = 1024;

/// What is wrong, and from which number on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contradiction {
    pub(super) kind: Kind,
    pub(super) first: i64,
}

/// What a numbering is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    /// Nothing has come yet.
    New,
    /// Its first events came without links, and so do all others.
    Unchained,
    /// The link after the highest number.
    Chained(Link),
}

/// The first contradiction between a batch and the history; `None` if there is none.
///
/// A batch that grows out of the history at an earlier place, and then tells of other events, is a node that went back: a
/// `rollback`. One whose first link is not in the history is a `fork`, and so is a chain that begins or ends within a numbering.
pub(super) fn contradiction(
    connection: &Connection,
    numbering: &Numbering,
    batch: &Checked,
) -> rusqlite::Result<Option<Contradiction>> {
    let Some(last) = batch.last else { return Ok(None) };
    let fork = |first| Some(Contradiction { kind: Kind::Fork, first });
    let chain = match (&batch.chain, numbering.history) {
        (None, History::New | History::Unchained) => return Ok(None),
        (None, History::Chained(_)) => return Ok(fork(i64::try_from(last).unwrap_or(i64::MAX))),
        (Some(chain), History::Unchained) => return Ok(fork(chain.first)),
        (Some(chain), History::New | History::Chained(_)) => chain,
    };
    let known = known(connection, numbering, batch, chain)?;
    let differs = known.iter().find(|(place, link)| chain.before(**place).is_some_and(|other| other != **link));
    Ok(differs.and_then(|(place, _)| match *place {
        place if place == chain.first => fork(place),
        place if known.contains_key(&chain.first) => Some(Contradiction { kind: Kind::Rollback, first: place - 1 }),
        place => fork(place - 1),
    }))
}

/// The links that the history has where the batch has one, by the number that they stand before.
fn known(
    connection: &Connection,
    numbering: &Numbering,
    batch: &Checked,
    chain: &Chain,
) -> rusqlite::Result<BTreeMap<i64, Link>> {
    let mut known = BTreeMap::new();
    if chain.first == 1 {
        let node = &batch.node;
        known.insert(1, Link::start(&node.name, &node.boot_id, &node.spool_id));
    }
    if let History::Chained(head) = numbering.history {
        known.insert(numbering.last + 1, head);
    }
    if chain.first <= numbering.last {
        let last = chain.first.saturating_add(i64::try_from(chain.links.len()).unwrap_or(i64::MAX));
        let mut find = connection.prepare_cached(
            "SELECT sequence, chain FROM events WHERE numbering = ?1 AND sequence BETWEEN ?2 AND ?3
             UNION ALL SELECT first, chain FROM gaps WHERE numbering = ?1 AND first BETWEEN ?2 AND ?3",
        )?;
        let mut rows = find.query(params![numbering.id, chain.first, last])?;
        while let Some(row) = rows.next()? {
            if let Some(link) = link(row, 1)? {
                known.insert(row.get(0)?, link);
            }
        }
    }
    known.retain(|place, _| chain.before(*place).is_some());
    Ok(known)
}

/// A column of a link, or of none.
pub(super) fn link(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Option<Link>> {
    let bytes = row.get_ref(index)?.as_blob_or_null()?;
    Ok(bytes.and_then(Link::from_bytes))
}

/// Keeps the events of a batch aside, up to the bound.
pub(super) fn quarantine(connection: &Connection, numbering: i64, batch: &Checked, now: i64) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO quarantined (numbering, sequence, received_unix_ns, chain, body)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE (SELECT count(*) FROM quarantined WHERE numbering = ?1) < ?6",
    )?;
    for event in &batch.accepted {
        let link = batch.chain.as_ref().and_then(|chain| chain.before(event.sequence));
        let link = link.as_ref().map(Link::as_bytes);
        insert.execute(params![numbering, event.sequence, now, link, &*event.record, MAX_QUARANTINED])?;
    }
    Ok(())
}
