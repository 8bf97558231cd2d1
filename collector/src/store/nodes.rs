//! What is known of each node: when it was last heard of, how far it came, and what never arrived.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde::Serialize;
use utoipa::ToSchema;

use crate::json::{self, Kind, word};

/// Nodes in one answer, the ones heard of last.
const MAX_NODES: i64 = 10_000;
/// Gaps per node, the newest first.
const MAX_GAPS: i64 = 100;

/// One node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Node {
    #[serde(rename = "node")]
    name: String,
    agent_version: String,
    last_seen_unix_ns: i64,
    boot_id: String,
    spool_id: String,
    /// Of the numbering above.
    last_sequence: i64,
    /// Skipped numbers that never came, over all of the node's numberings that are still remembered.
    missing: i64,
    gaps: Vec<Gap>,
    losses: Vec<Loss>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Gap {
    boot_id: String,
    spool_id: String,
    first: i64,
    last: i64,
    noticed_unix_ns: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Loss {
    #[schema(schema_with = json::cause_schema)]
    cause: String,
    /// Sum over every count the node began.
    count: i64,
    /// When the first of them began.
    since_unix_ns: i64,
}

/// Every node, the one heard of last first.
pub(crate) fn nodes(connection: &Connection) -> rusqlite::Result<Vec<Node>> {
    // SQLite takes the other columns of a group with `max()` from the row that has the maximum.
    let mut statement = connection.prepare(
        "SELECT node, agent_version, max(seen_unix_ns) AS seen, boot_id, spool_id, last_sequence
         FROM numberings GROUP BY node ORDER BY seen DESC LIMIT ?1",
    )?;
    let found = statement.query_map([MAX_NODES], |row| {
        Ok(Node {
            name: row.get(0)?,
            agent_version: row.get(1)?,
            last_seen_unix_ns: row.get(2)?,
            boot_id: row.get(3)?,
            spool_id: row.get(4)?,
            last_sequence: row.get(5)?,
            missing: 0,
            gaps: Vec::new(),
            losses: Vec::new(),
        })
    })?;
    let mut nodes: Vec<Node> = found.collect::<Result<_, _>>()?;
    for node in &mut nodes {
        node.missing = missing(connection, &node.name)?;
        node.gaps = gaps(connection, &node.name)?;
        node.losses = losses(connection, &node.name)?;
    }
    Ok(nodes)
}

/// Summed here, since SQLite's sum of integers fails when it overflows, and the numbers are the node's to choose.
fn missing(connection: &Connection, node: &str) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT missing FROM numberings WHERE node = ?1")?;
    let mut rows = statement.query([node])?;
    let mut sum = 0_i64;
    while let Some(row) = rows.next()? {
        sum = sum.saturating_add(row.get(0)?);
    }
    Ok(sum)
}

fn gaps(connection: &Connection, node: &str) -> rusqlite::Result<Vec<Gap>> {
    let mut statement = connection.prepare_cached(
        "SELECT boot_id, spool_id, first, last, noticed_unix_ns
         FROM numberings JOIN gaps ON gaps.numbering = numberings.id
         WHERE node = ?1 ORDER BY noticed_unix_ns DESC, first DESC LIMIT ?2",
    )?;
    let gaps = statement.query_map(params![node, MAX_GAPS], |row| {
        Ok(Gap {
            boot_id: row.get(0)?,
            spool_id: row.get(1)?,
            first: row.get(2)?,
            last: row.get(3)?,
            noticed_unix_ns: row.get(4)?,
        })
    })?;
    gaps.collect()
}

fn losses(connection: &Connection, node: &str) -> rusqlite::Result<Vec<Loss>> {
    let mut statement = connection.prepare_cached("SELECT cause, count, since_unix_ns FROM losses WHERE node = ?1")?;
    let mut rows = statement.query([node])?;
    let mut sums: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let since: i64 = row.get(2)?;
        let (count, first) = sums.entry(row.get(0)?).or_insert((0, since));
        *count = count.saturating_add(row.get(1)?);
        *first = since.min(*first);
    }
    let loss = |(cause, (count, since_unix_ns))| Loss { cause: word(Kind::LossCause, cause), count, since_unix_ns };
    Ok(sums.into_iter().map(loss).collect())
}
