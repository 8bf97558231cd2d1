//! Puts one checked batch into an open transaction.

use plimsoll_proof::Link;
use plimsoll_proto::v1::{LossCause, LossCount, Node};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    chain::{self, History},
    checkpoint::{self, Kept},
    findings::{self, Kind, Raised},
    gaps::{self, Gap},
};
use crate::ingest::check::{Accepted, Checked};

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
    pub(crate) findings: Vec<Raised>,
    /// What became of the batch's checkpoint, if it has one.
    pub(crate) checkpoint: Option<Kept>,
    /// The batch contradicts what is stored: its events were put aside, none was stored.
    pub(crate) contradicted: bool,
}

/// The row of a numbering, changed in memory and written once per batch.
pub(super) struct Numbering {
    pub(super) id: i64,
    pub(super) last: i64,
    missing: i64,
    pub(super) history: History,
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
    // Before the events: what a node has counted as lost explains the gaps in them.
    add_losses(connection, batch, now, &mut outcome)?;
    match chain::contradiction(connection, &numbering, batch)? {
        None => {
            place_all(connection, batch, &mut numbering, now, &mut outcome)?;
            checkpoint(connection, &numbering, batch, &mut outcome)?;
        }
        Some(found) => {
            chain::quarantine(connection, numbering.id, batch, now)?;
            let last = batch.last.and_then(|last| i64::try_from(last).ok()).unwrap_or(found.first);
            outcome.findings.push(Raised { kind: found.kind, first: found.first, last });
            outcome.contradicted = true;
        }
    }
    for raised in &outcome.findings {
        findings::raise(connection, &batch.node, raised, now)?;
    }
    outcome.last_sequence = u64::try_from(numbering.last).unwrap_or(0);
    Ok(outcome)
}

/// Places every event of a batch, those refused for good too, in ascending order.
fn place_all(
    connection: &Connection,
    batch: &Checked,
    numbering: &mut Numbering,
    now: i64,
    outcome: &mut Outcome,
) -> rusqlite::Result<()> {
    let mut accepted = batch.accepted.iter().peekable();
    let mut refused = batch.refused.iter().copied().peekable();
    loop {
        let stored = accepted.peek().map(|event| event.sequence);
        match (stored, refused.peek().copied()) {
            (Some(event), other) if other.is_none_or(|other| event < other) => {
                let Some(event) = accepted.next() else { break };
                match numbering.place(connection, batch, event.sequence, now, outcome)? {
                    Place::New | Place::Late => {
                        insert(connection, numbering.id, batch, event, now)?;
                        outcome.stored += 1;
                    }
                    Place::Duplicate => outcome.duplicates += 1,
                }
            }
            (_, Some(sequence)) => {
                refused.next();
                numbering.place(connection, batch, sequence, now, outcome)?;
            }
            (_, None) => break,
        }
    }
    if let Some(link) = batch.chain.as_ref().and_then(|chain| chain.before(numbering.last.saturating_add(1))) {
        numbering.history = History::Chained(link);
    }
    let link = if let History::Chained(link) = &numbering.history { Some(link.as_bytes()) } else { None };
    let mut update = connection
        .prepare_cached("UPDATE numberings SET last_sequence = ?2, missing = ?3, chain = ?4 WHERE id = ?1")?;
    update.execute(params![numbering.id, numbering.last, numbering.missing, link]).map(drop)
}

/// Stores the batch's checkpoint, if it goes together with the history.
fn checkpoint(
    connection: &Connection,
    numbering: &Numbering,
    batch: &Checked,
    outcome: &mut Outcome,
) -> rusqlite::Result<()> {
    let Some(signed) = &batch.checkpoint else { return Ok(()) };
    let kept = checkpoint::keep(connection, numbering, signed)?;
    if let Kept::Contradicts { sequence } = kept {
        outcome.findings.push(Raised { kind: Kind::Fork, first: sequence, last: sequence });
        outcome.contradicted = true;
    }
    outcome.checkpoint = Some(kept);
    Ok(())
}

fn add_losses(connection: &Connection, batch: &Checked, now: i64, outcome: &mut Outcome) -> rusqlite::Result<()> {
    for loss in &batch.losses {
        let grown = add_loss(connection, &batch.node.name, loss, now)?;
        outcome.losses.push((loss.cause, grown));
        if grown > 0 && loss.cause == i32::from(LossCause::SpoolCorrupt) {
            gaps::account(connection, &batch.node.name, now)?;
        }
    }
    Ok(())
}

fn numbering(connection: &Connection, node: &Node, version: &str, now: i64) -> rusqlite::Result<Numbering> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO numberings (node, boot_id, spool_id, agent_version, last_sequence, missing, seen_unix_ns)
         VALUES (?1, ?2, ?3, ?4, 0, 0, ?5)
         ON CONFLICT (node, boot_id, spool_id)
         DO UPDATE SET agent_version = excluded.agent_version, seen_unix_ns = excluded.seen_unix_ns
         RETURNING id, last_sequence, missing, chain",
    )?;
    statement.query_row(params![node.name, node.boot_id, node.spool_id, version, now], |row| {
        let last = row.get(1)?;
        let history = match chain::link(row, 3)? {
            Some(link) => History::Chained(link),
            None if last == 0 => History::New,
            None => History::Unchained,
        };
        Ok(Numbering { id: row.get(0)?, last, missing: row.get(2)?, history })
    })
}

impl Numbering {
    /// Decides by the highest number and the gaps, not by the stored events: retention may have removed those.
    fn place(
        &mut self,
        connection: &Connection,
        batch: &Checked,
        sequence: i64,
        now: i64,
        outcome: &mut Outcome,
    ) -> rusqlite::Result<Place> {
        if sequence <= self.last {
            let after = batch.chain.as_ref().and_then(|chain| chain.before(sequence + 1));
            if !gaps::fill(connection, self.id, sequence, after, now)? {
                return Ok(Place::Duplicate);
            }
            self.missing -= 1;
            return Ok(Place::Late);
        }
        let (first, last) = (self.last + 1, sequence - 1);
        if first <= last {
            let skipped = last - self.last;
            self.missing = self.missing.saturating_add(skipped);
            outcome.missing = outcome.missing.saturating_add(skipped.unsigned_abs());
            let gap = Gap { first, last, chain: batch.chain.as_ref().and_then(|_| self.link(&batch.node)) };
            if !gaps::notice(connection, &batch.node.name, self.id, gap, now)? {
                outcome.findings.push(Raised { kind: Kind::Gap, first, last });
            }
        }
        self.last = sequence;
        Ok(Place::New)
    }

    /// The link after the highest number.
    fn link(&self, node: &Node) -> Option<Link> {
        match self.history {
            History::New => Some(Link::start(&node.name, &node.boot_id, &node.spool_id)),
            History::Unchained => None,
            History::Chained(link) => Some(link),
        }
    }
}

fn insert(
    connection: &Connection,
    numbering: i64,
    batch: &Checked,
    accepted: &Accepted,
    now: i64,
) -> rusqlite::Result<()> {
    let Accepted { sequence, time_unix_ns, event, record } = accepted;
    let link = batch.chain.as_ref().and_then(|chain| chain.before(*sequence));
    let image = event.image.as_ref();
    let package = event.package.as_ref();
    let mut statement = connection.prepare_cached(
        "INSERT INTO events (numbering, sequence, received_unix_ns, time_unix_ns, node, verdict, reason, hook, workload,
                             image_digest, image_reference, package_name, package_purl, path, chain, body, namespace,
                             policy)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )?;
    statement.execute(params![
        numbering,
        sequence,
        now,
        time_unix_ns,
        batch.node.name,
        event.verdict,
        event.reason,
        event.hook,
        event.workload.as_ref().map_or("", |workload| &workload.id),
        image.map_or("", |image| &image.digest),
        image.map_or("", |image| &image.reference),
        package.map_or("", |package| &package.name),
        package.map_or("", |package| &package.purl),
        event.file.as_ref().map_or("", |file| &file.path),
        link.as_ref().map(Link::as_bytes),
        &**record,
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
