//! Numbers that were skipped: noticed, filled by late events, and set against what nodes have counted as lost.

use plimsoll_proof::Link;
use plimsoll_proto::v1::LossCause;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{chain::link, findings};

/// Gaps kept per numbering. Beyond it a skipped stretch is still counted, but no longer listed.
const MAX_GAPS: i64 = 1000;

/// A stretch of numbers, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) first: i64,
    pub(super) last: i64,
    /// The link before `first`.
    pub(super) chain: Option<Link>,
}

/// Writes down a new gap, and tells whether the node has accounted for it: each stretch of its spool that it could not
/// read back explains one.
pub(super) fn notice(
    connection: &Connection,
    node: &str,
    numbering: i64,
    gap: Gap,
    now: i64,
) -> rusqlite::Result<bool> {
    let accounted = unused(connection, node)? > 0;
    let mut insert = connection.prepare_cached(
        "INSERT INTO gaps (numbering, first, last, noticed_unix_ns, chain, accounted)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE (SELECT count(*) FROM gaps WHERE numbering = ?1) < ?7",
    )?;
    let chain = gap.chain.as_ref().map(Link::as_bytes);
    insert.execute(params![numbering, gap.first, gap.last, now, chain, accounted, MAX_GAPS])?;
    Ok(accounted)
}

/// Takes a late number out of its gap; `false` if it is in none. `after` is the link after it.
pub(super) fn fill(
    connection: &Connection,
    numbering: i64,
    sequence: i64,
    after: Option<Link>,
    now: i64,
) -> rusqlite::Result<bool> {
    let mut find = connection.prepare_cached(
        "SELECT first, last, noticed_unix_ns, chain, accounted FROM gaps
         WHERE numbering = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
    )?;
    let found = find.query_row(params![numbering, sequence], |row| {
        let gap = Gap { first: row.get(0)?, last: row.get(1)?, chain: link(row, 3)? };
        Ok((gap, row.get::<_, i64>(2)?, row.get::<_, bool>(4)?))
    });
    let Some((gap, noticed, accounted)) = found.optional()?.filter(|(gap, ..)| sequence <= gap.last) else {
        return Ok(false);
    };
    connection
        .prepare_cached("DELETE FROM gaps WHERE numbering = ?1 AND first = ?2")?
        .execute(params![numbering, gap.first])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO gaps (numbering, first, last, noticed_unix_ns, chain, accounted) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let before = Gap { last: sequence - 1, ..gap };
    let behind = Gap { first: sequence + 1, last: gap.last, chain: after };
    for part in [before, behind].into_iter().filter(|part| part.first <= part.last) {
        let chain = part.chain.as_ref().map(Link::as_bytes);
        insert.execute(params![numbering, part.first, part.last, noticed, chain, accounted])?;
    }
    findings::end_gaps(connection, numbering, sequence, now)?;
    Ok(true)
}

/// Sets what a node has newly counted as lost against gaps that were noticed before, the oldest first.
pub(super) fn account(connection: &Connection, node: &str, now: i64) -> rusqlite::Result<()> {
    let mut find = connection.prepare_cached(
        "SELECT numbering, first FROM gaps JOIN numberings ON numberings.id = gaps.numbering
         WHERE node = ?1 AND accounted = 0 ORDER BY noticed_unix_ns, first LIMIT ?2",
    )?;
    let open = find.query_map(params![node, unused(connection, node)?.max(0)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let open: Vec<(i64, i64)> = open.collect::<Result<_, _>>()?;
    for (numbering, first) in open {
        connection
            .prepare_cached("UPDATE gaps SET accounted = 1 WHERE numbering = ?1 AND first = ?2")?
            .execute(params![numbering, first])?;
        findings::end_gaps(connection, numbering, first, now)?;
    }
    Ok(())
}

/// Stretches that the node has counted as lost and that no gap has been set against.
fn unused(connection: &Connection, node: &str) -> rusqlite::Result<i64> {
    let cause = i32::from(LossCause::SpoolCorrupt);
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM gaps JOIN numberings ON numberings.id = gaps.numbering WHERE node = ?1 AND accounted",
    )?;
    let used: i64 = count.query_row([node], |row| row.get(0))?;
    let mut find = connection.prepare_cached("SELECT count FROM losses WHERE node = ?1 AND cause = ?2")?;
    let mut rows = find.query(params![node, cause])?;
    let mut counted = 0_i64;
    while let Some(row) = rows.next()? {
        counted = counted.saturating_add(row.get(0)?);
    }
    Ok(counted.saturating_sub(used))
}
