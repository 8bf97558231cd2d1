//! Which stored events a filter matches. Values are always bound, never part of the statement's text.

use std::{fmt, num::ParseIntError, str::FromStr};

use plimsoll_proto::v1;
use prost::Message as _;
use rusqlite::{Connection, Row, params_from_iter, types::Value};

use crate::json::{self, Source};

/// Bytes of event bodies on one page; a page ends early rather than being larger.
const PAGE_BYTES: usize = 4 << 20;

/// What must be true of an event. `None` is always true.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) node: Option<String>,
    /// Workload id.
    pub(crate) workload: Option<String>,
    pub(crate) image: Option<Image>,
    pub(crate) package: Option<Package>,
    pub(crate) verdict: Option<i32>,
    pub(crate) reason: Option<i32>,
    pub(crate) hook: Option<i32>,
    /// A part of the path, upper and lower case told apart.
    pub(crate) path: Option<String>,
    /// Nanoseconds since 1970, included.
    pub(crate) since: Option<i64>,
    /// Nanoseconds since 1970, excluded.
    pub(crate) until: Option<i64>,
    /// Only events after this place in the order.
    pub(crate) cursor: Option<Cursor>,
    pub(crate) limit: usize,
}

/// An image by digest or by reference.
#[derive(Clone, Debug)]
pub(crate) enum Image {
    Digest(String),
    Reference(String),
}

/// A package by name or by package URL.
#[derive(Clone, Debug)]
pub(crate) enum Package {
    Name(String),
    Purl(String),
}

/// The last event of a page: its time, and its id among those of the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    time_unix_ns: i64,
    id: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.time_unix_ns, self.id)
    }
}

impl FromStr for Cursor {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (time, id) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self { time_unix_ns: time.parse()?, id: id.parse()? })
    }
}

/// Events, the newest first.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) events: Vec<serde_json::Value>,
    /// Where the next page begins; `None` on the last one.
    pub(crate) next: Option<Cursor>,
}

/// The events that match.
pub(crate) fn events(connection: &Connection, filter: &Filter) -> rusqlite::Result<Page> {
    let (sql, values) = statement(filter);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = Page { events: Vec::new(), next: None };
    let (mut bytes, mut last) = (0, None);
    while let Some(row) = rows.next()? {
        if page.events.len() == filter.limit || bytes > PAGE_BYTES {
            page.next = last;
            break;
        }
        let body = row.get_ref("body")?.as_blob()?;
        bytes += body.len();
        page.events.push(json::event(&source(row)?, &decode(body)?));
        last = Some(Cursor { time_unix_ns: row.get("time_unix_ns")?, id: row.get("id")? });
    }
    Ok(page)
}

fn source(row: &Row<'_>) -> rusqlite::Result<Source> {
    Ok(Source {
        node: row.get("node")?,
        boot_id: row.get("boot_id")?,
        spool_id: row.get("spool_id")?,
        received_unix_ns: row.get("received_unix_ns")?,
    })
}

fn decode(body: &[u8]) -> rusqlite::Result<v1::Event> {
    v1::Event::decode(body)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error)))
}

fn statement(filter: &Filter) -> (String, Vec<Value>) {
    let mut sql = String::from(
        "SELECT events.id, events.node, boot_id, spool_id, received_unix_ns, time_unix_ns, body
         FROM events JOIN numberings ON numberings.id = events.numbering WHERE true",
    );
    let mut values = Vec::new();
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let (digest, reference) = match filter.image.clone() {
        Some(Image::Digest(digest)) => (Some(digest), None),
        Some(Image::Reference(reference)) => (None, Some(reference)),
        None => (None, None),
    };
    let (name, purl) = match filter.package.clone() {
        Some(Package::Name(name)) => (Some(name), None),
        Some(Package::Purl(purl)) => (None, Some(purl)),
        None => (None, None),
    };
    for (condition, value) in [
        (" AND events.node = ?", text(&filter.node)),
        (" AND workload = ?", text(&filter.workload)),
        (" AND image_digest = ?", text(&digest)),
        (" AND image_reference = ?", text(&reference)),
        (" AND package_name = ?", text(&name)),
        (" AND package_purl = ?", text(&purl)),
        (" AND verdict = ?", filter.verdict.map(Value::from)),
        (" AND reason = ?", filter.reason.map(Value::from)),
        (" AND hook = ?", filter.hook.map(Value::from)),
        (" AND instr(path, ?) > 0", text(&filter.path)),
        (" AND time_unix_ns >= ?", filter.since.map(Value::from)),
        (" AND time_unix_ns < ?", filter.until.map(Value::from)),
    ] {
        if let Some(value) = value {
            sql.push_str(condition);
            values.push(value);
        }
    }
    if let Some(cursor) = filter.cursor {
        sql.push_str(" AND (time_unix_ns, events.id) < (?, ?)");
        values.extend([cursor.time_unix_ns.into(), cursor.id.into()]);
    }
    // One more than asked for tells whether there is another page.
    sql.push_str(" ORDER BY time_unix_ns DESC, events.id DESC LIMIT ?");
    values.push(i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1).into());
    (sql, values)
}
