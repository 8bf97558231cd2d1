//! Stored events, page by page.

use std::{fmt, str::FromStr};

use plimsoll_proto::v1;
use prost::Message as _;
use rusqlite::{Connection, Row, params_from_iter, types::Value};

use super::filter::Filter;
use crate::event::{Event, Source};

/// Bytes of event bodies on one page; a page ends early rather than being larger.
const PAGE_BYTES: usize = 4 << 20;

/// The last event of a page: its time, and its id among those of the same time. Events that come later cannot move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    time_unix_ns: i64,
    id: i64,
}

/// A text that no page ended with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoCursor;

impl Cursor {
    /// Characters.
    pub(crate) const LENGTH: usize = 32;
}

/// Opaque to whoever gets it: only to be handed back.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.time_unix_ns, self.id)
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let mut bytes = [0; Self::LENGTH / 2];
        hex::decode_to_slice(text, &mut bytes).map_err(|_invalid| NoCursor)?;
        let (Some(time), Some(id)) = (bytes.first_chunk(), bytes.last_chunk()) else { return Err(NoCursor) };
        let cursor = Self { time_unix_ns: i64::from_be_bytes(*time), id: i64::from_be_bytes(*id) };
        // Hexadecimal has two spellings, a cursor one.
        if cursor.to_string() == text { Ok(cursor) } else { Err(NoCursor) }
    }
}

/// Events, the newest first.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) events: Vec<Event>,
    /// Where the next page begins; `None` on the last one.
    pub(crate) next: Option<Cursor>,
}

/// At most `limit` events that match, those behind the cursor.
pub(crate) fn events(
    connection: &Connection,
    filter: &Filter,
    cursor: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Page> {
    let (sql, values) = statement(filter, cursor, limit);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = Page { events: Vec::new(), next: None };
    let (mut bytes, mut last) = (0, None);
    while let Some(row) = rows.next()? {
        if page.events.len() == limit || bytes > PAGE_BYTES {
            page.next = last;
            break;
        }
        bytes += row.get_ref("body")?.as_blob()?.len();
        page.events.push(event(row)?);
        last = Some(Cursor { time_unix_ns: row.get("time_unix_ns")?, id: row.get("id")? });
    }
    Ok(page)
}

/// The event of a row that has `node`, `boot_id`, `spool_id`, `received_unix_ns` and `body`.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let source = Source {
        node: row.get("node")?,
        boot_id: row.get("boot_id")?,
        spool_id: row.get("spool_id")?,
        received_unix_ns: row.get("received_unix_ns")?,
    };
    Ok(Event::new(source, decode(row.get_ref("body")?.as_blob()?)?))
}

pub(super) fn decode(body: &[u8]) -> rusqlite::Result<v1::Event> {
    v1::Event::decode(body)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error)))
}

fn statement(filter: &Filter, cursor: Option<Cursor>, limit: usize) -> (String, Vec<Value>) {
    let (conditions, mut values) = filter.conditions();
    let mut sql = format!(
        "SELECT events.id, events.node, boot_id, spool_id, received_unix_ns, time_unix_ns, body
         FROM events JOIN numberings ON numberings.id = events.numbering WHERE true{conditions}"
    );
    if let Some(cursor) = cursor {
        sql.push_str(" AND (time_unix_ns, events.id) < (?, ?)");
        values.extend([cursor.time_unix_ns.into(), cursor.id.into()]);
    }
    // One more than asked for tells whether there is another page.
    sql.push_str(" ORDER BY time_unix_ns DESC, events.id DESC LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1).into());
    (sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went() {
        for (time_unix_ns, id) in [(0, 1), (i64::MAX, i64::MAX), (1_700_000_000_000_000_001, 7), (-1, -2)] {
            let cursor = Cursor { time_unix_ns, id };
            let text = cursor.to_string();
            assert_eq!((text.len(), text.parse::<Cursor>().unwrap()), (Cursor::LENGTH, cursor));
        }
        for wrong in ["", "7", "1.2", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33)] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
