//! Brings a database to the schema that this collector knows, one version after the other, in one transaction.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::query::decode;

/// Leads from version 0, an empty file, to 1, and so on.
const STEPS: [fn(&Connection) -> rusqlite::Result<()>; 4] = [first, chain, namespace_and_policy, outputs];
/// The version that this collector knows.
pub(super) const VERSION: u32 = 4;
const _: () = assert!(STEPS.len() == VERSION as usize);

/// The version that is found, after the steps that lead on from it. One that is greater than [`VERSION`] is left alone.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<u32> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        step(&transaction)?;
    }
    let version = found.max(VERSION);
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()?;
    Ok(version)
}

fn first(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(include_str!("schema/1.sql"))
}

fn chain(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(include_str!("schema/2.sql"))
}

/// Makes the workload's namespace and the policy's name columns that can be asked for.
fn namespace_and_policy(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "ALTER TABLE events ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
         ALTER TABLE events ADD COLUMN policy TEXT NOT NULL DEFAULT '';",
    )?;
    let mut events = connection.prepare("SELECT id, body FROM events")?;
    let mut update = connection.prepare("UPDATE events SET namespace = ?2, policy = ?3 WHERE id = ?1")?;
    let mut rows = events.query([])?;
    while let Some(row) = rows.next()? {
        let event = decode(row.get_ref(1)?.as_blob()?)?;
        let namespace = event.workload.map_or(String::new(), |workload| workload.namespace);
        let policy = event.policy.map_or(String::new(), |policy| policy.name);
        update.execute(params![row.get::<_, i64>(0)?, namespace, policy])?;
    }
    Ok(())
}

/// Makes room for how far outputs came.
fn outputs(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(super::outputs::TABLES)
}
