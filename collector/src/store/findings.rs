//! What the collector noticed about nodes that an honest, healthy one does not do.

use plimsoll_proto::v1::Node;
use rusqlite::{Connection, params};
use serde::Serialize;

/// Findings kept for each node. Beyond it they are still counted and logged, but no longer listed.
const MAX_FINDINGS: i64 = 1000;
/// Findings in one answer, the ones raised last.
const MAX_LISTED: i64 = 1000;

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers were skipped, and the node has not counted what they belonged to as lost.
    Gap,
    /// The node went back to an earlier number and told of other events.
    Rollback,
    /// Two histories under one numbering.
    Fork,
    /// Nothing was heard of the node for `silentAfter`.
    SilentNode,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Gap, Self::Rollback, Self::Fork, Self::SilentNode];

    /// The word in answers, metrics and the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Rollback => "rollback",
            Self::Fork => "fork",
            Self::SilentNode => "silent-node",
        }
    }
}

/// A finding as it was raised.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) kind: Kind,
    /// Numbers that it is about, both included.
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Keeps a finding about a numbering; one that is known is counted once more.
pub(super) fn raise(connection: &Connection, node: &Node, raised: &Raised, now: i64) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO findings (kind, node, boot_id, spool_id, first, last, raised_unix_ns, count)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, 1
         WHERE (SELECT count(*) FROM findings WHERE node = ?2) < ?8
            OR EXISTS (SELECT 1 FROM findings WHERE node = ?2 AND kind = ?1 AND boot_id = ?3 AND spool_id = ?4 AND first = ?5)
         ON CONFLICT DO UPDATE SET
             count = count + 1, last = max(last, excluded.last), raised_unix_ns = ?7, ended_unix_ns = NULL",
    )?;
    let Raised { kind, first, last } = raised;
    insert.execute(params![kind.name(), node.name, node.boot_id, node.spool_id, first, last, now, MAX_FINDINGS])?;
    Ok(())
}

/// A node has become silent.
pub(super) fn raise_silence(connection: &Connection, node: &str, now: i64) -> rusqlite::Result<()> {
    let node = Node { name: node.to_owned(), ..Node::default() };
    raise(connection, &node, &Raised { kind: Kind::SilentNode, first: 0, last: 0 }, now)
}

/// A node was heard of again.
pub(super) fn end_silence(connection: &Connection, node: &str, now: i64) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE findings SET ended_unix_ns = ?2 WHERE node = ?1 AND kind = 'silent-node' AND ended_unix_ns IS NULL",
    )?;
    update.execute(params![node, now]).map(drop)
}

/// Nodes that are silent, as far as was written down.
pub(super) fn silent(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut find =
        connection.prepare("SELECT node FROM findings WHERE kind = 'silent-node' AND ended_unix_ns IS NULL")?;
    find.query_map([], |row| row.get(0))?.collect()
}

/// Ends the gaps around `sequence` that have nothing missing any more, or nothing that the node has not accounted for.
pub(super) fn end_gaps(connection: &Connection, numbering: i64, sequence: i64, now: i64) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE findings SET ended_unix_ns = ?3
         WHERE (node, boot_id, spool_id) = (SELECT node, boot_id, spool_id FROM numberings WHERE id = ?1)
         AND kind = 'gap' AND ended_unix_ns IS NULL AND first <= ?2 AND last >= ?2
         AND NOT EXISTS (SELECT 1 FROM gaps WHERE numbering = ?1 AND accounted = 0
                         AND gaps.first <= findings.last AND gaps.last >= findings.first)",
    )?;
    update.execute(params![numbering, sequence, now]).map(drop)
}

/// A finding as it is told.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    kind: String,
    node: String,
    boot_id: String,
    spool_id: String,
    first: i64,
    last: i64,
    raised_unix_ns: i64,
    ended_unix_ns: Option<i64>,
    count: i64,
}

/// Findings, the one raised last first, of one node or kind where that is given.
pub(crate) fn findings(
    connection: &Connection,
    node: Option<&str>,
    kind: Option<Kind>,
    open: bool,
) -> rusqlite::Result<Vec<Finding>> {
    let mut find = connection.prepare(
        "SELECT kind, node, boot_id, spool_id, first, last, raised_unix_ns, ended_unix_ns, count FROM findings
         WHERE (?1 IS NULL OR node = ?1) AND (?2 IS NULL OR kind = ?2) AND (NOT ?3 OR ended_unix_ns IS NULL)
         ORDER BY raised_unix_ns DESC, id DESC LIMIT ?4",
    )?;
    let found = find.query_map(params![node, kind.map(Kind::name), open, MAX_LISTED], |row| {
        Ok(Finding {
            kind: row.get(0)?,
            node: row.get(1)?,
            boot_id: row.get(2)?,
            spool_id: row.get(3)?,
            first: row.get(4)?,
            last: row.get(5)?,
            raised_unix_ns: row.get(6)?,
            ended_unix_ns: row.get(7)?,
            count: row.get(8)?,
        })
    })?;
    found.collect()
}
