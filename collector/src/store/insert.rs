//! Puts one checked batch into an open transaction.

use plimsoll_proto::v1::{LossCount, Node};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::ingest::check::{Accepted, Checked};

/// Gaps kept per numbering. Beyond it a skipped stretch is still counted, but no longer listed.
const MAX_GAPS: i64 = 1000;

/// What a batch changed; valid once its transaction is on disk.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Highest number that is stored, refused or known to be missing.
    pub(crate) last_sequence: u64,
    pub(crate) stored: u64,
    pub(crate) duplicates: u64,
    /// Numbers newly found to be skipped.
    pub(crate) missing: u64,
    /// By how much each cause's total grew.
    pub(crate) losses: Vec<(i32, u64)>,
}

/// The row of a numbering, changed in memory and written once per batch.
struct Numbering {
    id: i64,
    last: i64,
    missing: i64,
}

/// Where a number stands in its numbering.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    New,
    /// It fills a part of a gap.
    Late,
    Duplicate,
}

/// Stores what is new of a batch. `now` is in nanoseconds since 1970.
pub(super) fn batch(connection: &Connection, batch: &Checked, now: i64) -> rusqlite::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut numbering = numbering(connection, &batch.node, &batch.agent_version, now)?;
    let mut accepted = batch.accepted.iter().peekable();
    let mut refused = batch.refused.iter().copied().peekable();
    loop {
        let stored = accepted.peek().map(|event| event.sequence);
        match (stored, refused.peek().copied()) {
            (Some(event), other) if other.is_none_or(|other| event < other) => {
                let Some(event) = accepted.next() else { break };
                match numbering.place(connection, event.sequence, now, &mut outcome)? {
                    Place::New | Place::Late => {
                        insert(connection, numbering.id, &batch.node.name, event, now)?;
                        outcome.stored += 1;
                    }
                    Place::Duplicate => outcome.duplicates += 1,
                }
            }
            (_, Some(sequence)) => {
                refused.next();
                numbering.place(connection, sequence, now, &mut outcome)?;
            }
            (_, None) => break,
        }
    }
    let mut update =
        connection.prepare_cached("UPDATE numberings SET last_sequence = ?2, missing = ?3 WHERE id = ?1")?;
    update.execute(params![numbering.id, numbering.last, numbering.missing])?;
    for loss in &batch.losses {
        outcome.losses.push((loss.cause, add_loss(connection, &batch.node.name, loss, now)?));
    }
    outcome.last_sequence = u64::try_from(numbering.last).unwrap_or(0);
    Ok(outcome)
}

fn numbering(connection: &Connection, node: &Node, version: &str, now: i64) -> rusqlite::Result<Numbering> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO numberings (node, boot_id, spool_id, agent_version, last_sequence, missing, seen_unix_ns)
         VALUES (?1, ?2, ?3, ?4, 0, 0, ?5)
         ON CONFLICT (node, boot_id, spool_id)
         DO UPDATE SET agent_version = excluded.agent_version, seen_unix_ns = excluded.seen_unix_ns
         RETURNING id, last_sequence, missing",
    )?;
    statement.query_row(params![node.name, node.boot_id, node.spool_id, version, now], |row| {
        Ok(Numbering { id: row.get(0)?, last: row.get(1)?, missing: row.get(2)? })
    })
}

impl Numbering {
    /// Decides by the highest number and the gaps, not by the stored events: retention may have removed those.
    fn place(
        &mut self,
        connection: &Connection,
        sequence: i64,
        now: i64,
        outcome: &mut Outcome,
    ) -> rusqlite::Result<Place> {
        if sequence <= self.last {
            return self.fill(connection, sequence);
        }
        let (first, last) = (self.last + 1, sequence - 1);
        if first <= last {
            let skipped = last - self.last;
            self.missing = self.missing.saturating_add(skipped);
            outcome.missing = outcome.missing.saturating_add(skipped.unsigned_abs());
            let mut statement = connection.prepare_cached(
                "INSERT INTO gaps (numbering, first, last, noticed_unix_ns)
                 SELECT ?1, ?2, ?3, ?4 WHERE (SELECT count(*) FROM gaps WHERE numbering = ?1) < ?5",
            )?;
            statement.execute(params![self.id, first, last, now, MAX_GAPS])?;
        }
        self.last = sequence;
        Ok(Place::New)
    }

    /// A number that came before, or one that was thought missing: that one is taken out of its gap.
    fn fill(&mut self, connection: &Connection, sequence: i64) -> rusqlite::Result<Place> {
        let mut find = connection.prepare_cached(
            "SELECT first, last, noticed_unix_ns FROM gaps WHERE numbering = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
        )?;
        let gap: Option<(i64, i64, i64)> =
            find.query_row(params![self.id, sequence], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((first, last, noticed)) = gap.filter(|(_, last, _)| sequence <= *last) else {
            return Ok(Place::Duplicate);
        };
        connection
            .prepare_cached("DELETE FROM gaps WHERE numbering = ?1 AND first = ?2")?
            .execute(params![self.id, first])?;
        let mut insert = connection.prepare_cached("INSERT INTO gaps VALUES (?1, ?2, ?3, ?4)")?;
        for (first, last) in
            [(first, sequence - 1), (sequence + 1, last)].into_iter().filter(|(first, last)| first <= last)
        {
            insert.execute(params![self.id, first, last, noticed])?;
        }
        self.missing -= 1;
        Ok(Place::Late)
    }
}

fn insert(connection: &Connection, numbering: i64, node: &str, accepted: &Accepted, now: i64) -> rusqlite::Result<()> {
    let Accepted { sequence, time_unix_ns, event } = accepted;
    let image = event.image.as_ref();
    let package = event.package.as_ref();
    let mut statement = connection.prepare_cached(
        "INSERT INTO events (numbering, sequence, received_unix_ns, time_unix_ns, node, verdict, reason, hook, workload,
                             image_digest, image_reference, package_name, package_purl, path, body, namespace, policy)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    statement.execute(params![
        numbering,
        sequence,
        now,
        time_unix_ns,
        node,
        event.verdict,
        event.reason,
        event.hook,
        event.workload.as_ref().map_or("", |workload| &workload.id),
        image.map_or("", |image| &image.digest),
        image.map_or("", |image| &image.reference),
        package.map_or("", |package| &package.name),
        package.map_or("", |package| &package.purl),
        event.file.as_ref().map_or("", |file| &file.path),
        event.encode_to_vec(),
        event.workload.as_ref().map_or("", |workload| &workload.namespace),
        event.policy.as_ref().map_or("", |policy| &policy.name),
    ])?;
    Ok(())
}

/// Stores a total, and returns by how much it grew. Totals beyond SQLite's integers are kept as the largest of them.
fn add_loss(connection: &Connection, node: &str, loss: &LossCount, now: i64) -> rusqlite::Result<u64> {
    let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (count, since) = (clamp(loss.count), clamp(loss.since_unix_ns));
    let mut find =
        connection.prepare_cached("SELECT count FROM losses WHERE node = ?1 AND cause = ?2 AND since_unix_ns = ?3")?;
    let before: i64 = find.query_row(params![node, loss.cause, since], |row| row.get(0)).optional()?.unwrap_or(0);
    let mut store = connection.prepare_cached(
        "INSERT INTO losses VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET count = max(count, excluded.count), seen_unix_ns = excluded.seen_unix_ns",
    )?;
    store.execute(params![node, loss.cause, since, count, now])?;
    Ok(count.saturating_sub(before).max(0).unsigned_abs())
}
