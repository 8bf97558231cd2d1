//! Removes the oldest events, some thousands per transaction so that no batch waits long.

use std::time::Duration;

use rusqlite::{Connection, params};

use crate::config::Retention;

/// Events removed in one transaction; more than one transaction can add, so that retention keeps up.
const CHUNK: i64 = 16_384;

/// Removes at most one chunk. Returns how many events went, and whether more must.
pub(super) fn prune(connection: &mut Connection, retention: &Retention, now: i64) -> rusqlite::Result<(u64, bool)> {
    let transaction = connection.transaction()?;
    let oldest = now.saturating_sub(nanoseconds(retention.max_age));
    // Ids have no holes but those retention makes at the low end, so they tell how many events there are.
    let removed = transaction.execute(
        "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?1)
         AND (received_unix_ns < ?2 OR id <= (SELECT max(id) FROM events) - ?3)",
        params![CHUNK, oldest, retention.max_events],
    )?;
    transaction.execute("DELETE FROM gaps WHERE noticed_unix_ns < ?1", [oldest])?;
    transaction.execute("DELETE FROM quarantined WHERE received_unix_ns < ?1", [oldest])?;
    transaction.execute("DELETE FROM findings WHERE raised_unix_ns < ?1", [oldest])?;
    transaction.execute("DELETE FROM losses WHERE seen_unix_ns < ?1", [oldest])?;
    transaction.execute(
        "DELETE FROM numberings WHERE seen_unix_ns < ?1
         AND NOT EXISTS (SELECT 1 FROM events WHERE events.numbering = numberings.id)",
        [oldest],
    )?;
    if removed > 0 {
        transaction.execute(
            "DELETE FROM checkpoints
             WHERE sequence + 1 < (SELECT min(sequence) FROM events WHERE events.numbering = checkpoints.numbering)",
            [],
        )?;
        transaction
            .execute("DELETE FROM certificates WHERE sha256 NOT IN (SELECT certificate FROM checkpoints)", [])?;
    }
    transaction.commit()?;
    let removed = u64::try_from(removed).unwrap_or(u64::MAX);
    Ok((removed, removed == CHUNK.unsigned_abs()))
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
