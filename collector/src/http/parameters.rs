//! Query strings. What is documented and what is understood come from the same types.

use axum::extract::Query;
use utoipa::{
    IntoParams,
    openapi::{
        Object, ObjectBuilder,
        schema::{SchemaType, Type},
    },
};

use crate::{
    json::{Kind, filter_words, number},
    store::{Cursor, Filter, Group, MAX_SECONDS, TEXT, Width},
};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// What is wrong with a query string.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParameterFault {
    #[error("the query string is not `name=value&...`, percent-encoded UTF-8")]
    Malformed,
    #[error("`{name}` is no parameter")]
    Unknown { name: String, known: String },
    #[error("`{name}` is given twice")]
    Twice { name: String },
    #[error("the value of `{name}` is empty, or longer than {TEXT} characters")]
    Length { name: String },
    #[error("`{value}` is not a value of `{name}`")]
    Value { name: String, value: String, expected: String },
}

impl ParameterFault {
    /// The way out.
    pub(super) fn help(&self) -> String {
        match self {
            Self::Malformed => "for example `/v1/events?verdict=deny&limit=10`".to_owned(),
            Self::Unknown { known, .. } => format!("parameters are: {known}"),
            Self::Twice { .. } => "one value per parameter; several parameters must all match".to_owned(),
            Self::Length { .. } => "leave the parameter out to match everything".to_owned(),
            Self::Value { expected, .. } => expected.clone(),
        }
    }
}

/// Parameters that stand beside the filter's.
pub(super) trait Parameters: IntoParams + Default {
    /// Takes a value; `false` if the name is none of its own. An error says what was expected.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, String>;
}

/// Which page.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Events on a page, 100 if not given; a page of very large events ends earlier.
    #[param(schema_with = limit, required = false)]
    pub(super) limit: usize,
    /// `next` of the page before, with the same other parameters.
    #[param(schema_with = cursor)]
    pub(super) cursor: Option<Cursor>,
}

/// What is counted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Counting {
    /// How long a bucket is; `hour` if not given.
    #[param(inline, required = false)]
    pub(super) by: Width,
    /// What the events of a bucket are told apart by; `verdict` if not given.
    #[param(inline, required = false)]
    pub(super) group: Group,
    /// Buckets in the answer, the newest ones; 100 if not given.
    #[param(schema_with = limit, required = false)]
    pub(super) limit: usize,
}

impl Default for Paging {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, cursor: None }
    }
}

impl Default for Counting {
    fn default() -> Self {
        Self { by: Width::default(), group: Group::default(), limit: DEFAULT_LIMIT }
    }
}

impl Parameters for Paging {
    fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "limit" => self.limit = bounded(value)?,
            "cursor" => {
                let cursor = value.parse().map_err(|_invalid| "the `next` of an earlier answer to the same query");
                self.cursor = Some(cursor?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Parameters for Counting {
    fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "by" => self.by = named(value, &Width::ALL.map(|width| (width.name(), width)))?,
            "group" => self.group = named(value, &Group::ALL.map(|group| (group.name(), group)))?,
            "limit" => self.limit = bounded(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Parameters for Filter {
    fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let text = || Some(value.to_owned());
        match name {
            "node" => self.node = text(),
            "workload" => self.workload = text(),
            "namespace" => self.namespace = text(),
            "image" => self.image = text(),
            "policy" => self.policy = text(),
            "package" => self.package = text(),
            "path" => self.path = text(),
            "verdict" => self.verdict = Some(worded(Kind::Verdict, value)?),
            "reason" => self.reason = Some(worded(Kind::Reason, value)?),
            "hook" => self.hook = Some(worded(Kind::Hook, value)?),
            "since" => self.since = Some(time(value)?),
            "until" => self.until = Some(time(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// What a query string asks for.
pub(super) fn parse<T: Parameters>(query: Option<&str>) -> Result<(Filter, T), ParameterFault> {
    let uri = format!("/?{}", query.unwrap_or_default()).parse().map_err(|_invalid| ParameterFault::Malformed)?;
    let Query(pairs) =
        Query::<Vec<(String, String)>>::try_from_uri(&uri).map_err(|_undecodable| ParameterFault::Malformed)?;
    let (mut filter, mut others) = (Filter::default(), T::default());
    let mut seen = Vec::new();
    for (name, value) in pairs {
        if seen.contains(&name) {
            return Err(ParameterFault::Twice { name });
        }
        if value.is_empty() || value.chars().nth(TEXT).is_some() {
            return Err(ParameterFault::Length { name });
        }
        let known = filter.set(&name, &value).and_then(|known| Ok(known || others.set(&name, &value)?));
        match known {
            Ok(true) => seen.push(name),
            Ok(false) => return Err(ParameterFault::Unknown { name, known: names::<T>().join(", ") }),
            Err(expected) => return Err(ParameterFault::Value { name, value, expected }),
        }
    }
    Ok((filter, others))
}

/// Every parameter of an endpoint, as documented.
fn names<T: Parameters>() -> Vec<String> {
    let all = Filter::into_params(|| None).into_iter().chain(T::into_params(|| None));
    all.map(|parameter| parameter.name).collect()
}

fn bounded(value: &str) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("a number from 1 to {MAX_LIMIT}"))
}

fn named<T: Copy>(value: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find_map(|(name, one)| (*name == value).then_some(*one));
    found.ok_or_else(|| format!("one of: {}", all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")))
}

fn worded(kind: Kind, value: &str) -> Result<i32, String> {
    // 0 is `unspecified`, which no stored event has.
    let number = number(kind, value).filter(|number| *number != 0);
    number.ok_or_else(|| format!("one of: {}", filter_words(kind).join(", ")))
}

/// Nanoseconds since 1970; a moment beyond what the store can hold is its last or first one.
fn time(text: &str) -> Result<i64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0..=MAX_SECONDS).contains(seconds));
    if let Some(seconds) = seconds {
        return Ok(seconds * 1_000_000_000);
    }
    let moment: jiff::Timestamp = text.parse().map_err(|_invalid| {
        format!("seconds since 1970, up to {MAX_SECONDS}, or RFC 3339 such as `2026-01-31T23:59:59Z`")
    })?;
    let end = if moment.as_second() < 0 { i64::MIN } else { i64::MAX };
    Ok(i64::try_from(moment.as_nanosecond()).unwrap_or(end))
}

fn limit() -> Object {
    let integer = ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer));
    integer.minimum(Some(1)).maximum(Some(MAX_LIMIT as u64)).default(Some(DEFAULT_LIMIT.into())).build()
}

fn cursor() -> Object {
    let pattern = format!("^[0-9a-f]{{{}}}$", Cursor::LENGTH);
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).pattern(Some(pattern)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, expected) in [
            ("0", 0),
            ("1700000000", 1_700_000_000_000_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000_000_000),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000_000_000),
            ("2023-11-14T22:13:20.5Z", 1_700_000_000_500_000_000),
            ("1000-01-01T00:00:00Z", i64::MIN),
            ("9000-01-01T00:00:00Z", i64::MAX),
        ] {
            assert_eq!(time(text), Ok(expected), "{text}");
        }
        for wrong in ["9999999999999", "-1", "yesterday", "2023-11-14"] {
            assert!(time(wrong).unwrap_err().contains("RFC 3339"), "{wrong}");
        }
    }

    #[test]
    fn every_fault_names_the_parameter() {
        for (query, expected) in [
            ("verdict=DENY", "`DENY` is not a value of `verdict`"),
            ("reason=unspecified", "`unspecified` is not a value of `reason`"),
            ("limit=1001", "`1001` is not a value of `limit`"),
            ("limit=0", "`0` is not a value of `limit`"),
            ("cursor=7", "`7` is not a value of `cursor`"),
            ("since=x", "`x` is not a value of `since`"),
            ("by=hour", "`by` is no parameter"),
            ("node=a&node=b", "`node` is given twice"),
            ("node=", "the value of `node` is empty, or longer than 4096 characters"),
        ] {
            assert_eq!(parse::<Paging>(Some(query)).unwrap_err().to_string(), expected);
        }
        let error = parse::<Counting>(Some("group=colour")).unwrap_err();
        assert_eq!(error.help(), "one of: verdict, reason, hook, node, namespace, workload, image, policy, package");
        assert!(parse::<Paging>(Some("reason=no")).unwrap_err().help().ends_with("too-deep"));
    }

    #[test]
    fn what_is_documented_is_understood() {
        let values = [
            ("verdict", "deny"),
            ("reason", "listed"),
            ("hook", "exec"),
            ("since", "1"),
            ("until", "2026-01-31T23:59:59Z"),
            ("limit", "7"),
            ("cursor", "0000000000000001000000000000000a"),
            ("by", "day"),
            ("group", "package"),
        ];
        let query = |names: Vec<String>| {
            let value = |name: &str| values.iter().find(|(known, _)| *known == name).map_or("x", |(_, value)| *value);
            names.iter().map(|name| format!("{name}={}", value(name))).collect::<Vec<_>>().join("&")
        };
        let (filter, counting) = parse::<Counting>(Some(&query(names::<Counting>()))).unwrap();
        assert_eq!((counting.by, counting.group, counting.limit), (Width::Day, Group::Package, 7));
        assert_eq!((filter.since, filter.node.as_deref()), (Some(1_000_000_000), Some("x")));
        let (_, paging) = parse::<Paging>(Some(&query(names::<Paging>()))).unwrap();
        assert_eq!((paging.limit, paging.cursor.is_some()), (7, true));
    }
}
