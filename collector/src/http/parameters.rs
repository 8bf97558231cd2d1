//! The query string of `/events`.

use std::time::UNIX_EPOCH;

use axum::extract::Query;
use plimsoll_proto::limits;

use crate::{
    json::{self, Kind},
    store::{Filter, Image, Package},
};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
const NAMES: &str = "node, workload, image, package, verdict, reason, hook, path, since, until, limit, cursor";

/// What is wrong with a query string.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParameterFault {
    #[error("the query string is not `name=value&...`, percent-encoded UTF-8")]
    Malformed,
    #[error("`{name}` is no parameter")]
    Unknown { name: String },
    #[error("`{name}` is given twice")]
    Twice { name: String },
    #[error("the value of `{name}` is empty, or longer than {} bytes", limits::PATH)]
    Length { name: String },
    #[error("`{value}` is not a value of `{name}`")]
    Value { name: String, value: String },
}

impl ParameterFault {
    /// The way out.
    pub(super) fn help(&self) -> String {
        match self {
            Self::Malformed => "for example `/events?verdict=deny&limit=10`".to_owned(),
            Self::Unknown { .. } => format!("parameters are: {NAMES}"),
            Self::Twice { .. } => "one value per parameter; several parameters must all match".to_owned(),
            Self::Length { .. } => "leave the parameter out to match everything".to_owned(),
            Self::Value { name, .. } => match name.as_str() {
                "verdict" => "one of: allow, audit, deny".to_owned(),
                "hook" => {
                    "one of: exec, map, protect, script, inject, read, write, create, remove, rename, link, attribute, \
                           connect, send, bind, listen, accept, socket, operation, capability, tamper"
                        .to_owned()
                }
                "reason" => "one of: listed, not-listed, written, foreign, anonymous-exec, modified-code, \
                             stale-label, unreadable, unlabelled, file-rule, network-rule, forbidden, tampering, \
                             injected-code, unlisted-script"
                    .to_owned(),
                "limit" => format!("a number from 1 to {MAX_LIMIT}"),
                "cursor" => "the `next` of an earlier answer to the same query".to_owned(),
                _ => "seconds since 1970, or RFC 3339 in UTC such as `2026-01-31T23:59:59Z`".to_owned(),
            },
        }
    }
}

/// What a query string asks for.
pub(super) fn filter(query: &str) -> Result<Filter, ParameterFault> {
    let uri = format!("/?{query}").parse().map_err(|_invalid| ParameterFault::Malformed)?;
    let Query(pairs) =
        Query::<Vec<(String, String)>>::try_from_uri(&uri).map_err(|_undecodable| ParameterFault::Malformed)?;
    let mut filter = Filter { limit: DEFAULT_LIMIT, ..Filter::default() };
    let mut seen = Vec::new();
    for (name, value) in pairs {
        if seen.contains(&name) {
            return Err(ParameterFault::Twice { name });
        }
        if value.is_empty() || value.len() > limits::PATH {
            return Err(ParameterFault::Length { name });
        }
        set(&mut filter, &name, value)?;
        seen.push(name);
    }
    Ok(filter)
}

fn set(filter: &mut Filter, name: &str, value: String) -> Result<(), ParameterFault> {
    let fault = || ParameterFault::Value { name: name.to_owned(), value: value.clone() };
    let number = |kind| json::number(kind, &value).ok_or_else(fault);
    match name {
        "verdict" => filter.verdict = Some(number(Kind::Verdict)?),
        "reason" => filter.reason = Some(number(Kind::Reason)?),
        "hook" => filter.hook = Some(number(Kind::Hook)?),
        "since" => filter.since = Some(time(&value).ok_or_else(fault)?),
        "until" => filter.until = Some(time(&value).ok_or_else(fault)?),
        "limit" => {
            let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
            filter.limit = limit.ok_or_else(fault)?;
        }
        "cursor" => filter.cursor = Some(value.parse().map_err(|_invalid| fault())?),
        "node" => filter.node = Some(value),
        "workload" => filter.workload = Some(value),
        "path" => filter.path = Some(value),
        "image" if value.starts_with("sha256:") => filter.image = Some(Image::Digest(value)),
        "image" => filter.image = Some(Image::Reference(value)),
        "package" if value.starts_with("pkg:") => filter.package = Some(Package::Purl(value)),
        "package" => filter.package = Some(Package::Name(value)),
        _ => return Err(ParameterFault::Unknown { name: name.to_owned() }),
    }
    Ok(())
}

/// Nanoseconds since 1970.
fn time(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000_000_000);
    }
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        assert_eq!(time("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(time("2023-11-14T22:13:20Z"), Some(1_700_000_000_000_000_000));
        assert_eq!(time("2023-11-14T22:13:20.5Z"), Some(1_700_000_000_500_000_000));
        assert_eq!(time("9999999999999"), None);
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn every_fault_names_the_parameter() {
        for (query, expected) in [
            ("verdict=DENY", "`DENY` is not a value of `verdict`"),
            ("limit=1001", "`1001` is not a value of `limit`"),
            ("limit=0", "`0` is not a value of `limit`"),
            ("cursor=7", "`7` is not a value of `cursor`"),
            ("since=x", "`x` is not a value of `since`"),
            ("colour=red", "`colour` is no parameter"),
            ("node=a&node=b", "`node` is given twice"),
            ("node=", "the value of `node` is empty, or longer than 4096 bytes"),
        ] {
            assert_eq!(filter(query).unwrap_err().to_string(), expected);
        }
    }
}
