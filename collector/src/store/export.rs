//! What an export is made of, in the order of numbers.

use plimsoll_proof::{
    Link,
    export::{self, Binary},
};
use rusqlite::{Connection, params};

use super::chain::link;
use crate::json::{Kind, word};

/// Events of one page.
const PAGE_EVENTS: i64 = 512;
/// Bytes after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

/// A numbering as it was when it was asked for; what comes later is not of this export.
#[derive(Debug)]
pub(crate) struct Numbering {
    pub(crate) id: i64,
    pub(crate) line: export::Numbering,
    /// The link after its last number.
    pub(crate) chain: Option<Link>,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) sequence: u64,
    /// The link before it.
    pub(crate) chain: Option<Link>,
    pub(crate) record: Vec<u8>,
}

/// A checkpoint, and the event that it stands behind.
#[derive(Debug)]
pub(crate) struct Certified {
    pub(crate) sequence: u64,
    pub(crate) line: export::Checkpoint,
    /// SHA-256 of its certificate.
    pub(crate) certificate: Vec<u8>,
}

/// The oldest numbering first, of one node where it is given.
pub(crate) fn numberings(connection: &Connection, node: Option<&str>) -> rusqlite::Result<Vec<Numbering>> {
    let mut find = connection.prepare(
        "SELECT id, node, boot_id, spool_id, last_sequence, chain FROM numberings
         WHERE ?1 IS NULL OR node = ?1 ORDER BY id",
    )?;
    let found = find.query_map([node], |row| {
        let chain = link(row, 5)?;
        let line = export::Numbering {
            node: row.get(1)?,
            boot_id: row.get(2)?,
            spool_id: row.get(3)?,
            last_sequence: row.get(4)?,
            chained: chain.is_some(),
        };
        Ok(Numbering { id: row.get(0)?, line, chain })
    })?;
    found.collect()
}

/// Some events from number `first` on.
pub(crate) fn page(connection: &Connection, numbering: i64, first: u64, last: u64) -> rusqlite::Result<Vec<Row>> {
    let mut find = connection.prepare_cached(
        "SELECT sequence, chain, body FROM events WHERE numbering = ?1 AND sequence BETWEEN ?2 AND ?3
         ORDER BY sequence LIMIT ?4",
    )?;
    let (mut rows, mut page, mut bytes) = (find.query(params![numbering, first, last, PAGE_EVENTS])?, Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let found = Row { sequence: row.get(0)?, chain: link(row, 1)?, record: row.get(2)? };
        bytes += found.record.len();
        page.push(found);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

/// The lowest number that has an event.
pub(crate) fn oldest(connection: &Connection, numbering: i64) -> rusqlite::Result<Option<u64>> {
    connection.query_row("SELECT min(sequence) FROM events WHERE numbering = ?1", [numbering], |row| row.get(0))
}

/// First and last number of gaps within a stretch, and whether the node has accounted for them.
pub(crate) fn gaps(
    connection: &Connection,
    numbering: i64,
    first: u64,
    last: u64,
) -> rusqlite::Result<Vec<(u64, u64, bool)>> {
    let mut find = connection.prepare_cached(
        "SELECT first, last, accounted FROM gaps WHERE numbering = ?1 AND first <= ?3 AND last >= ?2 ORDER BY first",
    )?;
    find.query_map(params![numbering, first, last], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// Checkpoints behind events of a stretch.
pub(crate) fn checkpoints(
    connection: &Connection,
    numbering: i64,
    first: u64,
    last: u64,
) -> rusqlite::Result<Vec<Certified>> {
    let mut find = connection.prepare_cached(
        "SELECT sequence, statement, scheme, signature, certificate FROM checkpoints
         WHERE numbering = ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence",
    )?;
    let found = find.query_map(params![numbering, first, last], |row| {
        let certificate: Vec<u8> = row.get(4)?;
        let line = export::Checkpoint {
            statement: Binary(row.get(1)?),
            scheme: row.get(2)?,
            signature: Binary(row.get(3)?),
            certificate: hex::encode(&certificate),
        };
        Ok(Certified { sequence: row.get(0)?, line, certificate })
    })?;
    found.collect()
}

/// A chain of certificates.
pub(crate) fn certificates(connection: &Connection, sha256: &[u8]) -> rusqlite::Result<export::Certificates> {
    let mut find = connection.prepare_cached("SELECT der FROM certificates WHERE sha256 = ?1 ORDER BY place")?;
    let chain = find.query_map([sha256], |row| row.get(0).map(Binary))?.collect::<Result<_, _>>()?;
    Ok(export::Certificates { chain })
}

/// What nodes have counted as lost, one line for every count that was begun.
pub(crate) fn losses(connection: &Connection, node: Option<&str>) -> rusqlite::Result<Vec<export::Loss>> {
    let mut find = connection.prepare(
        "SELECT node, cause, count FROM losses WHERE (?1 IS NULL OR node = ?1) AND count > 0 ORDER BY node, cause",
    )?;
    let found = find.query_map([node], |row| {
        Ok(export::Loss { node: row.get(0)?, cause: word(Kind::LossCause, row.get(1)?), count: row.get(2)? })
    })?;
    found.collect()
}
