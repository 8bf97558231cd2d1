//! Keeps what nodes signed, where it says what the history says.

use plimsoll_proof::{Link, fingerprint};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    chain::{self, History},
    insert::Numbering,
};
use crate::ingest::checkpoint::Checkpoint;

/// What became of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Stored,
    /// The node has signed another history than the one that is stored.
    Contradicts {
        sequence: i64,
    },
    /// It stands behind no event that is stored.
    Unknown,
}

pub(super) fn keep(connection: &Connection, numbering: &Numbering, checkpoint: &Checkpoint) -> rusqlite::Result<Kept> {
    let Ok(sequence) = i64::try_from(checkpoint.statement.sequence) else { return Ok(Kept::Unknown) };
    match link_after(connection, numbering, sequence)? {
        None => Ok(Kept::Unknown),
        Some(link) if link != checkpoint.statement.link => Ok(Kept::Contradicts { sequence }),
        Some(_) => store(connection, numbering.id, sequence, checkpoint).map(|()| Kept::Stored),
    }
}

/// The link behind an event.
fn link_after(connection: &Connection, numbering: &Numbering, sequence: i64) -> rusqlite::Result<Option<Link>> {
    let History::Chained(head) = numbering.history else { return Ok(None) };
    if sequence == numbering.last {
        return Ok(Some(head));
    }
    if sequence < 1 || sequence > numbering.last {
        return Ok(None);
    }
    let mut find = connection.prepare_cached(
        "SELECT chain FROM events WHERE numbering = ?1 AND sequence = ?2
         UNION ALL SELECT chain FROM gaps WHERE numbering = ?1 AND first = ?2",
    )?;
    let link = find.query_row(params![numbering.id, sequence + 1], |row| chain::link(row, 0)).optional()?;
    Ok(link.flatten())
}

fn store(connection: &Connection, numbering: i64, sequence: i64, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
    let Some(own) = checkpoint.chain.first() else { return Ok(()) };
    let sha256 = fingerprint(own);
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO certificates VALUES (?1, ?2, ?3)")?;
    for (place, certificate) in (0_i64..).zip(&*checkpoint.chain) {
        insert.execute(params![sha256, place, &**certificate])?;
    }
    let signed = &checkpoint.signed;
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO checkpoints VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    insert.execute(params![numbering, sequence, signed.statement, signed.scheme, signed.signature, sha256]).map(drop)
}
