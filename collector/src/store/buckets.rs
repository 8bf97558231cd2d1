//! How many events there were, by time and by one of their properties.

use rusqlite::{Connection, Row, params_from_iter};
use serde::Serialize;
use utoipa::ToSchema;

use super::filter::Filter;
use crate::json::{Kind, word};

/// Values counted by themselves in one bucket, the most frequent ones.
pub(crate) const MAX_GROUPS: usize = 50;

/// The length of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Width {
    Minute,
    #[default]
    Hour,
    /// Of UTC.
    Day,
}

impl Width {
    pub(crate) const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    fn nanoseconds(self) -> i64 {
        let seconds = match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        };
        seconds * 1_000_000_000
    }
}

/// What events are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    #[default]
    Verdict,
    Reason,
    Hook,
    Node,
    Namespace,
    Workload,
    /// The image's digest.
    Image,
    Policy,
    /// The package's name.
    Package,
}

impl Group {
    pub(crate) const ALL: [Self; 9] = [
        Self::Verdict,
        Self::Reason,
        Self::Hook,
        Self::Node,
        Self::Namespace,
        Self::Workload,
        Self::Image,
        Self::Policy,
        Self::Package,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Reason => "reason",
            Self::Hook => "hook",
            Self::Node => "node",
            Self::Namespace => "namespace",
            Self::Workload => "workload",
            Self::Image => "image",
            Self::Policy => "policy",
            Self::Package => "package",
        }
    }

    fn column(self) -> &'static str {
        match self {
            Self::Image => "image_digest",
            Self::Package => "package_name",
            Self::Verdict
            | Self::Reason
            | Self::Hook
            | Self::Node
            | Self::Namespace
            | Self::Workload
            | Self::Policy => self.name(),
        }
    }

    fn value(self, row: &Row<'_>) -> rusqlite::Result<String> {
        let kind = match self {
            Self::Verdict => Kind::Verdict,
            Self::Reason => Kind::Reason,
            Self::Hook => Kind::Hook,
            Self::Node | Self::Namespace | Self::Workload | Self::Image | Self::Policy | Self::Package => {
                return row.get(1);
            }
        };
        Ok(word(kind, row.get(1)?))
    }
}

/// The events of a stretch of time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Bucket {
    /// Where it begins.
    start_unix_ns: i64,
    /// All events in it.
    events: u64,
    /// The most frequent values, the most frequent first; at most 50.
    groups: Vec<Count>,
    /// Events with other values.
    others: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Count {
    /// Empty where the agent did not know.
    value: String,
    events: u64,
}

/// Buckets that have events, the newest first.
#[derive(Debug)]
pub(crate) struct Buckets {
    pub(crate) buckets: Vec<Bucket>,
    /// There are older ones: ask again with `until` at the start of the last.
    pub(crate) more: bool,
}

/// At most `limit` buckets of the events that match.
pub(crate) fn buckets(
    connection: &Connection,
    filter: &Filter,
    (width, group): (Width, Group),
    limit: usize,
) -> rusqlite::Result<Buckets> {
    let (conditions, values) = filter.conditions();
    let (column, width) = (group.column(), width.nanoseconds());
    let mut statement = connection.prepare(&format!(
        "SELECT time_unix_ns / {width} AS bucket, {column}, count(*) AS events FROM events WHERE true{conditions}
         GROUP BY bucket, {column} ORDER BY bucket DESC, events DESC, {column}"
    ))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Buckets { buckets: Vec::new(), more: false };
    while let Some(row) = rows.next()? {
        let start_unix_ns = row.get::<_, i64>(0)?.saturating_mul(width);
        if found.buckets.last().is_none_or(|bucket| bucket.start_unix_ns != start_unix_ns) {
            if found.buckets.len() == limit {
                found.more = true;
                break;
            }
            found.buckets.push(Bucket { start_unix_ns, events: 0, groups: Vec::new(), others: 0 });
        }
        let Some(bucket) = found.buckets.last_mut() else { break };
        let events = row.get::<_, i64>(2)?.unsigned_abs();
        bucket.events += events;
        if bucket.groups.len() < MAX_GROUPS {
            bucket.groups.push(Count { value: group.value(row)?, events });
        } else {
            bucket.others += events;
        }
    }
    Ok(found)
}
