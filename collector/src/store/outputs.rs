//! How far each output came, what it could not deliver, and what is still to be delivered.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tokio::sync::oneshot;

use super::query::event;
use crate::event::Event;

/// Dead letters kept of each output, the newest ones; their count goes on.
const MAX_DEAD: i64 = 10_000;
/// Bytes of event bodies that are read at once.
const READ_BYTES: usize = 1 << 20;
/// Rows that are looked at in one reading, whether wanted or not.
const READ_ROWS: usize = 10_000;

/// An event at its place in the order of arrival.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    pub(crate) event: Event,
}

/// What lies behind a cursor.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) events: Vec<Stored>,
    /// The cursor behind all that was looked at.
    pub(crate) cursor: i64,
    /// Events that retention removed before they were read.
    pub(crate) skipped: u64,
}

/// An event that its receiver refused for good.
#[derive(Clone, Debug)]
pub(crate) struct Dead {
    pub(crate) id: i64,
    pub(crate) reason: String,
    /// As JSON.
    pub(crate) event: String,
}

/// How an output came on. It is on disk once `done` resolves.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) output: String,
    pub(crate) cursor: i64,
    pub(crate) delivered: u64,
    pub(crate) skipped: u64,
    pub(crate) dead: Vec<Dead>,
    pub(crate) done: oneshot::Sender<()>,
}

/// Where an output stands: totals since it was first configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Id of the last event that was delivered, refused for good, skipped or not wanted.
    pub(crate) cursor: i64,
    pub(crate) delivered: i64,
    pub(crate) skipped: i64,
    pub(crate) dead: i64,
}

pub(super) const TABLES: &str = "
    CREATE TABLE outputs (
        name TEXT PRIMARY KEY,
        cursor INTEGER NOT NULL,
        delivered INTEGER NOT NULL,
        skipped INTEGER NOT NULL,
        dead INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        output TEXT NOT NULL,
        event_id INTEGER NOT NULL,
        refused_unix_ns INTEGER NOT NULL,
        reason TEXT NOT NULL,
        event TEXT NOT NULL
    );
    CREATE INDEX dead_letters_by_output ON dead_letters (output, id);";

/// The highest id that was ever given to an event; 0 before the first.
pub(crate) fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Where an output stands. A new one begins with the oldest event that is stored.
pub(crate) fn standing(connection: &Connection, name: &str) -> rusqlite::Result<Standing> {
    let mut known = connection.prepare("SELECT cursor, delivered, skipped, dead FROM outputs WHERE name = ?1")?;
    let found = known
        .query_row([name], |row| {
            Ok(Standing { cursor: row.get(0)?, delivered: row.get(1)?, skipped: row.get(2)?, dead: row.get(3)? })
        })
        .optional()?;
    if let Some(standing) = found {
        return Ok(standing);
    }
    let oldest: Option<i64> = connection.query_row("SELECT min(id) FROM events", [], |row| row.get(0))?;
    let cursor = match oldest {
        Some(oldest) => oldest.saturating_sub(1),
        None => newest(connection)?,
    };
    Ok(Standing { cursor, ..Standing::default() })
}

/// The next events behind `cursor`, at most `limit`, of the `verdicts` that are wanted; none given are all.
pub(crate) fn read(
    connection: &mut Connection,
    cursor: i64,
    verdicts: &[i32],
    limit: usize,
) -> rusqlite::Result<Reading> {
    // One view of the events and of the numbers that were given to them.
    let view = connection.transaction()?;
    let mut reading = Reading { events: Vec::new(), cursor, skipped: 0 };
    let mut statement = view.prepare(
        "SELECT events.id, verdict, events.node, boot_id, spool_id, received_unix_ns, body
         FROM events JOIN numberings ON numberings.id = events.numbering WHERE events.id > ?1 ORDER BY events.id",
    )?;
    let mut rows = statement.query([cursor])?;
    let (mut bytes, mut looked_at) = (0, 0);
    while reading.events.len() < limit && bytes < READ_BYTES && looked_at < READ_ROWS {
        let Some(row) = rows.next()? else {
            reading.pass(newest(&view)?.saturating_add(1));
            break;
        };
        looked_at += 1;
        let id: i64 = row.get(0)?;
        reading.pass(id);
        reading.cursor = id;
        if verdicts.is_empty() || verdicts.contains(&row.get(1)?) {
            bytes += row.get_ref("body")?.as_blob()?.len();
            reading.events.push(Stored { id, event: event(row)? });
        }
    }
    Ok(reading)
}

impl Reading {
    /// Ids have no holes but those that retention makes, so that one between the cursor and `next` was removed.
    fn pass(&mut self, next: i64) {
        let removed = next.saturating_sub(self.cursor).saturating_sub(1).max(0);
        self.skipped = self.skipped.saturating_add(removed.unsigned_abs());
        self.cursor = self.cursor.saturating_add(removed);
    }
}

/// Writes down how an output came on.
pub(super) fn advance(connection: &Connection, progress: &Progress, now: i64) -> rusqlite::Result<()> {
    let Progress { output, cursor, delivered, skipped, dead, done: _ } = progress;
    let clamp = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let count = i64::try_from(dead.len()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO outputs VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET cursor = excluded.cursor,
             delivered = delivered + excluded.delivered, skipped = skipped + excluded.skipped, dead = dead + excluded.dead",
        )?
        .execute(params![output, cursor, clamp(*delivered), clamp(*skipped), count])?;
    if dead.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO dead_letters (output, event_id, refused_unix_ns, reason, event) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for letter in dead {
        insert.execute(params![output, letter.id, now, letter.reason, letter.event])?;
    }
    connection
        .prepare_cached(
            "DELETE FROM dead_letters WHERE output = ?1 AND id <=
             (SELECT id FROM dead_letters WHERE output = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![output, MAX_DEAD])?;
    Ok(())
}

/// A dead letter as it was written down.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) refused_unix_ns: i64,
    pub(crate) reason: String,
    /// As JSON.
    pub(crate) event: String,
}

/// Dead letters of an output, the newest first.
pub(crate) fn dead_letters(connection: &Connection, output: &str, limit: usize) -> rusqlite::Result<Vec<Letter>> {
    let mut statement = connection.prepare(
        "SELECT refused_unix_ns, reason, event FROM dead_letters WHERE output = ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let letter = |row: &Row<'_>| Ok(Letter { refused_unix_ns: row.get(0)?, reason: row.get(1)?, event: row.get(2)? });
    statement.query_map(params![output, i64::try_from(limit).unwrap_or(i64::MAX)], letter)?.collect()
}
